"""Live's automation events <-> the points of a lane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.breakpoints import Doubles
from terrain_core.errors import InputError
from terrain_core.lanes import CODES, Lane, Shape
from terrain_daws.live.set_xml import Events

INITIAL_BEFORE: Final = -1e6
"""Beats; an event before this is the initial one."""

HOLD, LINEAR = CODES[Shape.HOLD], CODES[Shape.LINEAR]
CURVE_PIECES: Final = 32
TOLERANCE: Final = 1e-4
"""How far the straight pieces may be off, of a segment's rise, by which a shape that Live lacks is written."""


@dataclass(frozen=True)
class Points:
    """A lane's columns."""

    times: Doubles
    values: Doubles
    codes: NDArray[np.uint8]


def points_of(events: Events) -> Points:
    """Events -> points, values as in the file.

    The initial event only counts where it is the only one, or where events are steps and the first real one comes after
    beat 0: a straight line from beat -63072000 is level as far as anyone hears.
    """
    times, values = np.array(events.times), np.array(events.values)
    initial = int(np.count_nonzero(times < INITIAL_BEFORE))
    code = LINEAR if events.kind == "float" else HOLD
    if initial == len(times) or (initial and code == HOLD and times[initial] > 0):
        initial -= 1
        times[initial] = 0.0
    times, values = times[initial:], values[initial:]
    curves = {at - initial: curve for at, curve in events.curves.items() if 0 <= at - initial < len(times) - 1}
    if curves:
        times, values = _with_curves(times, values, curves)
    return Points(times, values, np.full(len(times), code, dtype=np.uint8))


def _with_curves(times: Doubles, values: Doubles, curves: dict[int, tuple[float, ...]]) -> tuple[Doubles, Doubles]:
    """Curved segments as cubic Béziers in straight pieces."""
    parameter = np.linspace(0, 1, CURVE_PIECES + 1)[1:-1]
    at, inner_times, inner_values = [], [], []
    for index, (x1, y1, x2, y2) in curves.items():
        length, rise = times[index + 1] - times[index], values[index + 1] - values[index]
        x, y = (_bezier(parameter, *handles) for handles in ((x1, x2), (y1, y2)))
        at.append(np.full(len(parameter), index + 1))
        inner_times.append(times[index] + length * np.maximum.accumulate(np.clip(x, 0, 1)))
        inner_values.append(values[index] + rise * y)
    where = np.concatenate(at)
    return np.insert(times, where, np.concatenate(inner_times)), np.insert(values, where, np.concatenate(inner_values))


def _bezier(s: Doubles, first: float, second: float) -> Doubles:
    """A cubic Bézier from 0 to 1 with the handles `first` and `second`."""
    r = 1 - s
    return np.asarray(3 * r * r * s * first + 3 * r * s * s * second + s**3)


def events_of(lane: Lane, *, stepped: bool) -> tuple[Doubles, Doubles]:
    """The events (beats from 0 on, values 0..1) that draw a lane over beats, without the initial one.

    Args:
        stepped: events hold their value, as those of switches and choices do; else they are joined by straight lines.
    Raises:
        InputError: a lane that moves between its points where only steps can be drawn.
    """
    lane = lane.straightened(TOLERANCE)
    times, values, codes = lane.times, lane.values, lane.shape_codes
    times, values, codes = _from_zero(times, values, codes)
    held, rising = codes[:-1] == HOLD, np.diff(values) != 0
    if stepped:
        if (~held & rising & (np.diff(times) > 0)).any():
            raise InputError(f"the lane {lane.name!r} goes in ramps, and Live only has steps there; expected hold")
        return times, values
    holds = np.flatnonzero(held & rising)
    return np.insert(times, holds + 1, times[holds + 1]), np.insert(values, holds + 1, values[holds])


def _from_zero(times: Doubles, values: Doubles, codes: NDArray[np.uint8]) -> tuple[Doubles, Doubles, NDArray[np.uint8]]:
    """Live's arrangement begins at beat 0: what comes before is cut off there."""
    before = int(np.count_nonzero(times < 0))
    if not before:
        return times, values, codes
    rest = slice(before, None)
    if before < len(times) and times[before] == 0:
        return times[rest], values[rest], codes[rest]
    lane = Lane(times, values, codes)
    return (
        np.concatenate([[0.0], times[rest]]),
        np.concatenate([[float(lane.sample(0.0))], values[rest]]),
        np.concatenate([codes[before - 1 : before], codes[rest]]),
    )
