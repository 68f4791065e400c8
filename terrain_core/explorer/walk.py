"""Random walks with momentum that never leave the region where the corpus' latents are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from terrain_core.autoencoders.protocol import Latents
from terrain_core.errors import InputError
from terrain_core.explorer.morph import EASINGS
from terrain_core.explorer.space import LatentSpace, Vectors

MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class WalkSettings:
    """How to walk. Lengths are in standard deviations of the corpus (along each of its directions).

    Attributes:
        steps: how many, after the start.
        step_size: length of a step.
        momentum: 0 turns anywhere at each step, 1 never turns by itself.
        pull: towards the mean, 0..1; grows with the distance from it.
        attraction: towards the nearest attractor, 0..1.
        share: of the corpus' latents that lie within the border (`LatentSpace.radius`); the walk turns back there.
            None: no border, for comparison.
        seed: equal seeds give equal walks.
    """

    steps: int = 32
    step_size: float = 0.4
    momentum: float = 0.6
    pull: float = 0.1
    attraction: float = 0.0
    share: float | None = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "steps": (1 <= self.steps <= MOST_STEPS, f"1..{MOST_STEPS:,}"),
            "step_size": (0 < self.step_size <= 10, "above 0 and at most 10"),
            "momentum": (0 <= self.momentum <= 1, "0..1"),
            "pull": (0 <= self.pull <= 1, "0..1"),
            "attraction": (0 <= self.attraction <= 1, "0..1"),
            "share": (self.share is None or 0 < self.share <= 1, "above 0 and at most 1, or None"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {expected}")


def walk(
    space: LatentSpace,
    start: ArrayLike | None = None,
    settings: WalkSettings | None = None,
    attractors: ArrayLike | None = None,
) -> Latents:
    """A walk through the latent space.

    The direction of each step is the one before times the momentum, plus what is new, plus the pulls; each step has
    the same length, but for those that end at the border, where the walk is mirrored.

    Args:
        start: (D,); the mean if None. Outside the border, the walk begins at the nearest point on it.
        attractors: (n, D), what the walk likes to come by; None for none.
    Returns:
        (steps + 1, D), the start first; with a border, none of them outside (but for float32's rounding).
    """
    settings = settings or WalkSettings()
    random = np.random.default_rng(settings.seed)
    radius = np.inf if settings.share is None else space.radius(settings.share) * (1 - 1e-6)
    place = np.zeros(len(space.deviations)) if start is None else space.whitened(_checked(start, space))
    place = _inside(place, radius)
    likes = None if attractors is None else space.whitened(np.atleast_2d(_checked(attractors, space)))
    direction = _unit(random.normal(size=len(place)), place)
    typical = float(np.median(space.distances))
    places = [place]
    for _ in range(settings.steps):
        fresh = _unit(random.normal(size=len(place)), direction)
        aim = settings.momentum * direction + (1 - settings.momentum) * fresh
        aim = aim - settings.pull * place / max(typical, 1e-12)
        if likes is not None and settings.attraction:
            nearest = likes[np.linalg.norm(likes - place, axis=1).argmin()]
            aim = aim + settings.attraction * _unit(nearest - place, np.zeros_like(place))
        direction = _unit(aim, direction)
        place, direction = _step(place, direction, settings.step_size, radius)
        places.append(place)
    return space.latents(np.array(places)).astype(np.float32)


def _step(place: Vectors, direction: Vectors, length: float, radius: float) -> tuple[Vectors, Vectors]:
    """A step, mirrored at the border's sphere; where it would have to bounce too often, it ends on the border."""
    left = length
    for _ in range(8):
        target = place + left * direction
        if np.linalg.norm(target) <= radius:
            return target, direction
        # |place + s direction| = radius
        along, inside = float(place @ direction), radius**2 - float(place @ place)
        until = max(0.0, -along + np.sqrt(max(along * along + inside, 0.0)))
        place, left = _inside(place + until * direction, radius), left - until
        outward = _unit(place, direction)
        direction = _unit(direction - 2 * float(direction @ outward) * outward, -outward)
    return place, direction


def _inside(place: Vectors, radius: float) -> Vectors:
    away = float(np.linalg.norm(place))
    return place if away <= radius else place * (radius / away)


def _unit(vector: Vectors, otherwise: Vectors) -> Vectors:
    size = float(np.linalg.norm(vector))
    return vector / size if size > 1e-12 else otherwise


def _checked(latents: ArrayLike, space: LatentSpace) -> Vectors:
    rows = np.asarray(latents, np.float64)
    if rows.shape[-1:] != (space.latent_size,) or not np.isfinite(rows).all():
        raise InputError(f"latents of shape {rows.shape}: expected {space.latent_size} finite numbers each")
    return rows


def in_time(points: ArrayLike, seconds: ArrayLike, frame_rate: float, easing: str = "smooth") -> Latents:
    """Points (n, D) that are reached at given seconds (n,), rising from 0, as frames (frames, D).

    Between two points the way is straight, so that what is true of both (inside a convex region) is true of it. With
    beats turned into seconds by a tempo map, steps fall on the beat.

    Args:
        easing: one of `morph.EASINGS`.
    """
    rows, times = np.asarray(points, np.float64), np.asarray(seconds, np.float64)
    if len(rows) != len(times) or len(rows) < 2 or times[0] != 0 or not (np.diff(times) > 0).all():
        raise InputError(f"{len(rows)} points at {len(times)} times: expected as many, 2 or more, rising from 0 s")
    if easing not in EASINGS:
        raise InputError(f"easing is {easing!r}; expected {' or '.join(EASINGS)}")
    at = np.arange(max(2, round(float(times[-1]) * frame_rate))) / frame_rate
    before = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    share = EASINGS[easing](np.clip((at - times[before]) / (times[before + 1] - times[before]), 0.0, 1.0))
    frames = rows[before] + share[:, np.newaxis] * (rows[before + 1] - rows[before])
    return frames.astype(np.float32)
