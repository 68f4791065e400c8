"""Parameter values at the starts of frames: from a host's events (block mode) or from lanes (batch mode)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from types import MappingProxyType
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from terrain_core.engine.events import ParameterPoint
from terrain_core.errors import InputError
from terrain_core.parameters import PARAMETERS, by_key
from terrain_core.tempo import TempoMap

COLUMN: Mapping[str, int] = MappingProxyType({parameter.key: index for index, parameter in enumerate(PARAMETERS)})
"""Parameter key -> column of `Controls.values`."""

_COLUMN_BY_ID = {parameter.id: index for index, parameter in enumerate(PARAMETERS)}
_LOW = np.array([parameter.low for parameter in PARAMETERS])
_HIGH = np.array([parameter.high for parameter in PARAMETERS])
_STEPPED = np.array([parameter.stepped for parameter in PARAMETERS])


@dataclass(frozen=True)
class Controls:
    """Every parameter at every one of some frames.

    Attributes:
        values: (frames, parameters), plain values, each finite and in its parameter's range.
    """

    values: NDArray[np.float64]

    def __getitem__(self, key: str) -> NDArray[np.float64]:
        """One parameter over the frames: shape (frames,)."""
        return self.values[:, COLUMN[key]]

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _first(self) -> list[float]:
        return self.values[0].tolist() if len(self.values) else []

    def steady(self, key: str) -> float | None:
        """A parameter's value if it is the same at all frames (there must be one at least), else None.

        Most parameters rest most of the time, and a live engine has one frame at a time: this is far cheaper than to
        compare arrays.
        """
        value = self._first[COLUMN[key]]
        return value if len(self.values) == 1 or bool((self[key] == value).all()) else None

    def rest_at(self, columns: slice, value: float) -> bool:
        """Whether some neighbouring parameters all have one value at all frames."""
        if len(self.values) == 1:
            return all(here == value for here in self._first[columns])
        return bool((self.values[:, columns] == value).all())


class Breakpoint(NamedTuple):
    """Where a parameter arrives at a value; `line` says whether it gets there in a straight line or by a step."""

    offset: int
    value: float
    line: bool


_offset = attrgetter("offset")


class ControlState:
    """Block mode's controls: what every parameter is now, and what it was on the way here.

    Values that are not numbers are dropped, so that the last good one goes on; `dropped` counts them.
    Ids that are not in the table are ignored: a newer plugin's project may hold some.
    """

    def __init__(self) -> None:
        self.values = np.array([parameter.default for parameter in PARAMETERS])
        self.dropped = 0

    def set(self, values: Mapping[str, float]) -> None:
        """Set parameters at once, by key, clamped to their ranges.

        Raises:
            InputError: no such parameter, or a value is not a number; nothing was changed.
        """
        wanted = {COLUMN[by_key(key).key]: _finite(key, value) for key, value in values.items()}
        for column, value in wanted.items():
            self.values[column] = PARAMETERS[column].clamp(value)

    def __getitem__(self, key: str) -> float:
        """One parameter's value now."""
        return float(self.values[COLUMN[key]])

    def get(self) -> dict[str, float]:
        """Every parameter's value now, by key."""
        return dict(zip(COLUMN, self.values.tolist(), strict=True))

    def advance(
        self, points: Iterable[ParameterPoint], lines: bool, midi: Iterable[ParameterPoint], due: NDArray[np.int64]
    ) -> Controls:
        """Take in a block's changes; give the values at the frames that start in it.

        Args:
            points: the host's changes, joined by straight lines if `lines`.
            midi: changes that came as MIDI; always steps.
            due: (frames,) offsets at which frames read their controls, rising.
        """
        values = self.values[np.newaxis].repeat(len(due), axis=0)
        offsets = due.tolist()
        for column, breakpoints in self._by_column(points, lines, midi).items():
            if offsets:
                values[:, column] = _along(float(self.values[column]), breakpoints, offsets)
            self.values[column] = breakpoints[-1].value
        return Controls(values)

    def _by_column(
        self, points: Iterable[ParameterPoint], lines: bool, midi: Iterable[ParameterPoint]
    ) -> dict[int, list[Breakpoint]]:
        """The usable changes of each parameter by rising offset (of equal ones, the later in the list counts)."""
        columns: defaultdict[int, list[Breakpoint]] = defaultdict(list)
        for source, joined in ((points, lines), (midi, False)):
            for point in source:
                column = _COLUMN_BY_ID.get(point.parameter_id)
                if column is None:
                    continue
                if not math.isfinite(point.value):
                    self.dropped += 1
                    continue
                parameter = PARAMETERS[column]
                line = joined and not parameter.stepped
                columns[column].append(Breakpoint(max(point.offset, 0), parameter.clamp(point.value), line))
        for breakpoints in columns.values():
            breakpoints.sort(key=_offset)
        return columns


