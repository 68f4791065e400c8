"""REAPER's envelopes: points over seconds, and automation items, whose points count in quarter notes.

The shape of a segment belongs to its left point. Before the first point an envelope has the first value; of points at
one time the last counts from there on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from terrain_core.errors import InputError
from terrain_core.lanes import CODES, Lane, Shape
from terrain_core.tempo import TempoMap
from terrain_daws.clips import ROUNDING, Fragment, Piece, cut, in_sequence, joined, repeated
from terrain_daws.reaper.syntax import Block, Document

SHAPES: Final = (Shape.LINEAR, Shape.HOLD, Shape.SMOOTH, Shape.FAST_START, Shape.FAST_END, Shape.BEZIER)
"""By REAPER's number for an envelope's shape."""

MOST_POINTS: Final = 2_000_000
"""Points in one project, automation items unrolled."""

NEUTRAL_BASELINE, NEUTRAL_AMPLITUDE = 0.5, 1.0
KNOWN_LINES: Final = {"EGUID", "ACT", "VIS", "LANEHEIGHT", "ARM", "DEFSHAPE", "VOLTYPE", "PT", "POOLEDENVINST"}


@dataclass
class Points:
    """Breakpoints as they stand in the file: times in its own unit, values in the envelope's own range."""

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    tensions: list[float] = field(default_factory=list)

    def add(self, document: Document, line: int, words: Sequence[str], tension_at: int) -> None:
        """Take in a `PT` or `PPT` line, whose tension stands at the word `tension_at`."""
        self.times.append(document.number(line, words, 1))
        self.values.append(document.number(line, words, 2))
        shape = document.number(line, words, 3, 0.0)
        if shape not in range(len(SHAPES)):
            raise document.error(line, f"{words[0]} has the shape {words[3]}, expected 0 to {len(SHAPES) - 1}")
        tension = document.number(line, words, tension_at, 0.0)
        if not -1 <= tension <= 1:
            raise document.error(line, f"{words[0]} has the tension {words[tension_at]}, expected -1 to 1")
        self.codes.append(CODES[SHAPES[int(shape)]])
        self.tensions.append(tension)

    def sorted(self) -> bool:
        """Put the points in order, where they are not; whether they were not."""
        times = np.array(self.times)
        if (np.diff(times) >= 0).all():
            return False
        order = np.argsort(times, kind="stable").tolist()
        for rows in (self.times, self.values, self.codes, self.tensions):
            rows[:] = [rows[index] for index in order]
        return True


@dataclass(frozen=True)
class AutomationItem:
    """A `POOLEDENVINST`: where a pool's points are played. Seconds, but `start_offset` in quarter notes."""

    line: int
    pool: int
    position: float
    length: float
    start_offset: float
    play_rate: float
    baseline: float
    amplitude: float
    loops: bool


@dataclass
class Pool:
    """A `POOLEDENV`: points over quarter notes, values 0..1 of the envelope that plays them."""

    length: float
    points: Points


@dataclass
class Envelope:
    """An envelope block."""

    block: Block
    points: Points
    items: list[AutomationItem]
    active: bool


