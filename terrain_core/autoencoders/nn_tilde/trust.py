"""Which TorchScript files somebody has said yes to: a TorchScript is code, and is opened after a yes only.

A yes counts for the bytes of a file, not for its name: what is changed afterwards has to be asked about again.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

from terrain_core.safe_write import replacing

WARNING = "is a TorchScript: opening it runs the code in it, which can do whatever you can do on this computer"


def is_torchscript(path: str | Path) -> bool:
    """Whether a file is one, by what is in it; nothing of it is run."""
    path = Path(path)
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return path.suffix.lower() == ".ts"  # a damaged one, to be complained about as such
    tops = {name.partition("/")[2] for name in names}
    return "constants.pkl" in tops and "data.pkl" in tops and any(name.startswith("code/") for name in tops)


def sha256_of(path: str | Path) -> str:
    """Identity of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_trusted(path: str | Path) -> bool:
    """Whether there has been a yes to exactly this file, see `remember`."""
    try:
        return sha256_of(path) in _list().read_text().split()
    except (OSError, UnicodeDecodeError):
        return False


def remember(path: str | Path) -> None:
    """Note a yes to this file, for this user of this computer, so that an instrument that needs it plays.

    Raises:
        FileError: the note cannot be written.
    """
    if is_trusted(path):
        return
    place = _list()
    place.parent.mkdir(parents=True, exist_ok=True)
    before = place.read_text() if place.exists() else ""
    with replacing(place) as beside:
        beside.write_text(f"{before}{sha256_of(path)}\n")


def _list() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "latent-terrain" / "trusted-torchscripts"
