"""Live's tempo: events on a timeline <-> `TempoMap`, by what is drawn or by what Live plays.

What is drawn is bpm linear in beats from event to event (the law "theoretical"). Live does not play that: it looks at
the curve at every sixteenth note and keeps that tempo until the next one (the law "daw"; found out by dawtool's author
from what Live shows: a ramp from 60 to 120 bpm over four beats takes 2.836 s, not 4 ln 2 = 2.773 s).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from terrain_core.breakpoints import Doubles
from terrain_core.errors import InputError
from terrain_core.tempo import Meter, TempoMap, TempoPoint

TempoLaw = Literal["daw", "theoretical"]
STEPS_PER_BEAT: Final = 4
SLOWEST_BPM, FASTEST_BPM = 20.0, 999.0
"""What Live's tempo field takes."""

MOST_STEPS: Final = 400_000
SHORTEST_RAMP: Final = 1e-9
"""Beats. What is shorter is a step."""

NUMERATORS: Final = 99
MOST_DENOMINATOR_BITS: Final = 4


def drawn_points(beats: Doubles, bpm: Doubles) -> list[TempoPoint]:
    """Events in order -> points joined by straight lines; the first tempo holds from beat 0 on.

    An event that only says how far a level stretch goes before a jump (60 at 0, 60 at 4, 90 at 4) is no point.
    """
    kept = np.ones(len(beats), dtype=bool)
    kept[1:-1] = (bpm[1:-1] != bpm[:-2]) | (beats[1:-1] != beats[2:])
    beats, bpm = beats[kept], bpm[kept]
    jumps = np.concatenate([(np.diff(np.flatnonzero(kept)) > 1), [False]])
    ramps = np.concatenate([(np.diff(bpm) != 0) & (np.diff(beats) > SHORTEST_RAMP), [False]]) & ~jumps
    rows = zip(beats.tolist(), bpm.tolist(), ramps.tolist(), strict=True)
    points = [TempoPoint(beat, tempo, "linear-beats" if ramp else "step") for beat, tempo, ramp in rows]
    if points[0].beat > 0:
        points.insert(0, TempoPoint(0.0, points[0].bpm))
    return points


def played_points(drawn: Sequence[TempoPoint]) -> tuple[list[TempoPoint], bool]:
    """The steps that Live plays, and whether there were too many: then longer ramps are left as they are drawn."""
    tempo_map = TempoMap(drawn)
    sixteenths = [_sixteenth(point.beat) for point in drawn]
    ramps = [i for i, point in enumerate(drawn[:-1]) if point.shape != "step"]
    steps = sum(sixteenths[i + 1] - sixteenths[i] for i in ramps)
    if steps > MOST_STEPS:
        return list(drawn), True
    grids = [np.arange(sixteenths[i], sixteenths[i + 1]) for i in ramps]
    first = math.floor(drawn[0].beat * STEPS_PER_BEAT)  # from before it on the first tempo holds
    grid = np.unique(np.concatenate([np.array([first, *sixteenths]), *grids])) / STEPS_PER_BEAT
    bpm = tempo_map.bpm_at_beats(grid)
    changes = np.concatenate([[True], np.diff(bpm) != 0])
    return [TempoPoint(b, v) for b, v in zip(grid[changes].tolist(), bpm[changes].tolist(), strict=True)], False


def _sixteenth(beat: float) -> int:
    """The first sixteenth note that is not before `beat`."""
    return math.ceil(beat * STEPS_PER_BEAT)


def events_of(tempo_map: TempoMap) -> tuple[Doubles, Doubles]:
    """The events that draw a tempo map: beats (none before 0) and bpm. A step is two events on one beat.

    Bpm linear in seconds, which Live does not know, is drawn by straight lines from sixteenth to sixteenth.

    Raises:
        InputError: a tempo that Live does not have.
    """
    points = tempo_map.points
    beats: list[float] = [0.0]
    bpm: list[float] = [float(tempo_map.bpm_at_beats(0.0))]
    for index, point in enumerate(points):
        if not SLOWEST_BPM <= point.bpm <= FASTEST_BPM:
            raise InputError(
                f"the tempo at beat {point.beat:g} is {point.bpm:g} bpm; Live has {SLOWEST_BPM:g} to {FASTEST_BPM:g}"
            )
        if point.beat > 0:
            if index and points[index - 1].shape == "step" and bpm[-1] != point.bpm:
                beats.append(point.beat)
                bpm.append(bpm[-1])
            beats.append(point.beat)
            bpm.append(point.bpm)
        if point.shape == "linear-seconds" and index + 1 < len(points):
            inner = _sixteenths_between(max(point.beat, 0.0), points[index + 1].beat)
            beats += inner.tolist()
            bpm += tempo_map.bpm_at_beats(inner).tolist()
    return np.array(beats), np.array(bpm)


def _sixteenths_between(begin: float, end: float) -> Doubles:
    first, last = math.floor(begin * STEPS_PER_BEAT) + 1, math.ceil(end * STEPS_PER_BEAT)
    if last - first > MOST_STEPS:
        raise InputError(f"the tempo ramp from beat {begin:g} to {end:g} has more than {MOST_STEPS:,} sixteenths")
    return np.arange(first, last) / STEPS_PER_BEAT


def meter_of(code: float) -> tuple[int, int] | None:
    """Live's number for a time signature -> numerator and denominator: 201 is 4/4. None if there is no such."""
    if code != int(code) or not 0 <= code < NUMERATORS * (MOST_DENOMINATOR_BITS + 1):
        return None
    return int(code) % NUMERATORS + 1, 1 << int(code) // NUMERATORS


def code_of(meter: Meter) -> int:
    """The number for a time signature; undone by `meter_of`.

    Raises:
        InputError: Live has no such.
    """
    bits = meter.denominator.bit_length() - 1
    if meter.numerator > NUMERATORS or bits > MOST_DENOMINATOR_BITS:
        raise InputError(f"Live has no time signature {meter.numerator}/{meter.denominator}")
    return meter.numerator - 1 + NUMERATORS * bits
