"""The shipped drum instrument's data: drums by seed, the two parts by other seeds."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from terrain_core.autoencoders.protocol import Audio
from terrain_core.one_shots import shards
from terrain_core.one_shots.config import ModelConfig
from terrain_core.one_shots.drums import KINDS, SAMPLE_RATE, drum

FIRST_SEED = {"train": 0, "test": 1_000_000}


def _make(job: tuple[str, int, float, int]) -> Audio:
    kind, seed, seconds, samples = job
    audio = np.zeros((1, samples), np.float32)
    made = drum(kind, seed, seconds)[:, :samples]
    audio[:, : made.shape[1]] = made
    return audio


def synthesise(folder: Path, config: ModelConfig, train: int = 3500, test: int = 420, workers: int = 2) -> None:
    """Make the data set, kinds taking turns, unless it is there with as many drums."""
    counts: dict[shards.Part, int] = {"train": train, "test": test}
    if (folder / shards.CARD).is_file():
        card = shards.read_card(folder)
        there = {part: len(card["parts"].get(part, [])) for part in shards.PARTS}
        if there == counts and card["samples"] == config.samples:
            return
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        part: shards.write(folder, part, _drums(part, count, config, workers), 1, config.samples)
        for part, count in counts.items()
    }
    shards.write_card(folder, parts, SAMPLE_RATE, 1, config.samples, made="synthesised drums")


def _drums(part: shards.Part, count: int, config: ModelConfig, workers: int) -> Iterator[tuple[shards.Sound, Audio]]:
    kinds = list(KINDS)
    jobs = [
        (kinds[i % len(kinds)], FIRST_SEED[part] + i // len(kinds), config.seconds, config.samples)
        for i in range(count)
    ]
    with ProcessPoolExecutor(workers) as pool:
        for (kind, seed, seconds, _), audio in zip(jobs, pool.map(_make, jobs, chunksize=32), strict=True):
            yield shards.Sound(f"{kind} {seed}", kind, f"seed {seed}", seconds), audio
