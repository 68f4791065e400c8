"""Where in the file the parts of a project stand, so that they can be written back there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from terrain_core.tempo import TempoMap
from terrain_daws.project import Marker
from terrain_daws.reaper.plugins import Plugin
from terrain_daws.reaper.syntax import Block, Document


@dataclass(frozen=True)
class LanePlace:
    """Where a lane came from; `envelope` is None for what MIDI items play."""

    envelope: Block | None
    low: float = 0.0
    high: float = 1.0


@dataclass
class InstancePlace:
    """Where an instance of our plugin is: its chain, its block, and the line after everything that belongs to it."""

    chain: Block
    plugin: Plugin
    end: int


def marker_lines(document: Document, tempo_map: TempoMap) -> Iterator[tuple[list[int], Marker, int]]:
    """Each marker or region in the file's order: its lines (a region's end has one of its own), itself, its number."""
    regions: dict[str, list[int]] = {}
    for line, words in document.tagged(document.root):
        if words[0] != "MARKER":
            continue
        number = words[1] if len(words) > 1 else ""
        seconds = document.number(line, words, 2)
        is_region = int(document.number(line, words, 4, 0.0)) & 1
        if is_region and number in regions:
            regions.pop(number).append(line)
            continue
        lines = [line]
        if is_region:
            regions[number] = lines
        name = words[3] if len(words) > 3 else ""
        yield lines, Marker(name, float(tempo_map.beats_at(seconds))), int(document.number(line, words, 1))
