"""Training of one-shots: the network's shape, its losses, and that a run which stops goes on as if it had not."""

from __future__ import annotations

import dataclasses
import math
import shutil
import threading

import numpy as np
import pytest
import torch

from terrain_core.autoencoders.training.losses import DB_PER_NEPER, LogMel
from terrain_core.errors import FileError, InputError
from terrain_core.one_shots import shards
from terrain_core.one_shots.augment import Augment
from terrain_core.one_shots.config import PRESETS, STRIDE, ModelConfig, TrainConfig, preset
from terrain_core.one_shots.drums import KINDS, drum
from terrain_core.one_shots.training import losses
from terrain_core.one_shots.training.drum_data import synthesise
from terrain_core.one_shots.training.export import export, make_instrument
from terrain_core.one_shots.training.model import BANK_STRIDE, Bank, OneShotModel, spread_hz
from terrain_core.one_shots.training.train import _advice, collapse_alarm, open_checkpoint, train

SMALL = ModelConfig(
    seconds=0.25, latent_size=4, widths=(4, 6, 8, 8), blocks=1, bottleneck=2, hidden=8, noise=4, tones=6, skip=2
)
QUICK = TrainConfig(
    epochs=3,
    batch=4,
    accumulate=2,
    learning_rate=1e-3,
    patience=1,
    warm_epochs=1,
    stft_sizes=(128, 512),
    stft_every=2,
    mel_weight=0.5,
    save_every=1,
    stop_after=0,
    threads=1,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """18 drums to train with: four batches and a half; 6 to test."""
    folder = tmp_path_factory.mktemp("drums")
    synthesise(folder, SMALL, train=18, test=6, workers=1)
    return folder


# The network


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_at_most_ten_million_parameters(name):
    assert OneShotModel(preset(name).model).parameter_count <= 10_000_000


@pytest.mark.parametrize("seconds", [0.25, 4.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_length_and_stereo_stay_under_ten_million_parameters(seconds, channels):
    config = ModelConfig(seconds=seconds, channels=channels)
    assert OneShotModel(config).parameter_count <= 10_000_000


@pytest.mark.parametrize("variant", ["unet", "simple"])
@pytest.mark.parametrize(("seconds", "channels"), [(0.25, 1), (0.6, 2)])
def test_shapes(variant, seconds, channels):
    config = dataclasses.replace(SMALL, variant=variant, seconds=seconds, channels=channels)
    model = OneShotModel(config)
    audio = torch.randn(3, channels, config.samples)
    mean, log_variance, skips = model.encode(audio)
    assert mean.shape == log_variance.shape == (3, 4)
    assert float(log_variance.detach().min()) > config.lowest_log_variance
    generated = model.generate_skips(mean)
    if variant == "unet":
        assert [skip.shape for skip in generated] == [skip.shape for skip in skips]
        assert [skip.shape[2] for skip in skips] == [config.samples // 16, config.samples // 64, config.samples // 256]
    else:
        assert generated is None
    sound = model.decode(mean)
    assert sound.shape == audio.shape
    assert float(sound.detach().abs().max()) <= 0.9 / 0.8
    assert config.samples % STRIDE == 0


def test_the_floor_of_the_log_variance_leaves_a_gradient():
    model = OneShotModel(SMALL)
    with torch.no_grad():
        model.encoder.log_variance[-1].bias.fill_(-9.0)  # below the floor of -6
    _, log_variance, _ = model.encode(torch.randn(2, 1, SMALL.samples))
    assert float(log_variance.detach().max()) < -5.9
    log_variance.sum().backward()
    assert float(model.encoder.log_variance[-1].bias.grad.abs().min()) > 1e-3


def bank_of(config: ModelConfig) -> tuple[Bank, torch.Tensor]:
    """A bank, and levels of nothing: (1, K, frames)."""
    bank = Bank(config)
    return bank, torch.zeros(1, config.tones + config.noise, config.samples // BANK_STRIDE)


def test_a_tone_of_the_bank_is_a_sine_times_its_levels_joined_by_straight_lines():
    bank, levels = bank_of(SMALL)
    hz = spread_hz(SMALL.tones, 35.0, 5000.0, 900.0)
    random = np.random.default_rng(1).uniform(size=levels.shape[2]).astype(np.float32)
    samples = np.arange(SMALL.samples)
    for tone in range(SMALL.tones):
        levels[:], levels[0, tone] = 0, torch.from_numpy(random)
        joined = np.interp(samples / BANK_STRIDE, np.arange(len(random)), random)
        expected = joined * np.sin(2 * np.pi * hz[tone] * samples / SMALL.sample_rate)
        np.testing.assert_allclose(bank(levels)[0].numpy(), expected, atol=2e-4)  # a phase in float32


def test_noise_of_the_bank_stays_in_its_band_and_is_more_even_than_white_noise():
    config = dataclasses.replace(SMALL, seconds=1.0, noise=64)
    bank, levels = bank_of(config)
    levels[0, config.tones + 40] = 1.0
    middle = spread_hz(64, 100.0, 0.45 * 44100, 4000.0)[40]
    power = np.abs(np.fft.rfft(bank(levels)[0].numpy())) ** 2
    away = np.abs(np.fft.rfftfreq(config.samples, 1 / 44100) - middle)
    assert power[away < 600].sum() > 0.8 * power.sum()
    assert power[away < 50].sum() < 0.5 * power.sum()  # and is no tone
    assert power[away > 4000].sum() < 0.02 * power.sum()

    def unevenness(sound: torch.Tensor) -> float:
        """Deviation in dB of the upper bands' levels in time."""
        levels = LogMel(2048, 512, 80)(sound)[0, 50:76, 4:-4] * DB_PER_NEPER
        return float(levels.std(dim=1).mean())

    levels[:] = 0
    levels[0, config.tones :] = 0.05
    white = 0.1 * torch.randn(1, config.samples, generator=torch.Generator().manual_seed(1))
    assert unevenness(bank(levels)) < 0.85 * unevenness(white)


def test_a_full_scale_target_can_be_reached():
    """The output at a tanh of 0.9: not at infinity."""
    assert math.atanh(losses_reach()) < 1.5


def losses_reach() -> float:
    from terrain_core.one_shots.training.model import OUTPUT, REACH

    return REACH / OUTPUT


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"seconds": 5}, "seconds is 5: expected 0.25 to 4 s"),
        ({"variant": "vae"}, "variant is 'vae': expected one of unet, simple"),
        ({"widths": (1, 2)}, "widths is"),
    ],
)
def test_models_that_cannot_be_say_why(values, what):
    with pytest.raises(InputError, match=what):
        ModelConfig(**values)


# The losses


def test_free_bits_are_bits_and_counted_for_each_latent():
    nats = torch.tensor([0.1, 0.25 * math.log(2), 1.0])
    assert float(losses.kl_loss(nats, 0.25)) == pytest.approx(1.0 - 0.25 * math.log(2))
    assert float(losses.kl_loss(nats, 0.0)) == pytest.approx(float(nats.sum()))


def test_kl_is_the_closed_form():
    mean, log_variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, math.log(4.0)]])
    torch.testing.assert_close(
        losses.kl_by_latent(mean, log_variance), torch.tensor([0.5, 0.5 * (4 - 1 - math.log(4))])
    )


