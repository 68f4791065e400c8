"""`read`: any DAW project, recognised by what is in it."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Final, Literal, get_args

from terrain_core.errors import FileError, InputError
from terrain_daws.project import Project

READABLE: Final = (
    "expected a project of REAPER (.rpp), Ardour (.ardour) or Ableton Live (.als), a DAWproject (.dawproject), "
    "or a MIDI file (.mid)"
)

KNOWN_BEGINNINGS: Final[dict[bytes, str]] = {
    b"RIFF": "is a RIFF file (audio, or MIDI in a wrapper)",
    b"BtWg": "is a Bitwig project, whose format is not public",
}
"""How files begin that are not read, and what to call them."""

HINTS: Final = "most DAWs export DAWproject or MIDI"
XML_ROOT: Final = re.compile(rb"<([A-Za-z][\w.-]*)")

TempoLaw = Literal["daw", "theoretical"]
LAWS: Final[tuple[str, ...]] = get_args(TempoLaw)


def read(path: str | PathLike[str], law: TempoLaw = "daw") -> Project:
    """Read a DAW project: its lanes, tempo map, markers and notes. The file's name does not matter.

    Args:
        path: the file; for Ardour the session's folder will do.
        law: of tempo ramps in Ableton Live: "daw" for what Live plays, in steps of a sixteenth note, "theoretical" for
            what it draws. The other formats' tempo is the same by either.
    Raises:
        FileError: missing, empty, damaged, hostile, or of a format that is not read.
        InputError: no such law.
    """
    if law not in LAWS:
        raise InputError(f"no tempo law {law!r}, expected {' or '.join(LAWS)}")
    file = _session_in(Path(path))
    beginning = _beginning(file)
    try:
        project = _read(file, beginning, law)
    except InputError as error:  # a number in the file that lanes or tempo maps refuse
        raise FileError(file, str(error)) from None
    except OSError as error:
        raise FileError(file, f"cannot be read ({error.strerror or error})") from None
    except MemoryError:
        raise FileError(file, "needs more memory than there is") from None
    if project is not None:
        return project
    for start, what in KNOWN_BEGINNINGS.items():
        if beginning.startswith(start):
            raise FileError(file, f"{what}; {READABLE}", hint=HINTS)
    raise FileError(file, f"begins with {beginning[:8]!r}; {READABLE}", position="byte 0")


def _read(file: Path, beginning: bytes, law: TempoLaw) -> Project | None:
    """Read by what the file begins with; None if that is nothing known. Each reader is imported where it is needed, so
    that MIDI does not wait for lxml, nor DAWproject for mido.
    """
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    root = _xml_root(text)
    if beginning.startswith(b"MThd"):
        from terrain_daws.midi.reading import read_midi

        return read_midi(file)
    if beginning.startswith(b"PK"):
        from terrain_daws.dawproject.reading import read_dawproject

        return read_dawproject(file)
    if text.startswith(b"<REAPER_PROJECT"):
        from terrain_daws.reaper.reading import read_reaper

        return read_reaper(file)
    if beginning.startswith(b"\x1f\x8b") or root == b"Ableton":
        from terrain_daws.live.reading import read_live

        return read_live(file, law)
    if root is not None:
        from terrain_daws.ardour.reading import read_ardour

        return read_ardour(file)
    return None


def _xml_root(text: bytes) -> bytes | None:
    """The first element's name, b"" if XML begins without one, None if this is no XML."""
    if not text.startswith((b"<?xml", b"<Session", b"<Ableton", b"<!DOCTYPE")):
        return None
    found = XML_ROOT.search(text)
    return found[1] if found else b""


def _session_in(path: Path) -> Path:
    """The file itself, or the one session file in an Ardour session's folder."""
    if not path.is_dir():
        return path
    sessions = sorted(path.glob("*.ardour"))
    named = [session for session in sessions if session.stem == path.resolve().name]
    if len(sessions) == 1 or named:
        return (named or sessions)[0]
    found = ", ".join(session.name for session in sessions[:8]) or "none"
    raise FileError(path, f"is a folder, expected one with an Ardour session (.ardour) in it; it has {found}")


def _beginning(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            beginning = file.read(1024)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileError(path, f"cannot be opened ({reason})") from None
    if not beginning:
        raise FileError(path, f"is empty; {READABLE}", position="byte 0")
    return beginning
