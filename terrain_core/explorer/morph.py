"""From one sound to another: straight or on an arc, aligned in time by phase or by what sounds alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.autoencoders.protocol import Latents
from terrain_core.errors import InputError

Vectors = NDArray[np.float64]

EASINGS: Final[Mapping[str, Callable[[Vectors], Vectors]]] = {
    "linear": lambda u: u,
    "smooth": lambda u: u * u * (3 - 2 * u),
    "fast-start": lambda u: 1 - (1 - u) ** 3,
    "fast-end": lambda u: u**3,
    "sine": lambda u: (1 - np.cos(np.pi * u)) / 2,
}
"""Progress 0..1 -> progress 0..1; named as the lanes' shapes are."""

SAME_DIRECTION = 1e-6
"""Vectors that are nearer than this to one line have no arc of their own between them, in radians."""

MOST_STEPS = 4096


@dataclass(frozen=True)
class MorphSettings:
    """How to morph.

    Attributes:
        steps: how many sounds, both ends among them.
        mode: "linear", or "spherical": directions from the centre on an arc, distances in proportion, so that the
            middle is as far out as the ends are.
        easing: one of `EASINGS`.
        align: "phase" brings equal parts of both sounds' time together, "dtw" what sounds alike.
        loop: back again to the first, which is not repeated at the end.
    """

    steps: int = 8
    mode: Literal["linear", "spherical"] = "linear"
    easing: str = "linear"
    align: Literal["phase", "dtw"] = "phase"
    loop: bool = False

    def __post_init__(self) -> None:
        checks = {
            "steps": (2 <= self.steps <= MOST_STEPS, f"2..{MOST_STEPS}"),
            "mode": (self.mode in ("linear", "spherical"), "linear or spherical"),
            "easing": (self.easing in EASINGS, " or ".join(EASINGS)),
            "align": (self.align in ("phase", "dtw"), "phase or dtw"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {expected}")

    def progress(self) -> Vectors:
        """How far each step is from the first sound to the second, 0..1: (steps,), or (2 steps - 2,) as a loop."""
        there = EASINGS[self.easing](np.linspace(0.0, 1.0, self.steps))
        there[[0, -1]] = 0.0, 1.0
        return np.concatenate([there, there[-2:0:-1]]) if self.loop else there


def between(
    first: ArrayLike, second: ArrayLike, progress: ArrayLike, mode: str = "linear", centre: ArrayLike = 0.0
) -> Vectors:
    """Between two latents; at progress 0 and 1 exactly these.

    Spherical: Shoemake's slerp ("Animating rotation with quaternion curves", 1985) of the directions from the centre,
    the lengths in proportion. Between opposite directions any arc is as good: the one through the axis that the first
    has least of is taken. A vector at the centre has no direction, and its way is straight.

    Args:
        first, second: shape (..., D).
        progress: 0..1, of a shape that goes with (...).
        centre: (D,), what directions are seen from; the latents' mean.
    Returns:
        shape (..., D), float64.
    """
    a, b = np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(second, np.float64))
    t = np.asarray(progress, np.float64)[..., np.newaxis]
    straight: Vectors = (1 - t) * a + t * b
    if mode == "linear":
        return straight
    middle = np.asarray(centre, np.float64)
    arc = middle + _on_arc(a - middle, b - middle, t)
    short = np.minimum(np.linalg.norm(a - middle, axis=-1), np.linalg.norm(b - middle, axis=-1))[..., np.newaxis]
    mixed = np.where(short > 1e-12, arc, straight)
    ends: Vectors = np.where(t == 0, a, np.where(t == 1, b, mixed))
    return ends


def _on_arc(a: Vectors, b: Vectors, t: Vectors) -> Vectors:
    length_a, length_b = (np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-300) for v in (a, b))
    unit_a, unit_b = a / length_a, b / length_b
    # By both half angles: acos of the product alone loses half the digits near 0 and near pi.
    angle = 2 * np.arctan2(
        np.linalg.norm(unit_a - unit_b, axis=-1, keepdims=True), np.linalg.norm(unit_a + unit_b, axis=-1, keepdims=True)
    )
    along = unit_b - (unit_a * unit_b).sum(axis=-1, keepdims=True) * unit_a
    size = np.linalg.norm(along, axis=-1, keepdims=True)
    any_axis = np.zeros_like(unit_a)
    np.put_along_axis(any_axis, np.abs(unit_a).argmin(axis=-1)[..., np.newaxis], 1.0, axis=-1)
    other = any_axis - (unit_a * any_axis).sum(axis=-1, keepdims=True) * unit_a
    other_size = np.linalg.norm(other, axis=-1, keepdims=True)
    opposite = angle > np.pi - SAME_DIRECTION
    side = np.where(
        opposite & (other_size > 0), other / np.maximum(other_size, 1e-300), along / np.maximum(size, 1e-300)
    )
    turned = np.cos(t * angle) * unit_a + np.sin(t * angle) * side
    direction = np.where(angle < SAME_DIRECTION, unit_a, turned)
    reached: Vectors = ((1 - t) * length_a + t * length_b) * direction
    return reached


