"""Automation lanes: one parameter's breakpoints over beats or seconds, with a curve shape per segment."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.breakpoints import Doubles, as_doubles, as_finite, find_interval
from terrain_core.errors import InputError
from terrain_core.tempo import TempoMap

TimeUnit = Literal["beats", "seconds"]
TIME_UNITS: Final[tuple[str, ...]] = get_args(TimeUnit)

LARGEST_TIME: Final = 1e9
LARGEST_VALUE: Final = 1e100
ZERO_OF_EXPONENTIALS: Final = 1e-7
MOST_PIECES: Final = 1024
"""Straight pieces that one segment is cut into, at most."""

MOST_HALVINGS: Final = 24
"""How often `Lane.straightened` halves a piece: to 6e-8 of the segment."""

CHUNK: Final = 16384
"""Samples evaluated at once: the intermediate arrays stay in the processor's cache."""


class Shape(enum.Enum):
    """How a segment goes from its value to the next point's: the progress, 0 to 1, for u from 0 to 1 in time."""

    HOLD = "hold"  # 0: jumps at the next point
    LINEAR = "linear"  # u
    SMOOTH = "smooth"  # u² (3 - 2u): slow start and end
    FAST_START = "fast-start"  # 1 - (1 - u)³
    FAST_END = "fast-end"  # u³
    EXPONENTIAL = "exponential"  # equal ratios in equal times: value = from · (to / from)^u
    BEZIER = "bezier"  # by the point's tension, -1 (early) .. 1 (late); see `_bezier`


@dataclass(frozen=True)
class Point:
    """A breakpoint. The shape (and the tension, which only a Bézier has) belongs to the segment that starts here."""

    time: float
    value: float
    shape: Shape = Shape.LINEAR
    tension: float = 0.0


def _bezier(u: Doubles, tension: Doubles) -> Doubles:
    """REAPER's Bézier segment, without a look at the neighbours: a cubic whose handles are at 1/4 and 3/4 of the
    segment and move towards the corner (end, start value) for a tension of 1, (start, end value) for -1.

    Source: SWS's account of REAPER's rule, for a segment without neighbours, and the figures in Cockos' forum, post
    1690470.
    """
    towards = np.where(tension > 0, 1.0, 0.0)
    reach = np.abs(tension)
    x1, x2 = (handle + reach * (towards - handle) for handle in (0.25, 0.75))
    y1, y2 = (handle + reach * (1 - towards - handle) for handle in (0.25, 0.75))
    parameter = _invert_cubic(u, x1, x2)
    return _cubic(parameter, y1, y2)


def _cubic(s: Doubles, first: Doubles, second: Doubles) -> Doubles:
    """A cubic Bézier from 0 to 1 with the handles `first` and `second`, at the parameter s."""
    r = 1 - s
    return ((3 * r * first + 3 * s * second) * r + s * s) * s


def _invert_cubic(target: Doubles, first: Doubles, second: Doubles) -> Doubles:
    """The s in 0..1 at which the cubic has the value `target`, by Laguerre's method.

    Newton creeps where the slope vanishes, which at tension ±1 it does at an end; Laguerre's step is exact at a triple
    root. Six steps are at the limit of double precision for every tension (five leave 1e-6 at the ends).
    """
    c1, c2, c3 = 3 * first, 3 * second - 6 * first, 1 + 3 * first - 3 * second
    s = target
    for _ in range(6):
        error = ((c3 * s + c2) * s + c1) * s - target
        slope = (3 * c3 * s + 2 * c2) * s + c1
        curvature = 6 * c3 * s + 2 * c2
        divisor = slope + np.sqrt(np.maximum(4 * slope * slope - 6 * error * curvature, 0.0))
        s = np.clip(s - 3 * error / np.maximum(divisor, 1e-300), 0.0, 1.0)
    return s


# `bend` is the segment's one parameter: the tension of a Bézier, ln(to / from) of an exponential.
LAWS: Final[Mapping[Shape, Callable[[Doubles, Doubles], Doubles]]] = {
    Shape.HOLD: lambda u, bend: np.zeros_like(u),
    Shape.LINEAR: lambda u, bend: u,
    Shape.SMOOTH: lambda u, bend: u * u * (3 - 2 * u),
    Shape.FAST_START: lambda u, bend: 1 - (1 - u) ** 3,
    Shape.FAST_END: lambda u, bend: u * u * u,
    Shape.EXPONENTIAL: lambda u, bend: np.expm1(u * bend) / np.expm1(bend),
    Shape.BEZIER: _bezier,
}
SHAPES: Final[tuple[Shape, ...]] = tuple(LAWS)
CODES: Final[Mapping[Shape, int]] = {shape: code for code, shape in enumerate(SHAPES)}
HOLD, LINEAR, EXPONENTIAL = CODES[Shape.HOLD], CODES[Shape.LINEAR], CODES[Shape.EXPONENTIAL]


