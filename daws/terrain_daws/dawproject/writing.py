"""DAWprojects: written new with our plugin and its lanes, or patched element by element.

A DAWproject knows two curves, held and straight, and tempo ramps that are linear in beats; everything else becomes
straight pieces within a stated tolerance.
"""

from __future__ import annotations

import copy
import io
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from lxml import etree

from terrain_core import identity, parameters
from terrain_core.errors import InputError
from terrain_core.lanes import CODES, Lane, Shape, TimeUnit
from terrain_core.plugin_state import PluginState
from terrain_core.safe_write import replacing
from terrain_core.tempo import TempoMap
from terrain_core.vst3_preset import pack_preset
from terrain_daws.changes import lane_changes
from terrain_daws.dawproject.project_xml import PROJECT_FILE
from terrain_daws.insertions import Insertion, insertions
from terrain_daws.project import Marker, Note, Project

METADATA_FILE: Final = "metadata.xml"
TEMPO_SHAPES: Final = ("step", "linear-beats")
HOLD: Final = CODES[Shape.HOLD]
THE_BEGINNING: Final = (1980, 1, 1, 0, 0, 0)
"""The date of every member: the same project gives the same bytes."""

PLUGIN_TAGS: Final = {"vst3": "Vst3Plugin", "clap": "ClapPlugin"}
STATE_SUFFIXES: Final = {"vst3": "vstpreset", "clap": "clap-preset"}
POINT_TAGS: Final = ("RealPoint", "EnumPoint", "IntegerPoint", "BoolPoint", "TimeSignaturePoint")


def write_dawproject(project: Project, path: Path) -> list[str]:
    """Write a new DAWproject: a track for each instance of our plugin, with its state, lanes and notes.

    Curves become straight pieces within 1e-4 of their rise (`Lane.straightened`), tempo ramps that are linear in
    seconds become ramps that are linear in beats (`TempoMap.with_shapes`, to 1e-5 s). Lanes keep their unit.

    Returns:
        a line for each thing that was not written.
    """
    rows, left_out = insertions(project)
    members = _Builder(project, rows).members()
    data = io.BytesIO()
    # Not compressed: equal contents make equal files, whatever zlib is at hand.
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=THE_BEGINNING), content)
    with replacing(path) as beside:
        beside.write_bytes(data.getvalue())
    return left_out


# --- pieces that new projects and patched ones share ----------------------------------------------------------------


def _add(parent: Any, tag: str, **attributes: object) -> Any:
    return etree.SubElement(parent, tag, {name: _attribute(value) for name, value in attributes.items()})


def _attribute(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value)) if isinstance(value, (float, np.floating)) else str(value)


def _text(root: Any) -> bytes:
    text: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return text


def _write_points(points: Any, lane: Lane, kind: str, low: float, high: float) -> None:
    """The children of a `<Points>` after its target."""
    lane = lane.straightened()
    values = (low + lane.values * (high - low)).tolist()
    for time, value, code in zip(lane.times.tolist(), values, lane.shape_codes.tolist(), strict=True):
        if kind == "RealPoint":
            shape = "hold" if code == HOLD else "linear"
            _add(points, kind, value=value, interpolation=shape, time=time)
        else:
            whole = round(value)
            _add(points, kind, value=bool(whole) if kind == "BoolPoint" else whole, time=time)


def _write_tempo(points: Any, tempo_map: TempoMap) -> None:
    for point in tempo_map.with_shapes(TEMPO_SHAPES, tolerance=1e-5).points:
        shape = "hold" if point.shape == "step" else "linear"
        _add(points, "RealPoint", value=point.bpm, interpolation=shape, time=point.beat)


def _write_meters(points: Any, tempo_map: TempoMap) -> None:
    for meter in tempo_map.meters:
        _add(points, "TimeSignaturePoint", numerator=meter.numerator, denominator=meter.denominator, time=meter.beat)


