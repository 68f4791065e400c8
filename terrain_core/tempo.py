"""Tempo and meter: where a beat falls in seconds, and the way back.

A beat is a quarter note. Second 0 is beat 0. Positions are float64 arrays of any shape, or single numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.breakpoints import Doubles, as_finite, find_interval
from terrain_core.errors import InputError

TempoShape = Literal["step", "linear-beats", "linear-seconds"]
"""How the tempo goes from one point to the next: MIDI steps; Ardour and Live draw bpm linear in beats, REAPER linear
in seconds.
"""

TEMPO_SHAPES: tuple[str, ...] = get_args(TempoShape)
SLOWEST_BPM, FASTEST_BPM = 1e-3, 1e6
LARGEST_BEAT = 1e9
SHORTEST_RAMP = 1e-9
"""Beats."""

MOST_PIECES = 4096
"""Pieces that `TempoMap.with_shapes` cuts one ramp into, at most."""

STEP, LINEAR_BEATS, LINEAR_SECONDS = range(len(TEMPO_SHAPES))


@dataclass(frozen=True)
class TempoPoint:
    """From `beat` on the tempo is `bpm` quarter notes a minute and goes to the next point's by `shape`."""

    beat: float
    bpm: float
    shape: TempoShape = "step"


@dataclass(frozen=True)
class Meter:
    """From `beat` on a bar is `numerator` notes of 1/`denominator`."""

    beat: float
    numerator: int = 4
    denominator: int = 4

    @property
    def bar_length(self) -> float:
        """In beats (quarter notes): 3.5 for 7/8. Exact, since the denominator is a power of two."""
        return self.numerator * 4 / self.denominator


FOUR_FOUR = Meter(0.0, 4, 4)


