"""Ardour sessions: written new with our plugin and its automation, or patched element by element."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
from lxml import etree

from terrain_core import identity, parameters
from terrain_core.errors import FileError, InputError
from terrain_core.lanes import CODES, Lane, Shape
from terrain_core.plugin_state import PluginState
from terrain_core.safe_write import replacing
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_core.vst3_preset import pack_preset
from terrain_daws.ardour.session_time import SUPERCLOCKS_PER_SECOND, TICKS_PER_BEAT, Clock
from terrain_daws.changes import lane_changes
from terrain_daws.insertions import Insertion, insertions
from terrain_daws.ours import VST3_HEX
from terrain_daws.project import Marker, Project

SESSION_VERSION: Final = "7002"
SAMPLE_RATE: Final = 44100
"""The built-in autoencoder's own: nothing is resampled, and the plugin has no latency."""

MAKER: Final = f"{identity.PLUGIN_NAME} {identity.VERSION}"
OPTIONS: Final = {"native-file-data-format": "FormatFloat", "native-file-header-format": "WAVE"}
FOLDERS: Final = ("analysis", "dead", "export", "externals", "peaks", "plugins")
TEMPO_SHAPES: Final = ("step", "linear-beats")
TAIL_S: Final = 1.0
"""By how much the session's range, which an export renders, goes beyond the last point."""

HOLD: Final = CODES[Shape.HOLD]


def write_ardour(project: Project, path: Path) -> list[str]:
    """Write a new session: the folder (made if need be) of `path`, a session file NAME.ardour.

    Each instance of our plugin gets an audio track. Times of lanes over beats are rounded to 1/1920 beat and so are the
    tempo map's points; curves become straight pieces within 1e-4 of their rise (see `Lane.straightened`); tempo ramps
    that are linear in seconds become ramps that are linear in beats. A jump takes a tick (or a superclock).

    Returns:
        a line for each thing that was not written.
    Raises:
        FileError: `path` does not end in .ardour.
    """
    if path.suffix != ".ardour":
        raise FileError(path, "is no name for a session file, expected FOLDER/NAME.ardour")
    rows, left_out = insertions(project)
    if project.notes:
        left_out.append(f"{len(project.notes)} notes: MIDI regions are not written to Ardour sessions")
    for folder in (*FOLDERS, f"interchange/{path.stem}/audiofiles", f"interchange/{path.stem}/midifiles"):
        (path.parent / folder).mkdir(parents=True, exist_ok=True)
    text = _text(_Session(project, rows, path.stem).element())
    with replacing(path) as beside:
        beside.write_bytes(text)
    return left_out


def _text(root: Any) -> bytes:
    text: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return text


# --- time -----------------------------------------------------------------------------------------------------------


def on_ticks(tempo_map: TempoMap) -> TempoMap:
    """The map in Ardour's shapes, its points and meters on ticks; the first of each at the start."""
    exact = tempo_map.with_shapes(TEMPO_SHAPES, tolerance=1e-5)
    by_tick: dict[float, TempoPoint] = {}
    start = float(exact.bpm_at_beats(0.0))
    by_tick[0.0] = TempoPoint(0.0, start, exact.points[0].shape if exact.points[0].beat == 0 else "step")
    for index, point in enumerate(exact.points):
        if point.beat < 0:  # what rules at the start is part of a segment that began before it
            following = exact.points[index + 1].beat if index + 1 < len(exact.points) else np.inf
            if following > 0:
                by_tick[0.0] = TempoPoint(0.0, start, point.shape)
            continue
        beat = round(point.beat * TICKS_PER_BEAT) / TICKS_PER_BEAT
        by_tick[beat] = TempoPoint(beat, point.bpm, point.shape)
    meters = {}
    for meter in exact.meters:
        beat = round(max(meter.beat, 0.0) * TICKS_PER_BEAT) / TICKS_PER_BEAT
        meters[beat] = Meter(beat, meter.numerator, meter.denominator)
    return TempoMap(list(by_tick.values()), list(meters.values()))


