"""Latents -> places on a map: PCA, UMAP, t-SNE or given places; evenly spread if wanted; new ones without moving the
old.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError

Points = NDArray[np.float64]

MARGIN = 0.04
"""What stays empty at each side of the map, so that a cursor can be on its outermost sounds."""

ASSIGNED_EXACTLY = 1500
"""Up to so many sounds are spread with the least total way (the time grows with their cube); more by halving."""

PLACED_BY = 5
"""A new sound is placed among this many of the sounds that are most like it."""


@dataclass(frozen=True)
class ProjectionSettings:
    """How to project.

    Attributes:
        method: "pca" (straight, and any point can be taken back to latents), "umap" (needs the extra `umap`), "tsne".
        spread: "none", or evenly over a square ("grid") or staggered ("hex") pattern.
        neighbours: how many sounds UMAP looks at around each, and t-SNE's perplexity; limited by how many there are.
        min_dist: UMAP's smallest distance.
        seed: equal seeds give equal maps.
    """

    method: Literal["pca", "umap", "tsne"] = "pca"
    spread: Literal["none", "grid", "hex"] = "none"
    neighbours: int = 15
    min_dist: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "method": (self.method in METHODS, " or ".join(METHODS)),
            "spread": (self.spread in SPREADS, " or ".join(SPREADS)),
            "neighbours": (2 <= self.neighbours <= 1000, "2..1000"),
            "min_dist": (0 <= self.min_dist < 1, "0..1, 1 left out"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {expected}")


SPREADS: Final = ("none", "grid", "hex")


@dataclass(frozen=True)
class Projection:
    """What was projected, and what places new vectors the same way.

    Attributes:
        method: "pca", "umap", "tsne" or "given".
        vectors: (n, V), what the map's sounds are compared by.
        places: (n, 2) in 0..1.
        centre, scale: (V,), of the vectors.
        axes: (2, V) of a PCA without spreading, mapped to the unit square; empty otherwise.
        low, high: (2,), of the PCA's own plane, what the unit square (without its margin) covers; empty otherwise.
        cells: (m, 2), all cells of an even spread, taken or not; empty without.
    """

    method: str
    vectors: Points
    places: Points
    centre: Points
    scale: Points
    axes: Points = field(default_factory=lambda: np.zeros((0, 0)))
    low: Points = field(default_factory=lambda: np.zeros(0))
    high: Points = field(default_factory=lambda: np.zeros(0))
    cells: Points = field(default_factory=lambda: np.zeros((0, 2)))

    def place(self, vectors: ArrayLike) -> Points:
        """Places (m, 2) for new vectors (m, V). Those of the old stay as they are.

        Exactly where PCA would put them, cut off at the map's edge; with other methods among the sounds most like
        each, by inverse distance; on an even spread, in the free cell nearest to that, one after another, until all
        are taken.
        """
        rows = np.asarray(vectors, np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.vectors.shape[1]:
            raise InputError(f"vectors of shape {rows.shape}: expected (n, {self.vectors.shape[1]})")
        if self.axes.size:
            plane = (rows - self.centre) / self.scale @ self.axes.T
            return np.clip(_into(plane, self.low, self.high), 0.0, 1.0)
        found = self._among_alike(rows)
        return self._in_free_cells(found) if len(self.cells) else found

    def _among_alike(self, rows: Points) -> Points:
        own = (self.vectors - self.centre) / self.scale
        places = np.empty((len(rows), 2))
        for k, row in enumerate((rows - self.centre) / self.scale):
            away = np.linalg.norm(own - row, axis=1)
            near = np.argsort(away, kind="stable")[:PLACED_BY]
            if away[near[0]] == 0:
                places[k] = self.places[near[0]]
                continue
            weights = (away[near[0]] / away[near]) ** 2
            places[k] = weights @ self.places[near] / weights.sum()
        return places

    def _in_free_cells(self, wanted: Points) -> Points:
        free = self.cells[~(np.abs(self.cells[:, np.newaxis] - self.places).max(axis=2) < 1e-9).any(axis=1)]
        places = wanted.copy()
        for k, point in enumerate(wanted):
            if not len(free):
                break
            nearest = int(np.hypot(*(free - point).T).argmin())
            places[k] = free[nearest]
            free = np.delete(free, nearest, axis=0)
        return places

    def with_vectors(self, vectors: ArrayLike) -> Projection:
        """With more sounds, placed by `place`."""
        rows = np.asarray(vectors, np.float64)
        return Projection(
            self.method,
            np.concatenate([self.vectors, rows]),
            np.concatenate([self.places, self.place(rows)]),
            *(self.centre, self.scale, self.axes, self.low, self.high, self.cells),
        )

    def vectors_at(self, places: ArrayLike) -> Points:
        """What a PCA has at any places (m, 2) of the map, (m, V): the inverse of `place`.

        Raises:
            InputError: no PCA, or a spread one; blend the sounds of the map there instead.
        """
        if not self.axes.size:
            raise InputError(f"a map by {self.method} has no way back: blend its sounds instead")
        plane = self.low + (np.asarray(places, np.float64) - MARGIN) / (1 - 2 * MARGIN) * (self.high - self.low)
        back: Points = self.centre + self.scale * (plane @ np.linalg.pinv(self.axes).T)
        return back

    def to_parts(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """JSON values and tensors; `from_parts` reads them."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return {"method": self.method}, {name: array for name, array in arrays.items() if array.size}

    @classmethod
    def from_parts(cls, facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Projection:
        """
        Raises:
            InputError: what is there cannot be a projection.
        """
        missing = [name for name in ("vectors", "places", "centre", "scale") if name not in arrays]
        if missing:
            raise InputError(f"the projection lacks {', '.join(missing)}")
        found = {name: np.asarray(arrays[name], np.float64) for name in ARRAYS if name in arrays}
        if not all(np.isfinite(array).all() for array in found.values()):
            raise InputError("the projection holds NaN or infinity: expected finite numbers")
        vectors, places = found["vectors"], found["places"]
        size = vectors.shape[-1]
        fits = vectors.ndim == 2 and places.shape == (len(vectors), 2)
        fits = fits and found["centre"].shape == found["scale"].shape == (size,) and bool((found["scale"] > 0).all())
        if "axes" in found:
            fits = fits and found["axes"].shape == (2, size) and {"low", "high"} <= set(found)
            fits = fits and found["low"].shape == found["high"].shape == (2,)
        if "cells" in found:
            fits = fits and found["cells"].ndim == 2 and found["cells"].shape[1] == 2
        if not fits:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in found.items())
            raise InputError(f"the projection's shapes do not fit each other ({shapes})")
        return cls(str(facts.get("method", "given")), **found)


