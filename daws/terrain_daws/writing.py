"""`write`: a project into a file of any format."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Final, Literal, get_args

from terrain_core.errors import FileError, InputError
from terrain_core.safe_write import replacing
from terrain_daws.insertions import insertions
from terrain_daws.project import Project

Format = Literal["midi", "dawproject", "reaper", "ardour", "live"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)
SUFFIXES: Final[dict[str, Format]] = {
    ".mid": "midi",
    ".midi": "midi",
    ".dawproject": "dawproject",
    ".rpp": "reaper",
    ".ardour": "ardour",
    ".als": "live",
}


def write(project: Project, path: str | PathLike[str], format: Format | None = None) -> list[str]:
    """Write a project.

    In the format that it was read from, the file is the one that was read with what was changed since; nothing else in
    it is touched. In any other format, and for a project that was made here, it is a new one, with our plugin inserted
    wherever `project.instances` says (or once), its lanes and state, tempo, meters, markers and notes.

    Args:
        path: an Ardour session is FOLDER/NAME.ardour; its folder is made.
        format: None for what the suffix says.
    Returns:
        a line for each thing that the new file does not hold.
    Raises:
        InputError: an unknown format, or a change that the file cannot hold; says which.
        FileError: the file cannot be written.
    """
    file = Path(path)
    kind = format or SUFFIXES.get(file.suffix.casefold())
    if kind not in FORMATS:
        suffixes = ", ".join(SUFFIXES)
        raise InputError(f"cannot tell the format of {file}: expected one of {', '.join(FORMATS)}, or {suffixes}")
    try:
        if project.document is not None and project.format == kind:
            data = project.document.rewritten(project)
            with replacing(file) as beside:
                beside.write_bytes(data)
            return []
        return _write_new(project, file, kind)
    except OSError as error:
        raise FileError(file, f"cannot be written ({error.strerror or error})") from None


def _write_new(project: Project, path: Path, kind: Format) -> list[str]:
    # Imported here, so that writing MIDI does not wait for lxml.
    if kind == "midi":
        from terrain_daws.midi.writing import write_midi

        return write_midi(project, path)
    if kind == "dawproject":
        from terrain_daws.dawproject.writing import write_dawproject

        return write_dawproject(project, path)
    if kind == "reaper":
        from terrain_daws.reaper.writing import write_reaper

        return write_reaper(project, path)
    if kind == "ardour":
        from terrain_daws.ardour.writing import write_ardour

        return write_ardour(project, path)
    from terrain_daws.live.writing import write_live

    write_live(project, path)
    _, left_out = insertions(project)
    return [*left_out, *([f"{len(project.notes)} notes: not written into Live sets"] if project.notes else [])]
