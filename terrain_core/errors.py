"""Errors for the person who holds the problem: what was wrong, where, what was expected, what to do."""

from __future__ import annotations

from os import PathLike, fspath


class TerrainError(Exception):
    """Base of every error this project raises on purpose.

    `str(error)` is one line, fit to be shown to a musician as it stands. The command line prints it and exits with 2.
    """


class InputError(TerrainError, ValueError):
    """A value from the caller is out of its range or of the wrong shape."""


class FileError(TerrainError, ValueError):
    """A file is missing, damaged, hostile or not what it was taken for.

    Args:
        path: the file.
        problem: what was found and what was expected, e.g. "ends in the middle of a chunk (expected 20 bytes more)".
        position: where in the file: "byte 132", "line 7", "track 2, tick 960", "project.xml line 14"; empty if the
            whole file is meant.
        hint: what the reader can do about it; empty if nothing.
    """

    def __init__(self, path: str | PathLike[str], problem: str, *, position: str = "", hint: str = "") -> None:
        self.path = fspath(path)
        self.problem = " ".join(problem.split("\n"))  # what parsers say may have two lines
        self.position = position
        self.hint = hint
        place = f"{self.path}, {position}" if position else self.path
        super().__init__(f"{place}: {self.problem}" + (f"; {hint}" if hint else ""))


class DivergedError(TerrainError, ArithmeticError):
    """A fit produced NaN or a loss that grows without bound; the last good weights were kept."""
