"""A sound map: known sounds scattered over the unit square, each with its latent; played by snapping or blending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError

_PAIRS_AT_ONCE = 1 << 20
"""Distances held in memory at a time; bounds what a long batch takes."""


class SoundMap:
    """Positions (n, 2) in 0..1 x 0..1 (the plugin's X and Y), latents (n, D), and a name for each sound. Read-only."""

    def __init__(self, positions: ArrayLike, latents: ArrayLike, names: Sequence[str] = ()) -> None:
        """
        Args:
            positions: shape (n, 2), n at least 1.
            latents: shape (n, D).
            names: one for each sound, or none at all.
        Raises:
            InputError: shapes do not fit each other, or a number is not finite.
        """
        self.positions: NDArray[np.float64] = _table(positions, "positions", np.float64)
        self.latents: NDArray[np.float32] = _table(latents, "latents", np.float32)
        self.names = tuple(names)
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

    def nearest(self, points: NDArray[np.float64], count: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The nearest sounds of each point.

        Args:
            points: shape (m, 2).
            count: how many; fewer come back if the map has fewer.
        Returns:
            indices and distances, each (m, count), the nearest first.
        """
        count = min(count, len(self))
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

    def blend(self, points: NDArray[np.float64], neighbours: NDArray[np.int64]) -> NDArray[np.float32]:
        """Means of the nearest sounds' latents, weighted by inverse distance.

        A sound at distance d weighs (1 / d - 1 / R)², R being the distance of the first sound that no longer takes
        part: so a sound's weight is zero when it enters or leaves, and moving over the map never makes the blend jump.
            (Franke and Little's
        weights for Shepard's method, with a radius that follows the density of sounds.) On a sound, the blend is that
        sound.

        Args:
            points: shape (m, 2).
            neighbours: shape (m,), how many sounds each blend takes, 1 or more.
        Returns:
            shape (m, D).
        """
        indices, distances = self.nearest(points, int(neighbours.max(initial=1)) + 1)
        weights = _blend_weights(distances, neighbours)
        blended: NDArray[np.float32] = np.einsum("mk,mkd->md", weights, self.latents[indices]).astype(np.float32)
        return blended


def _blend_weights(distances: NDArray[np.float64], neighbours: NDArray[np.int64]) -> NDArray[np.float64]:
    """(m, k) weights, each row adding up to 1, for rows of rising distances."""
    columns = distances.shape[1]
    beyond = np.append(distances, np.full((len(distances), 1), np.inf), axis=1)
    radius = np.take_along_axis(beyond, np.minimum(neighbours, columns)[:, np.newaxis], axis=1)
    taking_part = np.arange(columns) < neighbours[:, np.newaxis]
    # Relative to the nearest, so that tiny distances do not overflow; on a sound, the nearest is all there is.
    nearest = distances[:, :1]
    ratio = np.divide(nearest, distances, out=np.ones_like(distances), where=distances > 0)
    edge = np.divide(nearest, radius, out=np.ones_like(radius), where=radius > 0)
    weights = np.where(taking_part, np.maximum(ratio - edge, 0.0) ** 2, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    # All of them equally far (or all in one place): nothing to weigh by.
    equal = taking_part / np.minimum(neighbours, columns)[:, np.newaxis]
    return np.where(total > 0, np.divide(weights, total, out=np.zeros_like(weights), where=total > 0), equal)


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
