"""The training's parts against closed forms, and a short run from end to end."""

from pathlib import Path

import numpy as np
import pytest
import torch

from terrain_core import autoencoders
from terrain_core.autoencoders import features
from terrain_core.autoencoders.training import evaluate, export, runs
from terrain_core.autoencoders.training.dataset import SAMPLES, Crops, Split, prepare
from terrain_core.autoencoders.training.losses import LogMel, SpectralLoss, kl_per_frame
from terrain_core.autoencoders.training.model import (
    COLOUR_BANDS,
    ENVELOPE_STEPS,
    HARMONICS,
    MODES,
    NOISE_BINS,
    Autoencoder,
    CausalStack,
    HarmonicHead,
    HeadState,
    ModelConfig,
)
from terrain_core.autoencoders.training.train import TrainSettings, train

SMALL = ModelConfig(width=16, encoder_dilations=(1,), decoder_dilations=(1, 2))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    return prepare(tmp_path_factory.mktemp("corpus"), "validation", 9, workers=1)


def test_stack_with_cache_is_the_stack_without_cuts() -> None:
    torch.manual_seed(0)
    stack = CausalStack(5, 8, 3, (1, 2, 4))
    x = torch.randn(2, 30, 5)
    whole, _ = stack(x, stack.empty_cache(2))
    cache, parts = stack.empty_cache(2), []
    for a, b in ((0, 1), (1, 2), (2, 11), (11, 30)):
        part, cache = stack(x[:, a:b], cache)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-5)
    later = x.clone()
    later[:, 20:] += 1.0
    changed, _ = stack(later, stack.empty_cache(2))
    torch.testing.assert_close(changed[:, :20], whole[:, :20])


def quiet_controls(head: HarmonicHead, frames: int) -> torch.Tensor:
    """Controls that ask for silence: every level at the bottom of its range."""
    return torch.full((1, frames, head.outputs), -100.0)


def synthesise(head: HarmonicHead, raw: torch.Tensor, pitch: float, seed: int = 0) -> np.ndarray:
    frames = raw.shape[1]
    noise = torch.rand((1, frames * 4, NOISE_BINS), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        return head(raw, torch.full((1, frames), pitch), noise, HeadState.initial(1))[0][0].numpy()


@pytest.mark.parametrize(("partial", "ratio"), [(0, 1.0), (6, 7.0), (HARMONICS + 8, MODES[8])])
def test_one_partial_is_one_sine_of_the_asked_amplitude(partial: int, ratio: float) -> None:
    head, frames = HarmonicHead(), 60
    raw = quiet_controls(head, frames)
    spectral = raw[..., :-ENVELOPE_STEPS].view(1, frames, 4, -1)
    spectral[..., HARMONICS : HARMONICS + COLOUR_BANDS] = 0.0  # a flat envelope
    place = partial if partial < HARMONICS else partial + COLOUR_BANDS
    spectral[..., place] = 6.0 + np.log(0.25)
    audio = synthesise(head, raw, 0.2)[20 * 1024 : 52 * 1024]
    hz = features.MIDDLE_C_HZ * 2 ** (0.2 * 1.5) * ratio
    t = np.arange(len(audio)) / 44100
    basis = np.stack([np.sin(2 * np.pi * hz * t), np.cos(2 * np.pi * hz * t)], axis=1)
    weights, _, _, _ = np.linalg.lstsq(basis, audio.astype(np.float64), rcond=None)
    # The pitch passes through float32 (6e-8 relative: 1e-3 rad over 0.7 s); the rest is the other partials' floor.
    assert abs(np.hypot(*weights) - 0.25) < 1e-4
    assert np.std(audio - basis @ weights) < 1e-3


def test_noise_has_the_asked_level_and_no_offset() -> None:
    head, frames = HarmonicHead(), 100
    raw = quiet_controls(head, frames)
    raw[..., :-ENVELOPE_STEPS].view(1, frames, 4, -1)[..., -64:] = 8.0 + np.log(0.05)
    raw[..., -ENVELOPE_STEPS:] = 0.0
    audio = synthesise(head, raw, 0.0)[1024:]
    # White but for the bins at 0 Hz and Nyquist, which are silent: 255 / 256 of the power.
    assert abs(np.std(audio) / 0.05 - 1.0) < 0.02
    assert abs(audio.mean()) < 5e-4
    assert abs(np.corrcoef(audio, synthesise(head, raw, 0.0, seed=1)[1024:])[0, 1]) < 0.02


def test_partials_above_hearing_are_silent() -> None:
    head = HarmonicHead()
    raw = quiet_controls(head, 10)
    raw[..., :-ENVELOPE_STEPS].view(1, 10, 4, -1)[..., : HARMONICS + COLOUR_BANDS] = 5.0
    spectrum = np.abs(np.fft.rfft(synthesise(head, raw, 3.0)[2048:] * np.hanning(8192)))  # f0 is 5.9 kHz
    hz = np.fft.rfftfreq(8192, 1 / 44100)
    assert spectrum[hz > 20500].max() < 1e-3 * spectrum.max()


def test_losses_are_zero_at_the_target_and_grow_away_from_it() -> None:
    audio = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, 20000)).astype(np.float32))
    loss = SpectralLoss()
    at, near, far = (sum(loss(x, audio)) for x in (audio, audio * 1.1, audio * 2.0))
    assert float(at) < 1e-5
    assert float(at) < float(near) < float(far)
    assert float(kl_per_frame(torch.zeros(1, 3, 4), torch.zeros(1, 3, 4))) == 0.0
    assert float(kl_per_frame(torch.ones(1, 3, 4), torch.zeros(1, 3, 4))) == pytest.approx(2.0)


