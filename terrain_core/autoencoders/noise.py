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
