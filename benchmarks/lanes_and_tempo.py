"""How many samples a second lanes and tempo maps give, beside `np.interp` on the same points as the floor.

    python benchmarks/lanes_and_tempo.py [--samples N] [--points M]

Times are the best of several runs. A ratio of 1 means: as fast as np.interp, which knows straight lines only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks._numbers import note
from terrain_core.lanes import SHAPES, Lane, Shape
from terrain_core.tempo import TempoMap, TempoPoint


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--samples", type=int, default=1_000_000)
    arguments.add_argument("--points", type=int, nargs="*", default=[1_000, 100_000, 1_000_000])
    options = arguments.parse_args()
    print(f"{'what':42} {'points':>9} {'M samples/s':>12} {'of np.interp':>13}")
    for points in options.points:
        lanes(points, options.samples)
    tempo(options.samples)


def lanes(points: int, samples: int) -> None:
    """Lanes of `points` breakpoints, sampled in order and in disorder."""
    generator = np.random.default_rng(0)
    times, values = np.sort(generator.uniform(0, 600, points)), generator.random(points)
    in_order = np.linspace(0, 600, samples)
    mixed = generator.integers(0, len(SHAPES), points).astype(np.uint8)
    floor = best_time(partial(np.interp, in_order, times, values))
    report("np.interp", points, samples, floor, floor)
    for shape in Shape:
        lane = Lane(times, values + 0.1, shape, 0.3)
        report(f"lane, {shape.value}", points, samples, best_time(partial(lane.sample, in_order)), floor)
    lane = Lane(times, values + 0.1, mixed, 0.3)
    report("lane, all shapes mixed", points, samples, best_time(partial(lane.sample, in_order)), floor)
    shuffled = generator.permutation(in_order)
    shuffled_floor = best_time(partial(np.interp, shuffled, times, values))
    lane = Lane(times, values)
    report(
        "lane, linear, times in disorder", points, samples, best_time(partial(lane.sample, shuffled)), shuffled_floor
    )


def tempo(samples: int) -> None:
    """Tempo maps of 200 points by each law, both ways."""
    generator = np.random.default_rng(0)
    for shape in ("step", "linear-beats", "linear-seconds"):
        tempo_map = TempoMap([TempoPoint(4.0 * i, bpm, shape) for i, bpm in enumerate(generator.uniform(60, 180, 200))])
        beats = np.linspace(0, 800, samples)
        seconds = tempo_map.seconds_at(beats)
        knots = np.arange(200) * 4.0
        floor = best_time(partial(np.interp, beats, knots, knots))
        for name, convert, positions in (
            ("beats -> seconds", tempo_map.seconds_at, beats),
            ("seconds -> beats", tempo_map.beats_at, seconds),
        ):
            spent = best_time(partial(convert, positions))
            report(f"tempo, {shape}, {name}", 200, samples, spent, floor)


def best_time(action: Callable[[], object], runs: int = 5) -> float:
    """Seconds that the fastest of `runs` took."""
    spent = []
    for _ in range(runs):
        begin = time.perf_counter()
        action()
        spent.append(time.perf_counter() - begin)
    return min(spent)


def report(what: str, points: int, samples: int, seconds: float, floor: float) -> None:
    """One line of the table."""
    note(f"{what}, {points:,} points", seconds, floor, "s", "np.interp")
    print(f"{what:42} {points:9,} {samples / seconds / 1e6:12.1f} {seconds / floor:13.2f}")


if __name__ == "__main__":
    main()
