"""Paths through the control space with points at a constant distance along them.

A path is given as a fine polyline (`polyline` as it is, `bezier` and `freehand` sampled), then points are laid on it by
arc length: `points` of them from end to end, or one every `distance` from the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.trajectories.kinds import SpatialTrajectory, checked_rows

Points = NDArray[np.float64]

STEPS_PER_SEGMENT = 128
"""Chords per Bézier segment: the arc length of a quarter circle is right to 1e-5 of itself."""

MAX_POINTS = 1 << 24
"""Points on one path: a day of latent frames at 43 Hz is a quarter of it."""


def arc_lengths(points: ArrayLike) -> NDArray[np.float64]:
    """Distance along the polyline from its start to each of its points (n, C); shape (n,)."""
    corners = np.asarray(points, np.float64)
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])


def resample(points: ArrayLike, count: int) -> Points:
    """`count` points from end to end of the polyline (n, C), equally far apart along it; one point: its start."""
    corners = np.asarray(points, np.float64)
    lengths = arc_lengths(corners)
    return _at_lengths(corners, lengths, np.linspace(0.0, lengths[-1], _checked_count(count)))


def _at_lengths(corners: Points, lengths: NDArray[np.float64], wanted: NDArray[np.float64]) -> Points:
    # Corners that repeat have no length between them and would make the interpolation's abscissae equal.
    kept = np.concatenate([[True], np.diff(lengths) > 0])
    return np.stack([np.interp(wanted, lengths[kept], axis) for axis in corners[kept].T], axis=1)


def spaced(
    name: str, path: ArrayLike, *, points: int | None = None, distance: float | None = None
) -> SpatialTrajectory:
    """Points at a constant distance along a polyline (n, C).

    Args:
        name: of the trajectory.
        path: the polyline's corners.
        points: how many, from end to end.
        distance: between neighbours, counted along the path from its start; the path's end is left out unless it falls
            on a multiple (to one part in 10^9). Give either this or `points`.
    """
    corners = checked_rows(path, f"path {name!r}", "control_size", np.float64)
    if (points is None) == (distance is None):
        raise InputError(f"path {name!r}: expected either a number of points or a distance between them")
    if points is not None:
        return SpatialTrajectory(name, resample(corners, points))
    if distance is None or not 0 < distance < math.inf:
        raise InputError(f"path {name!r}: a distance of {distance} between points; expected above 0")
    lengths = arc_lengths(corners)
    count = _checked_count(1 + math.floor(min(lengths[-1] / distance * (1 + 1e-9), 2.0 * MAX_POINTS)))
    wanted = np.minimum(np.arange(count) * distance, lengths[-1])
    return SpatialTrajectory(name, _at_lengths(corners, lengths, wanted))


def _checked_count(count: int) -> int:
    if not 1 <= count <= MAX_POINTS:
        raise InputError(f"{count} points on one path; expected 1..{MAX_POINTS}")
    return count


def polyline(
    name: str, corners: ArrayLike, *, points: int | None = None, distance: float | None = None
) -> SpatialTrajectory:
    """A path of straight lines through its corners (n, C); the rest as `spaced`."""
    return spaced(name, corners, points=points, distance=distance)


def bezier(
    name: str, controls: ArrayLike, *, points: int | None = None, distance: float | None = None
) -> SpatialTrajectory:
    """A path of cubic Bézier segments.

    Args:
        name: of the trajectory.
        controls: shape (3 · segments + 1, C): anchor, handle, handle, anchor, handle, handle, anchor, …
        points: as `spaced`.
        distance: as `spaced`.
    """
    return spaced(name, bezier_polyline(controls), points=points, distance=distance)


def bezier_polyline(controls: ArrayLike, steps: int = STEPS_PER_SEGMENT) -> Points:
    """The curve of `bezier` as `steps` chords per segment: shape (segments · steps + 1, C)."""
    handles = checked_rows(controls, "Bézier path", "control_size", np.float64)
    if len(handles) < 4 or len(handles) % 3 != 1:
        raise InputError(f"a Bézier path of {len(handles)} control points; expected 4, 7, 10, … (3 per segment and 1)")
    segments = np.stack([handles[0:-1:3], handles[1::3], handles[2::3], handles[3::3]])
    t = np.linspace(0.0, 1.0, steps, endpoint=False)
    bernstein = np.stack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    curve = np.einsum("kt,ksc->stc", bernstein, segments)
    return np.concatenate([curve.reshape(-1, handles.shape[1]), handles[-1:]])


def freehand(
    name: str,
    drawn: ArrayLike,
    *,
    smoothing: float = 0.02,
    points: int | None = None,
    distance: float | None = None,
) -> SpatialTrajectory:
    """A drawn path, its tremor and its uneven speed taken out; start and end stay where they are.

    Args:
        name: of the trajectory.
        drawn: shape (n, C), as a pen or mouse reported it.
        smoothing: standard deviation of the Gaussian that runs along the path, as a part of the path's length; 0..0.5.
        points: as `spaced`.
        distance: as `spaced`.
    """
    corners = checked_rows(drawn, f"path {name!r}", "control_size", np.float64)
    if not 0 <= smoothing <= 0.5:
        raise InputError(f"path {name!r}: smoothing is {smoothing}; expected 0..0.5 of the path's length")
    if smoothing and arc_lengths(corners)[-1]:
        corners = _smoothed(corners, smoothing)
    return spaced(name, corners, points=points, distance=distance)


def _smoothed(corners: Points, smoothing: float) -> Points:
    """Even steps along the path, then a Gaussian on them. The path goes on beyond its ends, mirrored through the end
    points, so that these stay."""
    count = max(256, min(4 * len(corners), 8192))
    even = resample(corners, count)
    sigma = smoothing * count
    reach = min(math.ceil(3 * sigma), count - 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    before = 2 * even[0] - even[reach:0:-1]
    after = 2 * even[-1] - even[-2 : -2 - reach : -1]
    longer = np.concatenate([before, even, after])
    return np.stack([np.convolve(axis, kernel, mode="valid") for axis in longer.T], axis=1)


def single_points(points: ArrayLike, names: Sequence[str] | None = None) -> list[SpatialTrajectory]:
    """Each row of (n, C) as a trajectory of its own, to steer a terrain point by point; named "1", "2", … if None."""
    rows = checked_rows(points, "points", "control_size", np.float64)
    labels = names if names is not None else [str(number) for number in range(1, len(rows) + 1)]
    if len(labels) != len(rows):
        raise InputError(f"{len(labels)} names for {len(rows)} points")
    return [SpatialTrajectory(label, row[np.newaxis]) for label, row in zip(labels, rows, strict=True)]
