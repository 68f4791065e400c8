"""The one folder that the editor writes to: sounds that were dropped in, instruments that were built.

Names come from the page and are never taken for paths: what is left of one, once everything but letters, digits and a
few signs is gone, is a plain file name in the right subfolder.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from terrain_core.building import AUDIO_SUFFIXES
from terrain_core.errors import FileError, InputError
from terrain_core.safe_write import replacing

LARGEST_SOUND: Final = 128 << 20
"""Bytes of one sound file."""

MOST_SOUNDS: Final = 512
"""Files in the library's folder of sounds."""

LARGEST_LIBRARY: Final = 4 << 30
"""Bytes of all sounds together."""

LONGEST_NAME: Final = 80

RESERVED: Final = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
"""Names that Windows takes for devices."""


def default_folder() -> Path:
    """Where the library is unless told otherwise: ~/.local/share/latent-terrain, or XDG_DATA_HOME's."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "latent-terrain"


def plain_name(text: str) -> str:
    """What a name from the page may be on the disk: one component, no dots at its ends, at most 80 characters.

    Raises:
        InputError: nothing is left of it.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", text))[-1]
    kept = re.sub(r"[^\w .()+-]", "_", last).strip(" .")[:LONGEST_NAME].strip(" .")
    if not re.search(r"\w", kept) or kept.partition(".")[0].casefold() in RESERVED:
        raise InputError(f"{text[:40]!r} cannot be the name of a file: expected letters or digits")
    return kept


class Library:
    """A folder with `sounds/`, `instruments/` and `gestures/` in it."""

    def __init__(self, folder: Path) -> None:
        """Raises FileError if the folders cannot be made."""
        self.folder = folder
        self.sounds = folder / "sounds"
        self.instruments = folder / "instruments"
        self.gestures = folder / "gestures"
        try:
            for place in (self.sounds, self.instruments, self.gestures):
                place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(folder, f"cannot be the library ({error.strerror or error})") from None

    def instrument_names(self) -> list[str]:
        """What can be opened: the instruments' names, without their endings."""
        return sorted(path.stem for path in self.instruments.glob("*.terrain") if path.is_file())

    def instrument(self, name: str) -> Path:
        """The file of an instrument that is listed.

        Raises:
            InputError: none is called so.
        """
        if name not in self.instrument_names():
            raise InputError(f"the library has no instrument {name[:40]!r}")
        return self.instruments / f"{name}.terrain"

    def place_for(self, name: str) -> Path:
        """Where an instrument of that name is saved."""
        return self.instruments / f"{plain_name(name.removesuffix('.terrain'))}.terrain"

    async def take_in(self, name: str, chunks: AsyncIterator[bytes]) -> Path:
        """Write a sound file, whole or not at all, under a name that is not in use.

        Args:
            name: as the page has it; its ending must be that of an audio file.
            chunks: the file's bytes; more than `LARGEST_SOUND` of them are refused as soon as they come.
        Raises:
            InputError: no name of a sound, too large, or the library is full; nothing was written.
            FileError: the disk refuses.
        """
        safe = plain_name(name)
        if Path(safe).suffix.lower() not in AUDIO_SUFFIXES:
            raise InputError(f"{safe!r} is no sound file: expected one of {', '.join(sorted(AUDIO_SUFFIXES))}")
        there = [path.stat().st_size for path in self.sounds.iterdir()]
        if len(there) >= MOST_SOUNDS or sum(there) > LARGEST_LIBRARY:
            raise InputError(f"the library is full ({len(there)} sounds): remove some from {self.sounds}")
        target = self._unused(self.sounds / safe)
        written = 0
        with replacing(target) as beside, beside.open("xb") as file:
            async for chunk in chunks:
                written += len(chunk)
                if written > LARGEST_SOUND:
                    raise InputError(f"{safe!r} is larger than {LARGEST_SOUND >> 20} MiB")
                file.write(chunk)
            if not written:
                raise InputError(f"{safe!r} is empty")
        return target

    @staticmethod
    def _unused(path: Path) -> Path:
        number, free = 2, path
        while free.exists():
            free = path.with_name(f"{path.stem} {number}{path.suffix}")
            number += 1
        return free

    def read_json(self, name: str) -> Any:
        """What `write_json` wrote; None if there is nothing that can be read."""
        try:
            return json.loads((self.folder / name).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return None

    def write_json(self, name: str, value: Any) -> None:
        """A small file of the editor's own."""
        with replacing(self.folder / name) as beside:
            beside.write_text(json.dumps(value, allow_nan=False), "utf-8")
