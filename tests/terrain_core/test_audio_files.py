"""Reading sound files: formats, channels by rule, resampling, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core import audio_files
from terrain_core.audio_files import read_audio, read_sound, resample, to_channels
from terrain_core.errors import FileError


def sine(frequency: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("ending", "tolerance_db"),
    [("wav", -90), ("flac", -90), ("aiff", -90), ("w64", -90), ("ogg", -30), ("mp3", -30)],
)
def test_formats(ending: str, tolerance_db: float, tmp_path: Path) -> None:
    audio = np.stack([sine(440, 44100), sine(660, 44100)])
    soundfile.write(tmp_path / f"a.{ending}", audio.T, 44100)
    read, rate = read_sound(tmp_path / f"a.{ending}")
    assert rate == 44100
    assert read.dtype == np.float32
    assert read.shape == audio.shape
    middle = slice(4000, -4000)
    error_db = 20 * np.log10(np.abs(read - audio)[:, middle].max())
    assert error_db < tolerance_db, "16 bit is -96 dB of full scale; the lossy ones are near -50 dB here"


def test_channel_rule(rng: np.random.Generator) -> None:
    stereo = rng.normal(size=(2, 50)).astype(np.float32)
    assert to_channels("a", stereo, 2) is stereo
    np.testing.assert_allclose(to_channels("a", stereo, 1), [(stereo[0] + stereo[1]) / 2], rtol=1e-6)
    np.testing.assert_array_equal(to_channels("a", stereo[:1], 2), stereo[[0, 0]])
    np.testing.assert_allclose(to_channels("a", np.eye(4, dtype=np.float32), 1), [[0.25] * 4])
    with pytest.raises(FileError, match=r"quad\.wav: has 4 channels, expected 1 or 2; mix it down"):
        to_channels("quad.wav", np.eye(4, dtype=np.float32), 2)


@pytest.mark.parametrize(("own", "wanted"), [(48000, 44100), (22050, 44100), (44100, 8000), (96000, 44100)])
def test_resampling_keeps_pitch_level_and_place(own: int, wanted: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(1000, own), own, subtype="FLOAT")
    read = read_audio(tmp_path / "a.wav", wanted, 1)
    assert read.shape == (1, wanted)
    inner = slice(wanted // 10, -wanted // 10)
    np.testing.assert_allclose(read[0, inner], sine(1000, wanted)[inner], atol=1e-5)


def test_lengths_after_resampling() -> None:
    for samples in (1, 2, 441, 442, 1000):
        wanted = max(1, round(samples * 8000 / 44100))
        assert resample(np.zeros((2, samples), np.float32), 44100, 8000).shape == (2, wanted)


def test_long_files_come_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    audio = rng.integers(-(2**15), 2**15, (1000, 2)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", audio, 8000)
    monkeypatch.setattr(audio_files, "BLOCK", 64)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav"), audio.T / np.float32(32768))
    monkeypatch.setattr(audio_files, "MAX_VALUES", 1000)
    with pytest.raises(FileError, match="longer than 500 samples"):
        read_audio(tmp_path / "a.wav")


def test_what_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("To be, or not to be")
    (tmp_path / "headerless.raw").write_bytes(bytes(1000))
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 1)), 8000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, 0.1, np.nan]), 8000, subtype="FLOAT")
    problems = {
        "absent.wav": "there is no such file",
        "empty.wav": r"is empty \(0 bytes\)",
        "text.wav": "is not an audio file that libsndfile can read",
        "headerless.raw": "is not an audio file",
        "none.wav": "holds no samples",
        "nan.wav": "nan.wav, sample 2: NaN or infinity",
    }
    for name, words in problems.items():
        with pytest.raises(FileError, match=words):
            read_audio(tmp_path / name)
    with pytest.raises(FileError, match="is a folder"):
        read_audio(tmp_path)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_truncated_anywhere_is_shorter_or_refused(ending: str, tmp_path: Path, rng: np.random.Generator) -> None:
    whole = tmp_path / f"a.{ending}"
    soundfile.write(whole, sine(440, 44100, 0.3), 44100)
    data = whole.read_bytes()
    for cut in rng.integers(1, len(data), 12):
        (tmp_path / f"cut.{ending}").write_bytes(data[:cut])
        try:
            read = read_audio(tmp_path / f"cut.{ending}")
        except FileError:
            continue
        assert 1 <= read.shape[1] <= 44100
        assert np.isfinite(read).all()


def test_a_header_is_not_believed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sine(440, 8000, 0.1), 8000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    position = data.index(b"data") + 4
    data[position : position + 4] = (0x7FFFFF00).to_bytes(4, "little")
    (tmp_path / "claims.wav").write_bytes(data)
    assert read_audio(tmp_path / "claims.wav").shape == (1, 800)