def sampled(latents: ArrayLike, positions: ArrayLike) -> Vectors:
    """A trajectory (frames, D) at positions (n,) counted in frames, joined by straight lines: (n, D)."""
    rows = np.asarray(latents, np.float64)
    where = np.clip(np.asarray(positions, np.float64), 0, len(rows) - 1)
    low = np.minimum(where.astype(np.intp), max(len(rows) - 2, 0))
    share = (where - low)[:, np.newaxis]
    above: Vectors = rows[np.minimum(low + 1, len(rows) - 1)]
    return np.where(share == 0, rows[low], (1 - share) * rows[low] + share * above)


def dtw_path(first: ArrayLike, second: ArrayLike) -> NDArray[np.intp]:
    """Dynamic time warping (Sakoe and Chiba 1978): the monotone path of pairs of frames with the least total distance.

    Steps (1, 1), (1, 0) and (0, 1), each counting the distance where it arrives; of equally good ones the diagonal.

    Args:
        first, second: (n, D) and (m, D).
    Returns:
        (pairs, 2) indices, from (0, 0) to (n - 1, m - 1).
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    cost = np.sqrt(np.maximum(((a[:, np.newaxis] - b) ** 2).sum(axis=2), 0.0))
    n, m = cost.shape
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(n + m - 1):  # all cells of an antidiagonal at once
        i = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))
        j = diagonal - i
        total[i + 1, j + 1] = cost[i, j] + np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
    i, j = n - 1, m - 1
    path = [(i, j)]
    while (i, j) != (0, 0):
        before = [(total[i, j], i - 1, j - 1), (total[i, j + 1], i - 1, j), (total[i + 1, j], i, j - 1)]
        _, i, j = min(before, key=lambda step: step[0])
        path.append((i, j))
    return np.array(path[::-1], np.intp)


class Morph:
    """Two sounds, aligned once; any number of sounds between them.

    The first is exactly the first sound, the last the second. Between them the length goes in proportion.
    """

    def __init__(
        self, first: ArrayLike, second: ArrayLike, settings: MorphSettings | None = None, centre: ArrayLike = 0.0
    ) -> None:
        """
        Args:
            first, second: trajectories (n, D) and (m, D); one frame each for a one-shot autoencoder.
            centre: (D,), for the spherical mode and, with it, for nothing else.
        """
        self.settings = settings or MorphSettings()
        self._first, self._second = np.asarray(first, np.float32), np.asarray(second, np.float32)
        if self._first.ndim != 2 or self._second.ndim != 2 or self._first.shape[1] != self._second.shape[1]:
            raise InputError(
                f"sounds of shapes {self._first.shape} and {self._second.shape} cannot be morphed: expected (frames, D)"
            )
        self._centre = centre
        n, m = len(self._first), len(self._second)
        if self.settings.align == "dtw":
            spread = np.concatenate([self._first, self._second]).std(axis=0)
            scale = np.where(spread > 0, spread, 1.0)
            self._pairs = dtw_path(self._first / scale, self._second / scale).astype(np.float64)
        else:
            self._pairs = np.array([[0.0, 0.0], [n - 1.0, m - 1.0]])

    def at(self, progress: float) -> Latents:
        """The sound that far between the two: (frames, D)."""
        t = float(progress)
        if t <= 0 or t >= 1:
            return (self._first if t <= 0 else self._second).copy()
        frames = max(1, round((1 - t) * len(self._first) + t * len(self._second)))
        return self._mixed(t, np.linspace(0.0, 1.0, frames) if frames > 1 else np.zeros(1))

    def _mixed(self, progress: float | Vectors, phases: Vectors) -> Latents:
        """At phases (n,) 0..1 of the sound between, which is that far on (one number, or (n,))."""
        a, b = self._pairs[:, 0], self._pairs[:, 1]
        share = np.broadcast_to(np.asarray(progress, np.float64), phases.shape)
        in_a, in_b = np.empty(len(phases)), np.empty(len(phases))
        for t in np.unique(share):
            rows = share == t
            time = (1 - t) * a + t * b
            steps = np.linspace(0.0, 1.0, len(a))
            # Where time stands still (one sound waits for the other, at the ends), a grain of it keeps the order.
            time = time + 1e-9 * steps * max(time[-1], 1.0)
            wanted = phases[rows] * time[-1]
            in_a[rows], in_b[rows] = np.interp(wanted, time, a), np.interp(wanted, time, b)
        mixed = between(
            sampled(self._first, in_a), sampled(self._second, in_b), share, self.settings.mode, self._centre
        )
        return mixed.astype(np.float32)

    def sequence(self) -> list[Latents]:
        """A sound for each step, one after another."""
        return [self.at(t) for t in self.settings.progress()]

    def trajectory(self, frames: int) -> Latents:
        """One sound of that many frames that goes from the first to the second while it sounds, (frames, D).

        The sounds' own time runs at its own speed: it is gone through as often as they fit, to and fro, so that the
        beginning never follows the end at once.
        """
        if frames < 2:
            raise InputError(f"a morph of {frames} frames: expected 2 or more")
        u = np.linspace(0.0, 1.0, frames)
        way = 1 - np.abs(1 - 2 * u) if self.settings.loop else u
        progress = np.clip(EASINGS[self.settings.easing](way), 0.0, 1.0)
        length = max(len(self._first), len(self._second), 2) - 1
        turns = np.arange(frames) / length
        phases = np.abs((turns + 1) % 2 - 1)
        return self._mixed(progress, phases)
