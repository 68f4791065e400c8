"""From a handful of sounds to an instrument: encode, lay out, pair, fit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Autoencoder
from terrain_core.errors import FileError, InputError
from terrain_core.explorer.collection import Collection, own_names, sound_of, with_own_names
from terrain_core.explorer.explorer import Explorer
from terrain_core.instrument import Instrument
from terrain_core.layouts import Layout, layout
from terrain_core.pairing import Pairing, pair
from terrain_core.sound_map import SoundMap
from terrain_core.terrain import Terrain
from terrain_core.terrain.fit import FitReport, FitSettings, fit
from terrain_core.trajectories import EncodedFiles, EncodeSettings, encode_files

AUDIO_SUFFIXES = frozenset((".wav", ".aif", ".aiff", ".flac", ".ogg", ".opus", ".mp3", ".caf", ".w64", ".au"))
"""What is taken from a folder; a file that is named is tried whatever its suffix."""

Progress = Callable[[str, float, float], None]
"""Called with what is being done ("encoding", "fitting"), how many files or epochs are done, and how many there are."""


@dataclass(frozen=True)
class BuildSettings:
    """How to build.

    Attributes:
        layout: "timeline" (one dimension), "packed" or "map" (two dimensions, similar sounds near each other).
        gauss_scale: cycles per coordinate unit; None for what suits the layout.
        width, features: sizes of the terrain's network.
        skip_bad: leave out files that cannot be used instead of giving up.
        seed: of layout, network and fit.
        explorer: also keep where each sound came from, for `terrain map`, `morph`, `vary`, `preset` and the like. Its
            latents are those of the sound map, so that the file hardly grows.
    """

    layout: Literal["timeline", "packed", "map"] = "map"
    gauss_scale: float | None = None
    width: int = 128
    features: int = 256
    fit: FitSettings = field(default_factory=FitSettings)
    skip_bad: bool = False
    seed: int = 0
    explorer: bool = True


@dataclass(frozen=True)
class Built:
    """An instrument and how it came about.

    Attributes:
        left_out: one error for each file that was skipped.
    """

    instrument: Instrument
    pairing: Pairing
    fit: FitReport
    left_out: tuple[FileError, ...]


def build(
    sounds: Iterable[str | PathLike[str]],
    autoencoder: Autoencoder,
    settings: BuildSettings | None = None,
    *,
    encoding: EncodeSettings | None = None,
    progress: Progress = lambda stage, done, total: None,
    stop: threading.Event | None = None,
) -> Built:
    """Make an instrument whose terrain runs through the given sounds.

    Where the layout has two dimensions, the instrument also gets a sound map with each frame of each sound at its
    place.

    Args:
        sounds: audio files and folders of them.
        encoding: cache, cores or cluster; None for one file after the other, kept nowhere.
        stop: when set, the fit ends and the instrument has what was learned so far.
    Raises:
        FileError: a file cannot be used (unless `skip_bad`), or there is none.
        InputError: settings out of range.
    """
    settings = settings or BuildSettings()
    files = find_sounds(sounds)
    encoded = encode_files(files, autoencoder, lambda done, total, path: progress("encoding", done, total), encoding)
    if encoded.problems and (not settings.skip_bad or not encoded.trajectories):
        raise encoded.problems[0]
    places = layout(settings.layout, encoded.trajectories, seed=settings.seed)
    pairing = pair(places.trajectories, encoded.trajectories)
    terrain = Terrain.create(
        len(places.bounds),
        autoencoder.latent_size,
        bounds=places.bounds,
        gauss_scale=places.gauss_scale if settings.gauss_scale is None else settings.gauss_scale,
        width=settings.width,
        features=settings.features,
        seed=settings.seed,
    )
    report = fit(
        terrain,
        pairing.coordinates,
        pairing.latents,
        settings.fit,
        callback=lambda now: progress("fitting", now.epoch, now.epochs),
        stop=stop,
    )
    names = own_names(pairing.names)
    sound_map = _sound_map(places, pairing, names)
    explorer = _explorer(encoded, autoencoder, sound_map) if settings.explorer else None
    metadata = {"layout": settings.layout, "sounds": names}
    instrument = Instrument(autoencoder, terrain, sound_map, metadata=metadata, explorer=explorer)
    return Built(instrument, pairing, report, encoded.problems)


def find_sounds(places: Iterable[str | PathLike[str]]) -> list[Path]:
    """The files as they are given, and the audio files in the folders among them, by name.

    Raises:
        FileError: a folder without audio files.
        InputError: nothing at all was given.
    """
    files: list[Path] = []
    for place in map(Path, places):
        if not place.is_dir():
            files.append(place)
            continue
        found = sorted(path for path in place.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())
        if not found:
            raise FileError(place, f"has no audio file ({', '.join(sorted(AUDIO_SUFFIXES))}) in it")
        files += found
    if not files:
        raise InputError("no sounds were given: name audio files or folders of them")
    return files


def _sound_map(places: Layout, pairing: Pairing, names: list[str]) -> SoundMap | None:
    if len(places.bounds) != 2:
        return None
    low, high = places.bounds.T
    of_frames = [name for name, length in zip(names, pairing.lengths, strict=True) for _ in range(length)]
    # Rounding may take the outermost frames a little off the map.
    return SoundMap(np.clip((pairing.coordinates - low) / (high - low), 0.0, 1.0), pairing.latents, of_frames)


def _explorer(encoded: EncodedFiles, autoencoder: Autoencoder, sound_map: SoundMap | None) -> Explorer:
    """The sounds, frame by frame at their places on the sound map, if there is one."""
    files = zip(encoded.files, encoded.trajectories, strict=True)
    sounds = [sound_of(file, sound.latents, autoencoder) for file, sound in files]
    explorer = Explorer(Collection(with_own_names(sounds)), by="frames")
    if sound_map is not None:
        explorer.place(sound_map.positions)
    return explorer


def sound_paths(instrument: Instrument) -> list[NDArray[np.float64]]:
    """Where the sounds of an instrument's map run: for each, points (n, 2) in 0..1, in the order of its frames."""
    sound_map = instrument.sound_map
    if sound_map is None:
        return []
    names = np.array(sound_map.names or range(len(sound_map)))
    return np.split(sound_map.positions, np.flatnonzero(names[1:] != names[:-1]) + 1)