ARRAYS: Final = ("vectors", "places", "centre", "scale", "axes", "low", "high", "cells")


def project(vectors: ArrayLike, settings: ProjectionSettings | None = None) -> Projection:
    """Places for vectors (n, V), the alike near each other.

    Identical vectors, and very few, are no errors: where a method cannot tell anything, PCA's places are taken.

    Raises:
        InputError: not a table of finite numbers, or UMAP is not installed.
    """
    settings = settings or ProjectionSettings()
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or 0 in rows.shape or not np.isfinite(rows).all():
        raise InputError(f"vectors of shape {rows.shape}: expected (n, V) finite numbers, neither of them 0")
    centre, deviation = rows.mean(axis=0), rows.std(axis=0)
    scale = np.where(deviation > 1e-12 * max(1.0, float(np.abs(rows).max())), deviation, 1.0)
    plane, axes = METHODS[settings.method]((rows - centre) / scale, settings)
    low, high = plane.min(axis=0), plane.max(axis=0)
    places = _into(plane, low, high)
    if settings.spread == "none":
        own = (axes, low, high) if len(axes) else (np.zeros((0, 0)), np.zeros(0), np.zeros(0))
        return Projection(settings.method, rows, places, centre, scale, *own)
    cells = lattice(len(rows), settings.spread)
    return Projection(settings.method, rows, spread_evenly(places, cells), centre, scale, cells=cells)


def given(vectors: ArrayLike, places: ArrayLike) -> Projection:
    """A layout that somebody made: vectors (n, V), places (n, 2) in 0..1.

    Raises:
        InputError: shapes that do not fit, or places off the map.
    """
    rows, where = np.asarray(vectors, np.float64), np.asarray(places, np.float64)
    if rows.ndim != 2 or where.shape != (len(rows), 2):
        raise InputError(f"{len(rows)} sounds and places of shape {where.shape}: expected ({len(rows)}, 2)")
    if not np.isfinite(where).all() or where.min() < 0 or where.max() > 1:
        raise InputError("a given place is off the map: expected X and Y in 0..1")
    deviation = rows.std(axis=0)
    return Projection("given", rows, where, rows.mean(axis=0), np.where(deviation > 0, deviation, 1.0))


def _into(plane: Points, low: Points, high: Points) -> Points:
    """The range low..high of a plane to the unit square without its margin; what has no extent to the middle."""
    span = high - low
    flat = span <= 0
    unit = np.where(flat, 0.5, (plane - low) / np.where(flat, 1.0, span))
    return np.asarray(MARGIN + unit * (1 - 2 * MARGIN), np.float64)


def _pca(rows: Points, settings: ProjectionSettings) -> tuple[Points, Points]:
    _, vectors = np.linalg.eigh(rows.T @ rows)
    axes = vectors[:, ::-1][:, :2].T
    # An axis may point either way; the largest of its components shall be positive.
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, np.newaxis], axis=1))
    axes = np.pad(axes, ((0, 2 - len(axes)), (0, 0)))
    return rows @ axes.T, axes