def tempo_element(tempo_map: TempoMap, clock_rate: float) -> Any:
    """`<TempoMap>` of a map that is on ticks."""
    root = etree.Element("TempoMap", {"superclocks-per-second": f"{clock_rate:.0f}"})
    tempos = _add(root, "Tempos")
    points = tempo_map.points
    for index, point in enumerate(points):
        following = points[index + 1] if index + 1 < len(points) else None
        ramped = following is not None and point.shape == "linear-beats" and following.bpm != point.bpm
        end = following.bpm if ramped and following else point.bpm
        omega = 0.0
        if ramped and following:
            per_superclock = 1 / (60 * clock_rate)  # bpm -> quarter notes a superclock
            omega = (following.bpm - point.bpm) * per_superclock / (following.beat - point.beat)
        _add(
            tempos,
            "Tempo",
            npm=repr(point.bpm),
            enpm=repr(end),
            note_type=4,
            type="Tempo::Ramped" if ramped else "Tempo::Constant",
            active=1,
            locked_to_meter=0,
            continuing=0,
            omega=repr(omega) if omega else 0,
            **_position(point.beat, tempo_map, clock_rate),
        )
    meters = _add(root, "Meters")
    for meter in tempo_map.meters:
        place = _position(meter.beat, tempo_map, clock_rate)
        _add(meters, "Meter", note_value=meter.denominator, divisions_per_bar=meter.numerator, **place)
    _add(root, "MusicTimes")
    return root


def _position(beat: float, tempo_map: TempoMap, clock_rate: float) -> dict[str, str]:
    ticks = round(beat * TICKS_PER_BEAT)
    bars, rest = tempo_map.bar_at(beat)
    meter = next(m for m in reversed(tempo_map.meters) if m.beat <= beat + 1e-9)
    division = 4 / meter.denominator
    beats, ticks_left = divmod(round(float(rest) * TICKS_PER_BEAT), round(division * TICKS_PER_BEAT))
    return {
        "sclock": str(round(float(tempo_map.seconds_at(beat)) * clock_rate)),
        "quarters": f"{ticks // TICKS_PER_BEAT}:{ticks % TICKS_PER_BEAT}",
        "bbt": f"{int(bars) + 1}|{beats + 1}|{round(ticks_left * TICKS_PER_BEAT / (division * TICKS_PER_BEAT))}",
    }


def events_text(lane: Lane, low: float, high: float, clock_rate: float) -> tuple[str, str, str]:
    """The text of `<events>`, the style and the time domain that go with it."""
    lane = lane.straightened()
    in_beats = lane.unit == "beats"
    unit, letter = (TICKS_PER_BEAT, "b") if in_beats else (clock_rate, "a")
    held = bool((lane.shape_codes == HOLD).all())
    times = np.rint(lane.times * unit).astype(np.int64).tolist()
    values = (low + lane.values * (high - low)).tolist()
    codes = lane.shape_codes.tolist()
    rows: list[tuple[int, float]] = []
    for index, (time, value) in enumerate(zip(times, values, strict=True)):
        if rows and not held:
            before_time, before_value = rows[-1]
            is_held = codes[index - 1] == HOLD
            if is_held and value != before_value and time - 1 > before_time:
                rows.append((time - 1, before_value))
            elif time <= before_time:  # a jump: what came before it is a tick earlier, or gone
                if len(rows) > 1 and rows[-2][0] >= time - 1:
                    rows.pop()
                elif len(rows) > 1 or time > 0:
                    rows[-1] = (time - 1, before_value)
                else:
                    rows.pop()
        elif len(rows) == 1 and time <= rows[0][0] and time > 0:
            rows[0] = (time - 1, rows[0][1])  # a jump at the very first point: the value before it must be said
        elif rows and time <= rows[-1][0]:
            rows.pop()
        rows.append((time, value))
    text = "".join(f"{letter}{time} {value!r}\n" for time, value in rows)
    return text, "Discrete" if held else "Linear", "BeatTime" if in_beats else "AudioTime"


# --- a new session --------------------------------------------------------------------------------------------------