def _parameter(parent: Any, key: str, value: float, identifier: str) -> None:
    """A parameter that lanes automate, in 0..1 of its range."""
    parameter = parameters.by_key(key)
    _add(
        parent,
        "RealParameter",
        unit="normalized",
        min=0,
        max=1,
        value=value,
        parameterID=parameter.id,
        id=identifier,
        name=parameter.name,
    )


def _state_bytes(state: PluginState, plugin_format: str) -> bytes:
    return state.to_bytes() if plugin_format == "clap" else pack_preset(state)


# --- a new project --------------------------------------------------------------------------------------------------


class _Builder:
    """Makes the members of a new DAWproject."""

    def __init__(self, project: Project, rows: Sequence[Insertion]) -> None:
        self.project = project
        self.rows = rows
        self.states: dict[str, bytes] = {}

    def members(self) -> dict[str, bytes]:
        root = self._project()
        return {PROJECT_FILE: _text(root), METADATA_FILE: _text(self._metadata()), **self.states}

    def _project(self) -> Any:
        tempo_map = self.project.tempo_map
        root = etree.Element("Project", version="1.0")
        _add(root, "Application", name=identity.PLUGIN_NAME, version=identity.VERSION)
        transport = _add(root, "Transport")
        _add(transport, "Tempo", unit="bpm", min=1, max=1000, value=tempo_map.points[0].bpm, id="tempo", name="Tempo")
        first = tempo_map.meters[0]
        _add(transport, "TimeSignature", denominator=first.denominator, numerator=first.numerator, id="meter")
        structure = _add(root, "Structure")
        for number, row in enumerate(self.rows, start=1):
            self._track(structure, row, number)
        master = _add(structure, "Track", contentType="audio notes", loaded=True, id="master-track", name="Master")
        self._fader(_add(master, "Channel", audioChannels=2, role="master", solo=False, id="master"), "master")
        arrangement = _add(root, "Arrangement", id="arrangement")
        timeline = _add(arrangement, "Lanes", timeUnit="beats", id="lanes")
        for number, row in enumerate(self.rows, start=1):
            self._track_lanes(timeline, row, number)
        if self.project.markers:
            markers = _add(arrangement, "Markers", id="markers")
            for marker in self.project.markers:
                _add(markers, "Marker", time=marker.beat, name=marker.name)
        tempo = _add(arrangement, "TempoAutomation", unit="bpm", id="tempo-automation")
        _add(tempo, "Target", parameter="tempo")
        _write_tempo(tempo, tempo_map)
        meters = _add(arrangement, "TimeSignatureAutomation", id="meter-automation")
        _add(meters, "Target", parameter="meter")
        _write_meters(meters, tempo_map)
        return root

    def _track(self, structure: Any, row: Insertion, number: int) -> None:
        track = _add(
            structure, "Track", contentType="notes automation", loaded=True, id=f"track-{number}", name=row.track
        )
        channel = _add(
            track,
            "Channel",
            audioChannels=2,
            destination="master",
            role="regular",
            solo=False,
            id=f"channel-{number}",
        )
        uid = str(uuid.UUID(identity.VST3_CLASS_UUID)) if row.plugin_format == "vst3" else identity.CLAP_ID
        plugin = _add(
            _add(channel, "Devices"),
            PLUGIN_TAGS[row.plugin_format],
            deviceID=uid,
            deviceName=identity.PLUGIN_NAME,
            deviceRole="instrument",
            deviceVendor=identity.VENDOR,
            loaded=True,
            id=f"plugin-{number}",
            name=row.name,
        )
        listed = _add(plugin, "Parameters")
        for key, lane in row.lanes.items():
            _parameter(listed, key, float(np.clip(lane.values[0], 0, 1)), f"parameter-{number}-{key}")
        _add(plugin, "Enabled", value=True, id=f"plugin-{number}-enabled", name="On/Off")
        file = f"plugins/{number}.{STATE_SUFFIXES[row.plugin_format]}"
        _add(plugin, "State", path=file)
        self.states[file] = _state_bytes(row.state, row.plugin_format)
        self._fader(channel, f"track-{number}")

    def _fader(self, channel: Any, of: str) -> None:
        _add(channel, "Mute", value=False, id=f"{of}-mute", name="Mute")
        _add(channel, "Pan", unit="normalized", min=0, max=1, value=0.5, id=f"{of}-pan", name="Pan")
        _add(channel, "Volume", unit="linear", min=0, max=2, value=1, id=f"{of}-volume", name="Volume")

    def _track_lanes(self, timeline: Any, row: Insertion, number: int) -> None:
        lanes = _add(timeline, "Lanes", track=f"track-{number}", id=f"track-lanes-{number}")
        if row.notes:
            self._notes(lanes, row.notes, number)
        for key, lane in row.lanes.items():
            points = _add(lanes, "Points", unit="normalized", id=f"points-{number}-{key}")
            if lane.unit != "beats":
                points.set("timeUnit", lane.unit)
            _add(points, "Target", parameter=f"parameter-{number}-{key}")
            _write_points(points, lane, "RealPoint", 0.0, 1.0)

    def _notes(self, lanes: Any, notes: Sequence[Note], number: int) -> None:
        """One clip from the start to the last note's end."""
        end = max(note.beat + note.duration for note in notes)
        clips = _add(lanes, "Clips", id=f"clips-{number}")
        clip = _add(clips, "Clip", time=0.0, duration=end, playStart=0.0)
        inside = _add(clip, "Notes", id=f"notes-{number}")
        for note in notes:
            velocity = float(note.velocity)
            _add(
                inside,
                "Note",
                time=float(note.beat),
                duration=float(note.duration),
                channel=note.channel,
                key=note.key,
                vel=velocity,
                rel=velocity,
            )

    def _metadata(self) -> Any:
        metadata = etree.Element("MetaData")
        _add(metadata, "Title").text = self.project.path.stem
        return metadata


