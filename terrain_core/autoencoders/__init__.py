"""Autoencoders: audio <-> latents. `load("builtin")` gives the one that ships with the package."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, overload

from terrain_core.autoencoders.bundles import load as _load_bundle
from terrain_core.autoencoders.bundles import load_bytes
from terrain_core.autoencoders.onnx_autoencoder import OnnxAutoencoder
from terrain_core.autoencoders.protocol import Audio, Autoencoder, DecoderStream, Latents
from terrain_core.errors import InputError

if TYPE_CHECKING:
    from terrain_core.autoencoders.nn_tilde import NnTildeAutoencoder

BUILTIN: Final = "builtin"
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


@overload
def load(name_or_path: Literal["builtin"]) -> OnnxAutoencoder: ...


@overload
def load(
    name_or_path: str | Path, *, trust: bool = False, sample_rate: int | None = None
) -> OnnxAutoencoder | NnTildeAutoencoder: ...


def load(
    name_or_path: str | Path, *, trust: bool = False, sample_rate: int | None = None
) -> OnnxAutoencoder | NnTildeAutoencoder:
    """Open an autoencoder by its name (see `names`), by the path of a bundle, or by that of a TorchScript of the nn~
    convention (RAVE and its kin).

    A shipped one is opened once and shared.

    Args:
        name_or_path: "builtin", a folder, a zip file or a .ts.
        trust: whether a TorchScript may be opened, which runs the code in it (in a process of its own).
        sample_rate: of a TorchScript that states none, in Hz.
    Raises:
        InputError: neither a name nor an existing path, or a TorchScript without `trust`.
        FileError: the file is not an autoencoder.
    """
    if isinstance(name_or_path, str) and name_or_path in _NAMED:
        return _named(name_or_path)
    path = Path(name_or_path)
    if not path.exists():
        known = ", ".join(names())
        raise InputError(
            f"no autoencoder {str(name_or_path)!r}: neither one of the shipped ({known}) nor an existing file"
        )
    from terrain_core.autoencoders.nn_tilde import NnTildeAutoencoder
    from terrain_core.autoencoders.nn_tilde.trust import is_torchscript

    if is_torchscript(path):
        return NnTildeAutoencoder(path, sample_rate=sample_rate, trust=trust)
    return _load_bundle(path)


@lru_cache
def _named(name: str) -> OnnxAutoencoder:
    return _load_bundle(_NAMED[name])
