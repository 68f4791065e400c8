"""What a loop holds: vectors spread over the circle of its phase.

Nothing is resampled when a loop is recorded: each vector keeps the phase at which it came. Played at the same phases it
gives the same vectors to the last bit; anywhere else it interpolates between its neighbours on the circle. Beside each
vector stands how loud it was, so that a loop keeps its rests and its accents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.breakpoints import Doubles
from terrain_core.errors import InputError

Vectors = NDArray[np.float32]
Loudness = NDArray[np.float32]
Interpolation = Literal["linear", "cubic", "spherical"]

SAME_PLACE: Final = 1e-6
"""Of the way to the next vector: nearer than this is there. Beats are doubles, and a day of them has 1e-11 to spare."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Vectors on a circle. Read-only.

    Attributes:
        phases: shape (n,), rising, 0 or more and less than 1; at least one.
        vectors: shape (n, D), float32.
        loudness: shape (n,), 0 (silence) or more, 1 being as loud as the level says; None: 1 everywhere.
    """

    phases: Doubles
    vectors: Vectors
    loudness: Loudness | None = None

    @classmethod
    def of(cls, phases: ArrayLike, vectors: ArrayLike, loudness: ArrayLike | None = None) -> Layer:
        """A layer of phases in any order; of several vectors at one phase the last counts.

        Raises:
            InputError: nothing, unequal lengths, a phase beyond 0..1, or a loudness that is none.
        """
        places: Doubles = np.asarray(phases, dtype=np.float64)
        rows: Vectors = np.asarray(vectors, dtype=np.float32)
        if places.ndim != 1 or not places.size or rows.ndim != 2 or len(rows) != len(places):
            raise InputError(f"a layer of phases {places.shape} and vectors {rows.shape}, expected (n,) and (n, D)")
        if not ((places >= 0) & (places < 1)).all() or not np.isfinite(rows).all():
            raise InputError("a layer has a phase that is not 0 to 1, or a vector that is no number")
        loud = np.ones(len(places), np.float32) if loudness is None else np.asarray(loudness, dtype=np.float32)
        if loud.shape != places.shape or not (loud >= 0).all() or not np.isfinite(loud).all():
            raise InputError(f"a layer has a loudness of shape {loud.shape}, expected {places.shape}, each 0 or more")
        order = np.argsort(places, kind="stable")
        last = np.append(np.diff(places[order]) > 0, True)
        kept = order[last]
        places, rows, loud = places[kept], rows[kept], loud[kept]
        for array in (places, rows, loud):
            array.setflags(write=False)
        return cls(places, rows, None if (loud == 1).all() else loud)

    def __len__(self) -> int:
        return len(self.phases)

    @property
    def size(self) -> int:
        """D"""
        return int(self.vectors.shape[1])

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take."""
        return self.phases.nbytes + self.vectors.nbytes + (0 if self.loudness is None else self.loudness.nbytes)

    @property
    def loud(self) -> Loudness:
        """The loudness as an array, shape (n,)."""
        return np.ones(len(self), np.float32) if self.loudness is None else self.loudness

    def at(self, phases: Doubles, interpolation: Interpolation = "linear", centre: Vectors | None = None) -> Vectors:
        """The loop at phases (m,), of any size: shape (m, D).

        Args:
            interpolation: "linear"; "cubic" (through the two neighbours on either side, by their own distances);
                "spherical" (the direction from `centre` turns evenly, its length goes evenly).
            centre: shape (D,), of "spherical"; the origin if None.
        """
        index, u = self._between(phases)
        if interpolation == "spherical" and centre is not None:
            return _spherical(self.vectors - centre, index, u) + centre
        return INTERPOLATIONS[interpolation](self, index, u)

    def loudness_at(self, phases: Doubles) -> Loudness:
        """How loud it is at phases (m,): straight between the vectors. Shape (m,)."""
        if self.loudness is None:
            return np.ones(len(phases), np.float32)
        index, u = self._between(phases)
        begin, end = self.loudness[index], self.loudness[(index + 1) % len(self)]
        out: Loudness = begin + u * (end - begin)
        return out

    def index_at(self, phases: Doubles) -> NDArray[np.intp]:
        """Which vector each phase is at or after."""
        index, _ = self._between(phases)
        return index

    def _between(self, phases: Doubles) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """For each phase the index of the vector before it, and how far it is on the way to the next, 0..1."""
        turns = wrapped(np.asarray(phases, dtype=np.float64))
        count = len(self)
        index = (np.searchsorted(self.phases, turns, side="right") - 1) % count
        following = (index + 1) % count
        gap = (self.phases[following] - self.phases[index]) % 1.0
        gap = np.where(gap == 0, 1.0, gap)
        u = ((turns - self.phases[index]) % 1.0) / gap
        there = u > 1 - SAME_PLACE
        index = np.where(there, following, index)
        u = np.where(there | (u < SAME_PLACE), 0.0, u)
        return index, u.astype(np.float32)

    def replaced(self, begin: float, turns: float, new: Layer) -> Layer:
        """The layer with everything from `begin` over `turns` (negative: backwards) taken out, and `new` put there."""
        if abs(turns) >= 1:
            return new
        low, width = (begin, turns) if turns >= 0 else (begin + turns, -turns)
        kept = (self.phases - low) % 1.0 > width
        return Layer.of(
            np.concatenate([self.phases[kept], new.phases]),
            np.concatenate([self.vectors[kept], new.vectors]),
            np.concatenate([self.loud[kept], new.loud]),
        )

    def turned(self, phase: float) -> Layer:
        """The loop begun at `phase`."""
        return Layer.of(wrapped(self.phases - phase), self.vectors, self.loud)

    def tiled(self, times: int) -> Layer:
        """The loop so many times in a row, as one loop that is so many times as long."""
        phases = (self.phases + np.arange(times)[:, np.newaxis]).ravel() / times
        below_one = np.minimum(phases, np.nextafter(1.0, 0.0))
        return Layer.of(below_one, np.tile(self.vectors, (times, 1)), np.tile(self.loud, times))


