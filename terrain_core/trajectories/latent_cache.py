"""What was encoded once, kept on the disk: audio bytes + autoencoder + settings -> latents.

One small safetensors file per sound, named by a hash of what it was made of, so that nothing in it can be out of date;
a file is there whole or not at all, and a damaged one counts as not there. To empty the cache, delete its folder.

A file's time is when it was used last. Beyond a size, those that were not used for longest are deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import FileError, InputError
from terrain_core.safe_write import replacing

ENCODING: Final = 1
"""Counts up when the same audio and autoencoder come to give other latents: resampling, channels, padding."""


SIZE_VARIABLE: Final = "LATENT_TERRAIN_CACHE_SIZE"
"""The environment variable that says how large the cache may become."""

DEFAULT_SIZE: Final = "4G"
"""Of the built-in autoencoder's latents, some 800 hours of sound."""

CLOCK_NS: Final = 2_000_000_000
"""By so much the clock of a disk may be behind."""


def cache_size(text: str | None = None) -> int | None:
    """How many bytes a cache may take: "500M", "4G", a number of bytes, or "none" for any (None).

    Args:
        text: None for what the environment says (`SIZE_VARIABLE`), and where it says nothing, `DEFAULT_SIZE`.
    Raises:
        InputError: not a size.
    """
    said = os.environ.get(SIZE_VARIABLE, "") if text is None else text
    where = f"the cache's size in {SIZE_VARIABLE}" if text is None else "the cache's size"
    size = (said or (DEFAULT_SIZE if text is None else "")).strip().lower()
    if size == "none":
        return None
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)([kmgt]?)b?", size)
    if found is None:
        raise InputError(f"{where} is {said!r}: expected bytes, or a number with K, M, G or T, e.g. 4G; or none")
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2] or " "))


def default_folder() -> Path:
    """Where latents are kept unless told otherwise: `latent-terrain/latents` in $XDG_CACHE_HOME, or in ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "latent-terrain" / "latents"


@dataclass(frozen=True)
class LatentCache:
    """Latents by key, in a folder that is made when the first are kept. Any number of processes may share it.

    Attributes:
        folder: where.
        most_bytes: what it may take; None: any amount. See `trim`.
    """

    folder: Path
    most_bytes: int | None = None

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
        if not (whole and len(latents) and kept == _digest(latents)):
            return None
        with contextlib.suppress(OSError):  # a cache that can only be read serves as well
            os.utime(self._path(key))
        return latents

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

    def trim(self, since_ns: int) -> int:
        """Delete what was not used for longest, until the cache takes no more than `most_bytes`.

        What was used since a moment stays, whoever used it: so a cache is larger than it may be while a corpus is
        larger than that, and no longer. Files that are in somebody's way are passed over.

        Args:
            since_ns: nanoseconds since the epoch.
        Returns:
            bytes that were given back.
        """
        if self.most_bytes is None:
            return 0
        entries = []
        for path in self.folder.glob("??/*.safetensors"):
            with contextlib.suppress(OSError):  # somebody else is trimming, too
                facts = path.stat()
                entries.append((facts.st_mtime_ns, facts.st_size, path))
        surplus = sum(size for _, size, _ in entries) - self.most_bytes
        freed = 0
        for used_ns, size, path in sorted(entries):
            if freed >= surplus or used_ns >= since_ns - CLOCK_NS:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                freed += size
        return freed

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