def _along(before: float, breakpoints: list[Breakpoint], due: list[int]) -> list[float]:
    """A parameter's values at the offsets `due`. It was `before` at the last sample of the block before, offset -1.

    Not vectorised: a block holds a few points and mostly one frame or none, where arrays cost more than they save.
    """
    return [_at(before, breakpoints, bisect_right(breakpoints, offset, key=_offset), offset) for offset in due]


def _at(before: float, breakpoints: list[Breakpoint], passed: int, offset: int) -> float:
    """The value at an offset by which `passed` breakpoints are behind."""
    last = breakpoints[passed - 1] if passed else Breakpoint(-1, before, False)
    if passed == len(breakpoints) or not breakpoints[passed].line:
        return last.value
    towards = breakpoints[passed]
    return last.value + (towards.value - last.value) * (offset - last.offset) / (towards.offset - last.offset)


class SampledLane(Protocol):
    """What batch mode needs of a `terrain_core.lanes.Lane`."""

    def values_at(self, seconds: NDArray[np.float64], tempo_map: TempoMap) -> NDArray[np.float64]:
        """The lane's plain values at times in seconds."""
        ...


class LaneControls:
    """Batch mode's controls: lanes by parameter key, constants for the rest."""

    def __init__(self, lanes: Mapping[str, SampledLane], tempo_map: TempoMap, constants: Mapping[str, float]) -> None:
        """
        Raises:
            InputError: no parameter has such a key, or a constant is not a number.
        """
        self._lanes = {COLUMN[by_key(key).key]: lane for key, lane in lanes.items()}
        self._tempo_map = tempo_map
        state = ControlState()
        state.set(constants)
        self._held = state.values
        self.dropped = 0

    @property
    def driven(self) -> frozenset[int]:
        """Ids of the parameters that have a lane."""
        return frozenset(PARAMETERS[column].id for column in self._lanes)

    def at(self, seconds: NDArray[np.float64]) -> Controls:
        """Values at rising times (frames,), later than those of the call before."""
        values = np.repeat(self._held[np.newaxis], len(seconds), axis=0)
        for column, lane in self._lanes.items():
            values[:, column] = self._finite_from(column, lane.values_at(seconds, self._tempo_map))
        np.clip(values, _LOW, _HIGH, out=values)
        values[:, _STEPPED] = np.rint(values[:, _STEPPED])
        if len(values):
            self._held = values[-1].copy()
        return Controls(values)

    def hold(self, points: Iterable[ParameterPoint], controls: Controls, due: NDArray[np.int64]) -> Controls:
        """Lay steps (MIDI) over parameters that no lane drives; `due` are the frames' offsets on the steps' time
        line.
        """
        free = [point for point in points if point.parameter_id not in self.driven]
        for point in free:
            column = _COLUMN_BY_ID[point.parameter_id]
            controls.values[due >= point.offset, column] = point.value
            self._held[column] = point.value
        return controls

    def _finite_from(self, column: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The values, each one that is not a number replaced by the last good one before it."""
        good = np.isfinite(values)
        if good.all():
            return values
        self.dropped += int((~good).sum())
        last_good = np.maximum.accumulate(np.where(good, np.arange(len(values)), -1))
        return np.where(last_good >= 0, values[last_good], self._held[column])


def _finite(key: str, value: float) -> float:
    if not math.isfinite(value):
        raise InputError(f"{key} is {value}: expected a number")
    return value
