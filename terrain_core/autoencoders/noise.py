"""Noise that is a function of (seed, frame): the same however a stream is cut, resumed or distributed.

The generator is numpy's Philox, which counts: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_VALUES_PER_COUNT = 8
"""One Philox count gives four 64-bit words, of which each serves as two 32-bit values."""


def uniform(seed: int, first_frame: int, frames: int, per_frame: int) -> NDArray[np.float32]:
    """Uniform values in 0..1 (1 excluded), shape (frames, per_frame); row i belongs to frame `first_frame + i`.

    Args:
        seed: 0 or more.
        first_frame: may be negative (pre-roll).
    """
    counts = -(-per_frame // _VALUES_PER_COUNT)
    start = (first_frame * counts) % 2**256
    generator = np.random.Philox(key=seed % 2**128, counter=start)
    words = generator.random_raw(frames * counts * 4).view(np.uint32).reshape(frames, -1)[:, :per_frame]
    return (words >> 8).astype(np.float32) * np.float32(2.0**-24)


def mixed(seed: int, first_frame: int, frames: int, normals: int, uniforms: int) -> NDArray[np.float32]:
    """Standard normal values and after them uniform ones, shape (frames, normals + uniforms); see `uniform`."""
    pairs = -(-normals // 2)
    drawn = uniform(seed, first_frame, frames, 2 * pairs + uniforms)
    if not normals:
        return drawn
    # Box and Muller's transform, in double precision so that machines differ as little as can be.
    radius = np.sqrt(-2 * np.log1p(-drawn[:, :pairs].astype(np.float64)))
    angle = 2 * np.pi * drawn[:, pairs : 2 * pairs].astype(np.float64)
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :normals]
    return np.concatenate([normal.astype(np.float32), drawn[:, 2 * pairs :]], axis=1)


def torch_seed(seed: int, frame: int) -> int:
    """What to seed another library's generator with for one frame: 63 bits that neighbouring frames do not share."""
    word = np.random.Philox(key=seed % 2**128, counter=frame % 2**256).random_raw()
    return int(word) >> 1
