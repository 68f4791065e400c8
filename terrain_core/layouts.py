"""Automatic layouts: where in the control space each sound of a corpus lies.

    timeline    one dimension; the sounds one after another
    packed      two dimensions; each sound a smooth curve in a rectangle of its own, in the order given
    map         the same, but similar sounds get neighbouring rectangles

In two dimensions the bounds are split in halves again and again, each half as large as the frames of its sounds need,
so that points are equally dense everywhere. The curve in a rectangle winds to and fro in rows (rounded at their ends),
and wanders within its row. Cubic Béziers stay within the hull of their control points; those of a row lie in a band of
their own, those of a turn beside the bands, so no curve crosses itself or another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.terrain.model import checked_bounds
from terrain_core.terrain.network import LIMITS
from terrain_core.trajectories.kinds import LatentTrajectory, SpatialTrajectory
from terrain_core.trajectories.paths import arc_lengths, bezier_polyline, resample

SQUARE = ((-8.0, 8.0), (-8.0, 8.0))
"""Bounds of the two-dimensional layouts unless told otherwise; some of nn.terrain's published terrains have them."""

MARGIN = 0.08
"""Part of a rectangle's shorter side that stays empty on each side."""

ROW_DISTANCE = 2.0
"""Distance of two rows in distances of two points: sounds blend along a curve more than across."""

WANDER = 0.3
"""How far a curve wanders from the middle of its row, in row distances; below 0.5 rows cannot touch."""

