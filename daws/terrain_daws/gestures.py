"""Gestures to begin with: X, Y and Pressure over a number of beats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from terrain_core import parameters
from terrain_core.breakpoints import Doubles
from terrain_core.errors import InputError
from terrain_core.lanes import Lane, Shape

POINTS_PER_BEAT: Final = 8
LONGEST_BEATS: Final = 10_000.0
BEATS_A_TURN: Final = 8.0

Path = tuple[Doubles, Doubles]


def _circle(beats: Doubles, rng: np.random.Generator) -> Path:
    """Round the middle, a turn every two bars."""
    angle = 2 * np.pi * beats / BEATS_A_TURN
    return 0.5 + 0.4 * np.cos(angle), 0.5 + 0.4 * np.sin(angle)


def _eight(beats: Doubles, rng: np.random.Generator) -> Path:
    """A figure of eight, lying."""
    angle = 2 * np.pi * beats / BEATS_A_TURN
    return 0.5 + 0.42 * np.sin(angle), 0.5 + 0.3 * np.sin(2 * angle)


def _spiral(beats: Doubles, rng: np.random.Generator) -> Path:
    """From the middle outwards."""
    angle = 2 * np.pi * beats / BEATS_A_TURN
    radius = 0.45 * beats / max(float(beats[-1]), 1e-9)
    return 0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)


def _sweep(beats: Doubles, rng: np.random.Generator) -> Path:
    """From left to right and back, in rows that climb."""
    phase = (beats / BEATS_A_TURN) % 2
    return np.where(phase < 1, phase, 2 - phase), beats / max(float(beats[-1]), 1e-9)


def _wander(beats: Doubles, rng: np.random.Generator) -> Path:
    """A smooth walk without an aim, within the edges."""
    corners = np.arange(0, float(beats[-1]) + 4, 2.0)
    places = rng.uniform(0.08, 0.92, (2, len(corners)))
    u = (beats % 2) / 2
    index = np.minimum((beats // 2).astype(int), len(corners) - 2)
    ease = u * u * (3 - 2 * u)
    x, y = (row[index] + (row[index + 1] - row[index]) * ease for row in places)
    return x, y


GESTURES: Final[dict[str, Callable[[Doubles, np.random.Generator], Path]]] = {
    "circle": _circle,
    "eight": _eight,
    "spiral": _spiral,
    "sweep": _sweep,
    "wander": _wander,
}


def gesture(name: str, beats: float = 32.0, seed: int = 0) -> list[Lane]:
    """The lanes of a gesture: X and Y by its name, and a pressure that swells and falls with each turn.

    Raises:
        InputError: no such gesture, or a length beyond 1..10,000 beats.
    """
    if name not in GESTURES:
        raise InputError(f"no gesture {name!r}, expected one of {', '.join(GESTURES)}")
    if not 1 <= beats <= LONGEST_BEATS:
        raise InputError(f"a gesture of {beats:g} beats, expected 1 to {LONGEST_BEATS:g}")
    times = np.linspace(0.0, beats, round(beats * POINTS_PER_BEAT) + 1)
    x, y = GESTURES[name](times, np.random.default_rng(seed))
    swells = np.arange(0.0, beats + BEATS_A_TURN / 2, BEATS_A_TURN / 2)
    heights = np.where(np.arange(len(swells)) % 2 == 0, 0.35, 0.95)
    return [
        _lane("x", times, x, Shape.LINEAR),
        _lane("y", times, y, Shape.LINEAR),
        _lane("pressure", np.minimum(swells, beats), heights, Shape.SMOOTH),
    ]


def _lane(key: str, times: Doubles, values: Doubles, shape: Shape) -> Lane:
    parameter = parameters.by_key(key)
    return Lane(times, np.clip(values, 0, 1), shape, name=parameter.name, key=key, parameter_id=parameter.id)
