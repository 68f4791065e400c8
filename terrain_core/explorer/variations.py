"""Variations of a sound: around it by chance, or the sounds of the corpus that are most like it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.autoencoders.protocol import Latents
from terrain_core.errors import InputError
from terrain_core.explorer.collection import Collection
from terrain_core.explorer.space import LatentSpace, Vectors

CANDIDATES = 8
"""For each variation that is wanted diverse, so many are drawn to choose among."""

MOST = 4096


@dataclass(frozen=True)
class VariationSettings:
    """How to vary.

    Attributes:
        count: how many.
        amount: how far away they are, in standard deviations of the corpus per direction.
        temperature: of the chance in it: 0 puts all at the same distance, 1 draws it as a Gaussian does, more spreads
            it further.
        order: "distance" gives the nearest first; "spread" chooses, among many more, those that differ most from each
            other and from what was there (farthest first).
        share: none leaves the region that holds this share of the corpus.
        seed: equal seeds give equal variations.
    """

    count: int = 8
    amount: float = 0.5
    temperature: float = 1.0
    order: Literal["distance", "spread"] = "distance"
    share: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "count": (1 <= self.count <= MOST, f"1..{MOST}"),
            "amount": (0 <= self.amount <= 10, "0..10"),
            "temperature": (0 <= self.temperature <= 10, "0..10"),
            "order": (self.order in ("distance", "spread"), "distance or spread"),
            "share": (0 < self.share <= 1, "above 0 and at most 1"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected {expected}")


@dataclass(frozen=True)
class Variation:
    """One of them: latents (frames, D), and how far it is from the sound, in standard deviations."""

    latents: Latents
    distance: float


def vary(latents: ArrayLike, space: LatentSpace, settings: VariationSettings | None = None) -> list[Variation]:
    """Variations of a sound (frames, D): all its frames moved alike, so that its course stays its own."""
    settings = settings or VariationSettings()
    rows = np.atleast_2d(np.asarray(latents, np.float64))
    if rows.shape[1] != space.latent_size:
        raise InputError(f"a sound of shape {rows.shape}: expected (frames, {space.latent_size})")
    random = np.random.default_rng(settings.seed)
    count = settings.count * (CANDIDATES if settings.order == "spread" else 1)
    ways = random.normal(size=(count, len(space.deviations)))
    lengths = np.linalg.norm(ways, axis=1, keepdims=True)
    # On one sphere at temperature 0, as Gaussian noise at 1.
    typical = np.sqrt(len(space.deviations))
    radii = np.maximum(typical + settings.temperature * (lengths - typical), 0.0)
    middle = rows.mean(axis=0)
    offsets = ways / np.maximum(lengths, 1e-12) * radii * settings.amount
    inside = space.whitened(space.clipped(space.latents(space.whitened(middle) + offsets), settings.share))
    # What the middle has outside the corpus' own directions stays; a middle that was outside is not moved by that.
    outside = space.distance(middle) > space.radius(settings.share)
    moves = offsets if outside else inside - space.whitened(middle)
    chosen = _chosen(moves, settings)
    shifts = moves[chosen] * space.deviations @ space.axes
    return [
        Variation((rows + shift).astype(np.float32), float(np.linalg.norm(moves[k])))
        for k, shift in zip(chosen, shifts, strict=True)
    ]


def _chosen(moves: Vectors, settings: VariationSettings) -> NDArray[np.intp]:
    if settings.order == "distance":
        return np.argsort(np.linalg.norm(moves, axis=1), kind="stable")[: settings.count]
    return farthest_first(moves, settings.count, np.zeros((1, moves.shape[1])))


def farthest_first(vectors: ArrayLike, count: int, apart_from: ArrayLike | None = None) -> NDArray[np.intp]:
    """Indices of `count` vectors (n, V), each the furthest from all before it (Gonzalez 1985): at least half as far
    apart as any choice could be.

    Args:
        apart_from: (m, V), what is already there; None: begin with the one furthest from the mean.
    """
    rows = np.asarray(vectors, np.float64)
    if not 1 <= count <= len(rows):
        raise InputError(f"{count} of {len(rows)} vectors: expected 1 to as many as there are")
    seeds = rows.mean(axis=0, keepdims=True) if apart_from is None else np.atleast_2d(apart_from)
    away = np.linalg.norm(rows[:, np.newaxis] - seeds, axis=2).min(axis=1)
    chosen: list[int] = []
    for _ in range(count):
        best = int(away.argmax())
        chosen.append(best)
        fresh = np.linalg.norm(rows - rows[best], axis=1)
        away = fresh if apart_from is None and len(chosen) == 1 else np.minimum(away, fresh)
        away[best] = -1.0
    return np.array(chosen, np.intp)


def alike(
    collection: Collection, portrait: ArrayLike, count: int, order: Literal["distance", "spread"] = "distance"
) -> list[tuple[int, float]]:
    """The sounds of a corpus most like a portrait (2 D,): indices and distances, in standard deviations.

    "spread" takes, of `CANDIDATES` times as many, those that differ most.
    """
    if count < 1:
        raise InputError(f"{count} sounds: expected 1 or more")
    rows = collection.portraits()
    deviation = rows.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    target = np.asarray(portrait, np.float64)
    away = np.linalg.norm((rows - target) / scale, axis=1)
    nearest = np.argsort(away, kind="stable")
    if order == "spread":
        pool = nearest[: max(count, CANDIDATES * count)]
        found = farthest_first(rows[pool] / scale, min(count, len(pool)), (target / scale)[np.newaxis])
        nearest = pool[found]
    return [(int(k), float(away[k])) for k in nearest[:count]]
