"""What a new project holds of ours: which instances of the plugin, on which tracks, with which lanes and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from terrain_core import identity
from terrain_core.lanes import Lane
from terrain_core.plugin_state import PluginState
from terrain_daws.project import Note, Project

DEFAULT_TRACK: Final = "Terrain"


@dataclass
class Insertion:
    """An instance of our plugin that is to be written.

    Attributes:
        lanes: parameter key -> lane.
        notes: what the track plays into it.
    """

    track: str
    name: str = identity.PLUGIN_NAME
    plugin_format: Literal["vst3", "clap"] = "vst3"
    state: PluginState = field(default_factory=PluginState)
    lanes: Mapping[str, Lane] = field(default_factory=dict)
    notes: Sequence[Note] = ()


def insertions(project: Project) -> tuple[list[Insertion], list[str]]:
    """The instances that a project is to be written with, and a line for each lane that none of them takes.

    Lanes that drive one of our parameters but belong to no instance (MIDI controllers, other plugins' parameters that
    were mapped) go to the first; a project without an instance gets one. Notes go to the first.
    """
    rows = [
        Insertion(instance.track, instance.name, instance.plugin_format, instance.state or PluginState())
        for instance in project.instances
    ] or [Insertion(DEFAULT_TRACK)]
    owners = [{id(lane) for lane in instance.lanes} for instance in project.instances] or [set()]
    lanes: list[dict[str, Lane]] = [{} for _ in rows]
    left_out = []
    for lane in project.lanes:
        index = next((i for i, owned in enumerate(owners) if id(lane) in owned), 0)
        if not lane.key or not lane.active:
            reason = "is not of our plugin" if not lane.key else "is not played"
            left_out.append(f"the lane {lane.track}/{lane.name} {reason}")
        elif lane.key in lanes[index]:
            left_out.append(f"the lane {lane.track}/{lane.name} is the second that drives {lane.key}")
        else:
            lanes[index][lane.key] = lane
    for row, found in zip(rows, lanes, strict=True):
        row.lanes = found
    rows[0].notes = project.notes
    return rows, left_out
