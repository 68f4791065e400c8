"""A DAWproject's project.xml, read as a stream: points and notes go into arrays, only the rest becomes a tree."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from lxml import etree
from numpy.typing import NDArray

from terrain_core.breakpoints import Doubles
from terrain_core.errors import FileError
from terrain_core.lanes import CODES, Shape

PROJECT_FILE: Final = "project.xml"
MOST_POINTS: Final = 2_000_000
"""Points and notes in one project, loops unrolled."""

LARGEST_NUMBER: Final = 1e12
MOST_TREE_BYTES: Final = 32 << 20
MOST_BYTES_A_POINT: Final = 512
"""How much XML is taken: so many bytes per point or note, and so many for everything else, which stays in memory as a
tree.
"""

HOLD, LINEAR = CODES[Shape.HOLD], CODES[Shape.LINEAR]
SHAPE_CODES = {None: HOLD, "hold": HOLD, "linear": LINEAR}
TRUTH = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}


@dataclass
class PointRows:
    """The points of one `Points` element. Kind is the tag of its points; meters are (numerator, denominator)."""

    kind: str = ""
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    codes: bytearray = field(default_factory=bytearray)
    meters: list[tuple[int, int]] = field(default_factory=list)

    def in_order(self) -> tuple[Doubles, Doubles, NDArray[np.uint8]]:
        """Times, values and shape codes, sorted by time; points on one time keep their order."""
        times = np.array(self.times)
        order = np.argsort(times, kind="stable")
        values = np.array(self.values) if self.values else np.zeros(len(times))
        codes = np.frombuffer(bytes(self.codes), dtype=np.uint8) if self.codes else np.zeros(len(times), dtype=np.uint8)
        return times[order], values[order], codes[order]


class Metered:
    """A stream of XML that ends with an error before its tree fills the memory."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path = path
        self.stream = stream
        self.budget = MOST_TREE_BYTES

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.budget -= len(data)
        if self.budget < 0:
            problem = f"has more than {MOST_TREE_BYTES >> 20} MiB of XML besides points and notes"
            raise FileError(self.path, problem, position=PROJECT_FILE)
        return data


@dataclass
class Document:
    """The tree without points and notes, and those beside it, by the element they stood in."""

    path: Path
    root: Any
    points: dict[Any, PointRows]
    notes: dict[Any, list[tuple[float, float, int, int, float]]]  # time, duration, channel, key, velocity
    expressions: dict[Any, list[tuple[int, Any]]]  # Notes element -> (which of its notes, a Points element in it)

    @classmethod
    def parse(cls, path: Path, stream: IO[bytes]) -> Document:
        document = cls(path, None, {}, {}, {})
        metered = Metered(path, stream)
        events = etree.iterparse(
            metered,
            events=("start",),
            tag=("Project", "Note", *READ_POINT),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
        )
        count = 0
        try:
            for _, element in events:
                if element.tag == "Project":
                    if element.getroottree().docinfo.internalDTD is not None:
                        raise FileError(
                            path,
                            "has a document type, where entities are declared; expected none",
                            position=PROJECT_FILE,
                        )
                    continue
                count += 1
                metered.budget += MOST_BYTES_A_POINT
                if count > MOST_POINTS:
                    raise document.error(element, f"has more than {MOST_POINTS:,} points and notes")
                document._take(element)
        except etree.XMLSyntaxError as error:
            raise FileError(
                path, f"is not well-formed XML ({error.msg})", position=f"{PROJECT_FILE} line {error.lineno}"
            ) from None
        document.root = events.root
        if document.root.tag != "Project":
            raise document.error(document.root, f"begins with <{document.root.tag}>, expected <Project>")
        return document

    def _take(self, element: Any) -> None:
        """Note down a point or a note, and drop those before it from the tree: nothing will ask for them again."""
        parent = element.getparent()
        if element.tag == "Note":
            self._take_note(element, parent)
        else:
            self._take_point(element, parent)
        while (before := element.getprevious()) is not None and before.tag != "Target":
            parent.remove(before)

    def _take_point(self, element: Any, parent: Any) -> None:
        rows = self.points.get(parent)
        if rows is None:
            rows = self.points[parent] = PointRows(kind=element.tag)
            self._take_expression(parent)
        if rows.kind != element.tag:
            raise self.error(element, f"is a {element.tag} among points of type {rows.kind}")
        time = self.number(element, "time")
        rows.times.append(time)
        READ_POINT[element.tag](self, element, rows)

    def _take_expression(self, points: Any) -> None:
        """Note down which note a `<Points>` belongs to, if it lies in one."""
        note = next((above for above in points.iterancestors() if above.tag in ("Note", "Clip", "Arrangement")), None)
        if note is not None and note.tag == "Note":
            notes = note.getparent()
            self.expressions.setdefault(notes, []).append((len(self.notes[notes]) - 1, points))

    def _take_note(self, element: Any, parent: Any) -> None:
        row = (
            self.number(element, "time"),
            self.number(element, "duration"),
            int(self.number(element, "channel", 0.0)),
            int(self.number(element, "key")),
            self.number(element, "vel", 1.0),
        )
        self.notes.setdefault(parent, []).append(row)

    def real_point(self, element: Any, rows: PointRows) -> None:
        rows.values.append(self.number(element, "value", endless=True))
        interpolation = element.get("interpolation")
        if interpolation not in SHAPE_CODES:
            raise self.error(element, f"has the interpolation {interpolation!r}, expected hold or linear")
        rows.codes.append(SHAPE_CODES[interpolation])

    def whole_point(self, element: Any, rows: PointRows) -> None:
        rows.values.append(self.number(element, "value"))
        rows.codes.append(HOLD)

    def bool_point(self, element: Any, rows: PointRows) -> None:
        rows.values.append(self.truth(element, "value"))
        rows.codes.append(HOLD)

    def meter_point(self, element: Any, rows: PointRows) -> None:
        rows.meters.append((int(self.number(element, "numerator")), int(self.number(element, "denominator"))))

    def number(self, element: Any, name: str, default: float | None = None, *, endless: bool = False) -> float:
        """An attribute as a number; `endless`: it may be infinite."""
        text = element.get(name)
        if text is None:
            if default is None:
                raise self.error(element, f"<{element.tag}> has no {name}")
            return default
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (abs(number) <= LARGEST_NUMBER or (math.isinf(number) and endless)):
            raise self.error(element, f"<{element.tag}> has {name}={text!r:.40}, expected a number of sensible size")
        return number

    def truth(self, element: Any, name: str) -> float:
        """An attribute as 1 (true) or 0."""
        text = element.get(name, "")
        if text not in TRUTH:
            raise self.error(element, f"<{element.tag}> has {name}={text!r:.40}, expected true or false")
        return TRUTH[text]

    def error(self, element: Any, problem: str) -> FileError:
        return FileError(self.path, problem, position=place(element))


READ_POINT: Final[dict[str, Callable[[Document, Any, PointRows], None]]] = {
    "RealPoint": Document.real_point,
    "EnumPoint": Document.whole_point,
    "IntegerPoint": Document.whole_point,
    "BoolPoint": Document.bool_point,
    "TimeSignaturePoint": Document.meter_point,
}


def place(element: Any) -> str:
    return f"{PROJECT_FILE} line {element.sourceline}"
