"""The text of a REAPER project: blocks that begin with `<TAG …` and end with `>`, and lines of words between.

The file is kept as the bytes it was, with an index of its blocks, so that whatever is not changed is written back byte
for byte, and a project of 100 MB needs little more memory than that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import FileError

DEEPEST: Final = 64
"""Blocks within blocks. Tracks, chains, containers and takes make about ten."""

MOST_BLOCKS: Final = 500_000
MOST_LINES: Final = 5_000_000
MOST_SETTINGS: Final = 200_000
"""Lines that a block may have besides the blocks in it, if it is one of `SETTINGS`."""

SETTINGS: Final = frozenset({"REAPER_PROJECT", "TRACK", "FXCHAIN", "ITEM"})
LARGEST_NUMBER: Final = 1e12

BLOCK_EDGE: Final = re.compile(rb"^[ \t]*(?:<([^\r\n]*)|>)[ \t]*\r?$", re.MULTILINE)
WORD: Final = re.compile(r'"([^"]*)"?|\'([^\']*)\'?|`([^`]*)`?|(\S+)')


@dataclass(slots=True)
class Block:
    """A block; `begin` and `end` are the indices of its first line (`<TAG`) and its last (`>`)."""

    tag: str
    begin: int
    end: int
    children: Sequence[Block] = ()

    def find(self, tag: str) -> Block | None:
        """The first child of that tag."""
        return next((child for child in self.children if child.tag == tag), None)

    def find_all(self, *tags: str) -> Iterator[Block]:
        """The children of those tags, in order."""
        return (child for child in self.children if child.tag in tags)


@dataclass
class Document:
    """A REAPER project's text.

    Attributes:
        starts: where each line begins, and the end of the file.
        root: the `<REAPER_PROJECT` block.
    """

    path: Path
    data: bytes = field(repr=False)
    starts: NDArray[np.int64] = field(repr=False)
    root: Block

    @classmethod
    def parse(cls, path: Path, data: bytes) -> Document:
        """Index the blocks.

        Raises:
            FileError: a block that does not end or was not begun, nesting without measure, a NUL byte.
        """
        if (nul := data.find(b"\0")) >= 0:
            raise FileError(path, "has a NUL byte, expected text", position=f"byte {nul}")
        breaks = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
        ends = breaks if breaks.size and breaks[-1] == len(data) else np.append(breaks, len(data))
        if len(ends) > MOST_LINES:
            raise FileError(path, f"has {len(ends):,} lines, more than the {MOST_LINES:,} that are read")
        document = cls(path, data, np.concatenate([[0], ends]).astype(np.int64), Block("", 0, 0))
        document.root = document._blocks()
        return document

    def _blocks(self) -> Block:
        line_of = self.starts
        stack: list[Block] = []
        root: Block | None = None
        count = 0
        for edge in BLOCK_EDGE.finditer(self.data):
            line = int(np.searchsorted(line_of, edge.start(), side="right")) - 1
            if root is not None and not stack:
                raise self.error(line, "has a block after the end of the project")
            if edge[1] is None:
                if not stack:
                    raise self.error(line, "ends a block that did not begin")
                block = stack.pop()
                block.end = line
                own = line - block.begin - 1 - sum(child.end - child.begin + 1 for child in block.children)
                if own > MOST_SETTINGS and block.tag in SETTINGS:
                    raise self.error(block.begin, f"<{block.tag} has {own:,} lines, expected at most {MOST_SETTINGS:,}")
                continue
            count += 1
            if count > MOST_BLOCKS:
                raise self.error(line, f"has more than {MOST_BLOCKS:,} blocks")
            if len(stack) >= DEEPEST:
                raise self.error(line, f"has blocks more than {DEEPEST} deep")
            tag, _, _ = edge[1].partition(b" ")
            block = Block(tag.decode("latin-1").strip(), line, line)
            if stack:
                parent = stack[-1]
                if not parent.children:
                    parent.children = []
                parent.children.append(block)  # type: ignore[attr-defined]  # the empty tuple was replaced by a list
            else:
                root = block
            stack.append(block)
        if root is None or root.tag != "REAPER_PROJECT":
            raise self.error(0, "does not begin with <REAPER_PROJECT")
        if stack:
            block = stack[-1]
            raise self.error(
                len(self.starts) - 2, f"ends within the block <{block.tag} that begins on line {block.begin + 1}"
            )
        return root

    def entries(self, block: Block) -> Iterator[int | Block]:
        """What is in a block, in order: the indices of its own lines, and its children."""
        line = block.begin + 1
        for child in block.children:
            yield from range(line, child.begin)
            yield child
            line = child.end + 1
        yield from range(line, block.end)

    def lines(self, block: Block) -> Iterator[int]:
        """The indices of a block's own lines: neither its edges nor what is in its children."""
        return (entry for entry in self.entries(block) if isinstance(entry, int))

    def raw(self, line: int) -> bytes:
        """A line with its line break."""
        return self.data[self.starts[line] : self.starts[line + 1]]

    def text(self, line: int) -> str:
        """A line without its indentation and line break. What is not UTF-8 is taken for Latin-1."""
        raw = self.raw(line).strip()
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")

    def words(self, line: int) -> list[str]:
        """A line's words, without their quotes (", ' or `) and, at a block's beginning, without the `<`."""
        text = self.text(line).removeprefix("<")
        if '"' not in text and "'" not in text and "`" not in text:
            return text.split()
        return [next(part for part in match if part is not None) for match in map(_groups, WORD.finditer(text))]

    def tagged(self, block: Block) -> Iterator[tuple[int, list[str]]]:
        """(line, words) of a block's own lines that have any."""
        for line in self.lines(block):
            words = self.words(line)
            if words:
                yield line, words

    def number(self, line: int, words: Sequence[str], index: int, default: float | None = None) -> float:
        """The word at `index` as a number; `default` where the line is shorter.

        Raises:
            FileError: no number, one of absurd size, or missing without a default.
        """
        if index >= len(words):
            if default is None:
                raise self.error(line, f"{words[0]} has {len(words) - 1} values, expected at least {index}")
            return default
        try:
            number = float(words[index])
        except ValueError:
            number = math.nan
        if not abs(number) <= LARGEST_NUMBER:
            raise self.error(line, f"{words[0]} has {words[index]!r:.40}, expected a number of sensible size")
        return number

    def newline(self) -> bytes:
        """How this file ends its lines."""
        return b"\r\n" if self.raw(0).endswith(b"\r\n") else b"\n"

    def indentation(self, line: int) -> bytes:
        """What stands before a line's first word."""
        raw = self.raw(line)
        return raw[: len(raw) - len(raw.lstrip())]

    def error(self, line: int, problem: str) -> FileError:
        """An error at a line."""
        return FileError(self.path, problem, position=f"line {line + 1}")


def _groups(match: re.Match[str]) -> tuple[str | None, ...]:
    return match.groups()


def quoted(text: str) -> str:
    """A word as REAPER writes it: in whichever of its three quotes the text does not have."""
    plain = text.replace("\r", " ").replace("\n", " ")
    if plain and not set(plain) & set(" \"'`") and not plain.startswith(("<", ">")):
        return plain
    for mark in "\"'`":
        if mark not in plain:
            return f"{mark}{plain}{mark}"
    return f"`{plain.replace('`', chr(39))}`"
