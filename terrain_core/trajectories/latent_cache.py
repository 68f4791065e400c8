"""What was encoded once, kept on the disk: audio bytes + autoencoder + settings -> latents.

One small safetensors file per sound, named by a hash of what it was made of, so that nothing in it can be out of date;
a file is there whole or not at all, and a damaged one counts as not there. To empty the cache, delete its folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import FileError
from terrain_core.safe_write import replacing

ENCODING: Final = 1
"""Counts up when the same audio and autoencoder come to give other latents: resampling, channels, padding."""


def default_folder() -> Path:
    """Where latents are kept unless told otherwise: `latent-terrain/latents` in $XDG_CACHE_HOME, or in ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "latent-terrain" / "latents"


@dataclass(frozen=True)
class LatentCache:
    """Latents by key, in a folder that is made when the first are kept. Any number of processes may share it.

    Attributes:
        folder: where.
    """

    folder: Path

    def get(self, key: str, latent_size: int) -> Latents | None:
        """What was kept under the key, shape (frames, latent_size); None if nothing was, or if it is damaged."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            tensors = load(self._path(key).read_bytes())
            latents, kept = tensors["latents"], tensors["sha256"].tobytes()
        except (OSError, SafetensorError, KeyError, ValueError):
            return None
        whole = latents.dtype == np.float32 and latents.ndim == 2 and latents.shape[1] == latent_size
        return latents if whole and len(latents) and kept == _digest(latents) else None

    def put(self, key: str, latents: Latents) -> None:
        """Keep latents (frames, D).

        Raises:
            FileError: the folder cannot be written to.
        """
        from safetensors.numpy import save

        path = self._path(key)
        latents = np.ascontiguousarray(latents, np.float32)
        data = save({"latents": latents, "sha256": np.frombuffer(_digest(latents), np.uint8)})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(path.parent, f"could not be made: {error.strerror or error}") from error
        with replacing(path) as beside:
            beside.write_bytes(data)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.safetensors"


def cache_key(audio_sha256: str, autoencoder: Autoencoder) -> str | None:
    """What a file's latents are kept under; None for an autoencoder that cannot say who it is (no `sha256`)."""
    identity = getattr(autoencoder, "sha256", None)
    if not isinstance(identity, str):
        return None
    made_of = {
        "audio": audio_sha256,
        "autoencoder": identity,
        "sample_rate": autoencoder.sample_rate,  # a TorchScript may be told another one
        "channels": autoencoder.channels,
        "encoding": ENCODING,
    }
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def _digest(latents: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(latents.tobytes()).digest()
