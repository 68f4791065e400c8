"""A terrain: a map from the control space to the latent space of an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.terrain.network import LIMITS, Architecture, FloatArray, Network, checked_setting, initial_weights

CYCLES_ACROSS = 2.0
"""Default gauss scale: this many cycles (one standard deviation) across the widest of the bounds."""


class Terrain:
    """Coordinates `(n, C)` -> latents `(n, D)`, by the network of nn.terrain (`network.py`).

    Coordinates are in the units of `bounds`, the part of the control space that the player's 0..1 spans; they are
    neither clamped nor normalised on the way in, so that the tensors are the very ones of nn.terrain's files.

    Threads: any number may call a terrain while one other replaces its weights; a call sees the old or the new
    weights, never a mixture.
    """

    def __init__(self, architecture: Architecture, weights: Mapping[str, Any], bounds: ArrayLike | None = None) -> None:
        """
        Args:
            architecture: the sizes of the network.
            weights: one array for each of `architecture.tensors()`; copied.
            bounds: shape (C, 2), a low and a high for each control dimension; 0..1 if None.
        """
        self._network = Network(architecture, weights)
        self._bounds = checked_bounds(bounds, architecture.control_size)

    @classmethod
    def create(
        cls,
        control_size: int,
        latent_size: int,
        *,
        bounds: ArrayLike | None = None,
        gauss_scale: float | None = None,
        width: int = 128,
        features: int = 256,
        seed: int = 0,
    ) -> Self:
        """A terrain with random weights, ready to be fitted.

        Args:
            control_size: C, 1..6.
            latent_size: D, 1..1024.
            bounds: shape (C, 2); 0..1 if None.
            gauss_scale: standard deviation of the Fourier frequencies in cycles per coordinate unit, 0..10: the higher,
                the more mountainous. 0 leaves the Fourier features out: very smooth, for a few single points.
                None: two cycles across the widest of the bounds.
            width: units of each of the four hidden layers, 1..1024.
            features: Fourier frequencies, 16..2048; raise it with the number of control dimensions.
            seed: equal seeds give equal weights.
        """
        size = int(checked_setting("control_size", control_size, LIMITS["control_size"]))
        if gauss_scale is None:
            span = float(np.ptp(checked_bounds(bounds, size), axis=1).max())
            gauss_scale = min(CYCLES_ACROSS / span, LIMITS["gauss_scale"].high)
        architecture = Architecture(size, latent_size, gauss_scale, width, features)
        return cls(architecture, initial_weights(architecture, seed), bounds)

    @property
    def architecture(self) -> Architecture:
        return self._network.architecture

    @property
    def control_size(self) -> int:
        """C"""
        return self.architecture.control_size

    @property
    def latent_size(self) -> int:
        """D"""
        return self.architecture.latent_size

    @property
    def gauss_scale(self) -> float:
        """Cycles per coordinate unit; 0 if there are no Fourier features."""
        return self.architecture.gauss_scale

    @property
    def width(self) -> int:
        return self.architecture.width

    @property
    def features(self) -> int:
        return self.architecture.features

    @property
    def bounds(self) -> NDArray[np.float64]:
        """(C, 2): a low and a high for each control dimension; read-only."""
        return self._bounds

    @property
    def network(self) -> Network:
        """The function as it is now; it does not change when the terrain's weights are replaced."""
        return self._network

    @property
    def weights(self) -> Mapping[str, FloatArray]:
        """Read-only tensors by nn.terrain's names."""
        return self._network.weights

    def replace_weights(self, weights: Mapping[str, Any]) -> None:
        """Take other weights of the same shapes, in one step for all threads.

        Raises:
            InputError: a tensor is missing, of another shape, or not finite; the old weights stay.
        """
        self._network = Network(self.architecture, weights)

    def with_bounds(self, bounds: ArrayLike) -> Terrain:
        """The same map, played over another part of the control space."""
        return Terrain(self.architecture, self.weights, bounds)

    def __call__(self, coordinates: ArrayLike) -> FloatArray:
        """Latents at coordinates.

        Args:
            coordinates: shape (n, C), in the units of `bounds`; n may be 0. NaN and infinity, which a host's
                automation can hold, are taken as the middle of the bounds.
        Returns:
            shape (n, D), float32, finite, within ±100.
        """
        return self._network.latents(self._checked(coordinates))

    def at(self, unit: ArrayLike) -> FloatArray:
        """Latents at positions (n, C) given as 0..1 of the bounds, as the plugin's parameters are.

        Each position's latents have the same bits whatever positions are asked for with it: the engine asks for one
        when it plays live, for many in a bounce.
        """
        low, high = self._bounds.T
        return self._network.latents_one_by_one(self._checked(low + np.asarray(unit, np.float64) * (high - low)))

    def _checked(self, coordinates: ArrayLike) -> NDArray[np.float64]:
        points = np.asarray(coordinates, np.float64)
        if points.ndim != 2 or points.shape[1] != self.control_size:
            raise InputError(f"coordinates have shape {points.shape}; expected (n, {self.control_size})")
        if np.isfinite(points).all():
            return points
        return np.where(np.isfinite(points), points, self._bounds.mean(axis=1))

    def arrays(self) -> dict[str, FloatArray]:
        """The tensors to be stored, by nn.terrain's names."""
        return dict(self.weights)

    def settings(self) -> dict[str, Any]:
        """Everything else that `from_arrays` needs, fit for JSON."""
        values: dict[str, Any] = {name: getattr(self.architecture, name) for name in LIMITS}
        return {**values, "bounds": self._bounds.tolist()}

    @classmethod
    def from_arrays(cls, settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> Self:
        """The terrain that gave `settings()` and `arrays()`. Unknown settings are ignored.

        Raises:
            InputError: a setting or tensor is missing, out of range, of the wrong shape, or not finite.
        """
        missing = [name for name in (*LIMITS, "bounds") if name not in settings]
        if missing:
            raise InputError(f"terrain settings lack {', '.join(missing)}")
        return cls(Architecture(**{name: settings[name] for name in LIMITS}), arrays, settings["bounds"])

    def summary(self) -> dict[str, Any]:
        """Sizes, ranges of the bounds and of the weights; fit for JSON."""
        low = min(float(tensor.min()) for tensor in self.weights.values())
        high = max(float(tensor.max()) for tensor in self.weights.values())
        return {**self.settings(), "parameters": self.architecture.parameter_count, "weights": [low, high]}

    def describe(self) -> str:
        """One line for a musician."""
        fourier = (
            f"gauss scale {self.gauss_scale:g}, {self.features} features" if self.gauss_scale else "no Fourier features"
        )
        ranges = ", ".join(f"{low:g}..{high:g}" for low, high in self._bounds)
        return (
            f"terrain {self.control_size} -> {self.latent_size}, width {self.width}, {fourier}, "
            f"{self.architecture.parameter_count:,} parameters, bounds {ranges}"
        )

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


def checked_bounds(bounds: ArrayLike | None, control_size: int) -> NDArray[np.float64]:
    """A read-only (C, 2) array with low < high in each row; 0..1 if None."""
    if bounds is None:
        bounds = [[0.0, 1.0]] * control_size
    try:
        array = np.array(bounds, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"bounds are {bounds!r}; expected a low and a high for each control dimension") from None
    if array.shape != (control_size, 2):
        raise InputError(f"bounds have shape {array.shape}; expected ({control_size}, 2)")
    if not np.isfinite(array).all() or not (array[:, 0] < array[:, 1]).all():
        raise InputError(f"bounds are {array.tolist()}; expected finite numbers, each low below its high")
    array.setflags(write=False)
    return array