def test_spectral_loss_is_zero_for_itself_and_grows_with_level_and_phase():
    loss = losses.SpectralLoss((128, 512), complex_weight=0.5)
    sound = torch.from_numpy(drum("snare", 3, 0.25))[None]
    other = torch.from_numpy(drum("kick", 3, 0.25))[None]
    assert float(loss(sound, sound)) == 0
    assert 0 < float(loss(0.9 * sound, sound)) < float(loss(other, sound))
    # Magnitudes are deaf to polarity, the complex plane is not.
    assert float(losses.SpectralLoss((128, 512), 0.0)(-sound, sound)) < 1e-5
    assert float(loss(-sound, sound)) > 0.5


def test_spectral_loss_weighs_a_batch_with_two_channels():
    stereo = torch.randn(2, 2, 4096, generator=torch.Generator().manual_seed(0))
    assert float(losses.SpectralLoss((256,), 0.1)(stereo * 0.5, stereo)) > 0.1


@pytest.mark.parametrize(
    ("annealing", "expected"),
    [("linear", [0, 0.5, 1, 1, 1]), ("sigmoid", [0.0025, 0.5, 1, 1, 1]), ("cyclical", [0, 0.5, 0.5, 0.75, 0.5])],
)
def test_annealing(annealing, expected):
    config = TrainConfig(beta=2.0, annealing=annealing, warm_epochs=10, cycle_epochs=20)
    found = [losses.beta_at(config, epoch) / 2.0 for epoch in (0, 5, 10, 20, 30)]
    np.testing.assert_allclose(found, expected, atol=1e-3)


