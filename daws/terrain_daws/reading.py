"""`read`: any DAW project, recognised by what is in it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Final

from terrain_core.errors import FileError, InputError
from terrain_daws.project import Project

READABLE: Final = "expected a project of REAPER (.rpp) or a DAWproject (.dawproject), or a MIDI file (.mid)"

KNOWN_BEGINNINGS: Final[dict[bytes, str]] = {
    b"\x1f\x8b": "is gzipped, as Ableton Live sets are, which this version does not read",
    b"<?xml": "is bare XML, perhaps an Ardour session, which this version does not read",
    b"RIFF": "is a RIFF file (audio, or MIDI in a wrapper)",
    b"BtWg": "is a Bitwig project, whose format is not public",
}
"""How files begin that are not read, and what to call them."""

HINTS: Final = "most DAWs export DAWproject or MIDI"


def read(path: str | PathLike[str]) -> Project:
    """Read a DAW project: its lanes, tempo map, markers and notes. The file's name does not matter.

    Raises:
        FileError: missing, empty, damaged, hostile, or of a format that is not read.
    """
    file = Path(path)
    beginning = _beginning(file)
    # Imported here, so that reading MIDI does not wait for lxml, nor DAWproject for mido.
    try:
        if beginning.startswith(b"MThd"):
            from terrain_daws.midi.reading import read_midi

            return read_midi(file)
        if beginning.startswith(b"PK"):
            from terrain_daws.dawproject.reading import read_dawproject

            return read_dawproject(file)
        if beginning.lstrip().startswith(b"<REAPER_PROJECT"):
            from terrain_daws.reaper.reading import read_reaper

            return read_reaper(file)
    except InputError as error:  # a number in the file that lanes or tempo maps refuse
        raise FileError(file, str(error)) from None
    except OSError as error:
        raise FileError(file, f"cannot be read ({error.strerror or error})") from None
    for start, what in KNOWN_BEGINNINGS.items():
        if beginning.startswith(start):
            raise FileError(file, f"{what}; {READABLE}", hint=HINTS)
    raise FileError(file, f"begins with {beginning[:8]!r}; {READABLE}", position="byte 0")


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            beginning = file.read(64)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileError(path, f"cannot be opened ({reason})") from None
    if not beginning:
        raise FileError(path, f"is empty; {READABLE}", position="byte 0")
    return beginning