class Lane:
    """One parameter's automation. Read-only; its arrays are not writable.

    Before the first point the lane has the first point's value, after the last one the last one's. Of points at one
    time the last counts from that time on, and the segment before goes to the first of them.

    Args:
        times: shape (points,), at least one, in order, in `unit`.
        values: shape (points,); 0..1 of the parameter's range where a DAW project is read.
        shapes: one for all, or one per point: `Shape`, its text ("hold"), or a uint8 array of indices into `SHAPES`.
        tensions: one for all, or one per point, -1..1.
        name: what the project calls it.
        key: the key in `terrain_core.parameters` that it drives; empty if none.
        unit: "beats" (quarter notes) or "seconds".
        track: where the project has it; so for the rest.
        plugin: its name in the project.
        plugin_id: the project's own for the plugin.
        parameter_id: the plugin's for the parameter.
        active: False if the project holds the lane but does not play it.

    An exponential segment that starts or ends at zero is drawn as if that zero were 1e-7 (-140 dB) of its other end.

    Raises:
        InputError: no points, arrays of unequal lengths, times out of order, NaN or infinity, a tension beyond ±1, an
            exponential segment across zero.
    """

    def __init__(
        self,
        times: ArrayLike,
        values: ArrayLike,
        shapes: Shape | str | Sequence[Shape | str] | NDArray[np.uint8] = Shape.LINEAR,
        tensions: ArrayLike = 0.0,
        *,
        name: str = "",
        key: str = "",
        unit: TimeUnit = "beats",
        track: str = "",
        plugin: str = "",
        plugin_id: str = "",
        parameter_id: int | None = None,
        active: bool = True,
    ) -> None:
        if unit not in TIME_UNITS:
            raise InputError(f"a lane's unit is {unit!r}, expected one of {', '.join(TIME_UNITS)}")
        self.name = name
        self.key = key
        self.unit: TimeUnit = unit
        self.track = track
        self.plugin = plugin
        self.plugin_id = plugin_id
        self.parameter_id = parameter_id
        self.active = active
        self.times = _checked_times(times)
        self.values = _checked_values(values, len(self.times))
        self.shape_codes = _shape_codes(shapes, len(self.times))
        self.tensions = _checked_tensions(tensions, len(self.times))
        self._segments = _Segments(self.times, self.values, self.shape_codes, self.tensions)
        for array in (self.times, self.values, self.shape_codes, self.tensions):
            array.setflags(write=False)

    @classmethod
    def from_points(cls, points: Iterable[Point], **labels: Any) -> Lane:
        """A lane from `Point`s in order; `labels` as for the class."""
        rows = list(points)
        return cls(
            [p.time for p in rows],
            [p.value for p in rows],
            [p.shape for p in rows],
            [p.tension for p in rows],
            **labels,
        )

    @property
    def points(self) -> list[Point]:
        """The breakpoints, made anew at each call."""
        columns = (self.times.tolist(), self.values.tolist(), self.shape_codes.tolist(), self.tensions.tolist())
        return [Point(time, value, SHAPES[code], tension) for time, value, code, tension in zip(*columns, strict=True)]

    def labelled(self, **labels: Any) -> Lane:
        """The same curve under other labels, e.g. `lane.labelled(key="x")`."""
        return Lane(self.times, self.values, self.shape_codes, self.tensions, **(self.labels | labels))

    def sample(self, times: ArrayLike) -> Doubles:
        """The lane's values at `times` (in the lane's own unit, any shape, any order; in order is fastest), of the
        same shape.

        Raises:
            InputError: a time is NaN or infinite.
        """
        queries = as_finite(times, "times")
        return self._segments.sample(queries.ravel()).reshape(queries.shape)

    def values_at(self, seconds: ArrayLike, tempo_map: TempoMap) -> Doubles:
        """The lane's values at `seconds`, whatever its own unit."""
        return self.sample(tempo_map.beats_at(seconds) if self.unit == "beats" else seconds)

    def straightened(self, tolerance: float = 1e-4) -> Lane:
        """The lane with holds and straight lines only: curves are halved, and their halves again (at most
        `MOST_HALVINGS` times), until each piece is within `tolerance` of the curve's rise.
        """
        curved = np.flatnonzero((self.shape_codes[:-1] != HOLD) & (self.shape_codes[:-1] != LINEAR))
        if not curved.size and self.shape_codes[-1] in (HOLD, LINEAR):
            return self
        knots = _halved(self.times, self.values, curved, self.sample, tolerance)
        where = np.searchsorted(self.times, knots, side="right")
        codes = np.where(self.shape_codes == HOLD, HOLD, LINEAR).astype(np.uint8)
        return Lane(
            np.insert(self.times, where, knots),
            np.insert(self.values, where, self.sample(knots)),
            np.insert(codes, where, LINEAR),
            **self.labels,
        )

    def mapped(self, function: Callable[[Doubles], Doubles], tolerance: float = 1e-4) -> Lane:
        """The lane that has `function` of this one's values everywhere, in straight pieces as `straightened` cuts them.

        Args:
            function: values of any shape (points,) -> as many; continuous and monotone over each segment.
        """
        values = function(self.values)
        sloped = np.flatnonzero((self.shape_codes[:-1] != HOLD) & (np.diff(values) != 0))
        codes = np.where(self.shape_codes == HOLD, HOLD, LINEAR).astype(np.uint8)
        knots = _halved(
            self.times,
            values,
            sloped,
            lambda times: function(self.sample(times).ravel()).reshape(times.shape),
            tolerance,
        )
        where = np.searchsorted(self.times, knots, side="right")
        return Lane(
            np.insert(self.times, where, knots),
            np.insert(values, where, function(self.sample(knots))),
            np.insert(codes, where, LINEAR),
            **self.labels,
        )

    def to_beats(self, tempo_map: TempoMap, tolerance: float = 1e-4) -> Lane:
        """The lane over beats. See `to_seconds`."""
        return self if self.unit == "beats" else self._moved("beats", tempo_map, tolerance)

    def to_seconds(self, tempo_map: TempoMap, tolerance: float = 1e-4) -> Lane:
        """The lane over seconds.

        Points move exactly. A segment that the tempo map bends (a ramp or a tempo change lies within) by more than
        `tolerance` of its rise is cut into straight pieces, as few as keep it within the tolerance (at most
        `MOST_PIECES`).
        """
        return self if self.unit == "seconds" else self._moved("seconds", tempo_map, tolerance)

    def _moved(self, unit: TimeUnit, tempo_map: TempoMap, tolerance: float) -> Lane:
        move, back = (
            (tempo_map.seconds_at, tempo_map.beats_at)
            if unit == "seconds"
            else (tempo_map.beats_at, tempo_map.seconds_at)
        )
        moved = Lane(move(self.times), self.values, self.shape_codes, self.tensions, **(self.labels | {"unit": unit}))
        bent = _bent_segments(self, moved, back, tolerance)
        if not bent.size:
            return moved
        corners = tempo_map.point_seconds if self.unit == "seconds" else np.array([p.beat for p in tempo_map.points])
        pieces = [_straight_pieces(self, int(i), move, corners, tolerance) for i in bent]
        at = np.repeat(bent + 1, [len(times) for times, _ in pieces])
        codes = moved.shape_codes.copy()
        codes[bent] = LINEAR
        return Lane(
            np.insert(moved.times, at, np.concatenate([times for times, _ in pieces])),
            np.insert(moved.values, at, np.concatenate([values for _, values in pieces])),
            np.insert(codes, at, LINEAR),
            np.insert(moved.tensions, at, 0.0),
            **moved.labels,
        )

    @property
    def labels(self) -> dict[str, Any]:
        """Everything but the curve: name, key, unit, track, plugin, plugin_id, parameter_id, active."""
        names = ("name", "key", "unit", "track", "plugin", "plugin_id", "parameter_id", "active")
        return {name: getattr(self, name) for name in names}

    def __len__(self) -> int:
        return len(self.times)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Lane)
            and self.labels == other.labels
            and np.array_equal(self.times, other.times)
            and np.array_equal(self.values, other.values)
            and np.array_equal(self.shape_codes, other.shape_codes)
            and np.array_equal(self.tensions, other.tensions)
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, which is too much to hash

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        from terrain_core.notebook import lane_png

        return lane_png(self)

    def __repr__(self) -> str:
        label = f"{self.name!r}" + (f" -> {self.key}" if self.key else "")
        return f"Lane({label}, {len(self)} points, {self.unit} {self.times[0]:g} to {self.times[-1]:g})"


