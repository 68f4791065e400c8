"""Audio files of any format that libsndfile knows, as arrays `(channels, samples)` float32.

Channels by rule, not by accident:

    the file has         wanted      what is done
    as many as wanted    any         as it is
    several              1           the mean of all channels
    1                    several     the same in each channel
    anything else                    refused: how to mix it down is the musician's decision
"""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from terrain_core.errors import FileError

Audio = NDArray[np.float32]

BLOCK = 1 << 18
"""Samples per channel read at once: what a header claims is not believed until it has been read."""

MAX_VALUES = 1 << 30
"""Samples times channels: an hour of 44.1 kHz stereo is a third of it; 4 GiB of memory."""


def read_audio(path: str | PathLike[str], sample_rate: int | None = None, channels: int | None = None) -> Audio:
    """Read a whole file, resampled and brought to a number of channels.

    Args:
        path: WAV, AIFF, FLAC, Ogg, MP3, …
        sample_rate: Hz, resampled with soxr's very high quality; None: the file's own.
        channels: by the rule above; None: the file's own.
    Returns:
        shape (channels, samples) with samples = round(samples in the file · sample_rate / its own rate), at least 1.
    Raises:
        FileError: missing, not audio, empty, damaged, too long, with NaN or infinity, or with channels that do not fit.
    """
    audio, own_rate = read_sound(path)
    audio = to_channels(path, audio, channels or len(audio))
    return resample(audio, own_rate, sample_rate or own_rate)


def read_sound(path: str | PathLike[str]) -> tuple[Audio, int]:
    """A file as it is: audio (channels, samples) and its sample rate in Hz. Errors as `read_audio`."""
    try:
        with soundfile.SoundFile(fspath(path)) as file:
            rate = int(file.samplerate)
            blocks = _read_blocks(path, file)
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless .raw, whose format one has to know
        raise FileError(path, _problem(path, error), hint="expected WAV, AIFF, FLAC, Ogg, MP3 or the like") from error
    audio = np.concatenate(blocks).T if blocks else np.zeros((1, 0), np.float32)
    if not audio.shape[1]:
        raise FileError(path, "holds no samples")
    bad = np.flatnonzero(~np.isfinite(audio).all(axis=0))
    if len(bad):
        raise FileError(path, "NaN or infinity where a sample was expected", position=f"sample {bad[0]}")
    return np.ascontiguousarray(audio), rate


def _read_blocks(path: str | PathLike[str], file: soundfile.SoundFile) -> list[Audio]:
    blocks: list[Audio] = []
    left = MAX_VALUES // file.channels
    while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
        blocks.append(block)
        left -= len(block)
        if left < 0:
            raise FileError(path, f"is longer than {MAX_VALUES // file.channels:,} samples", hint="cut it into parts")
    return blocks


def _problem(path: str | PathLike[str], error: Exception) -> str:
    file = Path(path)
    if not file.exists():
        return "there is no such file"
    if file.is_dir():
        return "is a folder, expected an audio file"
    if file.stat().st_size == 0:
        return "is empty (0 bytes)"
    reason = getattr(error, "error_string", str(error))
    return f"is not an audio file that libsndfile can read ({reason.strip().rstrip('.')})"


def to_channels(path: str | PathLike[str], audio: Audio, channels: int) -> Audio:
    """Audio with that number of channels, by the rule above; `path` is named if it is refused."""
    own = len(audio)
    if own == channels:
        return audio
    if channels == 1:
        return np.asarray(audio.mean(axis=0, keepdims=True), np.float32)
    if own == 1:
        return np.repeat(audio, channels, axis=0)
    raise FileError(path, f"has {own} channels, expected 1 or {channels}", hint=f"mix it down to 1 or {channels} first")


def resample(audio: Audio, from_rate: int, to_rate: int) -> Audio:
    """Audio (channels, samples) at another rate, not delayed; round(samples · to / from) samples, at least 1."""
    if from_rate == to_rate:
        return audio
    wanted = max(1, round(audio.shape[1] * to_rate / from_rate))
    resampled = soxr.resample(audio.T, from_rate, to_rate, quality="VHQ").T[:, :wanted]
    result: Audio = np.zeros((len(audio), wanted), np.float32)
    result[:, : resampled.shape[1]] = resampled
    return result
