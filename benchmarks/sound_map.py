"""Snap and blend on maps of 1,000 to 1,000,000 sounds, beside scikit-learn's bare nearest-neighbour query.

A query is one point, as a live engine asks, or all points at once, as a batch render does; the floor is the query of
scikit-learn's `KDTree` for as many neighbours as the blend takes, in the same run, with the same points.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KDTree

from benchmarks._numbers import note
from terrain_core.sound_map import Blending, SoundMap

COUNTS = (1_000, 100_000, 1_000_000)
LATENTS = 8
NEIGHBOURS = 8
QUERIES = 2000


def us_per_query(query: Callable[[NDArray[np.float64]], Any], points: NDArray[np.float64]) -> float:
    """Median over the points, one at a time, microseconds."""
    for point in points[:50]:
        query(point[np.newaxis])
    taken = []
    for point in points:
        began = time.perf_counter()
        query(point[np.newaxis])
        taken.append(time.perf_counter() - began)
    return float(np.median(taken)) * 1e6


def us_at_once(query: Callable[[NDArray[np.float64]], Any], points: NDArray[np.float64]) -> float:
    """All points in one call, the best of five, microseconds per point."""
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        query(points)
        taken.append(time.perf_counter() - began)
    return min(taken) / len(points) * 1e6


def main() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(size=(QUERIES, 2))
    for title, timed in (("one point at a time", us_per_query), (f"{QUERIES:,} points at once", us_at_once)):
        print(f"\n{title}, microseconds per point")
        print(f"{'sounds':>9} {'build':>8}  {'bare 1':>7} {'snap':>7} {'ratio':>6}  ", end="")
        print(f"{'bare 8':>7} {'blend 8':>7} {'ratio':>6}")
        for count in COUNTS:
            positions = rng.uniform(size=(count, 2))
            sounds = SoundMap(positions, rng.normal(size=(count, LATENTS)))
            began = time.perf_counter()
            sounds.prepare()
            built = time.perf_counter() - began
            bare = KDTree(positions, leaf_size=16)
            one = timed(partial(bare.query, k=1), points)
            snap = timed(sounds.snap, points)
            many = timed(partial(bare.query, k=NEIGHBOURS), points)
            blend = timed(partial(_blend, sounds), points)
            note(f"snap among {count:,}, {title}", snap, one, "us", "scikit-learn's bare query")
            note(f"blend of {NEIGHBOURS} among {count:,}, {title}", blend, many, "us", "scikit-learn's bare query")
            print(
                f"{count:9,} {built * 1e3:5.0f} ms  {one:7.1f} {snap:7.1f} {snap / one:6.2f}  "
                f"{many:7.1f} {blend:7.1f} {blend / many:6.2f}"
            )
    natural = SoundMap(positions[:1000], rng.normal(size=(1000, LATENTS)), blending=Blending("natural"))
    natural.prepare()
    print(f"\nnatural neighbours among 1,000 sounds: {us_per_query(partial(_blend, natural), points):.0f} us")


def _blend(sounds: SoundMap, points: NDArray[np.float64]) -> NDArray[np.float32]:
    return sounds.blend(points, np.full(len(points), NEIGHBOURS))


if __name__ == "__main__":
    main()
