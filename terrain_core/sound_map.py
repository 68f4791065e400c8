"""A sound map: known sounds scattered over the unit square, each with its latent; played by snapping or blending."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError

if TYPE_CHECKING:
    from terrain_core.natural_neighbours import NaturalNeighbours

_PAIRS_AT_ONCE = 1 << 20
"""Distances held in memory at a time; bounds what a long batch takes."""

TREE_FROM = 256
"""From so many sounds on, neighbours are looked up in a k-d tree. Below, measuring all distances is quick enough to do
without importing scipy, which takes longer than everything else that an engine needs.
"""

REACH = 1.5
"""Where a radius leaves a point without sounds, those up to this many times as far as the nearest take part."""


@dataclass(frozen=True)
class Blending:
    """How sounds are blended.

    Attributes:
        method: "distance" weighs the nearest sounds by their inverse distance; "natural" weighs the natural neighbours
            (`terrain_core.natural_neighbours`), as many as there are, and is linear where the sounds are.
        power: exponent of the inverse distance; the higher, the more a sound keeps for itself.
        radius: sounds further away than this (in parts of the map's side) take no part, as long as there are nearer
            ones; None: only the number of neighbours limits a blend.
    """

    method: Literal["distance", "natural"] = "distance"
    power: float = 2.0
    radius: float | None = None

    def __post_init__(self) -> None:
        if self.method not in ("distance", "natural"):
            raise InputError(f"blending method {self.method!r}: expected distance or natural")
        for name, value, most in (("power", self.power, 16.0), ("radius", self.radius, 2.0)):
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if value is not None and not (number and 0 < value <= most):
                raise InputError(f"blending {name} is {value!r}: expected above 0 and at most {most:g}")

    def settings(self) -> dict[str, Any]:
        """As JSON values; what is as by default is left out."""
        return {key: value for key, value in asdict(self).items() if value != getattr(Blending(), key)}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Blending:
        """The inverse of `settings`; keys that this version does not know are passed over.

        Raises:
            InputError: a value out of its range.
        """
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in settings.items() if key in known})


@dataclass(frozen=True)
class BlendingInTime:
    """How sounds are blended at each of some points: `Blending`, point by point.

    Attributes:
        natural: (m,), whether by natural neighbours.
        power: (m,)
        radius: (m,), infinity for none.
    """

    natural: NDArray[np.bool_]
    power: NDArray[np.float64]
    radius: NDArray[np.float64]

    def at(self, rows: NDArray[np.bool_]) -> BlendingInTime:
        """Of some of the points."""
        return BlendingInTime(self.natural[rows], self.power[rows], self.radius[rows])


class SoundMap:
    """Positions (n, 2) in 0..1 x 0..1 (the plugin's X and Y), latents (n, D), and a name for each sound. Read-only."""

    def __init__(
        self,
        positions: ArrayLike,
        latents: ArrayLike,
        names: Sequence[str] = (),
        blending: Blending | None = None,
    ) -> None:
        """
        Args:
            positions: shape (n, 2), n at least 1.
            latents: shape (n, D).
            names: one for each sound, or none at all.
            blending: None for the usual one.
        Raises:
            InputError: shapes do not fit each other, or a number is not finite.
        """
        self.positions: NDArray[np.float64] = _table(positions, "positions", np.float64)
        self.latents: NDArray[np.float32] = _table(latents, "latents", np.float32)
        self.names = tuple(names)
        self.blending = blending or Blending()
        self._tree: Any = None
        self._natural: NaturalNeighbours | None = None
        count = len(self.positions)
        if self.positions.shape[1] != 2:
            raise InputError(f"positions have the shape {self.positions.shape}: expected (n, 2)")
        if len(self.latents) != count or len(self.names) not in (0, count):
            raise InputError(
                f"{count} positions, {len(self.latents)} latents and {len(self.names)} names: expected as many of each"
            )

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def latent_size(self) -> int:
        """D"""
        return int(self.latents.shape[1])

    def prepare(self, *, natural: bool = False) -> None:
        """Build what lookups need, once. An engine calls it before it plays; without it the first lookup does it.

        `natural`: also what natural neighbours need, where the map's own blending does not ask for it anyway.
        """
        if self._tree is None and len(self) >= TREE_FROM:
            from scipy.spatial import cKDTree

            # Unbalanced and with larger leaves it is built in a third of the time; lookups take as long.
            self._tree = cKDTree(self.positions, leafsize=16, balanced_tree=False, compact_nodes=True)
        if self._natural is None and (natural or self.blending.method == "natural"):
            from terrain_core.natural_neighbours import NaturalNeighbours

            self._natural = NaturalNeighbours(self.positions)

    def nearest(self, points: NDArray[np.float64], count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The nearest sounds of each point.

        Args:
            points: shape (m, 2).
            count: how many; fewer come back if the map has fewer.
        Returns:
            indices and distances, each (m, count), the nearest first.
        """
        count = min(count, len(self))
        self.prepare()
        if self._tree is not None:
            distances, indices = self._tree.query(points, k=np.arange(1, count + 1))
            return np.asarray(indices, np.intp), np.asarray(distances, np.float64)
        return self._nearest_of_all(points, count)

    def _nearest_of_all(self, points: NDArray[np.float64], count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        indices = np.empty((len(points), count), np.intp)
        distances = np.empty((len(points), count))
        rows = max(1, _PAIRS_AT_ONCE // len(self))
        for start in range(0, len(points), rows):
            part = slice(start, start + rows)
            away = np.hypot(*(points[part, np.newaxis, :] - self.positions).transpose(2, 0, 1))
            near = np.argpartition(away, count - 1, axis=1)[:, :count]
            order = np.argsort(np.take_along_axis(away, near, axis=1), axis=1, kind="stable")
            indices[part] = np.take_along_axis(near, order, axis=1)
            distances[part] = np.take_along_axis(away, indices[part], axis=1)
        return indices, distances

    def snap(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """The latent of the sound nearest to each point (m, 2): shape (m, D)."""
        latents: NDArray[np.float32] = self.latents[self.nearest(points, 1)[0][:, 0]]
        return latents

    def blend(
        self,
        points: NDArray[np.float64],
        neighbours: NDArray[np.int64],
        blending: BlendingInTime | None = None,
    ) -> NDArray[np.float32]:
        """Means of the nearest sounds' latents, weighted by inverse distance.

        A sound at distance d weighs (1 / d - 1 / R)^power, R being the distance of the first sound that no longer takes
        part: so a sound's weight is zero when it enters or leaves, and moving over the map never makes the blend jump.
        (Franke and Little's weights for Shepard's method, with a radius that follows the density of sounds.) On a
        sound, the blend is that sound. What no choice of weights can mend: points with more equally near sounds than
        `neighbours`; one neighbour jumps, two do at single points.

        With `Blending.method` "natural", `neighbours` above 1 are the natural neighbours, however many there are.

        Args:
            points: shape (m, 2).
            neighbours: shape (m,), how many sounds each blend takes, 1 or more.
            blending: of each point; None: the map's own for all.
        Returns:
            shape (m, D).
        """
        if blending is None:
            if self.blending.method == "natural":
                return self._blend_naturally(points, neighbours)
        elif blending.natural.any():
            blended = np.empty((len(points), self.latent_size), np.float32)
            natural, other = blending.natural, ~blending.natural
            blended[natural] = self._blend_naturally(points[natural], neighbours[natural])
            if other.any():
                blended[other] = self._blend_by_distance(points[other], neighbours[other], blending.at(other))
            return blended
        return self._blend_by_distance(points, neighbours, blending)

    def _blend_by_distance(
        self, points: NDArray[np.float64], neighbours: NDArray[np.int64], blending: BlendingInTime | None
    ) -> NDArray[np.float32]:
        indices, weights = self.weights(points, neighbours, blending)
        return _mean(weights, self.latents[indices])

    def weights(
        self,
        points: NDArray[np.float64],
        neighbours: NDArray[np.int64],
        blending: BlendingInTime | None = None,
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """What sounds a blend by distance takes, and how much of each: indices and weights, each (m, k); rows of
        weights add up to 1.
        """
        indices, distances = self.nearest(points, int(neighbours.max(initial=1)) + 1)
        if blending is None:
            return indices, _blend_weights(distances, neighbours, self.blending.power, self.blending.radius)
        power, radius = blending.power[:, np.newaxis], blending.radius[:, np.newaxis]
        return indices, _blend_weights(distances, neighbours, power, radius)

    def _blend_naturally(self, points: NDArray[np.float64], neighbours: NDArray[np.int64]) -> NDArray[np.float32]:
        self.prepare(natural=True)
        assert self._natural is not None, "prepared just now"
        blended = np.empty((len(points), self.latent_size), np.float32)
        alone = neighbours <= 1
        if alone.any():
            blended[alone] = self.snap(points[alone])
        for row in np.flatnonzero(~alone):
            indices, weights = self._natural.weights(points[row])
            blended[row] = weights @ self.latents[indices]
        return blended


def _mean(weights: NDArray[np.float64], latents: NDArray[np.float32]) -> NDArray[np.float32]:
    blended: NDArray[np.float32] = np.einsum("mk,mkd->md", weights, latents).astype(np.float32)
    return blended


def _blend_weights(
    distances: NDArray[np.float64],
    neighbours: NDArray[np.int64],
    power: float | NDArray[np.float64],
    limit: float | NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """(m, k) weights, each row adding up to 1, for rows of rising distances; exponents and radii for all rows, or for
    each (m, 1).
    """
    columns = distances.shape[1]
    beyond = np.append(distances, np.full((len(distances), 1), np.inf), axis=1)
    radius = np.take_along_axis(beyond, np.minimum(neighbours, columns)[:, np.newaxis], axis=1)
    taking_part = np.arange(columns) < neighbours[:, np.newaxis]
    # Relative to the nearest, so that tiny distances do not overflow; on a sound, the nearest is all there is.
    nearest = distances[:, :1]
    if limit is not None:
        # Never only the nearest because of the radius: where two are equally near, that would be a jump.
        radius = np.minimum(radius, np.maximum(limit, REACH * nearest))
    ratio = np.divide(nearest, distances, out=np.ones_like(distances), where=distances > 0)
    edge = np.divide(nearest, radius, out=np.ones_like(radius), where=radius > 0)
    weights = np.where(taking_part, _raised(np.maximum(ratio - edge, 0.0), power), 0.0)
    total = weights.sum(axis=1, keepdims=True)
    # All of them equally far (or all in one place): nothing to weigh by.
    equal = taking_part / np.minimum(neighbours, columns)[:, np.newaxis]
    return np.where(total > 0, np.divide(weights, total, out=np.zeros_like(weights), where=total > 0), equal)


def _raised(values: NDArray[np.float64], power: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (m, k) to a power, or to one of each row (m, 1): the same bits either way, and however many rows there
    are.
    """
    square = values * values
    if isinstance(power, float | int):
        return square if power == 2 else values ** np.full_like(values, power)
    return np.where(power == 2, square, values ** np.broadcast_to(power, values.shape).copy())


def _table(values: ArrayLike, what: str, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """A read-only two-dimensional array of finite numbers with at least one row and column."""
    try:
        table = np.array(values, dtype)
    except (TypeError, ValueError):
        raise InputError(f"the sound map's {what} are not a table of numbers") from None
    if table.ndim != 2 or 0 in table.shape:
        raise InputError(
            f"the sound map's {what} have the shape {table.shape}: expected two dimensions, neither of them empty"
        )
    if not np.isfinite(table).all():
        raise InputError(f"the sound map's {what} hold NaN or infinity: expected finite numbers")
    table.setflags(write=False)
    return table
