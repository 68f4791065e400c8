"""Clips: windows onto a lane, played somewhere in the arrangement, perhaps again and again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrain_core.breakpoints import Doubles
from terrain_core.lanes import CODES, Lane, Shape

HOLD = CODES[Shape.HOLD]
PLAIN = (HOLD, CODES[Shape.LINEAR])
ROUNDING = 1e-6
"""Beats or seconds: far more than the error of adding up a clip's times, far less than anyone hears."""


@dataclass(frozen=True)
class Piece:
    """The content from `begin` to `end` is played so that its time 0 falls at `origin`."""

    begin: float
    end: float
    origin: float


def within(inner: Iterable[Piece], outer: Sequence[Piece]) -> Iterator[Piece]:
    """What is left of a clip's pieces when the clip lies in another one: `inner` count in the outer clip's contents."""
    for piece in inner:
        for window in outer:
            begin = max(piece.begin + piece.origin, window.begin)
            end = min(piece.end + piece.origin, window.end)
            if end > begin:
                yield Piece(begin - piece.origin, end - piece.origin, piece.origin + window.origin)


@dataclass
class Fragment:
    """A stretch of a lane, in arrangement time."""

    times: Doubles
    values: Doubles
    codes: NDArray[np.uint8]
    tensions: Doubles | None = None  # none where nothing is a Bézier

    def lane(self, **labels: Any) -> Lane:
        """As a lane of its own."""
        return joined([self], **labels)


def joined(fragments: Sequence[Fragment], **labels: Any) -> Lane:
    """Fragments, in order, as one lane; `labels` as for `Lane`."""
    tensions = [np.zeros(len(row.times)) if row.tensions is None else row.tensions for row in fragments]
    return Lane(
        np.concatenate([row.times for row in fragments]),
        np.concatenate([row.values for row in fragments]),
        np.concatenate([row.codes for row in fragments]),
        np.concatenate(tensions),
        **labels,
    )


def repeated(begin: float, end: float, start: float, loop_start: float, loop_end: float) -> Iterator[Piece]:
    """A loop's passes from `begin` to `end`: the first begins at the content's time `start`, each later one at
    `loop_start`; all end at `loop_end`.
    """
    now, content = begin, start
    while now < end and loop_end > loop_start:
        length = min(max(loop_end - content, 0.0), end - now)
        if length > 0:
            yield Piece(content, content + length, now - content)
        if now + length == now and content == loop_start:
            return  # passes shorter than the time's own precision
        now, content = now + length, loop_start


def in_sequence(fragments: list[Fragment]) -> list[Fragment]:
    """Fragments in the order they begin. Where one ends a rounding error after the next begins, it ends there."""
    ordered = sorted(fragments, key=lambda fragment: float(fragment.times[0]))
    for one, following in pairwise(ordered):
        if 0 < one.times[-1] - following.times[0] < ROUNDING:
            one.times = np.minimum(one.times, following.times[0])
    return ordered


def cut(lane: Lane, piece: Piece) -> Fragment:
    """What a piece of a clip plays, with a point at each end that has the lane's value there; the last holds until the
    next clip. Curves that the piece cuts through become straight pieces (`Lane.straightened`).
    """
    if _cuts_a_curve(lane, piece):
        lane = lane.straightened()
    first = int(np.searchsorted(lane.times, piece.begin, side="right"))
    last = int(np.searchsorted(lane.times, piece.end, side="left"))
    inside = slice(first, max(first, last))
    begin_code = lane.shape_codes[first - 1] if first else HOLD
    edges = [(piece.begin, float(lane.sample(piece.begin)), begin_code)]
    if math.isfinite(piece.end):
        edges.append((piece.end, _value_before(lane, last, piece.end), HOLD))
    columns = zip(*edges, strict=True)
    inner = (lane.times[inside], lane.values[inside], lane.shape_codes[inside])
    # The first edge goes before the inner points, the second (if any) after them.
    times, values, codes = (np.concatenate([edge[:1], row, edge[1:]]) for edge, row in zip(columns, inner, strict=True))
    tensions = np.zeros(len(times))
    tensions[1 : 1 + len(inner[0])] = lane.tensions[inside]
    return Fragment(times + piece.origin, values, codes.astype(np.uint8), tensions)


def _cuts_a_curve(lane: Lane, piece: Piece) -> bool:
    """Whether one of the piece's ends lies within a segment that is neither held nor straight."""
    for end in (piece.begin, piece.end):
        following = int(np.searchsorted(lane.times, end, side="left"))
        if 0 < following < len(lane) and lane.times[following] != end and lane.shape_codes[following - 1] not in PLAIN:
            return True
    return False


def _value_before(lane: Lane, following: int, time: float) -> float:
    """The value that the lane comes to at `time` from the left, where `Lane.sample` would give the one after a jump.

    `following`: the index of the first point that is not before `time`.
    """
    here = max(following - 1, 0)
    if following in (0, len(lane)) or lane.shape_codes[here] == HOLD:
        return float(lane.values[here])
    return float(np.interp(time, lane.times[here : following + 1], lane.values[here : following + 1]))