class _Session:
    """Makes the XML of a session."""

    def __init__(self, project: Project, rows: Sequence[Insertion], name: str) -> None:
        self.project = project
        self.rows = rows
        self.name = name
        self.tempo_map = on_ticks(project.tempo_map)
        self.ids = count(100)

    def element(self) -> Any:
        session = etree.Element("Session", version=SESSION_VERSION, name=self.name)
        session.set("sample-rate", str(SAMPLE_RATE))
        session.set("session-range-is-free", "1")
        # Ardour refuses sessions that do not say the next two.
        _add(session, "ProgramVersion", created_with=MAKER, modified_with=MAKER)
        options = _add(session, "Config")
        for name, value in OPTIONS.items():
            _add(options, "Option", name=name, value=value)
        for section in ("Metadata", "Sources", "Regions"):
            _add(session, section)
        self._locations(_add(session, "Locations"))
        _add(session, "Bundles")
        routes, playlists = _add(session, "Routes"), _add(session, "Playlists")
        self._master(routes)
        for order, row in enumerate(self.rows, start=1):
            self._track(routes, playlists, row, order)
        _add(session, "RouteGroups")
        self._click(session)
        session.append(tempo_element(self.tempo_map, SUPERCLOCKS_PER_SECOND))
        session.set("id-counter", str(next(self.ids)))
        return session

    def _locations(self, parent: Any) -> None:
        seconds = [TAIL_S]
        for row in self.rows:
            seconds += [float(lane.to_seconds(self.tempo_map).times[-1]) + TAIL_S for lane in row.lanes.values()]
        end = f"a{round(max(seconds) * SUPERCLOCKS_PER_SECOND)}"
        range_ = {"start": "a0", "end": end, "flags": "IsSessionRange", "locked": "0", "timestamp": "1"}
        _add(parent, "Location", id=next(self.ids), name="session", **range_)
        for marker in self.project.markers:
            parent.append(location(marker, str(next(self.ids))))

    def _click(self, session: Any) -> None:
        """The metronome's output and gain."""
        click = _add(session, "Click")
        self._io(click, "Click", "Output", ["", ""])
        self._amp(click)

    def _master(self, routes: Any) -> None:
        route = self._route(routes, "Master", "MasterOut", 0)
        self._io(route, "Master", "Input", ["", ""])
        self._io(route, "Master", "Output", ["system:playback_1", "system:playback_2"])
        self._amp(route)
        self._main_outputs(route, "Master")

    def _track(self, routes: Any, playlists: Any, row: Insertion, order: int) -> None:
        playlist, name = next(self.ids), f"{row.track}.1"
        route = self._route(routes, row.track, "AudioTrack", order)
        route.set("audio-playlist", str(playlist))
        route.set("mode", "Normal")
        self._io(route, row.track, "Input", ["", ""])
        self._io(route, row.track, "Output", ["Master/audio_in 1", "Master/audio_in 2"])
        for kind in ("diskreader", "diskwriter"):
            _add(route, "Processor", id=next(self.ids), name=kind, active=1, type=kind)
        self._plugin(route, row)
        self._amp(route)
        self._main_outputs(route, row.track)
        _add(playlists, "Playlist", id=playlist, name=name, type="audio", orig_track_id=route.get("id"), frozen=0)

    def _route(self, routes: Any, name: str, flag: str, order: int) -> Any:
        strict = 1 if flag == "MasterOut" else 0
        meter = {"meter_point": "MeterPostFader", "meter_type": "MeterPeak", "disk_io_point": "DiskIOPreFader"}
        route = _add(routes, "Route", version=SESSION_VERSION, id=next(self.ids), name=name, active=1, **meter)
        route.set("default-type", "audio")
        route.set("strict-io", str(strict))
        _add(route, "PresentationInfo", order=order, flags=f"{flag},OrderSet", color=0)
        _add(route, "MuteMaster", mute_point="PostFader,Listen,Main", muted=0)
        return route

    def _io(self, route: Any, name: str, direction: str, connections: Sequence[str]) -> None:
        """A port for each connection; "" is connected to nothing."""
        io = _add(route, "IO", id=next(self.ids), name=name, direction=direction, default_type="audio")
        side = "in" if direction == "Input" else "out"
        for number, other in enumerate(connections, start=1):
            port = _add(io, "Port", type="audio", name=f"{name}/audio_{side} {number}")
            if other:
                _add(port, "Connection", other=other)

    def _amp(self, route: Any) -> None:
        amp = _add(route, "Processor", id=next(self.ids), name="Amp", active=1, type="amp")
        _add(amp, "Controllable", name="gaincontrol", id=next(self.ids), flags="GainLike", value=1)

    def _main_outputs(self, route: Any, name: str) -> None:
        outputs = {"own_input": 1, "own_output": 0, "output": name, "type": "main-outs", "role": "Main"}
        _add(route, "Processor", id=next(self.ids), name=name, active=1, **outputs)

    def _plugin(self, route: Any, row: Insertion) -> None:
        kind = {"type": "vst3", "unique_id": VST3_HEX.upper(), "count": 1, "custom": 0}
        processor = _add(route, "Processor", id=next(self.ids), name=row.name, active=1, **kind)
        automation = _add(processor, "Automation")
        for key, lane in row.lanes.items():
            parameter = parameters.by_key(key)
            automation.append(automation_list(parameter, lane, str(next(self.ids)), SUPERCLOCKS_PER_SECOND))
        _set_state(_add(processor, "vst3"), row.state)