# --- a project that was read ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LanePlace:
    """The `<Points>` that a lane came from: which one of the document (-1: several, or within a clip), the tag of its
    points, the unit of its times, and the values that are 0 and 1.
    """

    ordinal: int
    kind: str
    unit: TimeUnit
    low: float
    high: float


@dataclass(frozen=True)
class DevicePlace:
    """The device that is our plugin: which one of its tag, and its track's name."""

    ordinal: int
    track: str


class DawprojectDocument:
    """The file that a project was read from; see `SourceDocument`."""

    def __init__(
        self, data: bytes, project: Project, places: Sequence[LanePlace], devices: Sequence[DevicePlace]
    ) -> None:
        self.data = data
        self.places = list(places)
        self.devices = list(devices)
        self.formats = [instance.plugin_format for instance in project.instances]
        self.lanes = list(project.lanes)
        self.tempo_map = project.tempo_map
        self.markers = list(project.markers)
        self.notes = list(project.notes)
        self.states = [instance.state for instance in project.instances]

    def rewritten(self, project: Project) -> bytes:
        """The file with what was changed in `project`; other elements, and other files in the zip, as they were.

        Raises:
            InputError: a lane was changed that lies in clips, a lane was added that belongs to no instance of our
                plugin, an instance was added or removed, or notes were changed.
        """
        if len(project.instances) != len(self.devices):
            raise InputError(
                f"{project.path} had {len(self.devices)} instances of {identity.PLUGIN_NAME} and now has "
                f"{len(project.instances)}; insert or remove them in the DAW"
            )
        if project.notes != self.notes:
            raise InputError(f"{project.path}: notes were changed, which is not written back into DAWprojects")
        states = [instance.state for instance in project.instances]
        changes = lane_changes(self.lanes, project.lanes)
        same_time = project.tempo_map == self.tempo_map and project.markers == self.markers
        if not changes and states == self.states and same_time:
            return self.data
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            members = [(info, archive.read(info)) for info in archive.infolist()]
        xml = next(content for info, content in members if info.filename == PROJECT_FILE)
        patch = _Patch(etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True)))
        for index, lane in changes.replaced.items():
            patch.replace(self._place(index), lane, project.tempo_map)
        for index in changes.removed:
            patch.empty(self._place(index).ordinal)
        for lane in changes.added:
            patch.add(lane, self._device_of(lane, project), self.formats)
        if project.tempo_map != self.tempo_map:
            patch.tempo(project.tempo_map)
        if project.markers != self.markers:
            patch.markers(project.markers)
        files: dict[str, bytes] = {}
        for place, before, instance in zip(self.devices, self.states, project.instances, strict=True):
            if instance.state != before:
                name = patch.state_file(place, instance.plugin_format)
                files[name] = _state_bytes(instance.state or PluginState(), instance.plugin_format)
        patch.prune()
        return _zipped(members, {PROJECT_FILE: _text(patch.root), **files})

    def _place(self, index: int) -> LanePlace:
        place = self.places[index]
        if place.ordinal < 0:
            lane = self.lanes[index]
            raise InputError(f"the lane {lane.track}/{lane.name} lies in clips, which are not written back")
        return place

    def _device_of(self, lane: Lane, project: Project) -> DevicePlace:
        found = [place for place in self.devices if place.track == lane.track] or self.devices
        if not lane.key or not found:
            raise InputError(
                f"{project.path} has no place for the new lane {lane.track}/{lane.name}; only lanes of "
                f"{identity.PLUGIN_NAME} can be added, where the DAW has inserted it"
            )
        return found[0]


