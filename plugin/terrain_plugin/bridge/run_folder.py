"""Where engines and the editor find each other: a folder of this user's, with a socket in it for each engine that runs.

A socket is called HOST-INSTANCE-ENGINE.sock, of the host's process id, the plugin's number for the instance, and the
engine's process id. The first two stay when an engine is replaced.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from terrain_core.errors import FileError, InputError

LONGEST_ADDRESS: Final = 100
"""Bytes of a socket's path; Linux takes 107, macOS 103."""

NAME: Final = re.compile(r"(\d{1,10}-\d{1,10})-(\d{1,10})\.sock")


class Address(NamedTuple):
    """An engine's socket: which instance it plays, its process, where it is."""

    key: str
    pid: int
    path: Path


def run_folder() -> Path:
    """The folder, made if it is not there: nobody else may look into it.

    Raises:
        FileError: it cannot be made, or somebody else has made it.
    """
    if sys.platform == "win32":
        raise InputError("plugins cannot be edited on Windows: there is none for it yet")
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    uid = os.getuid()
    folder = Path(given) / "latent-terrain" if given.startswith("/") else _in_temporary(uid)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid:
            raise FileError(folder, "is somebody else's: engines cannot be reached through it", hint="remove it")
        if stat.S_IMODE(found.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise FileError(folder, f"cannot hold the engines' sockets ({error.strerror or error})") from None
    return folder


def _in_temporary(uid: int) -> Path:
    return Path(tempfile.gettempdir()) / f"latent-terrain-{uid}"


def address(key: str, pid: int) -> Path:
    """Where the engine of an instance listens.

    Raises:
        FileError: there is no such folder, or its name is too long for a socket.
    """
    path = run_folder() / f"{key}-{pid}.sock"
    if len(os.fsencode(path)) > LONGEST_ADDRESS:
        raise FileError(path, "is too long for a socket's address", hint="set XDG_RUNTIME_DIR to a shorter folder")
    return path


def addresses() -> list[Address]:
    """The sockets of engines that run, newest last; those that a dead engine left are removed.

    Raises:
        FileError: see `run_folder`.
    """
    found = []
    for path in run_folder().glob("*.sock"):
        name = NAME.fullmatch(path.name)
        if name is None:
            continue
        entry = Address(name[1], int(name[2]), path)
        if _runs(entry.pid):
            found.append(entry)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=_age)


def _age(entry: Address) -> float:
    try:
        return entry.path.stat().st_mtime
    except OSError:
        return 0.0


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True  # somebody else's by now; whoever connects will see
    return True
