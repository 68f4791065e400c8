"""Projects as Live sets: one that was read from a set by patching it (`document`), any other by patching a small one of
our own (`template`).
"""

from __future__ import annotations

from pathlib import Path

from terrain_core.safe_write import replacing
from terrain_daws.live.document import LiveDocument
from terrain_daws.live.template import new_set
from terrain_daws.project import Project


def write_live(project: Project, path: Path) -> None:
    """Write a project as a set.

    A project that was read from a set gives that set with its changes; any other a new one, with our plugin on a track
    of its own for each of the project's instances (one, if it has none) and its lanes that drive our parameters. Lanes
    of other plugins, and notes, are not in it.

    Raises:
        InputError: what cannot be in a set.
        FileError: the file cannot be written.
    """
    document = project.document if isinstance(project.document, LiveDocument) else None
    data = document.rewritten(project) if document else new_set(project)
    with replacing(path) as beside:
        beside.write_bytes(data)