def _add(parent: Any, tag: str, **attributes: object) -> Any:
    """A new child; names with hyphens are given with underscores."""
    return etree.SubElement(parent, tag, {name.replace("_", "-"): str(value) for name, value in attributes.items()})


def automation_list(parameter: parameters.Parameter, lane: Lane, identifier: str, clock_rate: float) -> Any:
    """An `<AutomationList>` of our plugin."""
    text, style, domain = events_text(lane, parameter.low, parameter.high, clock_rate)
    element = etree.Element("AutomationList", id=identifier, state="Play")
    element.set("automation-id", f"parameter-{parameters.PARAMETERS.index(parameter)}")
    element.set("interpolation-style", style)
    element.set("time-domain", domain)
    _add(element, "events").text = text
    return element


def location(marker: Marker, identifier: str) -> Any:
    """A mark, kept in ticks."""
    time = f"b{round(marker.beat * TICKS_PER_BEAT)}"
    mark = {"start": time, "end": time, "flags": "IsMark", "locked": "0", "timestamp": "1"}
    return etree.Element("Location", {"id": identifier, "name": marker.name, **mark})


def _set_state(parent: Any, state: PluginState) -> None:
    """Put a state into a `<vst3>`: as a preset, after the values that Ardour keeps beside it, which would undo it if
    they were others.
    """
    for element in [*parent.findall("Port"), *parent.findall("chunk")]:
        parent.remove(element)
    for parameter in parameters.PARAMETERS:
        if not parameter.read_only:
            value = state.parameters.get(parameter.key, parameter.default)
            _add(parent, "Port", id=parameter.id, value=repr(float(value)))
    _add(parent, "chunk").text = base64.b64encode(pack_preset(state)).decode("ascii")


# --- a session that was read ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LanePlace:
    """The list that a lane came from."""

    element: Any
    low: float
    high: float
    style: str


@dataclass(frozen=True)
class InstancePlace:
    """The processor that is our plugin."""

    processor: Any


