"""What differs between a project as it was read and as it is to be written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from terrain_core.lanes import Lane


@dataclass(frozen=True)
class LaneChanges:
    """Lanes by the place they had when they were read.

    Attributes:
        replaced: index -> the curve that is to be there now.
        removed: indices of lanes that are gone.
        added: lanes that were not there.
    """

    replaced: dict[int, Lane]
    removed: list[int]
    added: list[Lane]

    def __bool__(self) -> bool:
        return bool(self.replaced or self.removed or self.added)


def lane_changes(before: Sequence[Lane], after: Sequence[Lane]) -> LaneChanges:
    """Compare two lists of lanes. A lane is the one that was read if it automates the same parameter of the same plugin
    on the same track; of several such the first belongs to the first. Which of our keys it drives does not matter.
    """
    waiting: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, lane in enumerate(before):
        waiting[_place(lane)].append(index)
    replaced: dict[int, Lane] = {}
    added = []
    for lane in after:
        places = waiting[_place(lane)]
        if not places:
            added.append(lane)
            continue
        index = places.pop(0)
        if before[index].labelled(key="") != lane.labelled(key=""):
            replaced[index] = lane
    return LaneChanges(replaced, sorted(index for places in waiting.values() for index in places), added)


def _place(lane: Lane) -> tuple[object, ...]:
    return lane.track, lane.plugin, lane.plugin_id, lane.parameter_id, lane.name
