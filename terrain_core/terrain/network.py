"""The Fourier-CPPN of nn.terrain: which tensors it has, and what it computes from a coordinate.

    v = 2 pi x B^T,  h = [sin v, cos v],  4 times h = PReLU(W h + b),  latents = clip(W h + b, -100, 100)

With a gauss scale of 0 there are no Fourier features and the first layer takes the coordinates themselves.
Fourier features: Tancik et al., "Fourier Features Let Networks Learn High Frequency Functions", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import InputError

FloatArray = NDArray[np.float32]

LATENT_LIMIT = 100.0
"""Latents are clamped to ± this, as nn.terrain~ does."""

PRELU_SLOPE = 0.25
"""PyTorch's default, with which every terrain starts."""

CHUNK = 2048
"""Coordinates per pass: the Fourier features of one pass stay within a few megabytes."""

TILE = 4
"""Rows of a matrix product that must not depend on its size: it costs hardly more than a product of one row."""


@dataclass(frozen=True)
class Limit:
    """The range of one setting, ends included."""

    low: float
    high: float
    type: type
    meaning: str


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "control_size": Limit(1, 6, int, "dimensions of the control space"),
        "latent_size": Limit(1, 1024, int, "latents of the autoencoder"),
        "gauss_scale": Limit(
            0.0, 10.0, float, "standard deviation of the Fourier frequencies, in cycles per coordinate unit"
        ),
        "width": Limit(1, 1024, int, "units of each hidden layer"),
        "features": Limit(16, 2048, int, "Fourier frequencies; each gives a sine and a cosine"),
    }
)


@dataclass(frozen=True)
class Architecture:
    """The sizes of a terrain's network; ranges in `LIMITS`."""

    control_size: int
    latent_size: int
    gauss_scale: float
    width: int = 128
    features: int = 256

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            object.__setattr__(self, name, checked_setting(name, getattr(self, name), limit))

    @property
    def first_layer(self) -> str:
        return "fc_in_gau" if self.gauss_scale > 0 else "fc_in_linear"

    @property
    def linear_layers(self) -> tuple[str, ...]:
        return (self.first_layer, "fc2", "fc3", "fc4", "fc_out")

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor, in the order of nn.terrain's files."""
        first_inputs = 2 * self.features if self.gauss_scale > 0 else self.control_size
        outputs = dict.fromkeys(self.linear_layers, (self.width, self.width))
        outputs[self.first_layer] = (self.width, first_inputs)
        outputs["fc_out"] = (self.latent_size, self.width)
        shapes: dict[str, tuple[int, ...]] = {}
        if self.gauss_scale > 0:
            shapes["B_T"] = (self.control_size, self.features)
        for number, (layer, shape) in enumerate(outputs.items(), start=1):
            shapes[f"{layer}.weight"] = shape
            shapes[f"{layer}.bias"] = shape[:1]
            if layer != "fc_out":
                shapes[f"prelu{number}.weight"] = (1,)
        return shapes

    @property
    def parameter_count(self) -> int:
        """Trained scalars; the Fourier matrix B_T is fixed and does not count."""
        return sum(math.prod(shape) for name, shape in self.tensors().items() if name != "B_T")


def checked_setting(name: str, value: Any, limit: Limit) -> int | float:
    """`value` as the limit's type, or InputError."""
    expected = f"{limit.type.__name__} in {limit.low:g}..{limit.high:g} ({limit.meaning})"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"{name} is {value!r}; expected {expected}")
    if not limit.low <= value <= limit.high or (limit.type is int and int(value) != value):
        raise InputError(f"{name} is {value!r}; expected {expected}")
    return int(value) if limit.type is int else float(value)


def initial_weights(architecture: Architecture, seed: int) -> dict[str, FloatArray]:
    """Weights as PyTorch draws them by default (uniform ± 1 / sqrt(inputs)), and B from N(0, gauss_scale)."""
    random = np.random.default_rng(seed)
    weights: dict[str, FloatArray] = {}
    shapes = architecture.tensors()
    for name, shape in shapes.items():
        layer = name.partition(".")[0]
        if name == "B_T":
            values = random.normal(0.0, architecture.gauss_scale, shape)
        elif layer.startswith("prelu"):
            values = np.full(shape, PRELU_SLOPE)
        else:
            reach = 1.0 / math.sqrt(shapes[f"{layer}.weight"][1])
            values = random.uniform(-reach, reach, shape)
        weights[name] = values.astype(np.float32)
    return weights


def checked_weights(architecture: Architecture, arrays: Mapping[str, Any]) -> dict[str, FloatArray]:
    """Read-only float32 copies of `arrays`, one for each tensor of the architecture.

    Raises:
        InputError: a tensor is missing, has another shape, is not of numbers, or holds NaN or infinity.
    """
    shapes = architecture.tensors()
    surplus = sorted(set(arrays) - set(shapes))
    if surplus:
        raise InputError(f"terrain has no tensor {surplus[0]!r}; it has {', '.join(shapes)}")
    return {name: _checked_tensor(name, arrays.get(name), shape) for name, shape in shapes.items()}


