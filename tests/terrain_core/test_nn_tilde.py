"""TorchScript of the nn~ convention, played in a process of its own: genuine RAVE exports, and small models by hand."""

from __future__ import annotations

import itertools
import os
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from terrain_core import autoencoders
from terrain_core.autoencoders import nn_tilde
from terrain_core.autoencoders.nn_tilde import trust
from terrain_core.engine import Block, Engine
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.terrain import Terrain
from tests.rave_models import rave_model


@pytest.fixture(autouse=True)
def nothing_is_trusted(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(scope="module")
def rave() -> Iterator[nn_tilde.NnTildeAutoencoder]:
    """v2_small, causal, with noise; 4 latents of 16, the other 12 drawn."""
    model = nn_tilde.open_model(rave_model("v2_small_causal"), trust=True)
    yield model
    model.close()


def walk(frames: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (frames, size)).astype(np.float32)


# What it says about itself


def test_facts_of_a_genuine_rave(rave: nn_tilde.NnTildeAutoencoder) -> None:
    assert isinstance(rave, autoencoders.Autoencoder)
    assert (rave.sample_rate, rave.channels, rave.latent_size, rave.hop) == (44100, 1, 4, 512)
    assert rave.family == "RAVE v2, variational"
    assert rave.methods["encode"].out_ratio == 512
    assert rave.methods["decode"].in_channels == 4
    assert rave.methods["decode"].input_labels[0] == "(signal) Latent dimension 1"
    assert rave.attributes["learn_target"] == ("bool",)
    assert rave.streaming
    assert rave.notice() == ""


def test_stereo() -> None:
    model = nn_tilde.open_model(rave_model("stereo"), trust=True)
    audio = model.decode(walk(6, 4))
    assert audio.shape == (2, 6 * 512)
    assert np.abs(audio[0] - audio[1]).max() > 0.01


def test_an_export_without_streaming_is_recognised() -> None:
    model = nn_tilde.open_model(rave_model("v2_offline"), trust=True)
    assert not model.streaming
    assert "without --streaming" in model.notice()


def test_attributes_are_read_and_set(rave: nn_tilde.NnTildeAutoencoder) -> None:
    assert rave.get_attribute("reset_source") == (False,)
    rave.set_attribute("reset_source", True)
    assert rave.get_attribute("reset_source") == (True,)
    rave.set_attribute("reset_source", False)
    with pytest.raises(FileError, match=r"no attribute 'colour': it has learn_target, reset_target"):
        rave.get_attribute("colour")
    with pytest.raises(FileError, match=r"has 1 values .* not 2"):
        rave.set_attribute("reset_source", True, True)


@pytest.mark.parametrize(("name", "shift"), [("v2", 12512), ("v2_small_causal", 480)])
def test_delay_is_what_the_offline_decoder_of_the_same_weights_is_ahead_by(name: str, shift: int) -> None:
    """`shift` is what the layers' right halves add up to; energy is a little later, as what is causal reaches back."""
    streaming = nn_tilde.open_model(rave_model(name), trust=True)
    offline = nn_tilde.open_model(rave_model(f"{name}_offline"), trust=True)
    assert streaming.delay > offline.delay
    assert abs(streaming.delay - shift) < (100 if name == "v2" else 1200)


# Streams


@pytest.mark.parametrize("cuts", [[1] * 24, [2] * 12, [3] * 8, [5, 8, 11], [0, 24]])
def test_any_cutting_gives_the_same_bits(rave: nn_tilde.NnTildeAutoencoder, cuts: list[int]) -> None:
    latents = walk(24, 4)
    stream = rave.stream(seed=7)
    edges = np.cumsum([0, *cuts])
    parts = [stream.decode(latents[a:b]) for a, b in itertools.pairwise(edges)]
    whole = rave.decode(latents, seed=7)
    assert np.abs(whole).max() > 0.1
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_the_seed_decides_about_all_draws(rave: nn_tilde.NnTildeAutoencoder) -> None:
    latents = walk(8, 4)
    first = rave.decode(latents, seed=1)
    np.testing.assert_array_equal(rave.decode(latents, seed=1), first)
    assert np.abs(rave.decode(latents, seed=2) - first).max() > 0.01


def test_two_streams_share_weights_and_nothing_else(rave: nn_tilde.NnTildeAutoencoder) -> None:
    latents = walk(12, 4)
    alone = rave.decode(latents, seed=1)
    first, second = rave.stream(seed=1), rave.stream(seed=2)
    parts = []
    for frame in latents:
        parts.append(first.decode(frame[None]))
        second.decode(-frame[None])
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), alone)


