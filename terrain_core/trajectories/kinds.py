"""The two kinds of trajectory: through the latent space, and through the control space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from terrain_core.errors import InputError
from terrain_core.terrain.network import LIMITS


@dataclass(frozen=True)
class LatentTrajectory:
    """A sound as a sequence of latents.

    Attributes:
        name: for people; of a sound from a file, the file's name without its ending.
        latents: shape (frames, D), float32, finite, read-only; at least one frame.
        frame_rate: frames per second; None if not known.
    """

    name: str
    latents: NDArray[np.float32]
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        where = f"latent trajectory {self.name!r}"
        object.__setattr__(self, "latents", checked_rows(self.latents, where, "latent_size", np.float32))
        if self.frame_rate is not None and not 0 < self.frame_rate < np.inf:
            raise InputError(f"{where} has a frame rate of {self.frame_rate}; expected frames per second, or None")

    @property
    def latent_size(self) -> int:
        """D"""
        return int(self.latents.shape[1])

    def __len__(self) -> int:
        """Frames."""
        return len(self.latents)


@dataclass(frozen=True)
class SpatialTrajectory:
    """A path through the control space.

    Attributes:
        name: for people.
        points: shape (points, C), float64, finite, read-only; at least one point.
    """

    name: str
    points: NDArray[np.float64]

    def __post_init__(self) -> None:
        where = f"spatial trajectory {self.name!r}"
        object.__setattr__(self, "points", checked_rows(self.points, where, "control_size", np.float64))

    @property
    def control_size(self) -> int:
        """C"""
        return int(self.points.shape[1])

    def __len__(self) -> int:
        """Points."""
        return len(self.points)


def checked_rows(values: ArrayLike, where: str, size_name: str, dtype: Any) -> NDArray[Any]:
    """A read-only, finite array (n, size), n at least 1, size within the limit of that name; or InputError."""
    limit = LIMITS[size_name]
    expected = f"expected (n, {size_name}) with n at least 1 and {size_name} in {limit.low:g}..{limit.high:g}"
    try:
        array = np.array(values, dtype)
    except (TypeError, ValueError):
        raise InputError(f"{where} is not of numbers in rows of equal length; {expected}") from None
    if array.ndim != 2 or not len(array) or not limit.low <= array.shape[1] <= limit.high:
        raise InputError(f"{where} has shape {array.shape}; {expected}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise InputError(f"{where} holds NaN or infinity at {bad[0]}")
    array.setflags(write=False)
    return array
