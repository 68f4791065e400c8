"""Hills: a terrain changed around a few places, and left as it is everywhere else, to the last digit that counts.

The network gets a few units more. A Gaussian around a place is a sum of cosines, so it is a single unit behind the
Fourier features; two such units, one upside down, give its part above a threshold whatever slope the terrain's PReLUs
have, and what is not negative passes all the layers after them as it is. So a hill ends at its foot: beyond it the
terrain is the one that was there before, however mountainous that is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.terrain.model import Terrain
from terrain_core.terrain.network import LIMITS, Architecture, FloatArray

Points = NDArray[np.float64]

FOOT = 0.4
"""Height at which the Gaussian is cut off; what its cosines lack of a Gaussian stays far below it."""

PERIOD = 1.25
"""In parts of the map's side: the cosines repeat, and a hill's copies have to stay off the map."""

WITHIN = 0.93
"""Parts of its radius in which a hill ends: cosines make it a little wider in some directions."""

CUT = 2.8
"""Frequencies beyond so many deviations of the Gaussian's spectrum are left out."""

SMALLEST_RADIUS, LARGEST_RADIUS = 0.05, 0.2
"""In parts of the map's side: smaller hills need very many frequencies, larger ones would meet their copies."""


def with_hills(terrain: Terrain, places: ArrayLike, changes: ArrayLike, radii: ArrayLike) -> Terrain:
    """The terrain with changes added at places of its first two dimensions.

    Args:
        terrain: with Fourier features; one of a single dimension gets a second, in which it is alike everywhere.
        places: (n, 2) in 0..1 of the bounds.
        changes: (n, D), what is added on top of each hill.
        radii: (n,), how far each reaches, `SMALLEST_RADIUS` to `LARGEST_RADIUS`.
    Raises:
        InputError: no Fourier features, a first PReLU that is a straight line, or a network that grows beyond its
            limits.
    """
    centres, reach = np.asarray(places, np.float64), np.asarray(radii, np.float64)
    if terrain.gauss_scale == 0:
        raise InputError("a terrain without Fourier features cannot take hills: fit it anew with a gauss scale above 0")
    slope = float(terrain.weights["prelu1.weight"][0])
    if abs(1 - slope * slope) < 1e-2:
        raise InputError("this terrain's first layer is linear and cannot take hills: fit it anew")
    flat = terrain if terrain.control_size > 1 else _widened(terrain)
    low, high = flat.bounds[:2].T
    cycles, columns = _frequencies(flat, float(reach.min()), high - low)
    units = 2 * len(centres)
    width, features = flat.width + units, cycles.shape[1]
    for name, size, what in (("width", width, "units"), ("features", features, "frequencies")):
        if size > LIMITS[name].high:
            raise InputError(
                f"with {len(centres)} more pins the terrain would need {size} {what}, and it can have "
                f"{LIMITS[name].high:g}: learn it anew (terrain fit), or pin fewer sounds"
            )
    weights = _grown(flat, cycles, width)
    used = cycles[:, columns].astype(np.float64)
    shares = np.exp(
        -0.5 * ((used[:2] * (high - low)[:, np.newaxis]) ** 2).sum(axis=0) / _deviations(reach)[:, None] ** 2
    )
    shares[:, (used == 0).all(axis=0)] /= 2  # every other one stands for itself and its opposite
    shares /= shares.sum(axis=1, keepdims=True)
    phases = 2 * np.pi * (low + centres * (high - low)) @ used[:2]
    tops = _tops(phases, shares, np.asarray(changes, np.float64))
    first = weights["fc_in_gau.weight"]
    upright = np.arange(flat.width, width, 2)
    for sign, rows in ((1.0, upright), (-1.0, upright + 1)):
        first[np.ix_(rows, columns)] = sign * shares * np.sin(phases)
        first[np.ix_(rows, columns + features)] = sign * shares * np.cos(phases)
        weights["fc_in_gau.bias"][rows] = -sign * FOOT
    weights["fc2.weight"][upright, upright] = 1 / (1 - slope * slope)
    weights["fc2.weight"][upright, upright + 1] = slope / (1 - slope * slope)
    for layer in ("fc3", "fc4"):
        weights[f"{layer}.weight"][upright, upright] = 1.0
    weights["fc_out.weight"][:, upright] = tops.T / (1 - FOOT)
    architecture = Architecture(flat.control_size, flat.latent_size, flat.gauss_scale, width, features)
    return Terrain(architecture, {name: array.astype(np.float32) for name, array in weights.items()}, flat.bounds)


