"""Audio files -> latent trajectories. Every file from a clean state, none shifted by its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from terrain_core.audio_files import read_audio
from terrain_core.autoencoders.protocol import Audio, Autoencoder, Latents
from terrain_core.errors import FileError, InputError
from terrain_core.trajectories.kinds import LatentTrajectory


@dataclass(frozen=True)
class EncodedFiles:
    """What came of a corpus."""

    trajectories: tuple[LatentTrajectory, ...]
    """In the order of the files."""
    problems: tuple[FileError, ...]
    """One for each file that could not be used."""


def encode_file(path: str | PathLike[str], autoencoder: Autoencoder) -> LatentTrajectory:
    """A sound file as a latent trajectory.

    The file is resampled to the autoencoder's rate, brought to its channels by the rule of `audio_files`, padded with
    silence to whole frames, and encoded from a clean state.

    Returns:
        frames = ceil(samples / hop), samples counted at the autoencoder's rate.
    Raises:
        FileError: as `audio_files.read_audio`.
    """
    audio = read_audio(path, autoencoder.sample_rate, autoencoder.channels)
    try:
        latents = encode_audio(audio, autoencoder)
    except InputError as error:
        raise FileError(path, f"could not be encoded: {error}") from error
    return LatentTrajectory(Path(path).stem, latents, autoencoder.sample_rate / autoencoder.hop)


def encode_audio(audio: Audio, autoencoder: Autoencoder) -> Latents:
    """Audio (channels, samples) at the autoencoder's rate -> latents (ceil(samples / hop), D)."""
    frames = -(-audio.shape[1] // autoencoder.hop)
    padding = frames * autoencoder.hop - audio.shape[1]
    latents = autoencoder.encode(np.pad(audio, ((0, 0), (0, padding))))
    if latents.shape[0] < frames or latents.shape[1:] != (autoencoder.latent_size,):
        raise InputError(
            f"autoencoder {autoencoder.name!r} gave latents of shape {latents.shape} for {frames} frames; "
            f"expected ({frames}, {autoencoder.latent_size})"
        )
    return latents[:frames]


def encode_files(
    paths: Iterable[str | PathLike[str]],
    autoencoder: Autoencoder,
    progress: Callable[[int, int, Path], None] | None = None,
) -> EncodedFiles:
    """Encode a corpus; files that cannot be used are listed, the others go on.

    Args:
        paths: audio files.
        autoencoder: for all of them.
        progress: called with (files done, files in all, the file just done), the bad ones counted too.
    """
    files = [Path(path) for path in paths]
    trajectories: list[LatentTrajectory] = []
    problems: list[FileError] = []
    for done, path in enumerate(files, start=1):
        try:
            trajectories.append(encode_file(path, autoencoder))
        except FileError as error:
            problems.append(error)
        if progress is not None:
            progress(done, len(files), path)
    return EncodedFiles(tuple(trajectories), tuple(problems))