class _Segments:
    """The lane as parallel arrays, ready to sample: value = start_value + rise · law(u), u = (time - start) / length.

    Entry 0 is the time before the first point, entry i + 1 starts at point i. The outer two are flat: they have no
    rise and no end.
    """

    def __init__(self, times: Doubles, values: Doubles, codes: NDArray[np.uint8], tensions: Doubles) -> None:
        length = np.diff(times)
        rise = np.where(codes[:-1] == HOLD, 0.0, np.diff(values))
        bend = np.where(codes[:-1] == EXPONENTIAL, _log_ratios(values, codes), tensions[:-1])
        flat = (length == 0) | (rise == 0)
        # A hold is a straight line without a rise, and so is an exponential between values that are equal, or too small
        # for their ratio (0 / 0 in its law).
        level = (codes[:-1] == HOLD) | flat | ((codes[:-1] == EXPONENTIAL) & (bend == 0))
        law = np.where(level, LINEAR, codes[:-1])
        self.starts = times
        self.start = np.concatenate([[0.0], times[:-1], [0.0]])
        self.start_value = np.concatenate([values[:1], values])
        self.length = np.concatenate([[np.inf], np.where(flat, np.inf, length), [np.inf]])
        self.rise = np.concatenate([[0.0], rise, [0.0]])
        self.bend = np.concatenate([[0.0], bend, [0.0]])
        self.law = np.concatenate([[LINEAR], law, [LINEAR]]).astype(np.uint8)
        self.curved = [code for code in np.unique(self.law) if code != LINEAR]

    def sample(self, times: Doubles) -> Doubles:
        index = find_interval(self.starts, times)
        values = np.empty_like(times)
        for begin in range(0, len(times), CHUNK):
            part = slice(begin, begin + CHUNK)
            values[part] = self._evaluate(index[part], times[part])
        return values

    def _evaluate(self, index: NDArray[np.intp], times: Doubles) -> Doubles:
        progress: Doubles = (times - self.start[index]) / self.length[index]
        if self.curved:
            laws = self.law[index]
            for code in self.curved:
                at = np.flatnonzero(laws == code)
                if at.size:
                    progress[at] = LAWS[SHAPES[code]](progress[at], self.bend[index[at]])
        progress *= self.rise[index]
        progress += self.start_value[index]
        return progress


