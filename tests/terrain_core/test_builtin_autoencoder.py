"""The shipped autoencoder: streaming, determinism, pitch, level, speed of import."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core import autoencoders
from terrain_core.autoencoders import features, onnx_autoencoder
from terrain_core.autoencoders.training.corpus import FAMILIES, make_clip
from terrain_core.errors import FileError, InputError

BUNDLE = Path(onnx_autoencoder.__file__).parent / "builtin"


@pytest.fixture(scope="module")
def builtin() -> autoencoders.OnnxAutoencoder:
    return autoencoders.load("builtin")


@pytest.fixture(scope="module")
def walk() -> np.ndarray:
    """A walk through latent space, wider than sounds go."""
    rng = np.random.default_rng(0)
    return np.cumsum(rng.normal(0, 0.2, (60, 8)), axis=0).astype(np.float32)


def string_tone(hz: float, seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * 44100)) / 44100
    tone = sum(np.sin(2 * np.pi * k * hz * t) / k for k in range(1, 12)) * 0.15
    return (tone * np.clip(t / 0.02, 0, 1))[None].astype(np.float32)


def test_card_says_what_the_design_asks(builtin: autoencoders.OnnxAutoencoder) -> None:
    assert isinstance(builtin, autoencoders.Autoencoder)
    assert (builtin.sample_rate, builtin.channels, builtin.hop) == (44100, 1, 1024)
    assert builtin.latent_size == 8
    np.testing.assert_allclose(builtin.latent_std[1:], 1.0, atol=1e-3)
    np.testing.assert_allclose(builtin.latent_mean[1:], 0.0, atol=1e-3)


def test_shipped_files_stay_under_12_mb() -> None:
    sizes = [path.stat().st_size for path in BUNDLE.iterdir()]
    assert len(sizes) == 4
    assert sum(sizes) <= 12_000_000


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=30), st.integers(0, 2**31))
def test_any_chunking_gives_the_same_bits(cuts: list[int], seed: int) -> None:
    builtin = autoencoders.load("builtin")
    rng = np.random.default_rng(seed)
    latents = rng.normal(0, 1, (sum(cuts) + 1, 8)).astype(np.float32)
    stream = builtin.stream(seed=seed)
    edges = np.cumsum([0, *cuts, 1])
    parts = [stream.decode(latents[a:b]) for a, b in itertools.pairwise(edges)]
    whole = builtin.decode(latents, seed=seed)
    assert whole.shape == (1, len(latents) * 1024)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_two_streams_do_not_disturb_each_other(builtin: autoencoders.OnnxAutoencoder, walk: np.ndarray) -> None:
    alone = builtin.decode(walk, seed=1)
    first, second = builtin.stream(seed=1), builtin.stream(seed=2)
    parts = []
    for frame in walk:
        parts.append(first.decode(frame[None]))
        second.decode(-frame[None])
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), alone)


def test_state_is_a_value(builtin: autoencoders.OnnxAutoencoder, walk: np.ndarray) -> None:
    stream, branch = builtin.stream(seed=4), builtin.stream(seed=4)
    stream.decode(walk[:20])
    branch.state = stream.state
    np.testing.assert_array_equal(branch.decode(walk[20:25]), stream.decode(walk[20:25]))
    stream.reset()
    np.testing.assert_array_equal(stream.decode(walk[:9]), builtin.decode(walk[:9], seed=4))


def test_noise_follows_seed_and_frame_number(builtin: autoencoders.OnnxAutoencoder) -> None:
    hiss = builtin.encode((0.1 * np.random.default_rng(0).normal(0, 1, (1, 20480))).astype(np.float32))
    a, b = builtin.decode(hiss, seed=1), builtin.decode(hiss, seed=2)
    assert 0.3 < a.std() / 0.1 < 3.0
    assert np.abs(np.corrcoef(a[0], b[0])[0, 1]) < 0.5
    later = builtin.stream(seed=1)
    later.reset(frame_index=7)
    assert not np.array_equal(later.decode(hiss), a)


def test_decoding_is_causal_with_no_delay(builtin: autoencoders.OnnxAutoencoder, walk: np.ndarray) -> None:
    changed = walk.copy()
    changed[30:] += 0.5
    difference = np.abs(builtin.decode(walk) - builtin.decode(changed))[0]
    assert builtin.stream().delay == 0
    np.testing.assert_array_equal(difference[: 30 * 1024], 0.0)
    assert difference[30 * 1024 : 31 * 1024].max() > 1e-4


@pytest.mark.parametrize("samples", [0, 1, 1023, 1024, 1025, 10240])
def test_frames_are_samples_over_hop_rounded_up(builtin: autoencoders.OnnxAutoencoder, samples: int) -> None:
    latents = builtin.encode(np.zeros((1, samples), np.float32))
    assert latents.shape == (-(-samples // 1024), 8)
    assert np.isfinite(latents).all()


def test_stream_encoder_gives_what_encode_gives(builtin: autoencoders.OnnxAutoencoder) -> None:
    audio = make_clip("test", 1).audio[None, :40000]
    whole = builtin.encode(audio)
    encoder = builtin.stream_encoder()
    parts = [encoder.encode(audio[:, i : i + 517]) for i in range(0, 40000, 517)]
    streamed = np.concatenate(parts)
    assert len(streamed) == (40000 - encoder.delay) // 1024
    np.testing.assert_allclose(streamed, whole[: len(streamed)], atol=1e-3)


@pytest.mark.parametrize("hz", [98.0, 220.0, 523.25, 1046.5])
def test_pitch_survives_the_round_trip(builtin: autoencoders.OnnxAutoencoder, hz: float) -> None:
    audio = string_tone(hz, 1.0)
    found = features.extract(builtin.decode(builtin.encode(audio))[0])[8:-4, features.PITCH_COLUMN]
    assert len(found) > 20
    cents = 1200 * np.abs(found - np.log2(hz / features.MIDDLE_C_HZ))
    assert np.median(cents) < 10.0


def test_latent_zero_is_octaves_of_pitch(builtin: autoencoders.OnnxAutoencoder) -> None:
    latents = builtin.encode(string_tone(220.0, 0.6))
    latents[:, 0] += 1.0 / 1.5  # an octave up
    found = features.extract(builtin.decode(latents)[0])[8:-4, features.PITCH_COLUMN]
    assert abs(np.median(found) - np.log2(440.0 / features.MIDDLE_C_HZ)) < 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_level_is_kept(builtin: autoencoders.OnnxAutoencoder, family: str) -> None:
    """The median over five held-out clips. A click's energy lies in its first millisecond, finer than the decoder's
    steps of 1.5 ms: clicks come out softer.
    """
    change_db = []
    for turn in range(5):
        audio = make_clip("test", list(FAMILIES).index(family) + turn * len(FAMILIES)).audio
        output = builtin.decode(builtin.encode(audio[None]))[0, : len(audio)]
        change_db.append(20 * np.log10(np.std(output) / np.std(audio)))
    assert abs(np.median(change_db)) < (9.0 if family == "clicks" else 3.0)


def test_no_click_at_frame_seams(builtin: autoencoders.OnnxAutoencoder) -> None:
    """Of a steady tone, the sample-to-sample step at frame seams is no larger than inside frames."""
    output = builtin.decode(builtin.encode(string_tone(196.0, 2.0)))[0]
    step = np.abs(np.diff(output, n=2))[10 * 1024 : 80 * 1024]
    seams = step.reshape(-1, 1024)[:, [-2, -1, 0]]
    assert np.percentile(seams, 95) < 1.3 * np.percentile(step, 95)
    assert seams.max() < 1.2 * step.max()


def test_silence_stays_silent(builtin: autoencoders.OnnxAutoencoder) -> None:
    output = builtin.decode(builtin.encode(np.zeros((1, 44100), np.float32)))
    assert np.abs(output).max() < 10 ** (-60 / 20)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_wild_latents_give_finite_audio(builtin: autoencoders.OnnxAutoencoder, walk: np.ndarray, value: float) -> None:
    wild = walk.copy()
    wild[5, 3] = value
    wild[9] = value
    stream = builtin.stream()
    assert np.isfinite(stream.decode(wild)).all()
    assert np.isfinite(stream.decode(walk)).all()


def test_wrong_shapes_are_refused(builtin: autoencoders.OnnxAutoencoder) -> None:
    with pytest.raises(InputError, match=r"shape \(frames, 8\), got \(3, 7\)"):
        builtin.decode(np.zeros((3, 7), np.float32))
    with pytest.raises(InputError, match=r"\(1, samples\), got \(2, 100\)"):
        builtin.encode(np.zeros((2, 100), np.float32))
    bad = np.zeros((1, 44100), np.float32)
    bad[0, 22050] = np.nan
    with pytest.raises(InputError, match=r"sample 22050 \(0\.500 s\)"):
        builtin.encode(bad)


def test_bundle_travels_as_bytes(builtin: autoencoders.OnnxAutoencoder, walk: np.ndarray, tmp_path: Path) -> None:
    data = builtin.to_bytes()
    (tmp_path / "copy.zip").write_bytes(data)
    copy = autoencoders.load(tmp_path / "copy.zip")
    assert copy.sha256 == builtin.sha256
    assert copy.to_bytes() == data
    np.testing.assert_array_equal(copy.decode(walk[:5]), builtin.decode(walk[:5]))


def bundle_files() -> dict[str, bytes]:
    return {name: (BUNDLE / name).read_bytes() for name in ("autoencoder.json", "decoder.onnx", "encoder.onnx")}


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("autoencoder.json", b"{", "not an autoencoder's card"),
        ("autoencoder.json", b"[1]", "not an autoencoder's card"),
        ("autoencoder.json", b'{"name": "x"}', "not an autoencoder's card"),
        ("decoder.onnx", b"", "not a graph that can be run"),
        ("decoder.onnx", b"\x80\x04pickle", "not a graph that can be run"),
    ],
)
def test_damaged_bundles_are_named(member: str, content: bytes, message: str) -> None:
    files = {**bundle_files(), member: content}
    with pytest.raises(FileError, match=message) as caught:
        autoencoders.OnnxAutoencoder(files, "song.ae").stream()
    assert f"song.ae, {member}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"RIFF....WAVE"])
def test_what_is_no_zip_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.ae").write_bytes(data)
    with pytest.raises(FileError, match="not an autoencoder bundle"):
        autoencoders.load(tmp_path / "x.ae")


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(InputError, match="builtin"):
        autoencoders.load("bulitin")


def test_decoding_never_imports_torch() -> None:
    program = (
        "import sys, numpy as np; from terrain_core import autoencoders as a;"
        "m = a.load('builtin'); m.decode(m.encode(np.zeros((1, 4096), np.float32)));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
