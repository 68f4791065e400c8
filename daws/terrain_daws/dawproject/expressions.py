"""Notes' own expressions: curves that a note carries, from its beginning on, as lanes over the arrangement.

A lane has one value, a chord has as many as it has notes: as with MPE, the lane follows the note that began last, and
goes back to the one before when that ends. Where the leading note has no such curve, the expression is at rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from terrain_core.breakpoints import Doubles
from terrain_core.lanes import Lane, Shape, TimeUnit
from terrain_daws.clips import Fragment, Piece, cut, in_sequence, joined

BEND_RANGE: Final = 48.0
"""Semitones of transposition that are one end of the lane: MPE's own."""

SOURCES: Final[Mapping[str, str]] = {
    "transpose": "MPE pitch bend",
    "timbre": "MPE timbre",
    "pressure": "MPE pressure",
    "channelPressure": "MPE pressure",
    "pitchBend": "MPE pitch bend",
}
"""Expression -> what it is in `controls.SOURCES_BY_KEY`; the others drive nothing by themselves."""

AT_REST: Final[Mapping[str, float]] = {
    "gain": 1.0,
    "pan": 0.5,
    "transpose": 0.5,
    "pitchBend": 0.5,
    "timbre": 0.5,
    "formant": 0.5,
}
"""Expression -> its value 0..1 where a note has none; 0 for the others."""


def normalised(expression: str, values: Doubles) -> Doubles:
    """An expression's values, 0..1: transposition in semitones either way, everything else as it is."""
    scaled = 0.5 + values / (2 * BEND_RANGE) if expression == "transpose" else values
    return scaled.clip(0.0, 1.0)


@dataclass(frozen=True)
class _Note:
    begin: float
    end: float
    curves: Mapping[str, Lane]  # over time from the note's beginning


@dataclass
class NoteExpressions:
    """Collects notes, track by track, each in its track's own time unit."""

    notes: dict[tuple[str, TimeUnit], list[_Note]] = field(default_factory=dict)

    def add(self, track: str, unit: TimeUnit, begin: float, end: float, curves: Mapping[str, Lane]) -> None:
        """A note with what it carries, if anything."""
        self.notes.setdefault((track, unit), []).append(_Note(begin, end, curves))

    def lanes(self) -> Iterator[tuple[str, Lane]]:
        """(source, lane) for each expression that a track's notes carry."""
        for (track, unit), notes in self.notes.items():
            names = dict.fromkeys(name for note in notes for name in note.curves)
            if not names:
                continue
            spans = list(_leading(notes))
            for name in names:
                rest = Lane([0.0], [AT_REST.get(name, 0.0)], Shape.HOLD)
                fragments: list[Fragment] = []
                for begin, end, note in spans:
                    curve = note.curves.get(name, rest)
                    fragments.append(cut(curve, Piece(begin - note.begin, end - note.begin, note.begin)))
                lane = joined(in_sequence(fragments), name=f"{name}, last note", unit=unit, track=track)
                yield SOURCES.get(name, ""), lane


def _leading(notes: list[_Note]) -> Iterator[tuple[float, float, _Note]]:
    """(begin, end, note): which note leads when. Times at which none sounds are in no span."""
    edges = sorted({edge for note in notes for edge in (note.begin, note.end)})
    waiting = sorted(notes, key=lambda note: note.begin)
    sounding: list[_Note] = []
    index = 0
    for position, now in enumerate(edges[:-1]):
        while index < len(waiting) and waiting[index].begin <= now:
            sounding.append(waiting[index])
            index += 1
        while sounding and sounding[-1].end <= now:  # one that ended further down goes when it is reached
            sounding.pop()
        if sounding:
            yield now, edges[position + 1], sounding[-1]