def _checked_tensor(name: str, value: Any, shape: tuple[int, ...]) -> FloatArray:
    if value is None:
        raise InputError(f"terrain tensor {name!r} is missing; expected shape {shape}")
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise InputError(f"terrain tensor {name!r} is of type {array.dtype}; expected float32")
    if array.shape != shape:
        raise InputError(f"terrain tensor {name!r} has shape {array.shape}; expected {shape}")
    with np.errstate(over="ignore"):
        # Rows one after another, as they will lie when read from a file: BLAS rounds differently otherwise.
        tensor = np.array(array, np.float32, order="C")
    bad = int(np.count_nonzero(~np.isfinite(tensor)))
    if bad:
        raise InputError(f"terrain tensor {name!r} holds {bad} of {tensor.size} values that are NaN or infinite")
    tensor.setflags(write=False)
    return tensor


class Network:
    """The function itself. Immutable once made, so that threads may share it and one assignment replaces it."""

    def __init__(self, architecture: Architecture, arrays: Mapping[str, Any]) -> None:
        self.architecture = architecture
        weights = checked_weights(architecture, arrays)
        self.weights: Mapping[str, FloatArray] = MappingProxyType(weights)
        # Phases are computed in float64 and wrapped to one cycle: far from the origin (a timeline in seconds)
        # float32 would lose them.
        self._cycles = weights["B_T"].astype(np.float64) if "B_T" in weights else None
        self._hidden_layers = tuple(
            (weights[f"{layer}.weight"], weights[f"{layer}.bias"], weights[f"prelu{number}.weight"][0])
            for number, layer in enumerate(architecture.linear_layers[:-1], start=1)
        )
        self._output_layer = (weights["fc_out.weight"], weights["fc_out.bias"])

    @cached_property
    def _exact_layers(self) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64], float], ...]:
        """The hidden layers in double precision, (inputs, units) each: made for whoever plays, not for each step of a
        fit.
        """
        return tuple((w.T.astype(np.float64), b.astype(np.float64), float(s)) for w, b, s in self._hidden_layers)

    @cached_property
    def _exact_output(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weight, bias = self._output_layer
        return weight.T.astype(np.float64), bias.astype(np.float64)

    def latents(self, coordinates: NDArray[np.float64]) -> FloatArray:
        """Coordinates (n, C) -> latents (n, D), clamped to ± LATENT_LIMIT. Finite in, finite out."""
        if len(coordinates) <= CHUNK:
            return self._pass(coordinates)
        result = np.empty((len(coordinates), self.architecture.latent_size), np.float32)
        for start in range(0, len(coordinates), CHUNK):
            result[start : start + CHUNK] = self._pass(coordinates[start : start + CHUNK])
        return result

    def latents_one_by_one(self, coordinates: NDArray[np.float64]) -> FloatArray:
        """As `latents`, but in double precision, and each row has the same bits whatever rows are asked for with it.

        A decoder whose first latent is a pitch adds rounding up in its phase: in single precision, two right
        implementations differ by a ten-thousandth of full scale after a second, and a bounce would drift away from what
        was heard. And as matrix products round by their size, all of them have one size, `TILE` rows.
        """
        rows = len(coordinates)
        padded = np.zeros((-(-rows // TILE) * TILE, coordinates.shape[1]))
        padded[:rows] = coordinates
        result = np.empty((len(padded), self.architecture.latent_size), np.float32)
        for start in range(0, len(padded), TILE):
            result[start : start + TILE] = self._exact_pass(padded[start : start + TILE])
        return result[:rows]

    def _exact_pass(self, units: NDArray[np.float64]) -> FloatArray:
        if self._cycles is not None:
            cycles = units @ self._cycles
            phases = 2 * np.pi * (cycles - np.rint(cycles))
            units = np.concatenate([np.sin(phases), np.cos(phases)], axis=1)
        for weight, bias, slope in self._exact_layers:
            units = units @ weight
            units += bias
            units = np.maximum(units, 0) + slope * np.minimum(units, 0)
        weight, bias = self._exact_output
        return np.clip((units @ weight + bias).astype(np.float32), -LATENT_LIMIT, LATENT_LIMIT)

    def _pass(self, coordinates: NDArray[np.float64]) -> FloatArray:
        weight, bias = self._output_layer
        latents = self.hidden(coordinates) @ weight.T
        latents += bias
        clipped: FloatArray = np.minimum(np.maximum(latents, -LATENT_LIMIT, out=latents), LATENT_LIMIT, out=latents)
        return clipped

    def hidden(self, coordinates: NDArray[np.float64]) -> FloatArray:
        """Coordinates (n, C) -> activations of the last hidden layer (n, width)."""
        units = self.inputs(coordinates)
        for weight, bias, slope in self._hidden_layers:
            units = units @ weight.T
            units += bias
            units = np.maximum(units, 0) + slope * np.minimum(units, 0)
        return units

    def inputs(self, coordinates: NDArray[np.float64]) -> FloatArray:
        """What the first layer sees: Fourier features (n, 2 * features), or the coordinates (n, C)."""
        if self._cycles is None:
            return coordinates.astype(np.float32)
        cycles = coordinates @ self._cycles
        cycles -= np.rint(cycles)
        phases = (2 * np.pi * cycles).astype(np.float32)
        features = np.empty((len(phases), 2 * phases.shape[1]), np.float32)
        np.sin(phases, out=features[:, : phases.shape[1]])
        np.cos(phases, out=features[:, phases.shape[1] :])
        return features