class _Patch:
    """Changes the tree of a project.xml. Ordinals are those of the tree as it was read."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.all_points = list(root.iter("Points"))
        self.emptied: list[Any] = []
        self.devices = {tag: list(root.iter(tag)) for tag in PLUGIN_TAGS.values()}
        self.ids = (f"terrain-{number}" for number in count(1))
        self.used = {element.get("id") for element in root.iter() if element.get("id")}

    def replace(self, place: LanePlace, lane: Lane, tempo_map: TempoMap) -> None:
        points = self.all_points[place.ordinal]
        _clear(points)
        moved = lane.to_beats(tempo_map) if place.unit == "beats" else lane.to_seconds(tempo_map)
        _write_points(points, moved, place.kind, place.low, place.high)

    def empty(self, ordinal: int) -> None:
        self.emptied.append(self.all_points[ordinal])

    def prune(self) -> None:
        """Take the lanes out that are gone; before, that would have changed the ordinals of others."""
        for points in self.emptied:
            points.getparent().remove(points)

    def add(self, lane: Lane, place: DevicePlace, formats: Sequence[str]) -> None:
        device = self._device(place, formats)
        listed = device.find("Parameters")
        if listed is None:
            listed = etree.Element("Parameters")
            device.insert(0, listed)
        identifier = next((p.get("id") for p in listed if p.get("parameterID") == str(_id_of(lane.key))), None)
        if identifier is None:
            identifier = self._new_id()
            _parameter(listed, lane.key, float(np.clip(lane.values[0], 0, 1)), identifier)
        points = _add(self._lanes_of(device), "Points", unit="normalized", timeUnit=lane.unit, id=self._new_id())
        _add(points, "Target", parameter=identifier)
        _write_points(points, lane, "RealPoint", 0.0, 1.0)

    def _lanes_of(self, device: Any) -> Any:
        """The lanes of a device's track in the arrangement."""
        track = next(element for element in device.iterancestors() if element.tag == "Track")
        arrangement = self.root.find("Arrangement")
        if arrangement is None:
            arrangement = _add(self.root, "Arrangement", id=self._new_id())
        timeline = arrangement.find("Lanes")
        if timeline is None:
            timeline = etree.Element("Lanes", timeUnit="beats", id=self._new_id())
            arrangement.insert(0, timeline)
        for lanes in timeline.iter("Lanes"):
            if lanes.get("track") == track.get("id"):
                return lanes
        return _add(timeline, "Lanes", track=track.get("id"), timeUnit="beats", id=self._new_id())

    def _device(self, place: DevicePlace, formats: Sequence[str]) -> Any:
        for kind in ("vst3", "clap"):
            devices = self.devices[PLUGIN_TAGS[kind]]
            if kind in formats and place.ordinal < len(devices):
                device = devices[place.ordinal]
                track = next((e for e in device.iterancestors() if e.tag == "Track"), None)
                if track is not None and track.get("name", "") == place.track:
                    return device
        raise InputError(f"the plugin on track {place.track!r} was not found again")

    def state_file(self, place: DevicePlace, plugin_format: str) -> str:
        """The name of the file with a device's state; the device refers to it from now on."""
        device = self._device(place, [plugin_format])
        state = device.find("State")
        if state is None:
            state = etree.Element("State", path=f"plugins/{self._new_id()}.{STATE_SUFFIXES[plugin_format]}")
            enabled = device.find("Enabled")
            listed = device.find("Parameters")
            before = enabled if enabled is not None else listed
            device.insert(0 if before is None else device.index(before) + 1, state)
        return str(state.get("path"))

    def tempo(self, tempo_map: TempoMap) -> None:
        transport = self.root.find("Transport")
        if transport is None:
            transport = etree.Element("Transport")
            self.root.insert(1, transport)
        first, meter = tempo_map.points[0], tempo_map.meters[0]
        tempo = self._setting(transport, "Tempo", unit="bpm", min=1, max=1000, name="Tempo")
        tempo.set("value", _attribute(float(first.bpm)))
        signature = self._setting(transport, "TimeSignature")
        signature.set("numerator", str(meter.numerator))
        signature.set("denominator", str(meter.denominator))
        self._automation("TempoAutomation", tempo, lambda points: _write_tempo(points, tempo_map), unit="bpm")
        self._automation("TimeSignatureAutomation", signature, lambda points: _write_meters(points, tempo_map))

    def _setting(self, transport: Any, tag: str, **attributes: object) -> Any:
        found = transport.find(tag)
        if found is None:
            found = _add(transport, tag, **attributes)
        if not found.get("id"):
            found.set("id", self._new_id())
        return found

    def _automation(self, tag: str, target: Any, write: Callable[[Any], None], **attributes: object) -> None:
        arrangement = self.root.find("Arrangement")
        if arrangement is None:
            arrangement = _add(self.root, "Arrangement", id=self._new_id())
        points = arrangement.find(tag)
        if points is None:
            points = _add(arrangement, tag, id=self._new_id(), **attributes)
            _add(points, "Target", parameter=target.get("id"))
        points.set("timeUnit", "beats")
        _clear(points)
        write(points)

    def markers(self, markers: Sequence[Marker]) -> None:
        arrangement = self.root.find("Arrangement")
        if arrangement is None:
            arrangement = _add(self.root, "Arrangement", id=self._new_id())
        for old in list(arrangement.iter("Markers", "markers")):
            old.getparent().remove(old)
        if not markers:
            return
        new = etree.Element("Markers", timeUnit="beats", id=self._new_id())
        for marker in markers:
            _add(new, "Marker", time=float(marker.beat), name=marker.name)
        lanes = arrangement.find("Lanes")
        arrangement.insert(0 if lanes is None else arrangement.index(lanes) + 1, new)

    def _new_id(self) -> str:
        return next(identifier for identifier in self.ids if identifier not in self.used)


def _clear(points: Any) -> None:
    for tag in POINT_TAGS:
        for point in points.findall(tag):
            points.remove(point)


def _id_of(key: str) -> int:
    return parameters.by_key(key).id


def _zipped(members: Sequence[tuple[zipfile.ZipInfo, bytes]], changed: Mapping[str, bytes]) -> bytes:
    """The archive again, with some members' contents changed and others added."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for info, content in _with_new(members, changed):
            archive.writestr(info, content, info.compress_type)
    return data.getvalue()


def _with_new(
    members: Sequence[tuple[zipfile.ZipInfo, bytes]], changed: Mapping[str, bytes]
) -> Iterator[tuple[zipfile.ZipInfo, bytes]]:
    names = {info.filename for info, _ in members}
    for info, content in members:
        yield copy.copy(info), changed.get(info.filename, content)
    for name, content in changed.items():
        if name not in names:
            yield zipfile.ZipInfo(name, date_time=THE_BEGINNING), content
