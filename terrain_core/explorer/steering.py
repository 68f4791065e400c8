"""Steering: a few sounds pinned where a player wants them, and a terrain that runs through them.

After Vigliensoni and Fiebrink, "Steering latent audio models through interactive machine learning" (ICCC 2023): a
regression from a plane to the latent space, learned from a handful of pairs and again with every pair that is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import InputError
from terrain_core.terrain import Terrain
from terrain_core.terrain.fit import FitSettings, fit
from terrain_core.terrain.hills import SMALLEST_RADIUS, with_hills

BASE_STEPS = 24
"""Along each side of the map, points at which a terrain without Fourier features is held."""

HOLD_DISTANCE = 0.12
"""Nearer than this to a pin, in parts of the map's side, the terrain that was there before is not held."""

MET = 1e-3
"""What the terrain before misses by less than this, in parts of the latents' spread, needs no hill."""

REPEATS = 300
"""A pin counts as much as this many points of the terrain before."""


@dataclass(frozen=True)
class Pin:
    """A latent at a place.

    Attributes:
        x, y: in 0..1.
        latent: (D,)
        name: of the sound it came from.
    """

    x: float
    y: float
    latent: NDArray[np.float32]
    name: str = ""

    def __post_init__(self) -> None:
        latent = np.array(self.latent, np.float32)
        if latent.ndim != 1 or not len(latent) or not np.isfinite(latent).all():
            raise InputError(f"the pin {self.name!r} has a latent of shape {latent.shape}: expected (D,), finite")
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise InputError(f"the pin {self.name!r} is at {self.x:g}, {self.y:g}: expected X and Y in 0..1")
        latent.setflags(write=False)
        object.__setattr__(self, "latent", latent)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        return {"x": self.x, "y": self.y, "name": self.name, "latent": [float(v) for v in self.latent]}

    @classmethod
    def from_dict(cls, facts: Any) -> Pin:
        """
        Raises:
            InputError: what is there is no pin.
        """
        try:
            return cls(
                float(facts["x"]), float(facts["y"]), np.array(facts["latent"], np.float32), str(facts.get("name", ""))
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"a pin that is none ({error!r})") from error


@dataclass(frozen=True)
class Steered:
    """A terrain through pins.

    Attributes:
        terrain: two dimensions, 0..1 each; or those of the terrain before.
        errors: (pins,), how far the terrain passes from each pin, in parts of the latents' spread.
        moved: how far the terrain before was moved away from the pins, root mean square in parts of its spread; None
            without one.
    """

    terrain: Terrain
    errors: NDArray[np.float64]
    moved: float | None = None


def steer(
    pins: Sequence[Pin],
    *,
    base: Terrain | None = None,
    gauss_scale: float = 1.0,
    epochs: int = 0,
    seed: int = 0,
) -> Steered:
    """Fit a terrain through pins.

    In closed form it takes a few tens of milliseconds, so that each new pin is heard at once; with `epochs` its network
    learns, too, which is smoother between the pins.

    Args:
        pins: one or more; of two at one place, the later counts.
        base: a terrain that was there before: it gets a hill at each pin that it misses (`terrain_core.terrain.hills`),
            and stays as it was further away than `HOLD_DISTANCE`. One without Fourier features cannot have hills: it is
            learned again, roughly. None: the pins are all there is.
        gauss_scale: cycles per side: how quickly the terrain may turn between pins; of no use for hills.
        epochs: of learning, after the closed form; hills have nothing to learn.
        seed: equal seeds give equal terrains.
    Raises:
        InputError: no pins, latents of different sizes, epochs for hills, or more pins than a terrain can take.
    """
    if not pins:
        raise InputError("no pins: pin at least one sound somewhere")
    sizes = {len(pin.latent) for pin in pins} | ({base.latent_size} if base is not None else set())
    if len(sizes) > 1:
        raise InputError(f"pins and terrain have {sorted(sizes)} latents; expected the same number in all")
    latest = list({(pin.x, pin.y): pin for pin in pins}.values())
    places = np.array([[pin.x, pin.y] for pin in latest])
    latents = np.stack([pin.latent for pin in latest])
    if base is not None and base.gauss_scale > 0:
        if epochs:
            raise InputError("a terrain that is kept meets its pins as it is: leave the epochs out")
        terrain = _with_pins_on(base, places, latents)
    else:
        terrain = _learned(places, latents, base, gauss_scale, epochs, seed)
    around = latents
    moved = None
    if base is not None:
        held, values = _held(base, places)
        around = np.concatenate([latents, values])
        if len(held):
            moved = float(np.sqrt(((terrain.at(_on(terrain, held)) - values) ** 2).mean())) / _spread(around)
    errors = np.linalg.norm(terrain.at(_on(terrain, places)) - latents, axis=1) / np.sqrt(latents.shape[1])
    return Steered(terrain, errors.astype(np.float64) / _spread(around), moved)


def _spread(latents: NDArray[np.float32]) -> float:
    return float(latents.std(axis=0).mean()) or 1.0


def _with_pins_on(base: Terrain, places: NDArray[np.float64], latents: NDArray[np.float32]) -> Terrain:
    changes = latents - base.at(_on(base, places))
    wrong = np.linalg.norm(changes, axis=1) / np.sqrt(latents.shape[1]) > MET * _spread(_held(base, places)[1])
    if not wrong.any():
        return base
    # A hill ends before the next pin, so that one that is met stays so.
    away = np.linalg.norm(places[:, np.newaxis] - places, axis=2) + np.diag(np.full(len(places), np.inf))
    radii = np.clip(away.min(axis=1), SMALLEST_RADIUS, HOLD_DISTANCE)
    near = wrong | (away[:, wrong].min(axis=1) < SMALLEST_RADIUS)  # on the slope of another's: corrected with it
    return with_hills(base, places[near], changes[near], radii[near])


def _learned(
    places: NDArray[np.float64],
    latents: NDArray[np.float32],
    base: Terrain | None,
    gauss_scale: float,
    epochs: int,
    seed: int,
) -> Terrain:
    points, targets = np.repeat(places, REPEATS, axis=0), np.repeat(latents, REPEATS, axis=0)
    if base is not None:
        held, values = _held(base, places)
        points, targets = np.concatenate([points, held]), np.concatenate([targets, values])
    terrain = Terrain.create(2, latents.shape[1], bounds=[[0, 1], [0, 1]], gauss_scale=gauss_scale, seed=seed)
    fit(terrain, points, targets, FitSettings(epochs=epochs, ridge_start=1e-6, ridge_end=1e-6, seed=seed))
    return terrain


def _held(base: Terrain, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Points (n, 2) away from the pins, and what the terrain before has there, (n, D)."""
    side = (np.arange(BASE_STEPS) + 0.5) / BASE_STEPS
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    away = np.linalg.norm(grid[:, np.newaxis] - places, axis=2).min(axis=1)
    points = grid[away > HOLD_DISTANCE]
    return points, base.at(_on(base, points))


def _on(terrain: Terrain, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, 2) as a terrain's positions (n, C): without what it does not have, other dimensions in the middle."""
    inside = np.full((len(points), terrain.control_size), 0.5)
    inside[:, : min(2, terrain.control_size)] = points[:, : min(2, terrain.control_size)]
    return inside


def with_pins(before: Sequence[Pin], fresh: Iterable[Pin]) -> tuple[Pin, ...]:
    """Pins with more of them; a new one takes the place of an old one at its place."""
    return tuple({(pin.x, pin.y): pin for pin in [*before, *fresh]}.values())
