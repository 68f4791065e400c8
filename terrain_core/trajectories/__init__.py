"""Trajectories through the latent space and through the control space, and where they come from."""

from terrain_core.trajectories.encode import (
    EncodedFiles,
    EncodeSettings,
    encode_file,
    encode_files,
    write_latents,
)
from terrain_core.trajectories.kinds import LatentTrajectory, SpatialTrajectory
from terrain_core.trajectories.latent_cache import LatentCache
from terrain_core.trajectories.latents import encode_audio
from terrain_core.trajectories.max_dictionary import MaxDictionary, read_dictionary, write_dictionary
from terrain_core.trajectories.paths import arc_lengths, bezier, freehand, polyline, resample, single_points

__all__ = [
    "EncodeSettings",
    "EncodedFiles",
    "LatentCache",
    "LatentTrajectory",
    "MaxDictionary",
    "SpatialTrajectory",
    "arc_lengths",
    "bezier",
    "encode_audio",
    "encode_file",
    "encode_files",
    "freehand",
    "polyline",
    "read_dictionary",
    "resample",
    "single_points",
    "write_dictionary",
    "write_latents",
]
