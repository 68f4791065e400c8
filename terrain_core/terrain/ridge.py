"""The last layer in closed form: ridge regression of the latents on the last hidden layer.

Hoerl and Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", 1970. The bias is not penalised.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from terrain_core.terrain.network import CHUNK, FloatArray, Network

FloatMatrix = NDArray[np.float64]


def last_layer(
    network: Network, coordinates: FloatMatrix, targets: FloatMatrix, ridge: float
) -> tuple[FloatArray, FloatArray]:
    """Weight and bias of the output layer with which the network, its other layers as they are, fits the targets best.

    Args:
        coordinates: shape (n, C).
        targets: shape (n, D).
        ridge: penalty on the weights, relative to the mean variance of the hidden units; above 0.
    Returns:
        weight (D, width) and bias (D,): the minimum of mean |W h + b - y|² + ridge · mean var(h) · |W|².
    """
    count, width = len(coordinates), network.architecture.width
    unit_sum, gram = np.zeros(width), np.zeros((width, width))
    target_sum, cross = np.zeros(targets.shape[1]), np.zeros((width, targets.shape[1]))
    for start in range(0, count, CHUNK):
        units = network.hidden(coordinates[start : start + CHUNK]).astype(np.float64)
        chunk = targets[start : start + CHUNK]
        unit_sum += units.sum(axis=0)
        target_sum += chunk.sum(axis=0)
        gram += units.T @ units
        cross += units.T @ chunk
    unit_mean, target_mean = unit_sum / count, target_sum / count
    covariance = gram / count - np.outer(unit_mean, unit_mean)
    covariance_with_targets = cross / count - np.outer(unit_mean, target_mean)
    # Units that hardly vary (a single point, dead units) leave a covariance of rounding errors; the floor outweighs it.
    floor = 1e-10 * float(gram.diagonal().mean()) / count + np.finfo(np.float32).tiny
    penalty = ridge * max(float(covariance.diagonal().mean()), 0.0) + floor
    weight = np.linalg.solve(covariance + penalty * np.eye(width), covariance_with_targets).T
    bias = target_mean - weight @ unit_mean
    return weight.astype(np.float32), bias.astype(np.float32)