def wrapped(phases: Doubles) -> Doubles:
    """Phases as 0 or more and less than 1: `%` alone makes 1 of a tiny negative number."""
    turns: Doubles = phases % 1.0
    return np.where(turns >= 1.0, 0.0, turns)


def _linear(layer: Layer, index: NDArray[np.intp], u: NDArray[np.float32]) -> Vectors:
    begin, end = layer.vectors[index], layer.vectors[(index + 1) % len(layer)]
    out: Vectors = begin + u[:, np.newaxis] * (end - begin)
    return out


def _cubic(layer: Layer, index: NDArray[np.intp], u: NDArray[np.float32]) -> Vectors:
    """Cubic Hermite; the slope at a vector is that of the parabola through it and its neighbours."""
    count = len(layer)
    if count < 3:
        return _linear(layer, index, u)
    places = [(index + offset) % count for offset in (-1, 0, 1, 2)]
    before, begin, end, after = (layer.vectors[place] for place in places)
    gaps = [np.maximum((layer.phases[b] - layer.phases[a]) % 1.0, 1e-12) for a, b in pairwise(places)]
    first, middle, last = (gap.astype(np.float32)[:, np.newaxis] for gap in gaps)
    chord = (end - begin) / middle
    slope_in = ((begin - before) / first * middle + chord * first) / (first + middle)
    slope_out = (chord * last + (after - end) / last * middle) / (middle + last)
    t = u[:, np.newaxis]
    out: Vectors = (
        (2 * t**3 - 3 * t**2 + 1) * begin
        + (t**3 - 2 * t**2 + t) * middle * slope_in
        + (3 * t**2 - 2 * t**3) * end
        + (t**3 - t**2) * middle * slope_out
    )
    return np.where(t == 0, begin, out)


def _around_the_origin(layer: Layer, index: NDArray[np.intp], u: NDArray[np.float32]) -> Vectors:
    return _spherical(layer.vectors, index, u)


def _spherical(vectors: Vectors, index: NDArray[np.intp], u: NDArray[np.float32]) -> Vectors:
    return slerp(vectors[index], vectors[(index + 1) % len(vectors)], u)


def slerp(begin: Vectors, end: Vectors, u: NDArray[np.float32]) -> Vectors:
    """Spherical interpolation of rows (n, D): the direction turns evenly, the length goes evenly. Straight where one is
    zero or they are (nearly) opposite or alike.

    Source: Shoemake, "Animating rotation with quaternion curves", 1985.
    """
    lengths = [np.linalg.norm(row, axis=1, keepdims=True) for row in (begin, end)]
    product = lengths[0] * lengths[1]
    cosine = np.divide((begin * end).sum(axis=1, keepdims=True), product, out=np.ones_like(product), where=product > 0)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    t = u[:, np.newaxis]
    straight = begin + t * (end - begin)
    usable = (sine > 1e-4) & (product > 0)
    safe = np.where(usable, sine, 1.0)
    turned = (np.sin((1 - t) * angle) * begin / np.maximum(lengths[0], 1e-30)) + (
        np.sin(t * angle) * end / np.maximum(lengths[1], 1e-30)
    )
    out = np.where(usable, turned / safe * (lengths[0] + t * (lengths[1] - lengths[0])), straight)
    return np.where(t == 0, begin, out).astype(np.float32)


INTERPOLATIONS: Final[Mapping[Interpolation, Callable[[Layer, NDArray[np.intp], NDArray[np.float32]], Vectors]]] = {
    "linear": _linear,
    "cubic": _cubic,
    "spherical": _around_the_origin,
}
