"""RAVE as ONNX: each kind of genuine export converted, checked against its TorchScript, played, refused where wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from terrain_core import autoencoders
from terrain_core.autoencoders import nn_tilde, noise
from terrain_core.autoencoders.nn_tilde import bundle, convert_torch, rave_torch
from terrain_core.autoencoders.nn_tilde.messages import RefusedError
from terrain_core.autoencoders.nn_tilde.worker_torch import Model
from terrain_core.autoencoders.onnx_autoencoder import CARD, ENCODER
from terrain_core.engine import Block, Engine
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.terrain import Terrain
from tests.rave_models import rave_model

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

KINDS = {
    # name: family, latents, ratio, channels, normal and uniform draws of a frame
    "v2_small_causal": ("RAVE v2, variational", 4, 512, 1, 12, 512),
    "v2": ("RAVE v2, variational", 4, 2048, 1, 12, 0),
    "v1": ("RAVE v1, variational", 4, 2048, 1, 12, 2048),
    "v2_noise": ("RAVE v2, variational", 4, 2048, 1, 12, 2048),
    "stereo": ("RAVE v2, variational", 4, 512, 2, 12, 1024),
    "v3": ("RAVE v3, variational", 4, 2048, 1, 12, 0),
    "discrete": ("RAVE v2, discrete", 3, 1024, 1, 5, 0),
    "wasserstein": ("RAVE v2, Wasserstein", 16, 2048, 1, 6, 0),
    "spherical": ("RAVE v2, spherical", 15, 2048, 1, 0, 0),
    "brave": ("RAVE v2, variational", 4, 128, 1, 12, 0),
    "resampled": ("RAVE v2, variational", 4, 1024, 1, 12, 512),
}


@cache
def converted(name: str) -> nn_tilde.Conversion:
    model = nn_tilde.open_model(rave_model(name), trust=True)
    done = nn_tilde.convert(model)
    model.close()
    return done


@pytest.fixture(scope="module")
def small() -> autoencoders.OnnxAutoencoder:
    return converted("v2_small_causal").bundle


def walk(frames: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (frames, size)).astype(np.float32)


# Each kind


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_converted_and_equals_its_original(name: str) -> None:
    done = converted(name)
    family, size, hop, channels, normals, uniforms = KINDS[name]
    card = done.bundle.card
    assert (done.family, card.latent_size, card.hop, card.channels) == (family, size, hop, channels)
    assert card.normals_per_frame == normals
    assert card.noise_per_frame == ((normals + uniforms,) if normals + uniforms else ())
    assert done.checked_frames == 32
    assert 0 < done.error <= done.limit
    if name == "v2_noise":  # so loud a noise that the original is itself further off than that from exact arithmetic
        assert done.limit < 4e-6
    else:
        assert done.limit == 1e-6
    assert done.encoder_error is not None
    assert done.encoder_error <= 1e-5
    assert done.no_encoder == ""


@pytest.mark.parametrize("name", ["v2_small_causal", "v1", "v2_noise", "stereo", "discrete", "spherical", "resampled"])
def test_the_original_itself_agrees_frame_by_frame(name: str) -> None:
    """Not by what the conversion says of itself: the loaded file's own decode beside the bundle's graph, with the draws
    that torch makes.
    """
    built = converted(name).bundle
    card = built.card
    module = torch.jit.load(str(rave_model(name))).eval()
    for buffer_name, buffer in module.named_buffers():
        if buffer_name.endswith((".pad", ".cache")):
            buffer.zero_()
    session = built.session("decoder.onnx", 1)
    state = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name.startswith("cache")}
    loudest = 0.0
    with torch.no_grad():
        for k, frame in enumerate(built.latent_mean + built.latent_std * walk(20, card.latent_size, 4)):
            torch.manual_seed(100 + k)
            expected = module.decode(torch.from_numpy(frame)[None, :, None])[0].numpy()
            torch.manual_seed(100 + k)
            feed = {"latents": frame[None], **state}
            if card.noise_per_frame:
                normal = torch.randn(card.normals_per_frame)
                drawn = [normal, torch.rand(card.noise_per_frame[0] - card.normals_per_frame)]
                feed["noise"] = torch.cat(drawn)[None].numpy()
            audio, *after = session.run(None, feed)
            state = dict(zip(state, after, strict=True))
            np.testing.assert_allclose(audio, expected, atol=2e-6)
            loudest = max(loudest, float(np.abs(expected).max()))
    assert loudest > 0.1  # of silence, all would agree


@pytest.mark.parametrize("name", ["v2_noise", "v1", "v2_small_causal", "stereo"])
def test_the_noise_branch_can_be_heard(name: str) -> None:
    """Else the comparisons above would say nothing about it."""
    built = converted(name).bundle
    session, card = built.session("decoder.onnx", 1), built.card
    feed = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs() if i.name.startswith("cache")}
    feed |= {"latents": walk(16, card.latent_size), "noise": np.zeros((16, *card.noise_per_frame), np.float32)}
    sounds = []
    for seed in (1, 2):
        uniform = feed["noise"][:, card.normals_per_frame :]
        uniform[:] = np.random.default_rng(seed).random(uniform.shape)
        sounds.append(session.run(["audio"], feed)[0])
    assert np.abs(sounds[0] - sounds[1]).max() > 1e-3


@pytest.mark.parametrize("name", ["v2_small_causal", "v2", "stereo", "discrete", "spherical"])
def test_encoders_agree_with_the_torchscript(name: str) -> None:
    """From whole sounds, through the streams, the lag made up for."""
    built = converted(name).bundle
    model = nn_tilde.open_model(rave_model(name), trust=True)
    sound = (0.3 * np.random.default_rng(2).normal(size=(built.channels, 20_000))).astype(np.float32)
    ours, theirs = built.encode(sound), model.encode(sound)
    assert ours.shape == theirs.shape == (-(-20_000 // built.hop), built.latent_size)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert np.ptp(theirs) > 0.01


def test_codes_of_a_discrete_model_are_whole_numbers() -> None:
    codes = converted("discrete").bundle.encode(np.ones((1, 30_000), np.float32))
    np.testing.assert_array_equal(codes, np.round(codes))
    assert codes.min() >= 0
    assert codes.max() <= 63


# Streams


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 8, 64])
def test_any_cutting_gives_the_same_bits(small: autoencoders.OnnxAutoencoder, frames: int) -> None:
    latents = walk(64, 4)
    stream = small.stream(seed=7)
    parts = [stream.decode(latents[a : a + frames]) for a in range(0, 64, frames)]
    whole = small.stream(seed=7).decode(latents)
    assert np.abs(whole).max() > 0.1
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("name", ["v2_small_causal", "v1", "stereo", "brave", "discrete"])
def test_where_nobody_waits_many_frames_go_at_once_and_sound_the_same(name: str) -> None:
    built = converted(name).bundle
    live, offline = built.stream(seed=7), built.stream(seed=7, threads=0)
    assert (live.frames_per_call, offline.frames_per_call) == (1, 16)
    latents = built.latent_mean + built.latent_std * walk(70, built.latent_size)
    expected = live.decode(latents)
    assert np.abs(expected).max() > 0.1
    for edges in ([0, 70], [0, 1, 3, 20, 70], [0, 16, 32, 70], [0, 7, 69, 70]):
        offline.reset()
        played = np.concatenate([offline.decode(latents[a:b]) for a, b in itertools.pairwise(edges)], axis=1)
        np.testing.assert_allclose(played, expected, rtol=0, atol=1e-6)


def test_a_bundle_that_sounds_otherwise_in_batches_is_decoded_frame_by_frame() -> None:
    done = converted("v2_small_causal")
    plain = autoencoders.OnnxAutoencoder(
        {**done.bundle.files, CARD: dataclasses.replace(done.bundle.card, frames_per_batch=0).to_bytes()}
    )
    assert bundle.with_batches(plain, 1e-6).card.frames_per_batch == 16
    assert bundle.with_batches(plain, 1e-9).card.frames_per_batch == 0
    assert plain.stream(threads=0).frames_per_call == 1


def test_the_seed_draws_the_missing_latents(small: autoencoders.OnnxAutoencoder) -> None:
    """Twelve of sixteen are drawn: another seed is another sound."""
    latents = walk(8, 4)
    first = small.decode(latents, seed=1)
    np.testing.assert_array_equal(small.decode(latents, seed=1), first)
    assert np.abs(small.decode(latents, seed=2) - first).max() > 0.01


def test_live_encoder_gives_what_the_whole_sound_gives(small: autoencoders.OnnxAutoencoder) -> None:
    sound = (0.3 * np.random.default_rng(2).normal(size=(1, 40 * 512))).astype(np.float32)
    stream = small.stream_encoder()
    edges = [0, 100, 511, 512, 3000, 9000, 9001, 40 * 512]
    parts = [stream.encode(sound[:, a:b]) for a, b in itertools.pairwise(edges)]
    known = np.concatenate(parts)
    assert len(known) == 40 - stream.delay // 512
    np.testing.assert_allclose(known, small.encode(sound)[: len(known)], atol=1e-5)


def test_an_instrument_carries_it_and_the_engine_plays_it(
    small: autoencoders.OnnxAutoencoder, tmp_path: Path, root: Path
) -> None:
    """In a process that never imports torch."""
    path = tmp_path / "rave.terrain"
    Instrument(small, Terrain.create(2, 4, width=16, features=16)).save(path, embed_autoencoder=True)
    engine = Engine(Instrument.load(path), 48000, seed=1)
    audio = engine.process(Block(9600))
    assert np.abs(audio).max() > 0.05
    assert engine.latency >= small.card.delay
    program = (
        "import sys\nfrom terrain_core.engine import Block, Engine\nfrom terrain_core.instrument import Instrument\n"
        "audio = Engine(Instrument.load(sys.argv[1]), 48000, seed=1).process(Block(9600))\n"
        "print(float(abs(audio).max()), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=root, capture_output=True, text=True, check=True
    )
    loudest, torch_there = done.stdout.split()
    assert float(loudest) == float(np.abs(audio).max())
    assert torch_there == "False"


# Files


@pytest.mark.parametrize("place", ["rave.zip", "rave", "rave.onnx"])
def test_bundles_are_written_and_read(small: autoencoders.OnnxAutoencoder, tmp_path: Path, place: str) -> None:
    path = bundle.save(small, tmp_path / place)
    again = autoencoders.load(path)
    assert isinstance(again, autoencoders.OnnxAutoencoder)
    assert again.sha256 == small.sha256
    assert again.card == small.card
    assert again.card.notes["source_sha256"]
    bundle.save(small, path)  # over itself


def test_nothing_else_is_overwritten(small: autoencoders.OnnxAutoencoder, tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "song.wav").write_bytes(b"")
    with pytest.raises(FileError, match=r"is there already, and is no autoencoder's bundle"):
        bundle.save(small, tmp_path / "music")
    with pytest.raises(FileError, match=r"ends in \.pt; name a folder, or a file that ends in \.zip or \.onnx"):
        bundle.save(small, tmp_path / "rave.pt")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"normals_per_frame": 2000}, "impossible numbers of draws"),
        ({"encoder_delay": 100}, "impossible encoder_delay"),
        ({"noise_per_frame": [2**20, 2**20]}, "impossible numbers of draws"),
        ({"frames_per_batch": -1}, "impossible sizes"),
    ],
)
def test_cards_that_cannot_be(small: autoencoders.OnnxAutoencoder, change: dict[str, object], problem: str) -> None:
    card = json.loads(small.files[CARD]) | change
    with pytest.raises(FileError, match=problem):
        autoencoders.OnnxAutoencoder({**small.files, CARD: json.dumps(card).encode()})


def test_an_encoder_of_unknown_features_is_refused(small: autoencoders.OnnxAutoencoder) -> None:
    card = json.loads(small.files[CARD]) | {"features": "smells"}
    strange = autoencoders.OnnxAutoencoder({**small.files, CARD: json.dumps(card).encode()})
    with pytest.raises(InputError, match=r"wants 'smells': expected harmonic-442 or audio"):
        strange.encode(np.zeros((1, 512), np.float32))


# Refusals


def test_an_export_without_streaming_is_refused() -> None:
    model = nn_tilde.open_model(rave_model("v2_offline"), trust=True)
    with pytest.raises(FileError, match=r"without --streaming\); it can be played as TorchScript"):
        nn_tilde.convert(model)
    assert model.decode(walk(2, 4)).shape == (1, 4096)


def test_an_unknown_module_is_named_and_the_model_plays_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(str(rave_model("brave")), None)
    monkeypatch.delitem(rave_torch.KNOWN, "Residual")
    with pytest.raises(RefusedError, match=r"cannot be converted: it has a module 'Residual'"), torch.no_grad():
        convert_torch.convert(model)
    with torch.no_grad():
        assert model.decode(torch.zeros(2, 4), 0, 0).shape == (1, 256)


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        ("LeakyReLU", lambda found: rave_torch.Pointwise(lambda x: torch.nn.functional.leaky_relu(x, 0.2001))),
        ("CachedConvTranspose1d", lambda found: Forgetful(found)),
    ],
)
def test_a_graph_that_differs_is_refused_with_the_difference(
    module: str, wrong: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(str(rave_model("brave")), None)
    monkeypatch.setitem(rave_torch.KNOWN, module, wrong)
    with pytest.raises(RefusedError, match=r"differs from the original by \d\.\de-\d\d of full scale"), torch.no_grad():
        convert_torch.convert(model)


class Forgetful(rave_torch.TransposedConvolution):
    """Loses the overlap of the pass before."""

    def play(self, x: torch.Tensor, tape: rave_torch.Tape) -> torch.Tensor:
        place = len(tape.after)
        tape.before[place] = tape.before[place] * 0
        return super().play(x, tape)


def test_a_bundle_without_an_encoder(small: autoencoders.OnnxAutoencoder) -> None:
    card = json.loads(small.files[CARD]) | {"features": "", "encoder_delay": 0}
    files = {name: data for name, data in small.files.items() if name != ENCODER}
    mute = autoencoders.OnnxAutoencoder({**files, CARD: json.dumps(card).encode()})
    with pytest.raises(InputError, match=r"cannot encode: its bundle has no encoder\.onnx"):
        mute.encode(np.zeros((1, 512), np.float32))


# Draws


def test_normal_draws_are_normal_and_belong_to_their_frame() -> None:
    drawn = noise.mixed(3, -5, 4000, 7, 10)
    normal, uniform = drawn[:, :7], drawn[:, 7:]
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert 0.035 < np.mean(np.abs(normal) > 2) < 0.055
    assert np.abs(np.corrcoef(normal.T) - np.eye(7)).max() < 0.06
    assert uniform.min() >= 0
    assert uniform.max() < 1
    np.testing.assert_array_equal(noise.mixed(3, 100, 5, 7, 10), drawn[105:110])


def test_without_normal_draws_nothing_changed() -> None:
    np.testing.assert_array_equal(noise.mixed(3, 7, 5, 0, 11), noise.uniform(3, 7, 5, 11))
