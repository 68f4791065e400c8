"""The library's trajectories: drawn, named, kept in one file, for the pages of both servers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import InputError, TerrainError
from terrain_plugin.editor import messages
from terrain_plugin.editor.library import Library
from terrain_plugin.editor.messages import Ask
from terrain_plugin.editor.motion import Trajectory

FILE: Final = "trajectories.json"
MOST: Final = 256


class TrajectoryShelf:
    """What stands in the file, and what is done to it."""

    def __init__(self, library: Library, ids: Iterator[int], trajectories: dict[int, Trajectory]) -> None:
        """
        Args:
            ids: numbers that nobody else takes.
            trajectories: filled with what is in the file, and changed by what is asked.
        """
        self._library, self._ids, self._all = library, ids, trajectories
        rows = library.read_json(FILE)
        for row in rows if isinstance(rows, list) else []:
            with contextlib.suppress(TerrainError, KeyError, TypeError):  # a file that a hand changed
                self.add(messages.NAME(row["name"]), np.array(messages.path(row["points"]), np.float64), write=False)

    def __getitem__(self, id: int) -> Trajectory:
        """Raises InputError if there is none of that number."""
        if id not in self._all:
            raise InputError("there is no such trajectory any more")
        return self._all[id]

    def add(self, name: str, points: NDArray[np.float64], *, write: bool = True) -> None:
        """A new one.

        Raises:
            InputError: there are too many.
        """
        if len(self._all) >= MOST:
            raise InputError(f"there are {MOST} trajectories: delete one first")
        id = next(self._ids)
        self._all[id] = Trajectory(id, name, points)
        if write:
            self._write()

    def do(self, ask: Ask) -> bool:
        """Do what is asked, if it is about the shelf; whether it was.

        Raises:
            InputError: there is none of that number, or there are too many.
        """
        match ask.kind:
            case "trajectory_add":
                self.add(ask["name"], np.array(ask["points"], np.float64))
                return True
            case "trajectory_rename":
                old = self[ask["id"]]
                self._all[old.id] = Trajectory(old.id, ask["name"], old.points)
            case "trajectory_redraw":
                old = self[ask["id"]]
                self._all[old.id] = Trajectory(old.id, old.name, np.array(ask["points"], np.float64))
            case "trajectory_delete":
                del self._all[self[ask["id"]].id]
            case _:
                return False
        self._write()
        return True

    def _write(self) -> None:
        rows = [trajectory.as_json() for trajectory in self._all.values()]
        self._library.write_json(FILE, [{"name": row["name"], "points": row["points"]} for row in rows])
