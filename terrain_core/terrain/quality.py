"""How well a terrain gives back what it was fitted to."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from terrain_core.terrain.model import Terrain

JITTER = 0.001
JITTER_LIMIT = 0.005


def psnr(terrain: Terrain, coordinates: ArrayLike, latents: ArrayLike, *, repeats: int = 8, seed: int = 0) -> float:
    """Peak signal-to-noise ratio in dB near the points the terrain was fitted to.

    The coordinates are moved by N(0, 0.001), clipped to ±0.005, of the bounds: a terrain that is right at the points
    and wild between them scores low. The peak is the range (max - min) of the latents. Infinite if there is no error.
    """
    points, targets = np.asarray(coordinates, np.float64), np.asarray(latents, np.float64)
    random = np.random.default_rng(seed)
    span = np.ptp(terrain.bounds, axis=1)
    errors = []
    for _ in range(repeats):
        jitter = np.clip(random.normal(0.0, JITTER, points.shape), -JITTER_LIMIT, JITTER_LIMIT)
        errors.append(np.square(terrain(points + jitter * span) - targets).mean())
    return decibels(float(np.mean(errors)), float(np.ptp(targets)))


def decibels(mean_squared_error: float, peak: float) -> float:
    """PSNR from an error and the range of the signal."""
    if mean_squared_error == 0.0:
        return math.inf
    if peak == 0.0:
        return -math.inf
    return 20 * math.log10(peak) - 10 * math.log10(mean_squared_error)
