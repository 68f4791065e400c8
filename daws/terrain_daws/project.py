"""What was found in a DAW project: the same for every format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from terrain_core import identity
from terrain_core.errors import InputError
from terrain_core.lanes import Lane, Shape
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import TempoMap


@dataclass(frozen=True)
class Marker:
    """A named place in the arrangement; `beat` in quarter notes."""

    name: str
    beat: float


@dataclass(frozen=True)
class Note:
    """A note: `beat` and `duration` in quarter notes, `channel` 0..15, `key` 0..127 (60 is middle C), `velocity`
    0..1; `track` is the name of the track that it is on, "" if that is not known.
    """

    beat: float
    duration: float
    channel: int
    key: int
    velocity: float
    track: str = field(default="", compare=False)


@dataclass(frozen=True)
class Track:
    """A track, a group or a bus.

    Attributes:
        name: as the project has it; two may have the same.
        folder: the name of the folder or group that it lies in; "" at the top.
        silenced_by: why it is not heard ("the track is muted", "the folder 'Pads' is muted"); "" if it is.
    """

    name: str
    folder: str = ""
    silenced_by: str = ""


@dataclass
class PluginInstance:
    """Our plugin, once inserted in the project.

    Attributes:
        track: the name of the track that holds it.
        name: what the project calls this instance; the plugin's name if it says nothing.
        plugin_format: "vst3" or "clap".
        lanes: those of the project's lanes that automate this instance, in the file's order.
        state: its parameters and instrument; None if the project holds none that can be read.
        silenced_by: why it is not heard ("bypassed", "offline", "the track is muted"); "" if it is.
        position: its place in the file ("line 120"), for messages.
    """

    track: str
    name: str = identity.PLUGIN_NAME
    plugin_format: Literal["vst3", "clap"] = "vst3"
    lanes: list[Lane] = field(default_factory=list)
    state: PluginState | None = None
    silenced_by: str = ""
    position: str = ""


class SourceDocument(Protocol):
    """The file that a project was read from, kept so that it can be written back with nothing lost."""

    def rewritten(self, project: Project) -> bytes:
        """The file's bytes with what was changed in `project` since it was read, and everything else as it was.

        Raises:
            InputError: what was changed cannot be put into this file; says what.
        """
        ...


@dataclass
class Project:
    """A project as this package understands it.

    Attributes:
        format: "midi", "dawproject", "reaper", "ardour" or "live".
        path: the file.
        tracks: in the file's order.
        lanes: every automation lane found, in the file's order, values 0..1. Those that drive one of our parameters
            have a `key`.
        tempo_map: tempo and meters.
        markers: in order.
        notes: in order of their beats.
        unknown: a line for each thing that was found and not taken over, with its place in the file.
        instances: our plugin, wherever it is inserted.
        repairs: a line for each fault of the file that was mended, with its place.
        document: the file as it was read; None for a project that was made here.
    """

    format: str
    path: Path
    tracks: list[Track] = field(default_factory=list)
    lanes: list[Lane] = field(default_factory=list)
    tempo_map: TempoMap = field(default_factory=lambda: TempoMap.constant(120))
    markers: list[Marker] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    instances: list[PluginInstance] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    document: SourceDocument | None = field(default=None, repr=False, compare=False)

    def find_lane(self, name: str) -> Lane:
        """The one lane called `name`, or `name / plugin`; "track/name" picks one of several. Capitals do not matter,
        nor does what follows a comma.

        Raises:
            InputError: there is none or more than one; says which there are.
        """
        found = [lane for lane in self.lanes if name.casefold() in _spellings(lane)]
        if len(found) == 1:
            return found[0]
        problem = f"{len(found)} lanes called {name!r}" if found else f"no lane called {name!r}"
        choice = ", ".join(repr(f"{lane.track}/{lane.name}") for lane in (found or self.lanes)[:12]) or "none at all"
        raise InputError(f"{self.path} has {problem}, expected one of: {choice}")

    def lanes_by_key(self, mapping: Mapping[str, str] | None = None) -> dict[str, Lane]:
        """Parameter key -> the lane that drives it: the first active one in the file, unless `mapping` names another.

        Args:
            mapping: key -> lane name as for `find_lane`, e.g. {"x": "Filter/Cutoff"}.
        """
        driving: dict[str, Lane] = {}
        for lane in self.lanes:
            if lane.key and lane.active:
                driving.setdefault(lane.key, lane)
        for key, name in (mapping or {}).items():
            driving[key] = self.find_lane(name).labelled(key=key)
        return driving

    def as_dict(self) -> dict[str, Any]:
        """Everything but the notes in the form that `terrain lanes --json` prints: plain lists, dictionaries and
        numbers.
        """
        return {
            "format": self.format,
            "lanes": [self._lane_as_dict(lane) for lane in self.lanes],
            "tempo": [
                {"beat": point.beat, "seconds": seconds, "bpm": point.bpm, "shape": point.shape}
                for point, seconds in zip(self.tempo_map.points, self.tempo_map.point_seconds.tolist(), strict=True)
            ],
            "meters": [
                {
                    "beat": meter.beat,
                    "seconds": float(self.tempo_map.seconds_at(meter.beat)),
                    "numerator": meter.numerator,
                    "denominator": meter.denominator,
                }
                for meter in self.tempo_map.meters
            ],
            "markers": [
                {"name": marker.name, "beat": marker.beat, "seconds": float(self.tempo_map.seconds_at(marker.beat))}
                for marker in self.markers
            ],
            "tracks": [
                {"name": track.name, "folder": track.folder, "silenced_by": track.silenced_by} for track in self.tracks
            ],
            "instances": [
                {
                    "track": instance.track,
                    "name": instance.name,
                    "format": instance.plugin_format,
                    "instrument": instance.state.instrument.name
                    if instance.state and instance.state.instrument
                    else None,
                    "silenced_by": instance.silenced_by,
                    "lanes": [self.lanes.index(lane) for lane in instance.lanes],
                }
                for instance in self.instances
            ],
            "repairs": list(self.repairs),
            "unknown": list(self.unknown),
        }

    def to_json(self) -> str:
        """`as_dict` as JSON text."""
        return json.dumps(self.as_dict(), allow_nan=False)

    def _lane_as_dict(self, lane: Lane) -> dict[str, Any]:
        in_beats = lane.unit == "beats"
        beats = lane.times if in_beats else self.tempo_map.beats_at(lane.times)
        seconds = self.tempo_map.seconds_at(lane.times) if in_beats else lane.times
        rows = zip(beats.tolist(), seconds.tolist(), lane.points, strict=True)
        return {
            "name": lane.name,
            "key": lane.key,
            "track": lane.track,
            "plugin": lane.plugin,
            "active": lane.active,
            "points": [
                {"beat": beat, "seconds": second, "value": point.value, "shape": point.shape.value}
                | ({"tension": point.tension} if point.shape is Shape.BEZIER else {})
                for beat, second, point in rows
            ],
        }


def _spellings(lane: Lane) -> set[str]:
    """What a lane may be called: "CC 16, channel 1", "CC 16", "Cutoff / Vital", each with the track's name before or
    not.
    """
    names = {lane.name, lane.name.partition(",")[0]}
    if lane.plugin:
        names |= {f"{lane.name} / {lane.plugin}", f"{lane.plugin}/{lane.name}"}
    return {spelling.casefold() for name in names for spelling in (name, f"{lane.track}/{name}")}
