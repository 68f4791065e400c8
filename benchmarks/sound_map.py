"""Snap and blend on maps of 1,000 to 1,000,000 sounds, beside scikit-learn's bare nearest-neighbour query.

A query is one point, as a live engine asks, or all points at once, as a batch render does; the floor is the query of
scikit-learn's `KDTree` for as many neighbours as the blend takes, in the same run, with the same points.

And steering with a terrain that is to be kept: how far it moves away from the pins, beside one that is learned again.
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
from terrain_core.explorer.steering import HOLD_DISTANCE, Pin, steer
from terrain_core.sound_map import Blending, BlendingInTime, SoundMap
from terrain_core.terrain import Terrain
from terrain_core.terrain.fit import FitSettings, fit

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
    for count in COUNTS[:2]:
        fresh = SoundMap(positions[:count], rng.normal(size=(count, LATENTS)))
        began = time.perf_counter()
        fresh.prepare(natural=True)
        print(f"prepared for {count:,} sounds in {1e3 * (time.perf_counter() - began):.0f} ms")
    turned = BlendingInTime(*(np.full(1, value) for value in (False, 3.0, 0.2)))
    sounds = SoundMap(positions[:1000], natural.latents)
    own = us_per_query(partial(_blend, sounds), points)
    live = us_per_query(lambda point: sounds.blend(point, np.full(1, NEIGHBOURS), turned), points)
    note("blend with automated power and radius", live, own, "us", "the map's own")
    print(f"power and radius automated: {live:.1f} us beside {own:.1f} us by the map's own")
    kept_terrains()


def kept_terrains() -> None:
    """How far a terrain moves away from four pins, in parts of its spread, by its Gauss scale."""
    rng = np.random.default_rng(0)
    where = rng.uniform(size=(4000, 2))
    places = np.array([[0.2, 0.2], [0.8, 0.3], [0.5, 0.7], [0.35, 0.55]])
    away = np.linalg.norm(where[:, np.newaxis] - places, axis=2).min(axis=1) > HOLD_DISTANCE
    print("\nkept terrains: Gauss scale, moved with hills, moved when learned again from points")
    for scale in (0.5, 1.0, 2.0, 4.0, 7.0, 10.0):
        base = Terrain.create(2, LATENTS, gauss_scale=scale, seed=1)
        fit(base, rng.uniform(size=(800, 2)), rng.normal(size=(800, LATENTS)), FitSettings(epochs=0))
        before = base.at(where)
        spread = before.std(axis=0).mean()
        pins = [Pin(x, y, spread * rng.normal(size=LATENTS)) for x, y in places]
        with_hills = steer(pins, base=base).terrain.at(where) - before
        held = np.concatenate([where[away][:600], np.repeat(places, 300, axis=0)])
        wanted = np.concatenate([before[away][:600], np.repeat([pin.latent for pin in pins], 300, axis=0)])
        learned = Terrain.create(2, LATENTS, gauss_scale=scale, seed=2)
        fit(learned, held, wanted, FitSettings(epochs=0, ridge_start=1e-6, ridge_end=1e-6))
        again = learned.at(where) - before
        moved, other = (float(np.sqrt((m[away] ** 2).mean()) / spread) for m in (with_hills, again))
        note(f"kept terrain, Gauss scale {scale:g}", moved, other, "of its spread", "learned again")
        print(f"{scale:5g} {moved:10.1e} {other:10.2f}")


def _blend(sounds: SoundMap, points: NDArray[np.float64]) -> NDArray[np.float32]:
    return sounds.blend(points, np.full(len(points), NEIGHBOURS))


if __name__ == "__main__":
    main()
