"""Ardour's times: `a` and superclocks, `b` and ticks of 1/1920 quarter note, or bare samples in old sessions; and its
tempo map.

A tempo ramp is linear in beats (quarter notes a superclock, over quarter notes). Ardour keeps with each point when it
falls, and how fast the ramp after it is (`omega`); a point may call itself a ramp and have an omega of 0, and then it
is played as a constant: what is kept counts, not the name.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from terrain_core.errors import FileError, InputError
from terrain_core.tempo import FASTEST_BPM, SLOWEST_BPM, Meter, TempoMap, TempoPoint
from terrain_daws.xml_tree import place

TICKS_PER_BEAT: Final = 1920
SUPERCLOCKS_PER_SECOND: Final = 282_240_000
"""Of Ardour 7.3; a session says its own."""

LARGEST_TIME: Final = 1e9
TIME: Final = re.compile(r"([ab]?)(-?\d{1,18})")
QUARTERS: Final = re.compile(r"(-?\d{1,9}):(\d{1,4})")
WORST_CLOCK_S: Final = 1e-4
"""By how much a tempo point's kept time may differ from what its tempi give, before it is reported."""


@dataclass(frozen=True)
class Clock:
    """Reads times of one session."""

    path: Path
    superclocks: float  # a second
    sample_rate: float

    @classmethod
    def of(cls, path: Path, session: Any) -> Clock:
        """The clock of a `<Session>` element."""
        tempo_map = session.find("TempoMap")
        clock = cls(path, SUPERCLOCKS_PER_SECOND, 48000.0)
        rate = clock.number(session, "sample-rate", 48000.0)
        text = None if tempo_map is None else tempo_map.get("superclocks-per-second")
        per_second = clock.number(tempo_map, "superclocks-per-second") if text else SUPERCLOCKS_PER_SECOND
        if not 1 <= per_second <= 1e15 or not 1 <= rate <= 1e7:
            raise clock.error(session, f"counts {per_second:g} superclocks and {rate:g} samples a second")
        return cls(path, per_second, rate)

    def parse(self, text: str) -> tuple[str, float] | None:
        """("beats", beats) or ("seconds", seconds); None if that is no time."""
        found = TIME.fullmatch(text)
        if not found:
            return None
        count = int(found[2])
        if found[1] == "b":
            return "beats", count / TICKS_PER_BEAT
        return "seconds", count / (self.superclocks if found[1] == "a" else self.sample_rate)

    def seconds(self, element: Any, name: str, tempo_map: TempoMap) -> float:
        """A time attribute in seconds."""
        unit, time = self.time(element, name)
        return float(tempo_map.seconds_at(time)) if unit == "beats" else time

    def time(self, element: Any, name: str) -> tuple[str, float]:
        """A time attribute in its own unit."""
        parsed = self.parse(element.get(name, ""))
        if parsed is None or abs(parsed[1]) > LARGEST_TIME:
            raise self.error(element, f"<{element.tag}> has {name}={element.get(name, '')!r:.40}, expected a time")
        return parsed

    def quarters(self, element: Any) -> float:
        """The attribute `quarters`, beats and ticks."""
        found = QUARTERS.fullmatch(element.get("quarters", ""))
        if not found:
            raise self.error(
                element, f"<{element.tag}> has quarters={element.get('quarters', '')!r:.40}, expected beats:ticks"
            )
        return int(found[1]) + int(found[2]) / TICKS_PER_BEAT

    def number(self, element: Any, name: str, default: float | None = None) -> float:
        """A number attribute."""
        text = element.get(name)
        if text is None and default is not None:
            return default
        try:
            number = float(text)
        except (TypeError, ValueError):
            number = math.nan
        if not abs(number) <= 1e18:
            raise self.error(element, f"<{element.tag}> has {name}={text!r:.40}, expected a number of sensible size")
        return number

    def error(self, element: Any, problem: str) -> FileError:
        """An error at an element."""
        return FileError(self.path, problem, position=place(element))


def read_tempo_map(clock: Clock, element: Any, unknown: list[str]) -> TempoMap:
    """The `<TempoMap>`; 120 bpm and 4/4 without one."""
    if element is None:
        return TempoMap.constant(120)
    points: list[TempoPoint] = []
    clocks: list[float] = []
    rows = [row for row in element.iterfind("Tempos/Tempo") if row.get("active", "1") != "0"]
    for row in rows:
        scale = 4 / _note_value(clock, row, "note-type")
        bpm = clock.number(row, "npm") * scale
        if not SLOWEST_BPM <= bpm <= FASTEST_BPM:
            raise clock.error(row, f"a tempo of {bpm:g} bpm")
        omega = clock.number(row, "omega", 0.0)
        points.append(TempoPoint(clock.quarters(row), bpm, "linear-beats" if omega else "step"))
        clocks.append(clock.number(row, "sclock") / clock.superclocks)
        _check_ramp(clock, row, omega, scale)
    if not points:
        raise clock.error(element, "a tempo map without a tempo")
    try:
        tempo_map = TempoMap(_with_ends(clock, rows, points))
        meters = [
            Meter(
                clock.quarters(row), int(clock.number(row, "divisions-per-bar")), _note_value(clock, row, "note-value")
            )
            for row in element.iterfind("Meters/Meter")
        ]
        tempo_map = TempoMap(tempo_map.points, meters)
    except InputError as error:
        raise clock.error(element, f"impossible tempo map: {error}") from None
    beats = np.array([point.beat for point in points])
    late = np.abs(tempo_map.seconds_at(beats) - np.array(clocks))
    if late.max() > WORST_CLOCK_S:
        worst = int(late.argmax())
        unknown.append(
            f"{place(rows[worst])}: a tempo point is kept at {clocks[worst]:.6f} s, where the tempi before it give "
            f"{float(tempo_map.seconds_at(beats[worst])):.6f} s; the tempi were used"
        )
    for extra in element.iterfind("MusicTimes/*"):
        unknown.append(f"{place(extra)}: a bar-time marker ({extra.tag}) is not read")
    return tempo_map


def _with_ends(clock: Clock, rows: list[Any], points: list[TempoPoint]) -> list[TempoPoint]:
    """The points, and where a ramp does not end at the next point's tempo, another point with the tempo it ends at."""
    complete = []
    for index, point in enumerate(points):
        complete.append(point)
        if point.shape == "step" or index + 1 == len(points):
            continue
        following = points[index + 1]
        slope = clock.number(rows[index], "omega") * clock.superclocks * 60  # bpm a beat
        end = point.bpm + slope * (following.beat - point.beat)
        if abs(end - following.bpm) > 1e-6 * end and SLOWEST_BPM <= end <= FASTEST_BPM:
            complete.append(TempoPoint(following.beat, end))
    return complete


def _check_ramp(clock: Clock, row: Any, omega: float, scale: float) -> None:
    if not math.isfinite(omega) or (omega and clock.number(row, "enpm") * scale < SLOWEST_BPM):
        raise clock.error(row, f"a ramp to {row.get('enpm')!r:.40} with omega={row.get('omega')!r:.40}")


def _note_value(clock: Clock, row: Any, name: str) -> int:
    value = clock.number(row, name, 4.0)
    if value not in (1, 2, 4, 8, 16, 32, 64, 128):
        raise clock.error(row, f"<{row.tag}> has {name}={row.get(name)!r:.40}, expected a power of two")
    return int(value)
