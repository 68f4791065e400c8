"""Lanes from files that are no DAW's: tables (CSV) and what `terrain lanes --json` prints."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Final

from terrain_core import parameters
from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane, Point, Shape, TimeUnit
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws.project import Marker, Project
from terrain_daws.reading import TempoLaw, read

LARGEST_FILE: Final = 64 << 20
TIME_COLUMNS: Final[dict[str, TimeUnit]] = {"beat": "beats", "beats": "beats", "seconds": "seconds", "time": "seconds"}


def read_lanes(path: str | PathLike[str], law: TempoLaw = "daw") -> Project:
    """Lanes from a DAW project, or from a file of this package's own:

    * `.csv`: a header with `beat` or `seconds`, and a column for each parameter (`x`, `y`, `pressure`, …); values 0..1
      of its range. An empty cell is no point. Points are joined by straight lines.
    * `.json`: what `terrain lanes --json` prints.

    Raises:
        FileError: missing, damaged, or with nothing in it that drives one of our parameters; says the line or key.
    """
    file = Path(path)
    readers = {".csv": _read_csv, ".json": _read_json}
    reader = readers.get(file.suffix.casefold())
    if reader is None:
        return read(file, law)
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise FileError(file, f"has more than {LARGEST_FILE:,} bytes")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(file, f"cannot be opened ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise FileError(file, "is not UTF-8 text", position=f"byte {error.start}") from None
    try:
        return reader(file, text)
    except InputError as error:
        raise FileError(file, str(error)) from None


# --- CSV ------------------------------------------------------------------------------------------------------------


def _read_csv(path: Path, text: str) -> Project:
    try:
        rows = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise FileError(path, f"is no table ({error})") from None
    header = [cell.strip().casefold() for cell in rows[0]] if rows else []
    if not header or header[0] not in TIME_COLUMNS:
        expected = " or ".join(TIME_COLUMNS)
        raise FileError(
            path, f"begins with {','.join(header)!r:.60}, expected a first column {expected}", position="line 1"
        )
    known = {parameter.key for parameter in parameters.PARAMETERS if not parameter.read_only}
    if strange := [name for name in header[1:] if name not in known]:
        raise FileError(
            path,
            f"has a column {strange[0]!r:.40}, expected keys of parameters such as x, y, pressure",
            position="line 1",
        )
    columns: dict[str, list[Point]] = {name: [] for name in header[1:]}
    for line, row in enumerate(rows[1:], start=2):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        time = _number(path, line, cells[0])
        for name, cell in zip(header[1:], cells[1:], strict=False):
            if cell:
                columns[name].append(Point(time, _number(path, line, cell)))
    unit = TIME_COLUMNS[header[0]]
    lanes = [
        Lane.from_points(points, name=parameters.by_key(key).name, key=key, unit=unit)
        for key, points in columns.items()
        if points
    ]
    if not lanes:
        raise FileError(path, "has no values")
    return Project("csv", path, lanes=lanes)


def _number(path: Path, line: int, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FileError(path, f"has {text!r:.40}, expected a number", position=f"line {line}")
    return number


# --- JSON -----------------------------------------------------------------------------------------------------------


def _read_json(path: Path, text: str) -> Project:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise FileError(path, "is not JSON", position=place) from None
    if not isinstance(facts, dict) or not isinstance(facts.get("lanes"), list):
        raise FileError(path, "has no lanes, expected what `terrain lanes --json` prints")
    tempo = [
        TempoPoint(row.number("beat"), row.number("bpm"), row.text("shape", "step"))  # type: ignore[arg-type]
        for row in _rows(path, facts, "tempo")
    ]
    meters = [
        Meter(row.number("beat"), int(row.number("numerator")), int(row.number("denominator")))
        for row in _rows(path, facts, "meters")
    ]
    project = Project("json", path, tempo_map=TempoMap(tempo or [TempoPoint(0.0, 120.0)], meters))
    project.markers = [Marker(row.text("name", ""), row.number("beat")) for row in _rows(path, facts, "markers")]
    for row in _rows(path, facts, "lanes"):
        points = [
            Point(p.number("beat"), p.number("value"), Shape(p.text("shape", "linear")), p.number("tension", 0.0))
            for p in _rows(path, row.facts, "points")
        ]
        labels = {name: row.text(name, "") for name in ("name", "key", "track", "plugin")}
        project.lanes.append(Lane.from_points(points, active=row.facts.get("active", True) is True, **labels))
    return project


class _Row:
    """An object of the JSON, and where it is."""

    def __init__(self, path: Path, place: str, facts: Mapping[str, Any]) -> None:
        self.path, self.place, self.facts = path, place, facts

    def number(self, name: str, default: float | None = None) -> float:
        value = self.facts.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise FileError(self.path, f"{name} is {value!r:.40}, expected a number", position=self.place)
        return float(value)

    def text(self, name: str, default: str) -> str:
        value = self.facts.get(name, default)
        if not isinstance(value, str):
            raise FileError(self.path, f"{name} is {value!r:.40}, expected a text", position=self.place)
        if name == "shape" and value not in {shape.value for shape in Shape} | {
            "step",
            "linear-beats",
            "linear-seconds",
        }:
            raise FileError(self.path, f"the shape {value!r:.40} is not known", position=self.place)
        return value


def _rows(path: Path, facts: Mapping[str, Any], name: str) -> Iterator[_Row]:
    rows = facts.get(name, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FileError(path, f"{name} is no list of objects")
    for index, row in enumerate(rows):
        yield _Row(path, f"{name}[{index}]", row)