def _log_ratios(values: Doubles, codes: NDArray[np.uint8]) -> Doubles:
    """ln(to / from) per segment, 0 where the segment is not exponential.

    Raises:
        InputError: an exponential segment from one side of zero to the other.
    """
    begin, end = values[:-1], values[1:]
    exponential = codes[:-1] == EXPONENTIAL
    across = exponential & (np.sign(begin) * np.sign(end) < 0)
    if across.any():
        first = int(np.argmax(across))
        raise InputError(
            f"the exponential segment at point {first} goes from {begin[first]:g} to {end[first]:g}, across zero"
        )
    floor = ZERO_OF_EXPONENTIALS * np.maximum(np.abs(begin), np.abs(end))
    usable = exponential & (floor > 0)
    sizes = [np.where(usable, np.where(edge == 0, floor, np.abs(edge)), 1.0) for edge in (begin, end)]
    return np.asarray(np.clip(np.log(sizes[1]) - np.log(sizes[0]), -700.0, 700.0))  # exp overflows beyond


def _halved(
    times: Doubles,
    values: Doubles,
    segments: NDArray[np.intp],
    sample: Callable[[Doubles], Doubles],
    tolerance: float,
) -> Doubles:
    """The times, in order and without the segments' ends, between which straight lines follow `sample`."""
    begin, end = times[segments], times[segments + 1]
    first, last = values[segments], values[segments + 1]
    allowed = tolerance * np.abs(last - first)
    found = []
    for _ in range(MOST_HALVINGS):
        inside = begin[:, None] + (end - begin)[:, None] * np.array([0.25, 0.5, 0.75])
        curve = sample(inside)
        straight = first[:, None] + (last - first)[:, None] * np.array([0.25, 0.5, 0.75])
        middle = inside[:, 1]
        bent = (np.abs(curve - straight).max(axis=1) > allowed) & (begin < middle) & (middle < end)
        if not bent.any():
            break
        begin, middle, end, allowed = begin[bent], middle[bent], end[bent], allowed[bent]
        first, centre, last = first[bent], curve[bent, 1], last[bent]
        found.append(middle)
        begin, end = np.concatenate([begin, middle]), np.concatenate([middle, end])
        first, last = np.concatenate([first, centre]), np.concatenate([centre, last])
        allowed = np.concatenate([allowed, allowed])
    return np.sort(np.concatenate(found)) if found else np.zeros(0)


