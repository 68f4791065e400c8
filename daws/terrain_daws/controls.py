"""Which MIDI controller drives which of our parameters, where a project says nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from terrain_core.lanes import Lane

SOURCES_BY_KEY: Final[dict[str, tuple[str, ...]]] = {
    "x": ("CC 16", "MPE pitch bend", "pitch bend"),
    "y": ("CC 17", "MPE timbre", "CC 74"),
    "pressure": ("CC 18", "MPE pressure", "channel pressure"),
}
"""Per parameter the sources that may drive it, the strongest first.

Controllers 16, 17 and 18 are MIDI's general-purpose ones 1 to 3, with 14 bits (48, 49, 50) if need be: whoever writes
them means it. Then come the three dimensions of MPE, and last the same three messages outside an MPE zone.
"""


def assign_keys(lanes: Iterable[tuple[str, Lane]]) -> tuple[list[Lane], list[str]]:
    """Give each parameter of `SOURCES_BY_KEY` its strongest lane.

    Args:
        lanes: (source, lane) pairs in the file's order; an empty source drives nothing. What a lane of our plugin
            drives already is left to it.
    Returns:
        the lanes with their keys, and a line for each lane that came second to another of the same source.
    """
    pairs = list(lanes)
    keys: dict[int, str] = {}
    left_out = []
    driven = {lane.key for _, lane in pairs}
    for key, sources in SOURCES_BY_KEY.items():
        if key in driven:
            continue
        ranked = [[i for i, (source, _) in enumerate(pairs) if source == wanted] for wanted in sources]
        candidates = next((group for group in ranked if group), [])
        if not candidates:
            continue
        first, *others = candidates
        keys[first] = key
        left_out += [
            f"{_place(pairs[i][1])}: drives nothing unless mapped, since {_place(pairs[first][1])} drives {key}"
            for i in others
        ]
    return [lane.labelled(key=keys[i]) if i in keys else lane for i, (_, lane) in enumerate(pairs)], left_out


def _place(lane: Lane) -> str:
    return f"{lane.track}, {lane.name}" if lane.track else lane.name
