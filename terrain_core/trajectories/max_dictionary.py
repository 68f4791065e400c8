"""The dictionaries that nn.terrain's objects pass to each other, as JSON files (Max's `dict` exports and imports them).

{"coordinates": {"1": {"0": [x, x, …], "1": [y, y, …]}, "2": …},     trajectories from "1", dimensions from "0"
 "latents":     {"1": {"0": […], …, "D-1": […]}, …},
 "anchors":     {"1": {"anchor_x": […], "anchor_y": […]}, …}}       what the player drew, for editing again
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import FileError, InputError
from terrain_core.safe_write import replacing
from terrain_core.trajectories.kinds import LatentTrajectory, SpatialTrajectory

MAX_BYTES = 1 << 28
ANCHOR_KEYS = ("anchor_x", "anchor_y")
T = TypeVar("T")


@dataclass(frozen=True)
class MaxDictionary:
    """The contents of such a file; each part may be empty."""

    coordinates: tuple[SpatialTrajectory, ...] = ()
    latents: tuple[LatentTrajectory, ...] = ()
    anchors: tuple[SpatialTrajectory, ...] = ()


def read_dictionary(path: str | PathLike[str]) -> MaxDictionary:
    """Read a dictionary of nn.terrain.

    Raises:
        FileError: missing, too large, not JSON, none of the three keys, dimensions of unequal lengths, no numbers;
            the position names trajectory and dimension.
    """
    root = _load(path)
    if not isinstance(root, dict) or not root.keys() & {"coordinates", "latents", "anchors"}:
        problem = 'has none of the keys "coordinates", "latents" and "anchors"'
        raise FileError(path, problem, hint="expected a dictionary of nn.terrain")
    numbered = [str(number) for number in range(1024)]
    return MaxDictionary(
        coordinates=_read_part(path, root, "coordinates", numbered, SpatialTrajectory),
        latents=_read_part(path, root, "latents", numbered, LatentTrajectory),
        anchors=_read_part(path, root, "anchors", ANCHOR_KEYS, SpatialTrajectory),
    )


def _load(path: str | PathLike[str]) -> Any:
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FileError(path, f"could not be read: {error.strerror or error}") from error
    if len(data) > MAX_BYTES:
        raise FileError(path, f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        return json.loads(data)
    except json.JSONDecodeError as error:
        raise FileError(path, f"is not JSON: {error.msg}", position=f"line {error.lineno}") from error
    except (UnicodeDecodeError, RecursionError, ValueError) as error:
        raise FileError(path, "is not JSON") from error


def _read_part(
    path: str | PathLike[str],
    root: dict[str, Any],
    part: str,
    keys: Sequence[str],
    kind: Callable[[str, NDArray[Any]], T],
) -> tuple[T, ...]:
    entries = root.get(part, {})
    if not isinstance(entries, dict) or not all(name.isdecimal() for name in entries):
        raise FileError(path, 'expected trajectories named "1", "2", …', position=part)
    return tuple(
        _read_trajectory(path, f"{part}, trajectory {name}", name, entries[name], keys, kind)
        for name in sorted(entries, key=int)
    )


def _read_trajectory(
    path: str | PathLike[str],
    position: str,
    name: str,
    entry: Any,
    keys: Sequence[str],
    kind: Callable[[str, NDArray[Any]], T],
) -> T:
    if not isinstance(entry, dict) or not entry or set(entry) != set(keys[: len(entry)]):
        raise FileError(path, f'expected dimensions named "{keys[0]}", "{keys[1]}", …', position=position)
    columns = [np.atleast_1d(_numbers(path, f"{position}, dimension {key}", entry[key])) for key in keys[: len(entry)]]
    if len({len(column) for column in columns}) != 1:
        raise FileError(
            path, f"dimensions of unequal lengths: {[len(column) for column in columns]}", position=position
        )
    try:
        return kind(name, np.stack(columns, axis=1))
    except InputError as error:
        raise FileError(path, str(error), position=position) from error


def _numbers(path: str | PathLike[str], position: str, values: Any) -> NDArray[np.float64]:
    """A list of numbers, or a single one: Max writes a list of one element as the element."""
    listed = values if isinstance(values, list) else [values]
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in listed):
        raise FileError(path, "expected a list of numbers", position=position)
    try:
        return np.array(listed, np.float64)
    except OverflowError as error:
        raise FileError(path, "a number too large", position=position) from error


def write_dictionary(dictionary: MaxDictionary, path: str | PathLike[str]) -> None:
    """Write a dictionary for nn.terrain. Trajectories are numbered; their names are lost, Max has no place for them.

    Raises:
        FileError: the file cannot be written; there is then no half-written one.
    """
    root: dict[str, Any] = {}
    if dictionary.coordinates:
        root["coordinates"] = _part([item.points for item in dictionary.coordinates])
    if dictionary.latents:
        root["latents"] = _part([item.latents for item in dictionary.latents])
    if dictionary.anchors:
        root["anchors"] = _part([item.points for item in dictionary.anchors], ANCHOR_KEYS)
    with replacing(path) as beside:
        beside.write_text(json.dumps(root), encoding="utf-8")


def _part(trajectories: Sequence[NDArray[Any]], keys: Sequence[str] | None = None) -> dict[str, dict[str, list[float]]]:
    return {
        str(number): {(keys[axis] if keys else str(axis)): column.tolist() for axis, column in enumerate(rows.T)}
        for number, rows in enumerate(trajectories, start=1)
    }