@dataclass
class EnvelopeReader:
    """Reads the envelopes of one project.

    Attributes:
        report: gets (line, what) of everything that is not taken over.
        repaired: gets (line, what) of everything that was mended.
    """

    document: Document
    tempo_map: TempoMap
    pools: Mapping[int, Pool]
    report: Callable[[int, str], None]
    repaired: Callable[[int, str], None]
    points_read: int = 0

    def read(self, block: Block) -> Envelope:
        """Take an envelope apart."""
        document = self.document
        envelope = Envelope(block, Points(), [], active=True)
        strange: dict[str, int] = {}
        for line, words in document.tagged(block):
            tag = words[0]
            if tag == "PT":
                envelope.points.add(document, line, words, 7)
            elif tag == "POOLEDENVINST":
                self._item(line, words, envelope.items)
            elif tag == "ACT":
                envelope.active = document.number(line, words, 1) != 0
            elif tag not in KNOWN_LINES:
                strange.setdefault(tag, line)
        for tag, line in strange.items():
            self.report(line, f"{tag!r:.40} in the envelope <{block.tag} is not known")
        self._count(block.begin, len(envelope.points.times))
        if envelope.points.sorted():
            self.repaired(block.begin, f"the points of the envelope <{block.tag} were out of order; sorted")
        return envelope

    def _item(self, line: int, words: Sequence[str], items: list[AutomationItem]) -> None:
        number = self.document.number
        if number(line, words, 13, 0.0):
            return  # muted
        position, length, rate = (number(line, words, index) for index in (2, 3, 5))
        if length <= 0 or not 0 < rate <= 1e4:
            raise self.document.error(line, f"an automation item of {length:g} s at the play rate {rate:g}")
        offset_s, offset_qn = number(line, words, 4), number(line, words, 14, 0.0)
        bpm = float(self.tempo_map.bpm_at_seconds(position))
        items.append(
            AutomationItem(
                line=line,
                pool=int(number(line, words, 1)),
                position=position,
                length=length,
                start_offset=offset_qn or offset_s * bpm / 60,
                play_rate=rate,
                baseline=number(line, words, 7, NEUTRAL_BASELINE),
                amplitude=number(line, words, 8, NEUTRAL_AMPLITUDE),
                loops=number(line, words, 9, 0.0) != 0,
            )
        )

    def lane(self, envelope: Envelope, low: float, high: float, **labels: Any) -> Lane | None:
        """The envelope as a lane over seconds, values 0..1 of `low`..`high`; None if it has neither points nor
        items.
        """
        points = envelope.points
        line = envelope.block.begin
        fragments: list[Fragment] = []
        for item in envelope.items:
            fragments = [*self._around(fragments, item), *self._played(item)]
        try:
            base = None
            if points.times:
                values = (np.array(points.values) - low) / (high - low)
                codes = np.array(points.codes, dtype=np.uint8)
                base = Lane(points.times, values, codes, points.tensions, unit="seconds", **labels)
            if not fragments:
                return base
            if base is not None:
                fragments += self._beside(base, fragments)
                self._warn_of_hidden_points(envelope)
            self._count(line, sum(len(fragment.times) for fragment in fragments))
            return joined(in_sequence(fragments), unit="seconds", **labels)
        except InputError as error:
            raise self.document.error(line, f"the envelope <{envelope.block.tag}: {error}") from None

    def _played(self, item: AutomationItem) -> list[Fragment]:
        """What one automation item plays, over seconds."""
        pool = self.pools.get(item.pool)
        if pool is None or not pool.points.times or pool.length <= 0:
            self.report(item.line, f"an automation item plays the pool {item.pool}, which is not there or empty")
            return []
        move = self.tempo_map
        begin, end = (float(move.beats_at(seconds)) for seconds in (item.position, item.position + item.length))
        values = item.baseline + (np.array(pool.points.values) - NEUTRAL_BASELINE) * item.amplitude
        if (item.baseline, item.amplitude) != (NEUTRAL_BASELINE, NEUTRAL_AMPLITUDE):
            self.report(
                item.line, "baseline and amplitude of an automation item: taken as baseline + (value - 0.5) · amplitude"
            )
        content = Lane(
            np.array(pool.points.times) / item.play_rate,
            np.clip(values, 0, 1),
            np.array(pool.points.codes, dtype=np.uint8),
            pool.points.tensions,
        )
        length, start = pool.length / item.play_rate, item.start_offset / item.play_rate
        passes = (end - begin) / length
        if passes > MOST_POINTS or passes * len(content) > MOST_POINTS:
            raise self.document.error(item.line, f"an automation item repeats {passes:.3g} times")
        pieces = (
            repeated(begin, end, start % length, 0.0, length)
            if item.loops
            else [Piece(start, start + end - begin, begin - start)]
        )
        fragments = []
        for piece in pieces:
            fragment = cut(content, piece)
            self._count(item.line, len(fragment.times))
            lane = fragment.lane().to_seconds(move)
            fragments.append(Fragment(lane.times.copy(), lane.values, lane.shape_codes, lane.tensions))
        return fragments

    def _around(self, fragments: list[Fragment], item: AutomationItem) -> list[Fragment]:
        """What is left of earlier items where a later one covers them."""
        begin, end = item.position, item.position + item.length
        kept = []
        for fragment in fragments:
            first, last = float(fragment.times[0]), float(fragment.times[-1])
            if last <= begin or first >= end:
                kept.append(fragment)
                continue
            if max(abs(first - begin), abs(last - end)) > ROUNDING:
                self.report(item.line, "an automation item covers another one; where they overlap the later one plays")
            lane = fragment.lane(unit="seconds")
            kept += [cut(lane, Piece(a, b, 0.0)) for a, b in ((first, begin), (end, last)) if b > a + ROUNDING]
        return kept

    def _beside(self, base: Lane, fragments: list[Fragment]) -> list[Fragment]:
        """The envelope's own curve wherever no item plays."""
        edges = sorted((float(fragment.times[0]), float(fragment.times[-1])) for fragment in fragments)
        now = min(float(base.times[0]), edges[0][0])
        pieces = []
        for begin, end in [*edges, (math.inf, math.inf)]:
            if begin > now:
                pieces.append(cut(base, Piece(now, begin, 0.0)))
            now = max(now, end)
        return pieces

    def _warn_of_hidden_points(self, envelope: Envelope) -> None:
        times = np.array(envelope.points.times)
        for item in envelope.items:
            inside = (times > item.position) & (times < item.position + item.length)
            if inside.any():
                self.report(
                    item.line,
                    f"an automation item lies over {int(inside.sum())} points of the envelope; the item alone was read",
                )

    def _count(self, line: int, points: int) -> None:
        self.points_read += points
        if self.points_read > MOST_POINTS:
            raise self.document.error(line, f"has more than {MOST_POINTS:,} points")


def read_pools(document: Document, report: Callable[[int, str], None]) -> dict[int, Pool]:
    """The project's automation pools by their ids."""
    pools = {}
    for block in document.root.find_all("POOLEDENV"):
        pool, number = Pool(0.0, Points()), -1
        for line, words in document.tagged(block):
            if words[0] == "ID":
                number = int(document.number(line, words, 1))
            elif words[0] == "SRCLEN":
                pool.length = document.number(line, words, 1)
            elif words[0] == "PPT":
                pool.points.add(document, line, words, 4)
            elif words[0] == "LFO" and any(word not in ("0", "0.0") for word in words[1:2]):
                report(line, f"the pool {number} is made by an LFO, which is not read; its points are")
            elif words[0] not in ("NAME", "LFO"):
                report(line, f"{words[0]!r:.40} in an automation pool is not known")
        pool.points.sorted()
        pools[number] = pool
    return pools
