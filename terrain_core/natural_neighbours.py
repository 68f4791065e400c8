"""Natural neighbours: weights of the sounds around a point by the Voronoi cell that the point would get among them.

Laplace's weights (Belikov and others 1997; Sukumar, Moran, Semenov and Belikov, "Natural neighbour Galerkin methods",
2001): a neighbour counts by the length of the border between its cell and the point's, over its distance. They are
continuous, exact at the sounds, and reproduce every linear function inside the convex hull. Outside it, a point stands
for the nearest one on the hull's edge.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

ON_EDGE = 1e-9
"""Nearer than this to the hull's edge or to a sound, in parts of the map's side, is on it: beyond, circles grow without
bound.
"""


class NaturalNeighbours:
    """The Delaunay triangulation of sounds' positions, and weights looked up in it. Read-only once made."""

    def __init__(self, positions: Points) -> None:
        """Positions (n, 2). Sounds in one place share what the place weighs. Where all lie on a line, or there are
        fewer than three places, blends are linear along it.
        """
        from scipy.spatial import Delaunay, QhullError

        self._places, place_of = np.unique(positions, axis=0, return_inverse=True)
        order = np.argsort(place_of.ravel(), kind="stable")
        counts = np.bincount(place_of.ravel(), minlength=len(self._places))
        self._order, self._ends = order, np.cumsum(counts)
        try:
            self._triangles = Delaunay(self._places, qhull_options="Qbb Qc Qz Q12") if len(self._places) > 2 else None
        except QhullError:
            self._triangles = None
        if self._triangles is None:
            # The ends of a line in the order of their places; a single place has no edges.
            self._hull = np.stack([np.arange(len(self._places) - 1), np.arange(1, len(self._places))], axis=1)
        else:
            self._hull = self._triangles.convex_hull.astype(np.intp)
            corners = self._places[self._triangles.simplices]
            self._centres, self._radii = _circles(corners)

    def weights(self, point: Points) -> tuple[NDArray[np.intp], Points]:
        """Indices (k,) of the sounds around a point (2,), and their weights (k,), which add up to 1."""
        places, weights = self._place_weights(np.asarray(point, np.float64))
        sounds = [self._order[(self._ends[place - 1] if place else 0) : self._ends[place]] for place in places]
        shares = [np.full(len(own), w / len(own)) for own, w in zip(sounds, weights, strict=True)]
        return np.concatenate(sounds), np.concatenate(shares)

    def _place_weights(self, point: Points) -> tuple[list[int], list[float]]:
        if len(self._places) == 1:
            return [0], [1.0]
        edge, along, distance = self._nearest_edge(point)
        simplex = -1 if self._triangles is None else int(self._triangles.find_simplex(point))
        if simplex < 0 or distance < ON_EDGE:
            return [int(edge[0]), int(edge[1])], [1 - along, along]
        return self._inside(point, simplex)

    def _nearest_edge(self, point: Points) -> tuple[NDArray[np.intp], float, float]:
        """The hull's edge nearest to a point, where on it (0..1), and how far away."""
        start, end = self._places[self._hull[:, 0]], self._places[self._hull[:, 1]]
        way = end - start
        along = np.clip(((point - start) * way).sum(axis=1) / (way * way).sum(axis=1), 0.0, 1.0)
        away = np.hypot(*(start + along[:, np.newaxis] * way - point).T)
        nearest = int(away.argmin())
        return self._hull[nearest], float(along[nearest]), float(away[nearest])

    def _inside(self, point: Points, simplex: int) -> tuple[list[int], list[float]]:
        """Laplace's weights, from the triangles whose circumcircles hold the point."""
        assert self._triangles is not None, "a point is inside of something"
        corners, around = self._triangles.simplices, self._triangles.neighbors
        taken, todo = {simplex}, [simplex]
        rim: dict[int, int] = {}  # from corner to corner around the cavity
        while todo:
            triangle = todo.pop()
            for k in range(3):
                other = int(around[triangle, k])
                if other in taken:
                    continue
                if other >= 0 and self._holds(other, point):
                    taken.add(other)
                    todo.append(other)
        for triangle in taken:
            for k in range(3):
                if int(around[triangle, k]) not in taken:
                    a, b = int(corners[triangle, (k + 1) % 3]), int(corners[triangle, (k + 2) % 3])
                    rim[a] = b
        away = {place: float(np.hypot(*(self._places[place] - point))) for place in rim}
        nearest = min(away, key=lambda place: away[place])
        if away[nearest] < ON_EDGE:
            return [nearest], [1.0]
        ring = list(rim)[:1]
        while len(ring) < len(rim) and rim.get(ring[-1]) is not None:
            ring.append(rim[ring[-1]])
        if len(ring) != len(rim) or rim.get(ring[-1]) != ring[0]:  # rounding has torn the cavity: linear, then
            return self._linear(point, simplex)
        centres, _ = _circles(
            np.stack([np.broadcast_to(point, (len(ring), 2)), self._places[ring], self._places[np.roll(ring, -1)]], 1)
        )
        borders = np.hypot(*(centres - np.roll(centres, 1, axis=0)).T)
        weights = borders / np.array([away[place] for place in ring])
        return ring, (weights / weights.sum()).tolist()

    def _linear(self, point: Points, simplex: int) -> tuple[list[int], list[float]]:
        assert self._triangles is not None, "a point is inside of something"
        inverse = self._triangles.transform[simplex]
        first = inverse[:2] @ (point - inverse[2])
        weights = np.clip([*first, 1 - first.sum()], 0.0, 1.0)
        return self._triangles.simplices[simplex].tolist(), (weights / weights.sum()).tolist()

    def _holds(self, triangle: int, point: Points) -> bool:
        # A little less than the circle: corners of a regular grid lie on common circles, and rounding must not make a
        # cavity of them that the point does not see all of.
        return bool(np.hypot(*(self._centres[triangle] - point)) < self._radii[triangle] * (1 - 1e-12))


def _circles(corners: Points) -> tuple[Points, Points]:
    """Centres (n, 2) and radii (n,) of the circles through triangles (n, 3, 2)."""
    a = corners[:, 0]
    b, c = corners[:, 1] - a, corners[:, 2] - a
    with np.errstate(divide="ignore", invalid="ignore"):
        doubled = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
        bb, cc = (b * b).sum(axis=1), (c * c).sum(axis=1)
        x = (c[:, 1] * bb - b[:, 1] * cc) / doubled
        y = (b[:, 0] * cc - c[:, 0] * bb) / doubled
    return a + np.stack([x, y], axis=1), np.hypot(x, y)
