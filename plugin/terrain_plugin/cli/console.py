"""What the commands share in talking to a person or to a program: errors, progress bars, JSON, tables."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from typer.core import TyperGroup

from terrain_core.errors import FileError, InputError, TerrainError

BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead, for programs.")]


Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Open a TorchScript without asking: it runs the code that is in it.")
]


class Report(Protocol):
    """Moves a progress bar."""

    def __call__(self, done: float, total: float, title: str = ...) -> None: ...


class Commands(TyperGroup):
    """The commands, with one way out for everything that can go wrong: a line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TerrainError as error:
            complain(str(error))
            raise typer.Exit(BAD_INPUT) from error
        except OSError as error:
            if error.filename is None:  # a broken pipe, for one, with which typer ends in silence
                raise
            complain(f"{error.filename}: {error.strerror}")
            raise typer.Exit(BAD_INPUT) from error


def complain(message: str) -> None:
    """One line on stderr, whatever a file's name or content brought into the message."""
    line = "".join(c if c.isprintable() else " " for c in " ".join(message.split()))
    print(f"terrain: {line}", file=sys.stderr)


def ask_for_trust(path: Path, yes: bool) -> None:
    """Ask whether a TorchScript may be opened, unless `yes` says so already.

    Raises:
        InputError: it may not.
    """
    from terrain_core.autoencoders.nn_tilde.trust import WARNING

    if yes:
        return
    print(f"{path} {WARNING}.\nOpen it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        print(file=sys.stderr)
        raise InputError(f"{path} was not opened: answer y if you trust where it came from, or say --yes in a script")


@contextmanager
def interruptible(what_is_left: str) -> Iterator[None]:
    """Turn Ctrl-C within the block into a line that says what it left behind, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        complain(f"interrupted: {what_is_left}")
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def progress(title: str, *, unit: str = "s", quiet: bool = False) -> Iterator[Report]:
    """A progress bar on stderr, gone when the block ends. Yields a function to be called with (done, total), in `unit`,
    and perhaps another title.

    Nothing is shown if stderr is no terminal, or `quiet`.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, title=title: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed:.0f}} of {{task.total:.0f}} {unit}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=1)
        yield lambda done, total, title=title: bars.update(task, completed=done, total=total, description=title)


def print_json(value: Any) -> None:
    """One JSON document on stdout. JSON has no infinity: silence, at -inf dBFS, is null."""
    print(json.dumps(_finite(value), ensure_ascii=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout. Columns whose name ends in a blank are aligned to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column.strip(), justify="right" if column.endswith(" ") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)


def parse_size(text: str) -> tuple[int, int]:
    """`600x150` -> (600, 150)"""
    width, x, height = text.lower().partition("x")
    if not (x and width.isdecimal() and height.isdecimal()):
        raise InputError(f"size {text!r} should read WIDTHxHEIGHT in pixels, e.g. 600x150")
    return int(width), int(height)


def parse_assignments(texts: Iterable[str], form: str) -> dict[str, str]:
    """`["x=Filter Cutoff"]` -> `{"x": "Filter Cutoff"}`; `form` is what the error shows as the right one."""
    pairs = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value):
            raise InputError(f"{text!r} should read {form}")
        pairs[key] = value
    return pairs


def check_suffix(path: Path, *suffixes: str) -> str:
    """The path's suffix in lower case, which must be one of these."""
    if path.suffix.lower() not in suffixes:
        raise FileError(path, f"should end in {' or '.join(suffixes)}")
    return path.suffix.lower()