class ArdourDocument:
    """The file that a project was read from; see `SourceDocument`."""

    def __init__(
        self,
        path: Path,
        data: bytes,
        session: Any,
        clock: Clock,
        project: Project,
        places: Sequence[LanePlace],
        instances: Sequence[InstancePlace],
    ) -> None:
        self.path = path
        self.data = data
        self.session = session
        self.clock = clock
        self.places = list(places)
        self.instances = list(instances)
        self.lanes = list(project.lanes)
        self.tempo_map = project.tempo_map
        self.markers = list(project.markers)
        self.states = [instance.state for instance in project.instances]
        self.tracks = [instance.track for instance in project.instances]

    def rewritten(self, project: Project) -> bytes:
        """The file with what was changed in `project`; every other element as it was.

        Raises:
            InputError: a lane was added that belongs to no instance of our plugin, or an instance was added or removed.
        """
        if len(project.instances) != len(self.instances):
            raise InputError(
                f"{project.path} had {len(self.instances)} instances of {identity.PLUGIN_NAME} and now has "
                f"{len(project.instances)}; insert or remove them in Ardour"
            )
        changes = lane_changes(self.lanes, project.lanes)
        states = [instance.state for instance in project.instances]
        unchanged = (
            not changes
            and states == self.states
            and project.tempo_map == self.tempo_map
            and project.markers == self.markers
        )
        if unchanged:
            return self.data
        session = copy.deepcopy(self.session)
        twins = dict(zip(self.session.iter(), session.iter(), strict=True))
        for index, lane in changes.replaced.items():
            self._replace(twins[self.places[index].element], self.places[index], lane)
        for index in changes.removed:
            element = twins[self.places[index].element]
            for events in element.findall("events"):
                element.remove(events)
            element.set("state", "Off")
        for lane in changes.added:
            self._add(lane, twins, project)
        for place, before, after in zip(self.instances, self.states, states, strict=True):
            if after != before:
                processor = twins[place.processor]
                inner = processor.find("vst3")
                _set_state(_add(processor, "vst3") if inner is None else inner, after or PluginState())
        if project.tempo_map != self.tempo_map:
            self._set_tempo(session, project.tempo_map)
        if project.markers != self.markers:
            self._set_markers(session, project.markers)
        return _text(session)

    def _replace(self, element: Any, place: LanePlace, lane: Lane) -> None:
        text, style, domain = events_text(lane, place.low, place.high, self.clock.superclocks)
        element.set("interpolation-style", style)
        element.set("time-domain", domain)
        if lane.active != (element.get("state", "Off") != "Off"):
            element.set("state", "Play" if lane.active else "Off")
        element.find("events").text = text

    def _add(self, lane: Lane, twins: Mapping[Any, Any], project: Project) -> None:
        found = [i for i, track in enumerate(self.tracks) if track == lane.track] or list(range(len(self.tracks)))
        if not lane.key or not found:
            raise InputError(
                f"{project.path} has no place for the new lane {lane.track}/{lane.name}; only lanes of "
                f"{identity.PLUGIN_NAME} can be added, where Ardour has inserted it"
            )
        processor = twins[self.instances[found[0]].processor]
        automation = processor.find("Automation")
        if automation is None:
            automation = _add(processor, "Automation")
        new = automation_list(parameters.by_key(lane.key), lane, self._new_id(processor), self.clock.superclocks)
        for old in automation.findall("AutomationList"):
            if old.get("automation-id") == new.get("automation-id"):
                new.set("id", old.get("id", new.get("id")))
                automation.replace(old, new)
                return
        automation.append(new)

    def _new_id(self, element: Any) -> str:
        """An id that nothing in the session has, and that it will not give to another."""
        session = element.getroottree().getroot()
        used = [int(e.get("id")) for e in session.iter() if (e.get("id") or "").isdecimal()]
        counter = session.get("id-counter", "0")
        new = max([*used, int(counter) if counter.isdecimal() else 0]) + 1
        session.set("id-counter", str(new + 1))
        return str(new)

    def _set_tempo(self, session: Any, tempo_map: TempoMap) -> None:
        new = tempo_element(on_ticks(tempo_map), self.clock.superclocks)
        old = session.find("TempoMap")
        if old is None:
            session.append(new)
            return
        for times in old.findall("MusicTimes"):
            new.replace(new.find("MusicTimes"), times)
        session.replace(old, new)

    def _set_markers(self, session: Any, markers: Sequence[Marker]) -> None:
        locations = session.find("Locations")
        if locations is None:
            locations = _add(session, "Locations")
        wanted = list(markers)
        for element in locations.findall("Location"):
            if "IsMark" not in element.get("flags", "").split(","):
                continue
            unit, time = self.clock.time(element, "start")
            beat = time if unit == "beats" else float(self.tempo_map.beats_at(time))
            marker = Marker(element.get("name", ""), beat)
            if marker in wanted:
                wanted.remove(marker)
            else:
                locations.remove(element)
        ranges = {Marker(m.name, m.beat) for m in self.markers} - set(markers)
        for marker in wanted:
            if marker not in ranges and not self._is_range(locations, marker):
                locations.append(location(marker, self._new_id(locations)))

    def _is_range(self, locations: Any, marker: Marker) -> bool:
        return any(
            element.get("name") == marker.name and "IsRangeMarker" in element.get("flags", "")
            for element in locations.findall("Location")
        )
