"""Which latent belongs to which coordinate: the data a terrain is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import InputError
from terrain_core.trajectories.kinds import LatentTrajectory, SpatialTrajectory
from terrain_core.trajectories.paths import resample

METHODS = ("resample", "truncate")


@dataclass(frozen=True)
class Pairing:
    """Coordinates and latents, row by row.

    Attributes:
        coordinates: shape (n, C), float64.
        latents: shape (n, D), float32.
        lengths: rows of each pair of trajectories, in order; their sum is n.
        names: of the latent trajectories, as many as `lengths`.
        dropped: the trajectories that had no partner, e.g. "latent 'kick'".
    """

    coordinates: NDArray[np.float64]
    latents: NDArray[np.float32]
    lengths: tuple[int, ...]
    names: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    def __len__(self) -> int:
        """n"""
        return len(self.coordinates)

    def summary(self) -> dict[str, Any]:
        """Sizes and ranges, fit for JSON: nn.terrain's `dataset_summary`."""
        return {
            "length": len(self),
            "trajectories": len(self.lengths),
            "dropped": list(self.dropped),
            "coordinates": _ranges(self.coordinates),
            "latents": _ranges(self.latents),
        }


def _ranges(rows: NDArray[Any]) -> dict[str, Any]:
    return {
        "shape": list(rows.shape),
        "low": rows.min(axis=0).astype(float).tolist(),
        "high": rows.max(axis=0).astype(float).tolist(),
    }


def pair(
    spatial: Sequence[SpatialTrajectory],
    latent: Sequence[LatentTrajectory],
    method: Literal["resample", "truncate"] = "resample",
) -> Pairing:
    """Pair the i-th spatial with the i-th latent trajectory; what has no partner is dropped and named in the result.

    Args:
        spatial: paths, all with the same number of dimensions.
        latent: sounds, all with the same number of latents.
        method: "resample" lays the sound's frames on the whole path, equally far apart along it; "truncate" pairs j-th
            point with j-th frame and cuts the longer, as nn.terrain does.
    Raises:
        InputError: nothing to pair, dimensions that differ, no such method.
    """
    if method not in METHODS:
        raise InputError(f"pairing method {method!r}; expected {' or '.join(METHODS)}")
    if not spatial or not latent:
        raise InputError(f"{len(spatial)} spatial and {len(latent)} latent trajectories; expected at least one of each")
    for kind, sizes in (
        ("spatial", {item.control_size for item in spatial}),
        ("latent", {item.latent_size for item in latent}),
    ):
        if len(sizes) > 1:
            raise InputError(f"{kind} trajectories have {sorted(sizes)} dimensions; expected the same number in all")
    pairs = [_pair_one(path, sound, method) for path, sound in zip(spatial, latent, strict=False)]
    return Pairing(
        coordinates=np.concatenate([coordinates for coordinates, _ in pairs]),
        latents=np.concatenate([latents for _, latents in pairs]),
        lengths=tuple(len(coordinates) for coordinates, _ in pairs),
        names=tuple(sound.name for sound in latent[: len(pairs)]),
        dropped=(
            *(f"spatial {item.name!r}" for item in spatial[len(pairs) :]),
            *(f"latent {item.name!r}" for item in latent[len(pairs) :]),
        ),
    )


def _pair_one(
    path: SpatialTrajectory, sound: LatentTrajectory, method: str
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    if method == "resample":
        return resample(path.points, len(sound)), sound.latents
    shorter = min(len(path), len(sound))
    return path.points[:shorter], sound.latents[:shorter]
