"""Sounds that a tool made, as an instrument of their own: X goes through their time, Y from one to the next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import InputError
from terrain_core.explorer.collection import Collection, Sound, with_own_names
from terrain_core.explorer.explorer import Explorer
from terrain_core.instrument import Instrument
from terrain_core.layouts import CYCLES_PER_POINT
from terrain_core.sound_map import SoundMap
from terrain_core.terrain import Terrain
from terrain_core.terrain.fit import FitSettings, fit
from terrain_core.terrain.network import LIMITS


def instrument_of(
    sounds: Sequence[Latents], names: Sequence[str], autoencoder: Autoencoder, *, epochs: int = 100, seed: int = 0
) -> Instrument:
    """An instrument of sounds (frames, D): X is their time, Y goes from the first to the last; a sound alone is in the
    middle of Y.

    Args:
        epochs: of fitting the terrain, after its closed form.
    """
    if not sounds or len(sounds) != len(names):
        raise InputError(f"{len(sounds)} sounds and {len(names)} names: expected as many of each, at least one")
    rows = [np.atleast_2d(np.asarray(sound, np.float32)) for sound in sounds]
    places = np.concatenate([_row(len(row), k, len(rows)) for k, row in enumerate(rows)])
    collection = Collection(
        with_own_names(Sound(name, row, len(row) // 2) for name, row in zip(names, rows, strict=True))
    )
    explorer = Explorer(collection, by="frames")
    explorer.place(places)
    sound_map = explorer.sound_map()
    terrain = terrain_through(sound_map, spacing=1 / max(len(row) for row in rows), epochs=epochs, seed=seed)
    return Instrument(autoencoder, terrain, sound_map, explorer=explorer)


def _row(count: int, index: int, rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    x = np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.5])
    return np.stack([x, np.full(count, index / (rows - 1) if rows > 1 else 0.5)], axis=1)


def terrain_through(sound_map: SoundMap, *, spacing: float | None = None, epochs: int = 0, seed: int = 0) -> Terrain:
    """A terrain over a sound map, through its sounds as well as it goes; in closed form alone with 0 epochs.

    Args:
        spacing: distance of two neighbours; None for what it is on average.
    """
    distance = spacing or 1 / np.sqrt(len(sound_map))
    scale = float(np.clip(CYCLES_PER_POINT / distance, 0.5, LIMITS["gauss_scale"].high))
    terrain = Terrain.create(2, sound_map.latent_size, bounds=[[0, 1], [0, 1]], gauss_scale=scale, seed=seed)
    fit(terrain, sound_map.positions, sound_map.latents, FitSettings(epochs=epochs, seed=seed))
    return terrain