def test_log_mel_of_a_full_scale_sine_is_near_zero() -> None:
    t = torch.arange(44100) / 44100
    mel = LogMel(2048, 512, 80)(torch.sin(2 * torch.pi * 1000 * t)[None])
    assert abs(float(mel.max())) < 1.6  # the band's area is shared among its bins
    assert float(LogMel(2048, 512, 80)(torch.zeros(1, 44100)).max()) == pytest.approx(np.log(1e-4))


def test_crops_depend_on_seed_and_index_alone(split: Split) -> None:
    a, b = Crops(split, 20, 50, seed=3), Crops(split, 20, 50, seed=3)
    torch.testing.assert_close(a[7][1], b[7][1])
    assert a[7][0].shape == (21, features.FEATURES)
    assert a[7][1].shape == (20 * 1024,)
    assert not torch.equal(a[7][1], Crops(split, 20, 50, seed=4)[7][1])


@pytest.mark.parametrize("head", ["harmonic", "istft", "multiband"])
def test_every_head_learns(head: str, split: Split) -> None:
    torch.manual_seed(0)
    model = Autoencoder(ModelConfig(head=head, width=16, encoder_dilations=(1,), decoder_dilations=(1,)))
    feature, audio = Crops(split, 8, 9, seed=0)[1]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    loss, values = SpectralLoss(), []
    for _ in range(12):
        optimizer.zero_grad()
        output = model.decode(model.encode(feature[None] / 10)[0], torch.Generator().manual_seed(0))
        assert output.shape == (1, 8 * 1024)
        value = sum(loss(output, audio[None]))
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]


def test_standardising_changes_latents_and_not_sound(split: Split) -> None:
    torch.manual_seed(0)
    model = Autoencoder(SMALL).eval()
    feature = torch.from_numpy(np.array(split.features[1][:30]))[None] / 10
    with torch.inference_mode():
        before = model.decode(model.encode(feature)[0], torch.Generator().manual_seed(0))
    mean, std = np.arange(8, dtype=np.float32), np.linspace(0.5, 2, 8, dtype=np.float32)
    old = model.encode(feature)[0].detach()
    export.standardise(model, mean, std)
    with torch.inference_mode():
        new = model.encode(feature)[0]
        after = model.decode(new, torch.Generator().manual_seed(0))
    torch.testing.assert_close(new[..., 1:], (old[..., 1:] - torch.from_numpy(mean[1:])) / torch.from_numpy(std[1:]))
    torch.testing.assert_close(new[..., 0], old[..., 0])
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_train_resume_export_and_play(split: Split, tmp_path: Path) -> None:
    """Two steps, then the graphs: what plays equals what was trained (`export` raises otherwise)."""
    settings = TrainSettings(steps=2, batch=2, frames=6, accelerator="cpu")
    model = train(split, SMALL, settings, tmp_path / "a")
    again = train(split, SMALL, settings, tmp_path / "b")
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    assert (tmp_path / "a" / "last.ckpt").exists()
    bundle = tmp_path / "bundle"
    export.export(model, split, bundle, {})
    played = autoencoders.load(bundle)
    assert played.latent_size == 8
    audio = np.array(split.audio[1])
    torch_side = runs.reconstructor(model)(audio)
    onnx_latents = played.encode(audio[None])
    assert torch_side.shape == (SAMPLES,)
    assert onnx_latents.shape == (SAMPLES // 1024, 8)


def test_judge_ranks_a_copy_before_noise(split: Split) -> None:
    judge, audio = evaluate.Judge(), np.array(split.audio[1])
    exact, quieter = judge(audio, audio), judge(0.5 * audio, audio)
    assert exact.stft < 1e-4
    assert exact.mel_db < 1e-4
    assert 3.0 < quieter.mel_db < 6.1  # 6.02 dB where it is not below the floor
    assert exact.stft < quieter.stft


def test_pca_baseline_is_better_with_more_latents(split: Split) -> None:
    audio = np.array(split.audio[1])
    judge = evaluate.Judge()
    scores = [judge(evaluate.PcaGriffinLim(split, n)(audio), audio).mel_db for n in (2, 16)]
    assert scores[1] < scores[0]
