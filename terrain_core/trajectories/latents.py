"""One sound -> its latents, from a clean state."""

from __future__ import annotations

from os import PathLike

import numpy as np

from terrain_core.audio_files import read_audio
from terrain_core.autoencoders.protocol import Audio, Autoencoder, Latents
from terrain_core.errors import FileError, InputError


def latents_of_file(path: str | PathLike[str], autoencoder: Autoencoder) -> Latents:
    """An audio file -> latents (frames, D).

    Raises:
        FileError: it cannot be read, or not be encoded.
    """
    audio = read_audio(path, autoencoder.sample_rate, autoencoder.channels)
    try:
        return encode_audio(audio, autoencoder)
    except InputError as error:
        raise FileError(path, f"could not be encoded: {error}") from error


def encode_audio(audio: Audio, autoencoder: Autoencoder) -> Latents:
    """Audio (channels, samples) at the autoencoder's rate -> latents (ceil(samples / hop), D).

    Raises:
        InputError: the autoencoder gave something of another shape.
    """
    frames = -(-audio.shape[1] // autoencoder.hop)
    padding = frames * autoencoder.hop - audio.shape[1]
    latents = autoencoder.encode(np.pad(audio, ((0, 0), (0, padding))))
    if latents.shape[0] < frames or latents.shape[1:] != (autoencoder.latent_size,):
        raise InputError(
            f"autoencoder {autoencoder.name!r} gave latents of shape {latents.shape} for {frames} frames; "
            f"expected ({frames}, {autoencoder.latent_size})"
        )
    return latents[:frames]