def _tsne(rows: Points, settings: ProjectionSettings) -> tuple[Points, Points]:
    start = _pca(rows, settings)[0]
    if len(rows) < 4 or not start.std():
        return start, np.zeros((0, 0))
    from sklearn.manifold import TSNE

    perplexity = min(float(settings.neighbours), (len(rows) - 1) / 3)
    start = start * (1e-4 / max(start[:, 0].std(), 1e-12))  # scikit-learn's own scale for a PCA start
    model = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=settings.seed)
    return np.asarray(model.fit_transform(rows.astype(np.float32)), np.float64), np.zeros((0, 0))


def _umap(rows: Points, settings: ProjectionSettings) -> tuple[Points, Points]:
    if importlib.util.find_spec("umap") is None:
        raise InputError("UMAP is not installed: pip install 'latent-terrain[umap]', or choose pca or tsne")
    start = _pca(rows, settings)[0]
    if len(rows) < 5 or not start.std():
        return start, np.zeros((0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed costs it its threads, and that Keras is not there
        import umap

        spans = np.ptp(start, axis=0)
        model = umap.UMAP(
            n_neighbors=min(settings.neighbours, len(rows) - 1),
            min_dist=settings.min_dist,
            # From PCA rather than from the graph's spectrum, which does not exist for a handful or for equal sounds.
            init=(10 * (start - start.min(axis=0)) / np.where(spans > 0, spans, 1.0)).astype(np.float32),
            random_state=settings.seed,
            n_jobs=1,
        )
        places = np.asarray(model.fit_transform(rows.astype(np.float32)), np.float64)
    return places, np.zeros((0, 0))


METHODS: Final[Mapping[str, Callable[[Points, ProjectionSettings], tuple[Points, Points]]]] = {
    "pca": _pca,
    "umap": _umap,
    "tsne": _tsne,
}


def lattice(count: int, kind: str) -> Points:
    """At least `count` cells of an even pattern over the map, (m, 2): rows of a square one, or staggered ones whose
    cells have six equally near neighbours.
    """
    if kind == "grid":
        columns = math.ceil(math.sqrt(count))
        rows = math.ceil(count / columns)
    elif kind == "hex":
        columns = max(1, math.ceil(math.sqrt(count * math.sqrt(3) / 2)))
        rows = math.ceil(count / columns)
    else:
        raise InputError(f"spread {kind!r}; expected grid or hex")
    row, column = np.divmod(np.arange(rows * columns), columns)
    shift = np.where(row % 2 == 1, 0.25, -0.25) if kind == "hex" and rows > 1 else 0.0
    x = (column + 0.5 + shift) / columns
    y = (row + 0.5) / rows
    return np.asarray(MARGIN + np.stack([x, y], axis=1) * (1 - 2 * MARGIN), np.float64)


def spread_evenly(places: Points, cells: Points) -> Points:
    """A cell for each place, so that little is moved: places (n, 2), cells (m, 2), m at least n.

    Up to `ASSIGNED_EXACTLY` the sum of squared ways is the least there is (a linear assignment); beyond, both are
    halved again and again along the longer side, which keeps the order and costs n log n.
    """
    if len(cells) < len(places):
        raise InputError(f"{len(places)} sounds and {len(cells)} cells: expected at least as many cells")
    if len(places) <= ASSIGNED_EXACTLY:
        from scipy.optimize import linear_sum_assignment

        cost = ((places[:, np.newaxis] - cells) ** 2).sum(axis=2)
        return np.asarray(cells[linear_sum_assignment(cost)[1]], np.float64)
    spread = np.empty_like(places)
    todo = [(np.arange(len(places)), np.arange(len(cells)))]
    while todo:
        members, free = todo.pop()
        if not len(members):
            continue
        if len(members) == 1:
            spread[members] = cells[free[np.hypot(*(cells[free] - places[members[0]]).T).argmin()]]
            continue
        axis = int(np.ptp(cells[free], axis=0).argmax())
        free = free[np.lexsort((cells[free, 1 - axis], cells[free, axis]))]
        members = members[np.argsort(places[members, axis], kind="stable")]
        half = len(free) // 2
        mine = min(max(round(len(members) * half / len(free)), len(members) - (len(free) - half)), half)
        todo += [(members[:mine], free[:half]), (members[mine:], free[half:])]
    return spread


def trustworthiness(vectors: ArrayLike, places: ArrayLike, neighbours: int = 10) -> float:
    """How far neighbours on the map are neighbours indeed, 0..1 (Venna and Kaski 2001; scikit-learn's).

    Raises:
        InputError: fewer than 4 sounds, which have no neighbours to speak of.
    """
    from sklearn.manifold import trustworthiness as of

    rows = np.asarray(vectors, np.float64)
    if len(rows) < 4:
        raise InputError(f"{len(rows)} sounds: expected 4 or more")
    deviation = rows.std(axis=0)
    scaled = (rows - rows.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    return float(of(scaled, np.asarray(places, np.float64), n_neighbors=min(neighbours, (len(rows) - 1) // 2)))
