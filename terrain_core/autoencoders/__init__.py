"""Autoencoders: audio <-> latents. `load("builtin")` gives the one that ships with the package."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from terrain_core.autoencoders.onnx_autoencoder import OnnxAutoencoder, load_bytes
from terrain_core.autoencoders.onnx_autoencoder import load as _load_bundle
from terrain_core.autoencoders.protocol import Audio, Autoencoder, DecoderStream, Latents
from terrain_core.errors import InputError

BUILTIN = "builtin"
_NAMED = {BUILTIN: Path(__file__).parent / "builtin"}

__all__ = [
    "BUILTIN",
    "Audio",
    "Autoencoder",
    "DecoderStream",
    "Latents",
    "OnnxAutoencoder",
    "load",
    "load_bytes",
    "names",
]


def names() -> tuple[str, ...]:
    """The autoencoders that ship with the package."""
    return tuple(_NAMED)


def load(name_or_path: str | Path) -> OnnxAutoencoder:
    """Open an autoencoder by its name (see `names`) or by the path of a bundle.

    A shipped one is opened once and shared.

    Raises:
        InputError: neither a name nor an existing path.
        FileError: the file is not an autoencoder bundle.
    """
    if isinstance(name_or_path, str) and name_or_path in _NAMED:
        return _named(name_or_path)
    path = Path(name_or_path)
    if not path.exists():
        known = ", ".join(names())
        raise InputError(
            f"no autoencoder {str(name_or_path)!r}: neither one of the shipped ({known}) nor an existing file"
        )
    return _load_bundle(path)


@lru_cache
def _named(name: str) -> OnnxAutoencoder:
    return _load_bundle(_NAMED[name])
