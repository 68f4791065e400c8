"""Opening bundles: a folder, a zip file, or one ONNX file; what the card says it is decides the class."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from terrain_core.autoencoders import single_file
from terrain_core.autoencoders.one_shot import OneShotAutoencoder
from terrain_core.autoencoders.onnx_autoencoder import (
    CARD,
    DECODER,
    ENCODER,
    ONE_SHOT,
    Card,
    OnnxAutoencoder,
    first_line,
)
from terrain_core.errors import FileError

MOST_BYTES = 2**30
"""A bundle that claims to hold more than this is refused."""


def load(path: Path) -> OnnxAutoencoder:
    """Open a bundle: a folder, a zip file, or one ONNX file (`single_file`).

    Raises:
        FileError: missing, damaged, or not a bundle.
    """
    if path.is_dir():
        members = {name: path / name for name in (CARD, DECODER, ENCODER)}
        return _open({name: p.read_bytes() for name, p in members.items() if p.is_file()}, str(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from None
    if path.suffix.lower() == single_file.SUFFIX:
        return _open(single_file.read(data, str(path)), str(path))
    return load_bytes(data, str(path))


def load_bytes(data: bytes, path: str = "<memory>") -> OnnxAutoencoder:
    """Open a bundle from the bytes of its zip file; `path` is what errors call it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            wanted = [info for info in archive.infolist() if info.filename in (CARD, DECODER, ENCODER)]
            if sum(info.file_size for info in wanted) > MOST_BYTES:
                raise FileError(path, f"claims to hold more than {MOST_BYTES >> 20} MiB", hint="not opened")
            files = {info.filename: archive.read(info) for info in wanted}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise FileError(path, f"is not an autoencoder bundle ({first_line(error)})") from None
    return _open(files, path)


def _open(files: dict[str, bytes], path: str) -> OnnxAutoencoder:
    if CARD in files and Card.parse(files[CARD], path).kind == ONE_SHOT:
        return OneShotAutoencoder(files, path)
    return OnnxAutoencoder(files, path)