# The data


@pytest.mark.parametrize("kind", KINDS)
def test_drums_are_their_seeds(kind):
    first, again, other = drum(kind, 1), drum(kind, 1), drum(kind, 2)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.abs(first).max() == pytest.approx(1)
    assert np.abs(first[0, :220]).max() > 0.05  # within 5 ms


def test_parts_share_no_seed(data):
    names = [{sound.name for sound in shards.open_part(data, part).sounds} for part in shards.PARTS]
    assert len(names[0]) == 18
    assert len(names[1]) == 6
    assert not names[0] & names[1]


def test_augmentation_keeps_length_and_peak():
    sound = drum("tom", 1, 0.25)
    made = Augment(semitones=3, flip=1, shorten=1)(sound, 44100, np.random.default_rng(0))
    assert made.shape == sound.shape
    assert np.abs(made).max() == pytest.approx(1)
    assert np.abs(made - sound).max() > 0.1


# The run


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, train(data, SMALL, QUICK, folder, accelerator="cpu")


def weights(folder) -> dict[str, torch.Tensor]:
    """All that the last checkpoint has of the model, the optimiser and the schedule."""
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    found = {f"model {name}": value for name, value in checkpoint["state_dict"].items()}
    for number, state in checkpoint["optimizer_states"][0]["state"].items():
        found |= {f"optimiser {number} {name}": torch.as_tensor(value) for name, value in state.items()}
    found["rate"] = torch.tensor(checkpoint["optimizer_states"][0]["param_groups"][0]["lr"], dtype=torch.float64)
    found["bad epochs"] = torch.tensor(checkpoint["lr_schedulers"][0].get("num_bad_epochs", -1))
    found["steps"] = torch.tensor([checkpoint["global_step"], checkpoint["epoch"]])
    return found


def assert_same_run(one, other):
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("batches", [1, 2, 5, 8])
def test_a_run_that_stopped_after_any_batch_goes_on_exactly(batches, data, whole, tmp_path):
    """Five batches an epoch, a step every two: within a step, after one, at an epoch's end, after its validation."""
    stopped = train(data, SMALL, QUICK, tmp_path, stop_after=batches, accelerator="cpu")
    assert stopped.stopped
    outcome = train(data, SMALL, QUICK, tmp_path, resume=True, accelerator="cpu")
    assert not outcome.stopped
    assert outcome.best == whole[1].best
    assert_same_run(tmp_path, whole[0])


def test_a_run_goes_on_exactly_from_an_epochs_checkpoint(data, whole, tmp_path):
    """As after a power failure."""
    train(data, SMALL, QUICK, tmp_path, stop_after=7, accelerator="cpu")
    shutil.copy(tmp_path / "epoch-0000.ckpt", tmp_path / "last.ckpt")
    train(data, SMALL, QUICK, tmp_path, resume=True, accelerator="cpu")
    assert_same_run(tmp_path, whole[0])


def test_another_seed_is_another_run(data, whole, tmp_path):
    """That the comparison above can fail."""
    train(data, SMALL, dataclasses.replace(QUICK, seed=2), tmp_path, accelerator="cpu")
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path, whole[0])


def test_a_run_learns_and_leaves_its_checkpoints(whole):
    folder, outcome = whole
    assert {path.name for path in folder.glob("*.ckpt")} == {
        "best.ckpt",
        "last.ckpt",
        "epoch-0000.ckpt",
        "epoch-0001.ckpt",
        "epoch-0002.ckpt",
    }
    assert (folder / "log" / "metrics.csv").read_text().count("\n") >= 3
    fresh = OneShotModel(SMALL)
    assert outcome.model.parameter_count == fresh.parameter_count
    assert outcome.epochs == 3


def test_starting_over_forgets_the_old_run(data, whole, tmp_path):
    shutil.copytree(whole[0], tmp_path / "run")
    train(data, SMALL, QUICK, tmp_path / "run", accelerator="cpu")
    assert_same_run(tmp_path / "run", whole[0])