def _bent_segments(lane: Lane, moved: Lane, back: Callable[[Doubles], Doubles], tolerance: float) -> NDArray[np.intp]:
    """The segments that are more than `tolerance` of their rise off when only their ends are moved to the new time
    unit.
    """
    length, rise = np.diff(moved.times), np.abs(np.diff(moved.values))
    candidates = np.flatnonzero((length > 0) & (rise > 0) & (moved.shape_codes[:-1] != HOLD))
    if not candidates.size:
        return candidates
    inside = moved.times[candidates, None] + length[candidates, None] * np.linspace(0, 1, 9)[1:-1]
    deviation = np.abs(moved.sample(inside) - lane.sample(back(inside))).max(axis=1)
    bent: NDArray[np.intp] = candidates[deviation > tolerance * rise[candidates]]
    return bent


def _straight_pieces(
    lane: Lane, segment: int, move: Callable[[Doubles], Doubles], corners: Doubles, tolerance: float
) -> tuple[Doubles, Doubles]:
    """The inner points (moved times, values) of straight pieces that follow one segment of `lane`, without its ends."""
    begin, end = lane.times[segment], lane.times[segment + 1]
    ends = lane.values[segment], lane.values[segment + 1]
    corners = corners[(corners > begin) & (corners < end)]
    pieces = 2
    while True:
        inner = np.union1d(np.linspace(begin, end, pieces + 1)[1:-1], corners)
        values = lane.sample(inner)
        knots = np.concatenate([[begin], inner, [end]])
        middles = (knots[1:] + knots[:-1]) / 2
        straight = np.interp(move(middles), move(knots), np.concatenate([ends[:1], values, ends[1:]]))
        if pieces >= MOST_PIECES or np.abs(straight - lane.sample(middles)).max() <= tolerance * abs(ends[1] - ends[0]):
            return move(inner), values
        pieces *= 2


def _checked_times(times: ArrayLike) -> Doubles:
    array = as_finite(times, "times")
    if array.ndim != 1 or not array.size:
        raise InputError(f"a lane's times have the shape {array.shape}, expected (points,) with at least one point")
    if (np.diff(array) < 0).any():
        index = int(np.argmax(np.diff(array) < 0)) + 1
        raise InputError(
            f"times[{index}] is {array[index]:g}, before times[{index - 1}], {array[index - 1]:g}; "
            "expected times in order"
        )
    if max(-array[0], array[-1]) > LARGEST_TIME:
        raise InputError(
            f"a lane's times go from {array[0]:g} to {array[-1]:g}, expected at most {LARGEST_TIME:g} either way"
        )
    return array.copy()


def _checked_values(values: ArrayLike, count: int) -> Doubles:
    array = as_finite(values, "values")
    if array.shape != (count,):
        raise InputError(f"a lane's values have the shape {array.shape}, expected ({count},), one per time")
    if np.abs(array).max() > LARGEST_VALUE:
        raise InputError(
            f"a lane's value is {array[np.abs(array).argmax()]:g}, expected at most {LARGEST_VALUE:g} either way"
        )
    return array.copy()


def _checked_tensions(tensions: ArrayLike, count: int) -> Doubles:
    array = as_doubles(tensions, "tensions")
    if array.shape not in ((), (count,)):
        raise InputError(f"a lane's tensions have the shape {array.shape}, expected one or ({count},), one per point")
    if not (np.abs(array) <= 1).all():
        raise InputError("a lane's tension is NaN or beyond -1..1")
    return np.broadcast_to(array, (count,)).copy()


def _shape_codes(shapes: Shape | str | Sequence[Shape | str] | NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    if isinstance(shapes, (Shape, str)):
        return np.full(count, CODES[_shape(shapes)], dtype=np.uint8)
    if isinstance(shapes, np.ndarray) and shapes.dtype == np.uint8:
        codes = shapes.copy()
        if codes.size and codes.max() >= len(SHAPES):
            raise InputError(f"a lane's shape code is {codes.max()}, expected 0..{len(SHAPES) - 1}")
    else:
        codes = np.fromiter((CODES[_shape(shape)] for shape in shapes), dtype=np.uint8)
    if codes.shape != (count,):
        raise InputError(f"a lane has {codes.size} shapes for {count} points, expected one for all or one per point")
    return codes


def _shape(shape: Shape | str) -> Shape:
    try:
        return Shape(shape)
    except ValueError:
        raise InputError(
            f"unknown curve shape {shape!r}, expected one of {', '.join(s.value for s in Shape)}"
        ) from None