def test_reset_forgets_the_past_and_numbers_the_next_frame(rave: nn_tilde.NnTildeAutoencoder) -> None:
    latents = walk(6, 4)
    stream = rave.stream(seed=3)
    fresh = stream.decode(latents)
    stream.decode(3 * latents)
    stream.reset()
    np.testing.assert_array_equal(stream.decode(latents), fresh)
    stream.reset(100)
    assert np.abs(stream.decode(latents) - fresh).max() > 0.01  # other frames, other draws


def test_what_is_not_finite_becomes_the_mean(rave: nn_tilde.NnTildeAutoencoder) -> None:
    latents = np.zeros((4, 4), np.float32)
    broken = latents.copy()
    broken[1, 2], broken[2, 0] = np.nan, np.inf
    np.testing.assert_array_equal(rave.decode(broken), rave.decode(latents))


def test_encode_is_deterministic_and_in_time(rave: nn_tilde.NnTildeAutoencoder) -> None:
    """A burst in frame 20 changes most the latents of about that frame, not those of `encoder_lag` frames later."""
    quiet = 0.05 * np.random.default_rng(0).normal(size=(1, 50 * 512)).astype(np.float32)
    loud = quiet.copy()
    loud[:, 20 * 512 : 21 * 512] *= 6
    before, after = rave.encode(quiet), rave.encode(loud)
    np.testing.assert_array_equal(before, rave.encode(quiet))
    assert before.shape == (50, 4)
    energy = ((after - before) ** 2).sum(axis=1)
    assert rave.encoder_lag > 2
    assert abs(np.average(np.arange(50), weights=energy) - 20) < 1.5


def test_wrong_shapes_are_refused(rave: nn_tilde.NnTildeAutoencoder) -> None:
    with pytest.raises(InputError, match=r"shape \(frames, 4\), got \(3, 5\)"):
        rave.decode(np.zeros((3, 5), np.float32))
    with pytest.raises(InputError, match=r"shape \(1, samples\)"):
        rave.encode(np.zeros((2, 5), np.float32))


def test_the_engine_plays_it(rave: nn_tilde.NnTildeAutoencoder) -> None:
    instrument = Instrument(rave, Terrain.create(2, 4, width=16, features=16))
    whole = Engine(instrument, 44100, seed=5).process(Block(6000))
    engine = Engine(instrument, 44100, seed=5)
    pieces = [engine.process(Block(n)) for n in (1, 700, 2299, 3000)]
    assert engine.latency == rave.delay
    assert np.abs(whole).max() > 0
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-7)


# Trust


def test_nothing_is_opened_without_a_yes() -> None:
    path = rave_model("v2_small_causal")
    with pytest.raises(InputError, match=r"runs the code in it.*trust=True"):
        nn_tilde.open_model(path)
    with pytest.raises(InputError, match=r"trust=True"):
        autoencoders.load(path)


def test_a_yes_is_for_the_bytes_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.ts"
    path.write_bytes(rave_model("brave").read_bytes())
    trust.remember(path)
    trust.remember(path)
    model = autoencoders.load(path)
    assert model.hop == 128
    path.write_bytes(rave_model("v2").read_bytes())
    with pytest.raises(InputError, match=r"trust=True"):
        autoencoders.load(path)


# Accidents


