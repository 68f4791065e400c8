"""Ardour sessions -> lanes, tempo map, meters, markers and our plugin's instances.

Facts that are easy to get wrong: values are plain ones, not 0..1, for a VST3's parameters too; a lane has one
interpolation style, not one per point; `parameter-3` is the fourth parameter in the plugin's order, not the one with
the id 3; only lists in a state other than Off are played.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from terrain_core import parameters
from terrain_core.breakpoints import Doubles
from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane
from terrain_core.plugin_state import PluginState
from terrain_core.vst3_preset import unpack_preset
from terrain_daws.ardour.interpolation import STYLES, plain_lane
from terrain_daws.ardour.session_time import LARGEST_TIME, Clock, read_tempo_map
from terrain_daws.ardour.writing import ArdourDocument, InstancePlace, LanePlace
from terrain_daws.ours import is_our_id
from terrain_daws.project import Marker, PluginInstance, Project, Track
from terrain_daws.xml_tree import parse_tree, place

OLDEST_VERSION: Final = 7000
MOST_POINTS: Final = 2_000_000
PLAYED_STATES: Final = {"Play", "Touch", "Latch", "Write"}
PLUGIN_TYPES: Final = {"vst3", "lv2", "ladspa", "luaproc", "lua", "audiounit", "windows-vst", "lxvst", "mac-vst"}
MONITOR_FLAGS: Final = ("MonitorOut",)

RANGES: Final[dict[str, tuple[str, float, float]]] = {
    "gain": ("Fader", 0, 2),
    "trim": ("Trim", 0.1, 10),
    "mastervolume": ("Master Volume", 0, 2),
    "mute": ("Mute", 0, 1),
    "solo": ("Solo", 0, 1),
    "solo-iso": ("Solo Isolate", 0, 1),
    "solo-safe": ("Solo Safe", 0, 1),
    "phase": ("Phase", 0, 1),
    "pan-azimuth": ("Pan", 0, 1),
    "pan-width": ("Pan Width", -1, 1),
    "pan-elevation": ("Pan Elevation", 0, 1),
    "pan-frontback": ("Pan Front/Back", 0, 1),
    "pan-lfe": ("Pan LFE", 0, 1),
}
"""Automation id -> what musicians call it, and the values that are 0 and 1. Gains are factors, 2 is +6 dB."""


def read_ardour(path: Path) -> Project:
    """Read a session file (`NAME.ardour`).

    Raises:
        FileError: not one, damaged (with the line), or of a version before 7.
    """
    data = path.read_bytes()
    session = parse_tree(path, data, "Session")
    version = session.get("version", "")
    if not version.isdecimal() or int(version) < OLDEST_VERSION:
        raise FileError(
            path,
            f"is a session of version {version!r:.20}, expected {OLDEST_VERSION} or later",
            position=place(session),
            hint="open it in Ardour 7 or later and save it",
        )
    return _Reader(path, data, session).project()


@dataclass(frozen=True)
class _Context:
    """What the parts of a route need to know of it."""

    name: str
    silenced_by: str


@dataclass
class _Reader:
    path: Path
    data: bytes
    session: Any
    lanes: list[Lane] = field(default_factory=list)
    places: list[LanePlace] = field(default_factory=list)
    instances: list[PluginInstance] = field(default_factory=list)
    instance_places: list[InstancePlace] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    points: int = 0

    def project(self) -> Project:
        self.clock = Clock.of(self.path, self.session)
        self.tempo_map = read_tempo_map(self.clock, self.session.find("TempoMap"), self.unknown)
        routes = [route for route in self.session.iterfind("Routes/Route") if not _is_monitor(route)]
        soloed = any(self._is_on(route, "solo", "self-solo") for route in routes)
        tracks = []
        for route in routes:
            context = _Context(route.get("name", ""), self._silence(route, soloed))
            tracks.append(Track(context.name, "", context.silenced_by))
            self._route(route, context)
        regions = self.session.findall("Playlists/Playlist/Region")
        if any(region.get("type") == "midi" for region in regions):
            self.unknown.append(f"{place(regions[0])}: MIDI regions are not read; export them as MIDI files")
        project = Project(
            format="ardour",
            path=self.path,
            tracks=tracks,
            lanes=self.lanes,
            tempo_map=self.tempo_map,
            markers=self._markers(),
            unknown=self.unknown,
            instances=self.instances,
            repairs=self.repairs,
        )
        project.document = ArdourDocument(
            self.path, self.data, self.session, self.clock, project, self.places, self.instance_places
        )
        return project

    def _markers(self) -> list[Marker]:
        """Marks, and where ranges begin; not the session's own range, nor its loop and punch."""
        found = []
        for location in self.session.iterfind("Locations/Location"):
            flags = set(location.get("flags", "").split(","))
            if flags & {"IsMark", "IsRangeMarker", "IsCDMarker", "IsCueMarker"} and "IsSessionRange" not in flags:
                unit, time = self.clock.time(location, "start")
                beat = time if unit == "beats" else float(self.tempo_map.beats_at(time))
                found.append(Marker(location.get("name", ""), beat))
        return sorted(found, key=lambda marker: marker.beat)

    # --- routes ---

    def _silence(self, route: Any, soloed: bool) -> str:
        mute = route.find("MuteMaster")
        if route.get("active") == "0":
            return "the track is inactive"
        if (mute is not None and mute.get("muted") == "1") or self._is_on(route, "mute", "value"):
            return "the track is muted"
        is_master = "MasterOut" in _flags(route)
        if soloed and not is_master and not self._is_on(route, "solo", "self-solo"):
            return "another track is soloed"
        return ""

    def _is_on(self, route: Any, control: str, attribute: str) -> bool:
        found = next((c for c in route.iterfind("Controllable") if c.get("name") == control), None)
        return found is not None and found.get(attribute, "0") not in ("0", "")

    def _route(self, route: Any, context: _Context) -> None:
        for automation in (route.find("Automation"), route.find("Pannable/Automation")):
            self._named_lists(automation, context)
        for processor in route.iterfind("Processor"):
            kind = processor.get("type", "")
            if kind in PLUGIN_TYPES:
                self._plugin(processor, context)
            else:
                self._named_lists(processor.find("Automation"), context)

    def _named_lists(self, automation: Any, context: _Context) -> None:
        for element in self._lists(automation):
            name = element.get("automation-id", "")
            if name in RANGES:
                self._lane(element, *RANGES[name], track=context.name)
            else:
                self._unscaled(element, name, track=context.name)

    # --- plugins ---

    def _plugin(self, processor: Any, context: _Context) -> None:
        name, identifier = processor.get("name", ""), processor.get("unique-id", "")
        active = processor.get("active", "1") != "0"
        ours = processor.get("type") == "vst3" and is_our_id(identifier)
        labels = {"track": context.name, "plugin": name, "plugin_id": identifier}
        first = len(self.lanes)
        for element in self._lists(processor.find("Automation")):
            what = element.get("automation-id", "")
            index = what.removeprefix("parameter-")
            if not what.startswith("parameter-") or not index.isdecimal() or len(index) > 6:
                self._unscaled(element, what, active=active, **labels)
            elif not ours:
                self._unscaled(element, f"parameter {int(index)}", active=active, parameter_id=int(index), **labels)
            elif int(index) >= len(parameters.PARAMETERS):
                self._leave(element, f"the plugin's parameter {int(index)} is none of this version")
            else:
                parameter = parameters.PARAMETERS[int(index)]
                labelled = labels | {"key": parameter.key, "parameter_id": parameter.id}
                self._lane(element, parameter.name, parameter.low, parameter.high, active=active, **labelled)
        if ours:
            silenced = "" if active else "bypassed"
            self.instances.append(
                PluginInstance(
                    track=context.name,
                    name=name,
                    plugin_format="vst3",
                    lanes=self.lanes[first:],
                    state=self._state(processor),
                    silenced_by=silenced or context.silenced_by,
                    position=place(processor),
                )
            )
            self.instance_places.append(InstancePlace(processor))

    def _state(self, processor: Any) -> PluginState | None:
        chunk = processor.find("vst3/chunk")
        if chunk is None or not chunk.text:
            return None
        try:
            return unpack_preset(base64.b64decode(chunk.text, validate=True), self.path)
        except FileError as error:
            problem = error.problem
        except binascii.Error as error:
            problem = str(error)
        self.repairs.append(f"{place(chunk)}: the plugin's state is damaged ({problem}); its defaults are taken")
        return None

    # --- lists ---

    def _lists(self, automation: Any) -> Iterator[Any]:
        """The lists that hold anything."""
        if automation is None:
            return
        for element in automation.iterfind("AutomationList"):
            events = element.find("events")
            if events is not None and events.text and events.text.strip():
                yield element

    def _unscaled(self, element: Any, name: str, **labels: Any) -> None:
        lane = self._lane(element, name, 0.0, 1.0, **labels)
        if lane.values.min() < 0 or lane.values.max() > 1:
            self._leave(
                element, f"{name} of track {lane.track!r}: its range is not in the session; values were not scaled"
            )

    def _lane(self, element: Any, name: str, low: float, high: float, *, active: bool = True, **labels: Any) -> Lane:
        style = element.get("interpolation-style", "Linear")
        if style not in STYLES:
            raise self.clock.error(
                element, f"has the interpolation style {style!r:.40}, expected one of {', '.join(STYLES)}"
            )
        unit, times, values = self._events(element)
        playing = active and element.get("state", "Off") in PLAYED_STATES
        try:
            plain = plain_lane(times, values, style, low, high)
            if style == "Logarithmic" and low != 0:
                plain = plain.straightened()  # equal ratios of plain values are none of values that count from `low`
            lane = Lane(
                plain.times,
                (plain.values - low) / (high - low),
                plain.shape_codes,
                name=name,
                unit="beats" if unit == "beats" else "seconds",
                active=playing,
                **labels,
            )
        except InputError as error:
            raise self.clock.error(element, f"{name}: {error}") from None
        self.lanes.append(lane)
        self.places.append(LanePlace(element, low, high, style))
        return lane

    def _events(self, element: Any) -> tuple[str, Doubles, Doubles]:
        """Unit, times and values, in order."""
        events = element.find("events")
        words = events.text.split()
        if len(words) % 2:
            raise self.clock.error(events, f"has {len(words)} times and values, expected pairs")
        self.points += len(words) // 2
        if self.points > MOST_POINTS:
            raise self.clock.error(events, f"has more than {MOST_POINTS:,} points")
        rows = [self.clock.parse(word) for word in words[::2]]
        for index, row in enumerate(rows):
            if row is None or abs(row[1]) > LARGEST_TIME:
                raise self.clock.error(events, f"point {index} is at {words[2 * index]!r:.40}, expected a time")
        times = np.array([row[1] for row in rows if row])
        units = {row[0] for row in rows if row}
        if len(units) > 1:
            times = self._in_beats([row for row in rows if row])
        try:
            values = np.array(words[1::2], dtype=np.float64)
        except ValueError:
            values = np.array([np.nan])
        if not np.isfinite(values).all():
            raise self.clock.error(events, "has a value that is no finite number")
        if (np.diff(times) < 0).any():
            self.repairs.append(f"{place(element)}: points were out of order; sorted")
            order = np.argsort(times, kind="stable")
            times, values = times[order], values[order]
        return ("beats" if "beats" in units else "seconds"), times, values

    def _in_beats(self, rows: list[tuple[str, float]]) -> Doubles:
        return np.array([time if unit == "beats" else float(self.tempo_map.beats_at(time)) for unit, time in rows])

    def _leave(self, element: Any, what: str) -> None:
        self.unknown.append(f"{place(element)}: {what}")


def _flags(route: Any) -> str:
    info = route.find("PresentationInfo")
    return info.get("flags", "") if info is not None else ""


def _is_monitor(route: Any) -> bool:
    return any(flag in _flags(route) for flag in MONITOR_FLAGS)
