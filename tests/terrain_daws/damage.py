"""Files cut short and files with a wrong byte."""

from __future__ import annotations

import numpy as np


def truncations(data: bytes, count: int = 200, seed: int = 1) -> list[bytes]:
    """The beginnings of a file, cut at random places."""
    rng = np.random.default_rng(seed)
    return [data[:size] for size in rng.integers(1, len(data), count).tolist()]


def flips(data: bytes, count: int = 2000, seed: int = 2) -> list[bytes]:
    """Copies of a file in which one byte is another."""
    rng = np.random.default_rng(seed)
    copies = []
    for place, change in zip(
        rng.integers(0, len(data), count).tolist(), rng.integers(1, 256, count).tolist(), strict=True
    ):
        copies.append(data[:place] + bytes((data[place] ^ change,)) + data[place + 1 :])
    return copies