class TempoMap:
    """Beats <-> seconds, and bars. Read-only.

    The first tempo also holds before the first point, the last one for ever after the last point. Points on one beat
    make a jump: a ramp before it goes to the first of them, the last of them rules from there.

    The laws within a segment that starts with `b0` bpm and goes to `b1` over `Q` beats or `T` seconds, `d` beats or
    `s` seconds into it:

    =================  ======================  ===================================  ================================
    shape              bpm                     seconds s(d)                         beats d(s)
    =================  ======================  ===================================  ================================
    step               b0                      60 d / b0                            b0 s / 60
    linear-beats       b0 + g d, g=(b1-b0)/Q   60/g · ln(1 + g d / b0)              b0/g · (exp(g s / 60) - 1)
    linear-seconds     b0 + h s, h=(b1-b0)/T   120 d / (b0 + sqrt(b0² + 120 h d))   (b0 s + h s² / 2) / 60
    =================  ======================  ===================================  ================================

    Args:
        points: one or more, in order of their beats.
        meters: in order; 4/4 from beat 0 where the first one comes later. Of several on one beat the last counts.

    Raises:
        InputError: no point, points out of order, a tempo that is not between 0.001 and 1,000,000 bpm, an impossible
            meter.
    """

    def __init__(self, points: Sequence[TempoPoint], meters: Sequence[Meter] = (FOUR_FOUR,)) -> None:
        self.points = tuple(points)
        self.meters = _checked_meters(meters)
        beats, bpm, shapes = _checked_points(self.points)
        segments = _Segments.over_beats(beats, bpm, shapes)
        # Everything is counted from the first point; the second at which that one falls makes beat 0 second 0.
        segments.start_seconds -= float(segments.to_seconds(np.zeros(1))[0])
        self._segments = segments

    @classmethod
    def constant(cls, bpm: float, meters: Sequence[Meter] = (FOUR_FOUR,)) -> TempoMap:
        """One tempo throughout."""
        return cls([TempoPoint(0.0, bpm)], meters)

    @classmethod
    def from_seconds(
        cls, points: Iterable[tuple[float, float, TempoShape]], meters: Sequence[Meter] = (FOUR_FOUR,)
    ) -> TempoMap:
        """A map whose points (seconds, bpm, shape) were placed in seconds, as REAPER's are; the first tempo holds
        before the first.
        """
        rows = list(points)
        beat, placed = 0.0, []
        for index, (seconds, bpm, shape) in enumerate(rows):
            if index:
                before, bpm_before, shape_before = rows[index - 1]
                if seconds < before:
                    raise InputError(
                        f"tempo point {index} is at {seconds} s, before the one at {before} s; expected points in order"
                    )
                beat += _beats_in(seconds - before, bpm_before, bpm, shape_before)
            else:
                beat = seconds * bpm / 60
            placed.append(TempoPoint(beat, bpm, shape))
        return cls(placed, meters)

    @property
    def point_seconds(self) -> Doubles:
        """When each of `points` falls, in seconds, shape (points,)."""
        return self._segments.start_seconds[1:].copy()

    def seconds_at(self, beats: ArrayLike) -> Doubles:
        """Beats -> seconds, of the same shape."""
        return _in_shape(beats, "beats", self._segments.to_seconds)

    def beats_at(self, seconds: ArrayLike) -> Doubles:
        """Seconds -> beats, of the same shape; undoes `seconds_at` to 1e-9 beat."""
        return _in_shape(seconds, "seconds", self._segments.to_beats)

    def bpm_at_beats(self, beats: ArrayLike) -> Doubles:
        """The tempo, quarter notes a minute, at each beat."""
        return _in_shape(beats, "beats", self._segments.bpm_at_beats)

    def bpm_at_seconds(self, seconds: ArrayLike) -> Doubles:
        """The tempo, quarter notes a minute, at each second."""
        return _in_shape(seconds, "seconds", self._segments.bpm_at_seconds)

    def with_shapes(self, allowed: Collection[TempoShape], tolerance: float = 1e-4) -> TempoMap:
        """The same map with segments of the `allowed` shapes only, for formats that have no others.

        A ramp that is not allowed is cut into as few equal pieces (2, 4, …, at most `MOST_PIECES`) of the other ramp
        or, if that is not allowed either, steps, as keep the map's seconds within `tolerance`, seconds. Steps take
        exactly as long as what they stand for.

        Raises:
            InputError: "step" is not among the allowed.
        """
        if "step" not in allowed:
            raise InputError(f"the shapes {sorted(allowed)} do not have 'step', which every format has")
        points: list[TempoPoint] = []
        for index, point in enumerate(self.points):
            following = self.points[index + 1] if index + 1 < len(self.points) else None
            if following is None or following.beat == point.beat or following.bpm == point.bpm:
                points.append(point if point.shape in allowed else TempoPoint(point.beat, point.bpm))
            elif point.shape in allowed:
                points.append(point)
            else:
                if not points:
                    points.append(TempoPoint(point.beat, point.bpm))  # what also rules before it
                points += self._in_pieces(point, following, allowed, tolerance)
        return TempoMap(points, self.meters)

    def _in_pieces(
        self, begin: TempoPoint, end: TempoPoint, allowed: Collection[TempoShape], tolerance: float
    ) -> list[TempoPoint]:
        """A ramp from one point to the next, in pieces of an allowed shape."""
        other: TempoShape = "linear-seconds" if begin.shape == "linear-beats" else "linear-beats"
        one = TempoMap([TempoPoint(0.0, begin.bpm, begin.shape), TempoPoint(end.beat - begin.beat, end.bpm)])
        length = end.beat - begin.beat
        pieces = 2
        while True:
            knots = np.linspace(0.0, length, pieces + 1)
            if other in allowed:
                bpm, shape = one.bpm_at_beats(knots), other
                bpm[-1] = end.bpm
            else:
                bpm, shape = np.append(60 * np.diff(knots) / np.diff(one.seconds_at(knots)), end.bpm), "step"
            rows = [TempoPoint(beat, tempo, shape) for beat, tempo in zip(knots.tolist(), bpm.tolist(), strict=True)]
            probes = np.linspace(0.0, length, 8 * pieces + 1)
            if (
                pieces >= MOST_PIECES
                or np.abs(TempoMap(rows).seconds_at(probes) - one.seconds_at(probes)).max() <= tolerance
            ):
                return [TempoPoint(begin.beat + row.beat, row.bpm, row.shape) for row in rows[:-1]]
            pieces *= 2

    def bar_at(self, beats: ArrayLike) -> tuple[NDArray[np.int64], Doubles]:
        """Beats -> (bar index, beats since that bar began), each of the same shape.

        Bar 0 begins with the first meter; before it bars of the same length count backwards. A new meter begins a new
        bar even if the one before is not full. The second number is in quarter notes, as everything is.
        """
        positions = as_finite(beats, "beats")
        starts, lengths, first_bars = self._bars
        index = np.maximum(np.searchsorted(starts, positions, side="right") - 1, 0)
        bars = np.floor((positions - starts[index]) / lengths[index])
        return first_bars[index] + bars.astype(np.int64), positions - starts[index] - bars * lengths[index]

    def bars_around(self, beats: ArrayLike) -> Doubles:
        """Beats (n,) -> shape (n, 2): the beat at which the bar around each began, and how many quarter notes a bar of
        that meter has.
        """
        positions = as_finite(beats, "beats")
        starts, lengths, _ = self._bars
        index = np.maximum(np.searchsorted(starts, positions, side="right") - 1, 0)
        bars = np.floor((positions - starts[index]) / lengths[index])
        return np.stack([starts[index] + bars * lengths[index], lengths[index]], axis=-1)

    def beat_of_bar(self, bars: ArrayLike) -> Doubles:
        """Bar indices -> the beats they begin at, of the same shape."""
        indices = as_finite(bars, "bars")
        starts, lengths, first_bars = self._bars
        index = np.maximum(np.searchsorted(first_bars, indices, side="right") - 1, 0)
        return starts[index] + (indices - first_bars[index]) * lengths[index]

    @property
    def _bars(self) -> tuple[Doubles, Doubles, NDArray[np.int64]]:
        """Per meter: its beat, its bars' length, the index of its first bar."""
        starts = np.array([meter.beat for meter in self.meters])
        lengths = np.array([meter.bar_length for meter in self.meters])
        # An nth bar that is full but for a rounding error is full.
        counts = np.ceil(np.diff(starts) / lengths[:-1] - 1e-9).astype(np.int64)
        return starts, lengths, np.concatenate([[0], np.cumsum(counts)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TempoMap) and (self.points, self.meters) == (other.points, other.meters)

    def __hash__(self) -> int:
        return hash((self.points, self.meters))

    def __repr__(self) -> str:
        tempi = ", ".join(f"{p.bpm:g} bpm at beat {p.beat:g} ({p.shape})" for p in self.points[:4])
        more = f" and {len(self.points) - 4} more" if len(self.points) > 4 else ""
        return f"TempoMap({tempi}{more}; {len(self.meters)} meter(s))"


class _Segments:
    """The tempo map as parallel arrays, one entry per segment. Entry 0 is the time before the first point.

    `slope` is g (bpm per beat) or h (bpm per second) of the table in `TempoMap`, by `law`.
    """

    def __init__(
        self, start_beats: Doubles, start_seconds: Doubles, bpm: Doubles, slope: Doubles, law: NDArray[np.uint8]
    ) -> None:
        self.start_beats = start_beats
        self.start_seconds = start_seconds
        self.bpm = bpm
        self.slope = slope
        self.law = law
        self.ramps = [kind for kind in (LINEAR_BEATS, LINEAR_SECONDS) if (law == kind).any()]

    @classmethod
    def over_beats(cls, beats: Doubles, bpm: Doubles, shapes: NDArray[np.uint8]) -> _Segments:
        length = np.diff(beats)
        rise = np.diff(bpm)
        # So gentle a ramp is a step to the last bit, and its slope would only bring rounding errors (or 0 / 0); so
        # short a one is a jump, whose slope would overflow.
        is_ramp = (shapes[:-1] != STEP) & (length > SHORTEST_RAMP) & (np.abs(rise) > 1e-15 * bpm[:-1])
        law = np.where(is_ramp, shapes[:-1], STEP).astype(np.uint8)
        duration = length * 60 / bpm[:-1]
        by_beats, by_seconds = law == LINEAR_BEATS, law == LINEAR_SECONDS
        relative = np.where(is_ramp, rise / bpm[:-1], 1.0)
        duration = np.where(by_beats, duration * np.log1p(relative) / relative, duration)
        duration = np.where(by_seconds, length * 120 / (bpm[:-1] + bpm[1:]), duration)
        slope = np.zeros_like(rise)
        np.divide(rise, np.where(by_seconds, duration, length), out=slope, where=is_ramp)
        return cls(
            start_beats=np.concatenate([beats[:1], beats]),
            start_seconds=np.concatenate([[0.0, 0.0], np.cumsum(duration)]),
            bpm=np.concatenate([bpm[:1], bpm]),
            slope=np.concatenate([[0.0], slope, [0.0]]),
            law=np.concatenate([[STEP], law, [STEP]]).astype(np.uint8),
        )

    def to_seconds(self, beats: Doubles) -> Doubles:
        index, distance, bpm = self._locate(self.start_beats, beats)
        seconds = distance * 60 / bpm
        for law, at, b0, slope in self._ramps_among(index):
            d = distance[at]
            if law == LINEAR_BEATS:
                seconds[at] = 60 / slope * np.log1p(slope * d / b0)
            else:
                seconds[at] = 120 * d / (b0 + np.sqrt(np.maximum(b0 * b0 + 120 * slope * d, 0.0)))
        return seconds + self.start_seconds[index]

    def to_beats(self, seconds: Doubles) -> Doubles:
        index, elapsed, bpm = self._locate(self.start_seconds, seconds)
        beats = elapsed * bpm / 60
        for law, at, b0, slope in self._ramps_among(index):
            s = elapsed[at]
            if law == LINEAR_BEATS:
                beats[at] = b0 / slope * np.expm1(slope * s / 60)
            else:
                beats[at] = (b0 + slope * s / 2) * s / 60
        return beats + self.start_beats[index]

    def bpm_at_beats(self, beats: Doubles) -> Doubles:
        index, distance, bpm = self._locate(self.start_beats, beats)
        for law, at, b0, slope in self._ramps_among(index):
            d = distance[at]
            bpm[at] = b0 + slope * d if law == LINEAR_BEATS else np.sqrt(np.maximum(b0 * b0 + 120 * slope * d, 0.0))
        return bpm

    def bpm_at_seconds(self, seconds: Doubles) -> Doubles:
        index, elapsed, bpm = self._locate(self.start_seconds, seconds)
        for law, at, b0, slope in self._ramps_among(index):
            s = elapsed[at]
            bpm[at] = b0 * np.exp(slope * s / 60) if law == LINEAR_BEATS else b0 + slope * s
        return bpm

    def _locate(self, starts: Doubles, positions: Doubles) -> tuple[NDArray[np.intp], Doubles, Doubles]:
        """Per position: its segment, how far it is into it, the tempo there at the start."""
        index = find_interval(starts[1:], positions)
        return index, positions - starts[index], self.bpm[index]

    def _ramps_among(self, index: NDArray[np.intp]) -> Iterable[tuple[int, NDArray[np.bool_], Doubles, Doubles]]:
        """For each kind of ramp that occurs: which positions lie in one, and those positions' b0 and slope."""
        if not self.ramps:
            return
        laws = self.law[index]
        for law in self.ramps:
            at = laws == law
            if at.any():
                segment = index[at]
                yield law, at, self.bpm[segment], self.slope[segment]


def _in_shape(numbers: ArrayLike, what: str, convert: Callable[[Doubles], Doubles]) -> Doubles:
    array = as_finite(numbers, what)
    return convert(array.ravel()).reshape(array.shape)


def _beats_in(seconds: float, bpm: float, next_bpm: float, shape: TempoShape) -> float:
    """How many beats a segment of `seconds` holds."""
    if shape == "linear-seconds":
        return seconds * (bpm + next_bpm) / 120
    if shape == "linear-beats" and bpm > 0 and next_bpm > 0 and bpm != next_bpm:
        return seconds / 60 * (next_bpm - bpm) / float(np.log(next_bpm / bpm))
    return seconds * bpm / 60


def _checked_points(points: tuple[TempoPoint, ...]) -> tuple[Doubles, Doubles, NDArray[np.uint8]]:
    if not points:
        raise InputError("a tempo map needs at least one tempo point")
    beats = as_finite([p.beat for p in points], "tempo point beats")
    bpm = as_finite([p.bpm for p in points], "bpm")
    for index, point in enumerate(points):
        if point.shape not in TEMPO_SHAPES:
            raise InputError(
                f"tempo point {index} has the shape {point.shape!r}, expected one of {', '.join(TEMPO_SHAPES)}"
            )
        if not SLOWEST_BPM <= point.bpm <= FASTEST_BPM:
            raise InputError(
                f"tempo point {index} at beat {point.beat:g} has {point.bpm:g} bpm, "
                f"expected {SLOWEST_BPM:g} to {FASTEST_BPM:g}"
            )
        if abs(point.beat) > LARGEST_BEAT:
            raise InputError(
                f"tempo point {index} is at beat {point.beat:g}, expected at most {LARGEST_BEAT:g} either way"
            )
    if (np.diff(beats) < 0).any():
        index = int(np.argmax(np.diff(beats) < 0)) + 1
        raise InputError(
            f"tempo point {index} is at beat {beats[index]:g}, before the one at {beats[index - 1]:g}; "
            "expected points in order"
        )
    return beats, bpm, np.array([TEMPO_SHAPES.index(p.shape) for p in points], dtype=np.uint8)


def _checked_meters(meters: Sequence[Meter]) -> tuple[Meter, ...]:
    for index, meter in enumerate(meters):
        if not abs(meter.beat) <= LARGEST_BEAT:
            raise InputError(f"meter {index} is at beat {meter.beat}, expected at most {LARGEST_BEAT:g} either way")
        if meter.numerator < 1 or meter.denominator < 1 or meter.denominator & (meter.denominator - 1):
            raise InputError(
                f"meter {index} is {meter.numerator}/{meter.denominator}, "
                "expected at least 1 over a power of two, such as 7/8"
            )
        if index and meter.beat < meters[index - 1].beat:
            raise InputError(f"meter {index} is at beat {meter.beat:g}, before the one at {meters[index - 1].beat:g}")
    last_on_each_beat = tuple({meter.beat: meter for meter in meters}.values())
    if not last_on_each_beat or last_on_each_beat[0].beat > 0:
        return (FOUR_FOUR, *last_on_each_beat)
    return last_on_each_beat