def _deviations(radii: Points) -> Points:
    """Of the Gaussians' spectra, in cycles per side of the map."""
    return np.asarray(math.sqrt(-2 * math.log(FOOT)) / (2 * np.pi * WITHIN * radii))


def _tops(phases: Points, shares: Points, changes: Points) -> Points:
    """How high each hill has to be, (n, D), such that all of them together come to the changes: for centres' phases
    (n, F) in the cosines, and the cosines' shares (n, F) of each hill.
    """
    levels = np.cos(phases) @ (shares * np.cos(phases)).T + np.sin(phases) @ (shares * np.sin(phases)).T
    heights = np.maximum(levels - FOOT, 0.0) / (1 - FOOT)
    return np.asarray(np.linalg.lstsq(heights, changes, rcond=1e-3)[0])


def _widened(terrain: Terrain) -> Terrain:
    weights = dict(terrain.weights)
    weights["B_T"] = np.concatenate([weights["B_T"], np.zeros_like(weights["B_T"])]).astype(np.float32)
    old = terrain.architecture
    architecture = Architecture(2, old.latent_size, old.gauss_scale, old.width, old.features)
    return Terrain(architecture, weights, [*terrain.bounds.tolist(), [0.0, 1.0]])


def _frequencies(terrain: Terrain, radius: float, spans: Points) -> tuple[FloatArray, NDArray[np.intp]]:
    """The terrain's frequencies and those that hills of that radius need, (C, F); and the columns of the latter. What
    hills before have brought is used again.
    """
    highest = CUT * float(_deviations(np.array([radius]))[0]) * PERIOD
    most = math.ceil(highest)
    k, m = (grid.ravel() for grid in np.meshgrid(np.arange(-most, most + 1), np.arange(0, most + 1)))
    wanted = (np.hypot(k, m) <= highest) & ((m > 0) | (k >= 0))  # half of the plane: the other half is the same
    fresh = np.zeros((terrain.control_size, int(wanted.sum())), np.float32)
    fresh[:2] = np.stack([k[wanted], m[wanted]]) / PERIOD / spans[:, np.newaxis]
    known = {column.tobytes(): index for index, column in enumerate(np.ascontiguousarray(terrain.weights["B_T"].T))}
    cycles, columns = list(terrain.weights["B_T"].T), []
    for column in np.ascontiguousarray(fresh.T):
        key = column.tobytes()
        if key not in known:
            known[key] = len(cycles)
            cycles.append(column)
        columns.append(known[key])
    return np.stack(cycles, axis=1), np.array(columns, np.intp)


def _grown(terrain: Terrain, cycles: FloatArray, width: int) -> dict[str, Points]:
    """The terrain's tensors for more frequencies and units, which do nothing yet."""
    old, count = terrain.weights, cycles.shape[1]
    before = terrain.features
    weights: dict[str, Points] = {"B_T": cycles.astype(np.float64)}
    for name, tensor in old.items():
        if name == "B_T" or name.startswith("prelu"):
            weights.setdefault(name, tensor.astype(np.float64))
            continue
        rows = tensor.shape[0] if name.startswith("fc_out") else width
        if tensor.ndim == 1:
            grown = np.zeros(rows)
            grown[: len(tensor)] = tensor
        elif name.startswith("fc_in"):
            grown = np.zeros((rows, 2 * count))
            grown[: len(tensor), :before] = tensor[:, :before]
            grown[: len(tensor), count : count + before] = tensor[:, before:]
        else:
            grown = np.zeros((rows, width))
            grown[: tensor.shape[0], : tensor.shape[1]] = tensor
        weights[name] = grown
    return weights
