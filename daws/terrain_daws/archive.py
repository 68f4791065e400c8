"""Reading one member of a zip that may be damaged or hostile, with bounded memory."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Final

from terrain_core.errors import FileError

LARGEST_MEMBER: Final = 256 << 20
"""Bytes, unpacked. Two million automation points with all their digits."""

LARGEST_RATIO: Final = 200
"""Unpacked to packed, beyond `HARMLESS_SIZE`. Automation packs 10 to 50 times smaller; a bomb 1000 times."""

HARMLESS_SIZE: Final = 8 << 20
MOST_MEMBERS: Final = 100_000
ENCRYPTED: Final = 0x1

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, LookupError)
"""What zipfile raises for archives that are not as they should be."""


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, after a look at its table of contents.

    Raises:
        FileError: not a zip or a truncated one, encrypted, with paths that lead out of it, or with too many members.
    """
    with _damage_reported(path):
        archive = zipfile.ZipFile(path)
    with archive:
        members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise FileError(path, f"is a zip of {len(members):,} files, expected at most {MOST_MEMBERS:,}")
        for member in members:
            name = member.filename.replace("\\", "/")
            if ".." in PurePosixPath(name).parts or name.startswith("/") or ":" in name.partition("/")[0]:
                raise FileError(
                    path, f"contains the path {member.filename!r}, which leads out of the archive; nothing was read"
                )
        yield archive


@contextmanager
def open_member(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """A member's contents as a stream.

    Raises:
        FileError: absent, twice there, encrypted, unreasonably large; while it is read: damaged.
    """
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        raise FileError(path, f"has {len(found)} files {name}, expected one")
    member = found[0]
    if member.flag_bits & ENCRYPTED:
        raise FileError(path, "is encrypted", position=name, hint="save it without a password")
    if member.file_size > LARGEST_MEMBER:
        raise FileError(
            path,
            f"unpacks to {member.file_size:,} bytes, more than the {LARGEST_MEMBER:,} that are read",
            position=name,
        )
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > HARMLESS_SIZE and ratio > LARGEST_RATIO:
        raise FileError(path, f"unpacks to {ratio:.0f} times its size, as only a zip bomb does", position=name)
    with _damage_reported(path, name), archive.open(member) as stream:
        yield stream


@contextmanager
def _damage_reported(path: Path, position: str = "") -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except DAMAGE as error:
        raise FileError(path, f"is a damaged zip archive ({error})", position=position) from None
