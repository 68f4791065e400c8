"""A set's XML in and out of its gzip, piece by piece, with bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from terrain_core.errors import FileError

GZIP_MAGIC: Final = b"\x1f\x8b"
GZIP: Final = 16 + zlib.MAX_WBITS

CHUNK: Final = 1 << 16
LARGEST_XML: Final = 512 << 20
"""Bytes, unpacked."""

LARGEST_RATIO: Final = 200
"""Unpacked to packed, beyond `HARMLESS_SIZE`. Sets pack 10 to 60 times smaller; a bomb 1000 times."""

HARMLESS_SIZE: Final = 8 << 20


def is_packed(data: bytes) -> bool:
    """Whether a set is gzipped, as Live saves it; else it is taken for bare XML."""
    return data.startswith(GZIP_MAGIC)


def pieces(path: Path, data: bytes, repairs: list[str]) -> Iterator[bytes]:
    """The XML of a set, gzipped or bare, in pieces of up to `CHUNK` bytes; what is mended is added to `repairs`.

    Raises:
        FileError: damaged, cut short, or larger than any set.
    """
    if is_packed(data):
        yield from _unpacked(path, data, repairs)
        return
    if len(data) > LARGEST_XML:
        raise FileError(path, f"is {len(data):,} bytes of XML, more than the {LARGEST_XML:,} that are read")
    for begin in range(0, len(data), CHUNK):
        yield data[begin : begin + CHUNK]


def _unpacked(path: Path, data: bytes, repairs: list[str]) -> Iterator[bytes]:
    taken, size = 0, 0
    while data[taken : taken + 2] == GZIP_MAGIC or not size:
        unpacker = zlib.decompressobj(GZIP)
        while not unpacker.eof:
            tail = unpacker.unconsumed_tail
            fresh = b"" if tail else data[taken : taken + CHUNK]
            try:
                piece = unpacker.decompress(tail or fresh, CHUNK)
            except zlib.error as error:
                raise FileError(path, f"is a damaged gzip file ({error})", position=f"after byte {taken}") from None
            taken += len(fresh)
            size += len(piece)
            if not (tail or fresh or piece):
                problem = "ends in the middle of its gzipped XML"
                raise FileError(path, problem, position=f"byte {len(data)}", hint="copy or save the set again")
            _check_size(path, size, taken)
            yield piece
        taken -= len(unpacker.unused_data)
    if taken < len(data):
        repairs.append(f"byte {taken}: {len(data) - taken:,} bytes follow the gzipped XML; left out")


def _check_size(path: Path, size: int, taken: int) -> None:
    if size > LARGEST_XML:
        raise FileError(path, f"unpacks to more than the {LARGEST_XML:,} bytes that are read")
    if size > HARMLESS_SIZE and size > LARGEST_RATIO * taken:
        raise FileError(path, f"unpacks to {size // taken} times its size, as only a gzip bomb does")


def packed(xml: bytes, like: bytes) -> bytes:
    """XML as the file `like` holds it: gzipped or bare. The same XML gives the same bytes."""
    if not is_packed(like):
        return xml
    packer = zlib.compressobj(6, zlib.DEFLATED, GZIP)  # this writes no date into the header
    return packer.compress(xml) + packer.flush()