def test_resuming_says_what_is_missing_or_differs(data, whole, tmp_path):
    with pytest.raises(FileError, match="train without --resume first"):
        train(data, SMALL, QUICK, tmp_path, resume=True)
    other = dataclasses.replace(QUICK, learning_rate=2e-3)
    with pytest.raises(FileError, match=r"was trained with learning_rate 0\.001, now it is 0\.002"):
        train(data, SMALL, other, whole[0], resume=True)
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(FileError, match="is not a checkpoint"):
        train(data, SMALL, QUICK, tmp_path, resume=True)


def test_data_of_another_length_is_refused(data, tmp_path):
    with pytest.raises(InputError, match="prepare the data with the same"):
        train(data, dataclasses.replace(SMALL, seconds=0.5), QUICK, tmp_path)


def test_mixed_precision_trains_as_well(data, whole, tmp_path):
    mixed = dataclasses.replace(QUICK, precision="bf16-mixed")
    outcome = train(data, SMALL, mixed, tmp_path, accelerator="cpu")
    assert outcome.best == pytest.approx(whole[1].best, rel=0.1)
    assert all(torch.isfinite(value).all() for value in outcome.model.state_dict().values())


def test_a_run_may_begin_with_anothers_weights(data, whole, tmp_path):
    still = dataclasses.replace(QUICK, epochs=1, learning_rate=1e-9, weight_decay=0.0)
    outcome = train(data, SMALL, still, tmp_path, start_from=whole[0] / "best.ckpt", accelerator="cpu")
    before = whole[1].model.state_dict()
    for name, value in outcome.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=1e-6)


def test_an_event_stops_a_run(data, tmp_path):
    stop = threading.Event()
    stop.set()
    assert train(data, SMALL, QUICK, tmp_path, stop=stop, accelerator="cpu").stopped
    assert (tmp_path / "last.ckpt").exists()


def test_memory_that_ran_out_becomes_advice():
    error = _advice(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), QUICK)
    assert isinstance(error, InputError)
    assert "--batch 2 --accumulate 4" in str(error)
    other = RuntimeError("something else")
    assert _advice(other, QUICK) is other


def test_the_alarm_for_a_collapsed_posterior():
    assert collapse_alarm(np.array([True] * 9 + [False])) == ""
    assert "2 of 10 latents are dead" in collapse_alarm(np.array([True] * 8 + [False] * 2))


def test_tensorboard_gets_curves_sounds_and_pictures(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(data, SMALL, dataclasses.replace(QUICK, epochs=1), tmp_path, tensorboard=True, accelerator="cpu")
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"val/loss", "val/active", "latents/active"} <= set(tags["scalars"])
    assert {"original/0", "reconstruction/0", "random/0"} <= set(tags["audio"])
    assert any(tag.startswith("spectrograms/random") for tag in tags["images"])
    assert "latents/kl_bits" in tags["histograms"]


# What comes of it


def test_the_graphs_equal_the_model_and_make_an_instrument(data, whole, tmp_path):
    sounds = shards.open_part(data, "train")
    model = open_checkpoint(whole[0] / "best.ckpt")
    bundle = export(model, sounds, tmp_path / "bundle", "mine")  # raises if they differ
    audio = np.array(sounds[0])
    latent = bundle.encode(audio)
    with torch.inference_mode():
        mean = model.encode(torch.from_numpy(audio)[None])[0]
        np.testing.assert_allclose(latent, mean.numpy(), atol=1e-4)
        np.testing.assert_allclose(bundle.hit(latent[0]), model.decode(mean)[0].numpy(), atol=1e-4)
    made = make_instrument(bundle, sounds, count=12, epochs=2)
    assert len(made.sound_map) == 12
    assert len(made.kit.pads) == 12
    assert {pad.choke for pad in made.kit.pads if "hat" in pad.name} == {1}
    made.save(tmp_path / "mine.terrain", embed_autoencoder=True)


def test_graphs_that_differ_are_refused(data, tmp_path, monkeypatch):
    from terrain_core.one_shots.training import export as exporting

    monkeypatch.setattr(exporting, "compare", lambda *_: (0.0, 0.01))
    with pytest.raises(InputError, match="the graphs differ"):
        export(OneShotModel(SMALL), shards.open_part(data, "train"), tmp_path, "mine")