def test_a_killed_process_is_an_error_and_the_next_use_starts_another() -> None:
    model = nn_tilde.open_model(rave_model("brave"), trust=True)
    latents = walk(5, 4)
    stream = model.stream(seed=1)
    first = stream.decode(latents)
    assert model.process.pid is not None
    os.kill(model.process.pid, signal.SIGKILL)
    time.sleep(0.1)
    with pytest.raises(FileError, match=r"brave\.ts: the process it ran in was ended by SIGKILL; the next use"):
        stream.decode(latents)
    stream.reset()
    np.testing.assert_array_equal(stream.decode(latents), first)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_a_fork_each_side_has_its_own_process() -> None:
    """The plugin's engines are forks that share an instrument."""
    model = nn_tilde.open_model(rave_model("brave"), trust=True)
    latents = walk(5, 4)
    stream = model.stream(seed=1)
    whole = model.stream(seed=1).decode(np.concatenate([latents, latents]))
    first = stream.decode(latents)
    pid = model.process.pid
    child = os.fork()
    if child == 0:
        ok = False
        try:
            own = model.stream(seed=1).decode(latents)
            ok = np.array_equal(own, first) and model.process.pid != pid
            model.close()
        finally:
            os._exit(0 if ok else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert model.process.pid == pid
    np.testing.assert_array_equal(np.concatenate([first, stream.decode(latents)], axis=1), whole)


class Crashing(torch.nn.Module):
    """Fails at a latent above 100, and hangs at one above 1000."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("decode_params", torch.tensor([2, 256, 1, 1]))
        self.sr = 16000

    @torch.jit.export
    def get_methods(self) -> list[str]:
        return ["decode"]

    @torch.jit.export
    def decode(self, z: torch.Tensor) -> torch.Tensor:
        while bool((z > 1000).any()):
            z = z + 1
        if bool((z > 100).any()):
            raise RuntimeError("the model is out of sorts")
        return z.sum(1, keepdim=True).repeat_interleave(256, 2)


class Unrated(torch.nn.Module):
    """Of the old kind: no get_methods, no sample rate, an attribute, and blocks of four frames at the least."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("decode_params", torch.tensor([2, 64, 1, 1]))
        self.register_buffer("gain_params", torch.tensor([2]))
        self.register_buffer("total", torch.zeros(1))
        self.gain = 1.0

    @torch.jit.export
    def get_attributes(self) -> list[str]:
        return ["none", "gain"]

    @torch.jit.export
    def get_gain(self) -> float:
        return self.gain

    @torch.jit.export
    def set_gain(self, gain: float) -> int:
        if gain < 0:
            return 1
        self.gain = gain
        return 0

    @torch.jit.export
    def decode(self, z: torch.Tensor) -> torch.Tensor:
        if z.shape[2] % 4 != 0:
            raise RuntimeError("needs four frames at once")
        self.total += z.sum()
        return (self.gain * z[:, :1] + self.total).repeat_interleave(64, 2)


def scripted(module: torch.nn.Module, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that scripting is on its way out; what people have was made by it
        torch.jit.script(module).save(str(path))
    return path


def test_a_failing_decode_is_an_error_and_the_process_goes_on(tmp_path: Path) -> None:
    model = nn_tilde.open_model(scripted(Crashing(), tmp_path / "c.ts"), trust=True)
    assert (model.sample_rate, model.family) == (16000, "unknown")
    pid = model.process.pid
    with pytest.raises(FileError, match=r"c\.ts: failed \(.*out of sorts"):
        model.decode(np.full((1, 2), 200, np.float32))
    np.testing.assert_array_equal(model.decode(np.full((1, 2), 0.25, np.float32)), np.full((1, 256), 0.5))
    assert model.process.pid == pid


def test_a_decode_that_hangs_is_ended(tmp_path: Path) -> None:
    model = nn_tilde.open_model(scripted(Crashing(), tmp_path / "c.ts"), trust=True)
    request = {"do": "decode", "stream": 99, "fresh": True, "seed": 0, "first": 0}
    with pytest.raises(FileError, match=r"did not answer within 2 s and was ended"):
        model.process.ask(request, [np.full((1, 2), 2000, np.float32)], seconds=2)
    assert model.process.pid is None
    assert model.decode(np.zeros((1, 2), np.float32)).shape == (1, 256)


def test_a_model_of_the_old_kind(tmp_path: Path) -> None:
    path = scripted(Unrated(), tmp_path / "old.ts")
    with pytest.raises(FileError, match=r"does not say its sample rate; name it: --sample-rate"):
        nn_tilde.open_model(path, trust=True)
    model = nn_tilde.open_model(path, trust=True, sample_rate=48000)
    assert list(model.methods) == ["decode"]
    assert model.attributes == {"gain": ("float",)}
    assert (model.sample_rate, model.hop) == (48000, 256)  # four frames of 64 samples at once
    audio = model.decode(np.array([[1, 0], [0, 2]], np.float32))
    np.testing.assert_array_equal(audio[0, [0, 255, 256, 511]], [5, 5, 12, 12])  # from a clean state: its total is 0
    with pytest.raises(FileError, match=r"does not take \[-1\.0\]"):
        model.set_attribute("gain", -1.0)
    model.set_attribute("gain", 3.0)
    np.testing.assert_array_equal(model.decode(np.array([[1, 0]], np.float32))[0, :1], [7])
    with pytest.raises(InputError, match=r"cannot encode"):
        model.encode(np.zeros((1, 64), np.float32))


def test_a_stated_sample_rate_cannot_be_overruled() -> None:
    with pytest.raises(FileError, match=r"its sample rate is 44100 Hz, not 48000"):
        nn_tilde.open_model(rave_model("brave"), trust=True, sample_rate=48000)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.ts"
    damaged.write_bytes(rave_model("brave").read_bytes()[:100_000])
    with pytest.raises(FileError, match=r"is not a TorchScript that can be loaded"):
        nn_tilde.open_model(damaged, trust=True)
    with pytest.raises(FileError, match=r"is not there"):
        nn_tilde.open_model(tmp_path / "nothing.ts", trust=True)
    other = scripted(torch.nn.Linear(2, 2), tmp_path / "linear.ts")
    with pytest.raises(FileError, match=r"no method decode"):
        nn_tilde.open_model(other, trust=True, sample_rate=44100)
