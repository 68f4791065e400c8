"""Any file through the autoencoder and back: how it sounds, where it is on the map, and how much was lost."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from terrain_core.audio_files import read_audio
from terrain_core.autoencoders.features import mel_edges, triangles
from terrain_core.autoencoders.protocol import Audio, Autoencoder
from terrain_core.errors import InputError
from terrain_core.explorer.collection import Collection, Sound, encode_sound, file_sha256
from terrain_core.explorer.descriptors import WINDOW, decoded, power_spectra
from terrain_core.explorer.projection import Points, Projection
from terrain_core.explorer.variations import alike

BANDS = 64
FLOOR_DB = -80.0
"""Below the original's loudest band by this much, all is silence."""


@dataclass(frozen=True)
class Errors:
    """What a reconstruction lost.

    Attributes:
        spectral_db: root mean square difference of the levels of 64 mel bands, over frames in which the original sounds
            (0: the same; 3 to 6: close; what is the same but for its phase has 0).
        level_db: how much louder the reconstruction is.
        signal_to_error_db: power of the original over power of the difference, sample by sample; low or negative
            wherever phases are not kept, however alike it sounds.
    """

    spectral_db: float
    level_db: float
    signal_to_error_db: float


@dataclass(frozen=True)
class Reconstruction:
    """A file, taken apart and put together.

    Attributes:
        original, rebuilt: (channels, samples), equally long, at the autoencoder's rate.
        sound: its latents.
        errors: what was lost.
        place: (2,) in 0..1, where it belongs on the map; None without a map.
        nearest: names of the collection's sounds most like it, and distances in standard deviations.
        same: the collection's sound that was made from this very file (by its bytes); empty if there is none.
    """

    original: Audio
    rebuilt: Audio
    sound: Sound
    errors: Errors
    place: Points | None = None
    nearest: tuple[tuple[str, float], ...] = ()
    same: str = ""


def reconstruct(
    path: str | PathLike[str],
    autoencoder: Autoencoder,
    collection: Collection | None = None,
    projection: Projection | None = None,
    *,
    seed: int = 0,
    count: int = 5,
) -> Reconstruction:
    """A sound file and what the autoencoder makes of it; and with a collection, which of its sounds it is.

    Raises:
        FileError: not a sound file.
    """
    sound = encode_sound(path, autoencoder)
    original = read_audio(path, autoencoder.sample_rate, autoencoder.channels)
    rebuilt = decoded(autoencoder, sound.latents, seed=seed)[:, : original.shape[1]]
    nearest, same = find(sound, collection, count) if collection is not None else ((), "")
    place = place_of(sound, projection) if projection is not None else None
    return Reconstruction(
        original, rebuilt, sound, compare(original, rebuilt, autoencoder.sample_rate), place, nearest, same
    )


def find(sound: Sound, collection: Collection, count: int = 5) -> tuple[tuple[tuple[str, float], ...], str]:
    """The sounds most like one, and the name of the one that it is."""
    near = alike(collection, sound.portrait, min(count, len(collection)))
    same = next((other.name for other in collection.sounds if other.sha256 and other.sha256 == sound.sha256), "")
    return tuple((collection.sounds[index].name, away) for index, away in near), same


def find_file(path: str | PathLike[str], collection: Collection) -> str:
    """The name of the sound that was made from a file's bytes; empty if there is none."""
    identity = file_sha256(Path(path))
    return next((sound.name for sound in collection.sounds if sound.sha256 == identity), "")


def place_of(sound: Sound, projection: Projection) -> Points:
    """Where a sound belongs on a map, (2,): of sounds by its portrait, of frames by its held frame."""
    vector = sound.portrait if projection.vectors.shape[1] == len(sound.portrait) else sound.latent
    row: Points = projection.place(np.asarray(vector, np.float64)[np.newaxis])[0]
    return row


def compare(original: Audio, rebuilt: Audio, sample_rate: float) -> Errors:
    """What one sound, (channels, samples), has lost of another of the same shape."""
    if original.shape != rebuilt.shape:
        raise InputError(f"sounds of shapes {original.shape} and {rebuilt.shape}: expected the same")
    one, other = (np.asarray(audio, np.float64) for audio in (original, rebuilt))
    levels = [_mel_db(audio.mean(axis=0), sample_rate) for audio in (one, other)]
    floor = levels[0].max() + FLOOR_DB
    first, second = (np.maximum(level, floor) for level in levels)
    sounding = first.max(axis=1) > floor
    spectral = float(np.sqrt(np.mean((first - second)[sounding] ** 2))) if sounding.any() else 0.0
    power, rest = float((one**2).mean()), float(((one - other) ** 2).mean())
    tiny = 1e-20
    return Errors(
        spectral,
        float(10 * np.log10((float((other**2).mean()) + tiny) / (power + tiny))),
        float(10 * np.log10((power + tiny) / (rest + tiny))),
    )


def _mel_db(samples: Points, sample_rate: float) -> Points:
    bands = triangles(mel_edges(40, min(18000.0, sample_rate / 2.1), BANDS), WINDOW, sample_rate)
    return np.asarray(10 * np.log10(power_spectra(samples) @ bands.astype(np.float64) + 1e-12))