CYCLES_PER_POINT = 0.08
"""Suggested gauss scale times the distance of two points: fine enough to tell neighbours apart, and they blend."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """A place in the control space for each frame of each sound.

    Attributes:
        trajectories: one per sound, in the corpus's order, with as many points as the sound has frames.
        bounds: shape (C, 2), what all of them lie within.
    """

    trajectories: tuple[SpatialTrajectory, ...]
    bounds: Points

    @property
    def spacing(self) -> float:
        """Median distance of neighbouring points on a curve, in coordinate units; of single points, on an even grid."""
        steps = [np.diff(arc_lengths(item.points)) for item in self.trajectories if len(item) > 1]
        if steps:
            return float(np.median(np.concatenate(steps)))
        area = float(np.prod(np.ptp(self.bounds, axis=1)))
        return float((area / len(self.trajectories)) ** (1 / len(self.bounds)))

    @property
    def gauss_scale(self) -> float:
        """A gauss scale that suits this layout, in cycles per coordinate unit."""
        return min(CYCLES_PER_POINT / self.spacing, LIMITS["gauss_scale"].high)


def layout(
    method: Literal["timeline", "packed", "map"], sounds: Sequence[LatentTrajectory], *, seed: int = 0
) -> Layout:
    """The layout of that name with its defaults."""
    if method not in LAYOUTS:
        raise InputError(f"layout {method!r}; expected {', '.join(LAYOUTS)}")
    return LAYOUTS[method](sounds, seed)


def timeline(sounds: Sequence[LatentTrajectory], *, gap: float = 0.25) -> Layout:
    """The sounds one after another on one axis, in seconds where all frame rates are known, else in frames.

    Args:
        sounds: the corpus.
        gap: seconds (or frames) between the end of a sound and the start of the next.
    """
    _require_sounds(sounds)
    if not 0 <= gap < math.inf:
        raise InputError(f"gap is {gap}; expected 0 or more")
    rates = [sound.frame_rate for sound in sounds if sound.frame_rate is not None]
    steps = [1 / rate for rate in rates] if len(rates) == len(sounds) else [1.0] * len(sounds)
    paths, start = [], 0.0
    for sound, step in zip(sounds, steps, strict=True):
        paths.append(
            SpatialTrajectory(sound.name, (start + step * np.arange(len(sound), dtype=np.float64))[:, np.newaxis])
        )
        start += step * len(sound) + gap
    return Layout(tuple(paths), checked_bounds([[0.0, start - gap]], 1))


def packed(sounds: Sequence[LatentTrajectory], *, bounds: ArrayLike = SQUARE, seed: int = 0) -> Layout:
    """Each sound a smooth curve in a rectangle of its own, neighbours in the corpus being neighbours on the map.

    Args:
        sounds: the corpus.
        bounds: shape (2, 2), to be filled.
        seed: equal seeds give equal curves.
    """
    _require_sounds(sounds)
    order = np.arange(len(sounds))
    return _in_rectangles(sounds, bounds, seed, np.stack([order, order], axis=1))


def similarity_map(
    sounds: Sequence[LatentTrajectory],
    *,
    bounds: ArrayLike = SQUARE,
    method: Literal["pca", "tsne"] = "pca",
    seed: int = 0,
) -> Layout:
    """As `packed`, with rectangles by similarity: two sounds are similar when their mean latents and their spread are.

    Args:
        sounds: the corpus.
        bounds: shape (2, 2), to be filled.
        method: "pca" keeps the two main directions; "tsne" keeps neighbours together, which suits large, mixed corpora.
        seed: equal seeds give equal maps.
    """
    _require_sounds(sounds)
    if method not in EMBEDDINGS:
        raise InputError(f"similarity method {method!r}; expected {' or '.join(EMBEDDINGS)}")
    return _in_rectangles(sounds, bounds, seed, embed(sounds, method, seed))


def embed(sounds: Sequence[LatentTrajectory], method: str = "pca", seed: int = 0) -> Points:
    """A place for each sound by its mean and standard deviation in time; shape (sounds, 2), in no particular unit."""
    portraits = np.stack([np.concatenate([sound.latents.mean(axis=0), sound.latents.std(axis=0)]) for sound in sounds])
    return EMBEDDINGS[method](portraits.astype(np.float64), seed)


def _pca(portraits: Points, seed: int) -> Points:
    centred = portraits - portraits.mean(axis=0)
    left, singular, axes = np.linalg.svd(centred, full_matrices=False)
    # An axis may point either way; the largest of its components shall be positive.
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, np.newaxis], axis=1))[:, 0]
    scores = (left * singular * np.where(signs < 0, -1.0, 1.0))[:, :2]
    return np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))


def _tsne(portraits: Points, seed: int) -> Points:
    count = len(portraits)
    start = _pca(portraits, seed)
    if count < 4 or not start.std():
        return start
    from sklearn.manifold import TSNE

    start *= 1e-4 / start[:, 0].std()  # scikit-learn's own scale for a PCA start
    embedding = TSNE(perplexity=min(30.0, (count - 1) / 3), init=start.astype(np.float32), random_state=seed)
    places: Points = embedding.fit_transform(portraits.astype(np.float32)).astype(np.float64)
    return places


EMBEDDINGS: dict[str, Callable[[Points, int], Points]] = {"pca": _pca, "tsne": _tsne}


def _require_sounds(sounds: Sequence[LatentTrajectory]) -> None:
    if not sounds:
        raise InputError("no sounds to lay out; expected at least one")
    sizes = sorted({sound.latent_size for sound in sounds})
    if len(sizes) > 1:
        raise InputError(f"sounds have {sizes} latents; expected the same number in all")


def _in_rectangles(sounds: Sequence[LatentTrajectory], bounds: ArrayLike, seed: int, places: Points) -> Layout:
    area = checked_bounds(bounds, 2)
    frames = np.array([len(sound) for sound in sounds])
    rectangles = split(area, frames, places)
    random = np.random.default_rng(seed)
    paths = [
        SpatialTrajectory(sound.name, curve_in(rectangle, len(sound), random))
        for sound, rectangle in zip(sounds, rectangles, strict=True)
    ]
    return Layout(tuple(paths), area)


def split(area: Points, weights: NDArray[np.int64], places: Points) -> list[Points]:
    """Rectangles that fill an area, one for each weight and as large as it, arranged as the places are.

    The longer side of the area is cut where half the weight lies on either side, counted along that axis of the places;
    then the parts are split likewise.

    Args:
        area: shape (2, 2): low and high of x and of y.
        weights: shape (n,), above 0.
        places: shape (n, 2).
    Returns:
        n rectangles of shape (2, 2), in the order of the weights.
    """
    rectangles: list[Points] = [area] * len(weights)
    todo = [(area, np.arange(len(weights)))]
    while todo:
        rectangle, members = todo.pop()
        if len(members) == 1:
            rectangles[members[0]] = rectangle
            continue
        axis = int(np.ptp(rectangle, axis=1).argmax())
        members = members[np.argsort(places[members, axis], kind="stable")]
        share = np.cumsum(weights[members]) / weights[members].sum()
        cut = 1 + int(np.abs(share[:-1] - 0.5).argmin())
        low, high = rectangle[axis]
        first, second = rectangle.copy(), rectangle.copy()
        first[axis, 1] = second[axis, 0] = low + share[cut - 1] * (high - low)
        todo += [(first, members[:cut]), (second, members[cut:])]
    return rectangles


def curve_in(rectangle: Points, count: int, random: np.random.Generator) -> Points:
    """`count` points at a constant distance on a curve that winds through the rectangle; a single one in its middle."""
    middle: Points = rectangle.mean(axis=1)
    sides: Points = np.ptp(rectangle, axis=1)
    if count == 1:
        return middle[np.newaxis]
    inner = sides - 2 * MARGIN * sides.min()
    # Drawn with its rows along the longer side, which is then x; turned and mirrored at the end.
    turned = bool(inner[1] > inner[0])
    long, short = max(inner), min(inner)
    path = bezier_polyline(_winding(long, short, count, random), steps=16)
    path = (path[:, ::-1] if turned else path) * random.choice([-1.0, 1.0], size=2)
    return resample(middle + path, count)


def _winding(long: float, short: float, count: int, random: np.random.Generator) -> Points:
    """Control points of cubic Béziers that wind through a rectangle around the origin, `long` in x and `short` in y.

    With n points at distance d in rows 2 d apart, the area is 2 n d²: that gives the number of rows.
    """
    rows = max(1, round(short / math.sqrt(ROW_DISTANCE * long * short / count)))
    height = short / rows
    reach = long / 2 - (height / 2 if rows > 1 else 0.0)  # a turn is a half circle beside the rows
    controls = []
    for row in range(rows):
        y = height * (row + 0.5) - short / 2
        controls += _wandering_row(reach, y, height, random, free_ends=rows == 1)
        if row + 1 < rows:
            bulge = reach + height * 2 / 3
            controls += [(bulge, y), (bulge, y + height)]
    corners = np.array(controls)
    # Every second row runs back: mirror it and the turn that follows it.
    period = len(corners) + 2
    per_row = period // rows
    sign = np.where((np.arange(len(corners)) // per_row) % 2, -1.0, 1.0)
    corners[:, 0] *= sign
    return corners


def _wandering_row(
    reach: float, y: float, height: float, random: np.random.Generator, *, free_ends: bool
) -> list[tuple[float, float]]:
    """Control points of one row from -reach to reach: hills and valleys with level tangents, so that x only grows."""
    pieces = max(2, round(2 * reach / (1.5 * height)))
    x = np.linspace(-reach, reach, pieces + 1)
    offsets = random.uniform(-WANDER, WANDER, pieces + 1) * height
    if not free_ends:
        offsets[[0, -1]] = 0.0
    step = x[1] - x[0]
    controls = [(x[0], y + offsets[0])]
    for k in range(pieces):
        controls += [
            (x[k] + step / 2, y + offsets[k]),
            (x[k + 1] - step / 2, y + offsets[k + 1]),
            (x[k + 1], y + offsets[k + 1]),
        ]
    return controls


LAYOUTS: dict[str, Callable[[Sequence[LatentTrajectory], int], Layout]] = {
    "timeline": lambda sounds, seed: timeline(sounds),
    "packed": lambda sounds, seed: packed(sounds, seed=seed),
    "map": lambda sounds, seed: similarity_map(sounds, seed=seed),
}
