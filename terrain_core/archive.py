"""Zip archives from strangers: read into memory, member by member, nothing ever unpacked onto the disk."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Self

from terrain_core.errors import FileError

MOST_MEMBERS: Final = 1000
MOST_BYTES: Final = 1 << 30
"""Of all members together, unpacked: above any autoencoder that plays on a CPU, below what hurts."""
HIGHEST_RATIO: Final = 100
"""Unpacked / packed of a member over a megabyte; weights hardly shrink at all, a zip bomb has 1000."""
SMALL: Final = 1 << 20


class Archive:
    """A zip that was looked over before anything in it is believed.

    Args:
        path: the file.
    Raises:
        FileError: missing, no zip, truncated, or hostile: too many or too large members, names that lead out of the
        archive,
            two members of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            raise FileError(path, f"cannot be read: {error.strerror or error}") from error
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise FileError(path, f"is not a whole zip archive ({error})") from error
        try:
            self._members = self._look_over()
        except FileError:
            self._zip.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> list[str]:
        """Of the members, folders left out."""
        return list(self._members)

    def error(self, problem: str, member: str = "", hint: str = "") -> FileError:
        """An error about a member, or about the whole file."""
        return FileError(self.path, problem, position=member, hint=hint)

    def read(self, name: str) -> bytes:
        """A member's bytes.

        Raises:
            FileError: it is missing, damaged, encrypted, or longer than it said.
        """
        if name not in self._members:
            raise self.error("is missing from the archive", name)
        member = self._members[name]
        try:
            with self._zip.open(member) as stream:
                data = stream.read(member.file_size + 1)
        # RuntimeError: encrypted; NotImplementedError: a compression nobody has; the rest: damage.
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
            raise self.error(f"is damaged ({error})", name) from error
        if len(data) != member.file_size:
            raise self.error(f"has {len(data)} bytes or more: expected {member.file_size}", name)
        return data

    def _look_over(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        listed = self._zip.infolist()
        if len(listed) > MOST_MEMBERS:
            raise self.error(f"has {len(listed)} members: expected at most {MOST_MEMBERS}")
        for member in listed:
            name = member.filename
            if name in members:
                raise self.error("occurs twice in the archive", name)
            if not name or name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts:
                raise self.error("is a name that leads out of the archive", name)
            if member.file_size > max(SMALL, HIGHEST_RATIO * member.compress_size):
                raise self.error(f"unpacks {member.compress_size} bytes to {member.file_size}: a zip bomb", name)
            if not member.is_dir():
                members[name] = member
        total = sum(member.file_size for member in members.values())
        if total > MOST_BYTES:
            raise self.error(f"unpacks to {total} bytes: expected at most {MOST_BYTES}")
        return members


def write_archive(path: str | os.PathLike[str], members: Mapping[str, bytes]) -> None:
    """Write a zip with these members in this order. Equal members give equal bytes (no clock in it); text is
    compressed, arrays are not.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            packed = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=packed)
