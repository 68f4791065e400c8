"""DAWproject 1.x (Bitwig, Studio One, Cubase and others export it): a zip with a project.xml.

`project_xml` takes the points of lanes and the notes out while the XML streams by, so that a project with millions of
them needs little memory; what is left of the tree is walked here from the arrangement down, each element knowing its
time unit, track and clip (`_Scope`).

Facts that are easy to get wrong: interpolation belongs to a segment's left point and is *hold* unless it says linear;
times are beats (quarter notes) unless an ancestor says seconds; within a clip they count from the clip's content, not
from the arrangement.
"""

from __future__ import annotations

import math
import zipfile
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from terrain_core import identity
from terrain_core.breakpoints import Doubles
from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane, TimeUnit
from terrain_core.plugin_state import LARGEST_STATE, PluginState
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_core.vst3_preset import unpack_preset
from terrain_daws.archive import open_archive, open_member
from terrain_daws.clips import Fragment, Piece, cut, in_sequence, within
from terrain_daws.controls import assign_keys
from terrain_daws.dawproject.expressions import NoteExpressions, normalised
from terrain_daws.dawproject.project_xml import LINEAR, MOST_POINTS, PROJECT_FILE, Document, PointRows, place
from terrain_daws.dawproject.writing import DawprojectDocument, DevicePlace, LanePlace
from terrain_daws.ours import is_our_id, key_of, read_state
from terrain_daws.project import Marker, Note, PluginInstance, Project, Track

OLD_PROJECT_FILE: Final = "project.json"
MOST_PIECES: Final = 100_000
"""Times that clips are played, loops unrolled."""

MOST_EXPRESSIVE_NOTES: Final = 20_000
"""Notes, loops unrolled, in lanes where any note has a curve of its own."""

DEFAULT_BPM: Final = 120.0
UNBOUNDED_RANGES = {"linear": (0.0, 1.0), "percent": (0.0, 100.0)}
DEVICE_TAGS = {
    "Device",
    "Vst2Plugin",
    "Vst3Plugin",
    "ClapPlugin",
    "AuPlugin",
    "BuiltinDevice",
    "Equalizer",
    "Compressor",
    "NoiseGate",
    "Limiter",
}
SWITCH_TAGS = {"BoolParameter", "Mute", "Enabled", "Enable"}
NO_TRACK: Final = Track("")
# What an expression target is called in `controls.SOURCES_BY_KEY`.
EXPRESSION_NAMES = {
    "channelController": "CC {controller}",
    "pitchBend": "pitch bend",
    "channelPressure": "channel pressure",
}


def read_dawproject(path: Path) -> Project:
    """Read a .dawproject of version 1.

    Raises:
        FileError: a damaged or hostile archive, XML that is not well-formed or has entities, a number that is none, an
        older version.
    """
    data = path.read_bytes()
    with open_archive(path) as archive:
        names = archive.namelist()
        if PROJECT_FILE not in names and OLD_PROJECT_FILE in names:
            raise FileError(
                path,
                f"holds a {OLD_PROJECT_FILE}, which DAWproject had before version 1.0; expected a {PROJECT_FILE}",
                hint="export it again with a current version of the DAW",
            )
        with open_member(path, archive, PROJECT_FILE) as stream:
            document = Document.parse(path, stream)
        reader = _Reader(path, document, archive)
        project = reader.project()
    project.document = DawprojectDocument(data, project, reader.lane_places, reader.device_places)
    return project


# --- what may be automated ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """What a lane is for: a parameter of a device or of the mixer, or an expression (MIDI)."""

    name: str
    unit: str = "normalized"
    bounds: tuple[float, float] | None = None  # in `unit`
    track: str = ""
    device: str = ""
    device_id: str = ""
    parameter_id: int | None = None
    is_ours: bool = False
    instance: int = -1  # index into the project's instances
    active: bool = True
    source: str = ""  # for expressions: as in `controls.SOURCES_BY_KEY`

    @property
    def key(self) -> str:
        """Our parameter's key, by its id or, where a file has none, by its name; "" for everything else."""
        return key_of(self.parameter_id, self.name) if self.is_ours else ""

    def range_in(self, unit: str | None) -> tuple[float, float] | None:
        """The values that are 0 and 1, in that unit; None where the file does not tell."""
        unit = unit or self.unit
        same_scale = unit == self.unit or {unit, self.unit} == {"linear", "normalized"}
        if unit == "normalized":
            return 0.0, 1.0
        if self.bounds is not None and same_scale:
            return self.bounds
        if unit in UNBOUNDED_RANGES and (self.bounds is None or not same_scale):
            return UNBOUNDED_RANGES[unit]
        return None

    def normalised(self, values: Doubles, unit: str | None) -> Doubles | None:
        """0..1 of the parameter's range, beyond it clipped; None where the file does not tell the range in that
        unit.
        """
        bounds = self.range_in(unit)
        if bounds is None:
            return None
        low, high = bounds
        return (np.clip(values, low, high) - low) / (high - low)


# --- where in time --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scope:
    """What an element of the arrangement inherits."""

    unit: TimeUnit = "beats"
    track: str = ""
    pieces: tuple[Piece, ...] | None = None  # within a clip; None: times are the arrangement's own


class _Reader:
    """Walks the tree and gathers the project."""

    def __init__(self, path: Path, document: Document, archive: zipfile.ZipFile) -> None:
        self.path = path
        self.document = document
        self.archive = archive
        self.instances: list[PluginInstance] = []
        self.device_places: list[DevicePlace] = []
        self.lane_places: list[LanePlace] = []
        self.sources: dict[tuple[_Target, TimeUnit], list[tuple[Any, bool]]] = {}  # Points elements, and if in a clip
        self.repairs: list[str] = []
        self.expressions = NoteExpressions()
        self.expressive_notes = 0
        self.project_version = document.root.get("version", "")
        self.tracks: dict[str, Track] = {}  # by id
        self.targets: dict[str, _Target] = {}  # parameter id -> target
        self.timelines: dict[str, Any] = {}  # id -> element, for clips that refer to another's content
        self.fragments: dict[tuple[_Target, TimeUnit], list[Fragment]] = {}
        self.markers: list[Marker] = []
        self.notes: list[Note] = []
        self.unknown: list[str] = []
        self.points_placed = 0
        self.pieces_placed = 0
        self.tempo_map = TempoMap.constant(DEFAULT_BPM)

    def project(self) -> Project:
        root = self.document.root
        if not self.project_version.startswith("1."):
            raise self.document.error(root, f"is of DAWproject version {self.project_version!r}, expected 1.x")
        for element in root.iter("Lanes", "Points", "Clips", "Notes"):
            if "id" in element.attrib:
                self.timelines[element.get("id")] = element
        for structure in root.iterfind("Structure"):
            self._hierarchy(structure)
            self._structure(structure, NO_TRACK)
        for transport in root.iterfind("Transport"):
            self._structure(transport, NO_TRACK)
        arrangement = root.find("Arrangement")
        scope = _Scope()
        if arrangement is not None:
            scope = self._inherit(arrangement, scope)
        self.tempo_map = self._tempo_map(arrangement, scope)
        if arrangement is not None:
            for element in arrangement:
                if element.tag not in ("TempoAutomation", "TimeSignatureAutomation"):
                    self._timeline(element, scope)
        for element in root:
            if isinstance(element.tag, str) and element.tag not in (
                "Application",
                "Transport",
                "Structure",
                "Arrangement",
            ):
                what = f" ({len(element)} in the clip launcher)" if element.tag == "Scenes" else ""
                if len(element):
                    self._leave(element, f"{element.tag}{what} not read")
        found = list(self._lanes())
        lanes, second = assign_keys([(target.source, lane) for target, lane in found])
        for (target, _), lane in zip(found, lanes, strict=True):
            if target.instance >= 0:
                self.instances[target.instance].lanes.append(lane)
        return Project(
            format="dawproject",
            path=self.path,
            tracks=list(self.tracks.values()),
            lanes=lanes,
            tempo_map=self.tempo_map,
            markers=sorted(self.markers, key=lambda marker: marker.beat),
            notes=sorted(self.notes, key=lambda note: (note.beat, note.channel, note.key)),
            unknown=self.unknown + second,
            instances=self.instances,
            repairs=self.repairs,
        )

    # --- structure: tracks, devices, parameters ---

    def _hierarchy(self, structure: Any) -> None:
        """Each track, the group that it lies in, and why it is not heard."""
        channels = [channel for channel in structure.iter("Channel") if channel.get("solo") in ("true", "1")]
        any_solo = bool(channels)
        stack = [(track, "", "", False) for track in reversed(structure.findall("Track"))]
        while stack:
            element, folder, why, soloed = stack.pop()
            name = element.get("name", "")
            channel = element.find("Channel")
            mute = channel.find("Mute") if channel is not None else None
            muted = mute is not None and mute.get("value") in ("true", "1")
            soloed = soloed or (channel is not None and channel.get("solo") in ("true", "1"))
            is_master = channel is not None and channel.get("role") == "master"
            silenced = "the track is muted" if muted else why
            if not silenced and any_solo and not soloed and not is_master and element.find("Track") is None:
                silenced = "another track is soloed"
            self.tracks[element.get("id", "")] = Track(name, folder, silenced)
            inner = f"the group {name!r} is muted" if muted else why
            stack += [(track, name, inner, soloed) for track in reversed(element.findall("Track"))]

    def _structure(self, parent: Any, track: Track, device: Any = None) -> None:
        """Enter every parameter below `parent`, in the context of the track and the device it belongs to."""
        stack = [(parent, track, device)]
        while stack:
            element, track, device = stack.pop()
            if element.tag == "Track":
                track = self.tracks.get(element.get("id", ""), Track(element.get("name", "")))
            elif element.tag in DEVICE_TAGS:
                device = element
                if _is_ours(element):
                    self._instance(element, track)
            elif "id" in element.attrib and _is_parameter(element):
                self.targets[element.get("id")] = self._target(element, track.name, device)
            stack += [(child, track, device) for child in reversed(element) if isinstance(child.tag, str)]

    def _instance(self, device: Any, track: Track) -> None:
        self.instances.append(
            PluginInstance(
                track=track.name,
                name=device.get("name") or _device_name(device),
                plugin_format="clap" if device.tag == "ClapPlugin" else "vst3",
                state=self._state(device),
                silenced_by=_switched_off(device) or track.silenced_by,
                position=place(device),
            )
        )
        self.device_places.append(DevicePlace(_ordinal(device), track.name))

    def _state(self, device: Any) -> PluginState | None:
        """The state in the file that a device names: a .vstpreset, or as a CLAP saves it."""
        element = device.find("State")
        if element is None:
            return None
        name = element.get("path", "")
        try:
            with open_member(self.path, self.archive, name) as stream:
                data = stream.read(LARGEST_STATE + 1)
            if data.startswith(b"VST3"):
                return unpack_preset(data, self.path)
            state, problem = read_state(data)
        except FileError as error:
            state, problem = None, error.problem
        if state is None:
            self.repairs.append(f"{place(element)}: the plugin's state {name!r}: {problem}; its defaults are taken")
        return state

    def _target(self, element: Any, track: str, device: Any) -> _Target:
        number = self.document.number
        ours = _is_ours(device)
        return _Target(
            name=element.get("name") or element.tag,
            unit=element.get("unit", "linear"),
            bounds=self._bounds(element),
            track=track,
            device=_device_name(device),
            device_id=device.get("deviceID", "") if device is not None else "",
            parameter_id=int(number(element, "parameterID")) if "parameterID" in element.attrib else None,
            is_ours=ours,
            instance=len(self.instances) - 1 if ours else -1,
            active=device is None or not _switched_off(device),
        )

    def _bounds(self, element: Any) -> tuple[float, float] | None:
        """The values that a parameter may have, or None if the file does not say."""
        number = self.document.number
        low = number(element, "min", -math.inf, endless=True)
        high = number(element, "max", math.inf, endless=True)
        if element.tag == "EnumParameter":
            low, high = 0.0, number(element, "count") - 1
        elif element.tag in SWITCH_TAGS:
            low, high = 0.0, 1.0
        return (low, high) if -math.inf < low < high < math.inf else None

    # --- tempo and meter ---

    def _tempo_map(self, arrangement: Any, scope: _Scope) -> TempoMap:
        """From the automation where there is any, else from the transport's settings, else 120 bpm and 4/4."""
        transport = self.document.root.find("Transport")
        tempo = transport.find("Tempo") if transport is not None else None
        bpm = self.document.number(tempo, "value", DEFAULT_BPM) if tempo is not None else DEFAULT_BPM
        if tempo is None:
            self.unknown.append(f"{PROJECT_FILE}: no tempo given, taken as {DEFAULT_BPM:g} bpm")
        points = arrangement.find("TempoAutomation") if arrangement is not None else None
        rows = self.document.points.get(points)
        try:
            by_tempo = self._automated_tempo(points, rows, scope) if rows else TempoMap.constant(bpm)
        except InputError as error:
            raise self.document.error(points if rows else tempo, f"impossible tempo: {error}") from None
        return TempoMap(by_tempo.points, self._meters(transport, arrangement, scope, by_tempo))

    def _automated_tempo(self, points: Any, rows: PointRows, scope: _Scope) -> TempoMap:
        times, values, codes = rows.in_order()
        if rows.kind != "RealPoint":
            raise self.document.error(points, f"<TempoAutomation> has points of type {rows.kind}, expected RealPoint")
        rows_in_order = list(zip(times.tolist(), values.tolist(), (codes == LINEAR).tolist(), strict=True))
        if self._inherit(points, scope).unit == "seconds":
            return TempoMap.from_seconds(
                (t, bpm, "linear-seconds" if ramp else "step") for t, bpm, ramp in rows_in_order
            )
        return TempoMap([TempoPoint(t, bpm, "linear-beats" if ramp else "step") for t, bpm, ramp in rows_in_order])

    def _meters(self, transport: Any, arrangement: Any, scope: _Scope, tempo_map: TempoMap) -> list[Meter]:
        signature = transport.find("TimeSignature") if transport is not None else None
        number = self.document.number
        meters = []
        if signature is not None:
            meters.append((signature, 0.0, int(number(signature, "numerator")), int(number(signature, "denominator"))))
        automation = arrangement.find("TimeSignatureAutomation") if arrangement is not None else None
        rows = self.document.points.get(automation)
        if rows:
            times = np.array(rows.times)
            if self._inherit(automation, scope).unit == "seconds":
                times = tempo_map.beats_at(times)
            for index in np.argsort(times, kind="stable"):
                meters.append((automation, float(times[index]), *rows.meters[index]))
        usable = []
        for element, beat, numerator, denominator in sorted(meters, key=lambda row: row[1]):
            try:
                TempoMap.constant(DEFAULT_BPM, [Meter(beat, numerator, denominator)])
                usable.append(Meter(beat, numerator, denominator))
            except InputError:
                self._leave(element, f"an impossible meter {numerator}/{denominator} at beat {beat:g}")
        return usable

    # --- the arrangement ---

    def _timeline(self, element: Any, scope: _Scope) -> None:
        if not isinstance(element.tag, str):
            return  # a comment
        scope = self._inherit(element, scope)
        handlers: dict[str, Callable[[Any, _Scope], None]] = {
            "Lanes": self._children,
            "Clips": self._clips,
            "Points": self._points,
            "Notes": self._notes,
            "Markers": self._markers,
            "markers": self._markers,
            "Audio": self._media,
            "Video": self._media,
            "Warps": self._media,
        }
        handler = handlers.get(element.tag)
        if handler:
            handler(element, scope)
        else:
            self._leave(element, f"<{element.tag}> on track {scope.track!r} not read")

    def _inherit(self, element: Any, scope: _Scope) -> _Scope:
        unit = element.get("timeUnit", scope.unit)
        if unit not in ("beats", "seconds"):
            raise self.document.error(element, f"has timeUnit={unit!r}, expected beats or seconds")
        if scope.pieces is not None and unit != scope.unit:
            self._leave(
                element,
                f"<{element.tag}> counts in {unit} within a clip that counts in {scope.unit}; taken as {scope.unit}",
            )
            unit = scope.unit
        named = self.tracks.get(element.get("track", ""))
        return replace(scope, unit=unit, track=named.name if named else scope.track)

    def _children(self, element: Any, scope: _Scope) -> None:
        for child in element:
            self._timeline(child, scope)

    def _clips(self, element: Any, scope: _Scope) -> None:
        for clip in element.iterfind("Clip"):
            if clip.get("enable") in ("false", "0"):
                self._leave(clip, f"a clip on track {scope.track!r} is off")
                continue
            content = next((child for child in clip if isinstance(child.tag, str)), None)
            if content is None:
                content = self.timelines.get(clip.get("reference", ""))
            if content is None:
                self._leave(clip, f"a clip on track {scope.track!r} without contents")
            elif scope.pieces is not None and clip.get("contentTimeUnit", scope.unit) != scope.unit:
                self._leave(
                    clip, f"a clip within a clip on track {scope.track!r} that counts in another unit; not read"
                )
            elif content.tag == "Clips" and not _holds_automation(content):
                self._media(content, scope)
            else:
                unit = clip.get("contentTimeUnit", scope.unit)
                if unit not in ("beats", "seconds"):
                    raise self.document.error(clip, f"has contentTimeUnit={unit!r}, expected beats or seconds")
                pieces = self._pieces(clip, scope.unit, unit)
                if scope.pieces is not None:
                    if len(pieces) * len(scope.pieces) > MOST_PIECES:
                        raise self.document.error(
                            clip, f"has clips in clips that sound more than {MOST_PIECES:,} times"
                        )
                    pieces = tuple(within(pieces, scope.pieces))
                self._timeline(content, replace(scope, unit=unit, pieces=pieces))

    def _pieces(self, clip: Any, outer: TimeUnit, inner: TimeUnit) -> tuple[Piece, ...]:
        """What of the clip's contents sounds where. Its place is in `outer` units, everything inside in `inner`
        ones.
        """
        number = self.document.number
        begin = number(clip, "time")
        end = begin + number(clip, "duration", math.inf, endless=True)
        if end < begin:
            raise self.document.error(clip, f"has a duration of {end - begin:g}, expected at least 0")
        if inner != outer:
            convert = self.tempo_map.seconds_at if inner == "seconds" else self.tempo_map.beats_at
            begin, end = float(convert(begin)), float(convert(end)) if math.isfinite(end) else end
        start = number(clip, "playStart", 0.0)
        loop_start, loop_end = number(clip, "loopStart", 0.0), number(clip, "loopEnd", 0.0)
        if loop_end <= loop_start or not math.isfinite(end):
            stop = number(clip, "playStop", math.inf, endless=True)
            return (Piece(start, min(start + end - begin, stop), begin - start),)
        repeats = (end - begin) / (loop_end - loop_start)
        if repeats > MOST_PIECES - self.pieces_placed:
            raise self.document.error(clip, f"is looped until all clips together sound more than {MOST_PIECES:,} times")
        passes = math.ceil(repeats) + 1  # the first one may begin anywhere, even behind the loop
        self.pieces_placed += passes
        pieces, now, content = [], begin, start
        for _ in range(passes):
            length = min(max(loop_end - content, 0.0), end - now)
            if length > 0:
                pieces.append(Piece(content, content + length, now - content))
            now, content = now + length, loop_start
        return tuple(pieces)

    def _points(self, element: Any, scope: _Scope) -> None:
        rows = self.document.points.get(element)
        target = self._automated(element, scope)
        if target is None or not rows:
            self._leave(
                element, f"<Points> on track {scope.track!r} without {'points' if target else 'a target that is known'}"
            )
            return
        if rows.kind == "TimeSignaturePoint":
            self._leave(element, f"time signatures on track {scope.track!r}; expected under <TimeSignatureAutomation>")
            return
        times, values, codes = rows.in_order()
        normalised = target.normalised(values, element.get("unit"))
        if normalised is None:
            unit = element.get("unit") or target.unit
            self._leave(
                element,
                f"{target.name} of track {scope.track!r} is in {unit} without min and max; values were not scaled",
            )
            normalised = np.nan_to_num(values, posinf=1e6, neginf=-1e6)
        key = (target if target.track else replace(target, track=scope.track), scope.unit)
        for fragment in self._placed(element, times, normalised, codes, scope):
            self.fragments.setdefault(key, []).append(fragment)
        self.sources.setdefault(key, []).append((element, scope.pieces is not None))

    def _automated(self, element: Any, scope: _Scope) -> _Target | None:
        target = element.find("Target")
        if target is None:
            return None
        if "parameter" in target.attrib:
            return self.targets.get(target.get("parameter"))
        expression = target.get("expression")
        if expression is None:
            return None
        source = EXPRESSION_NAMES.get(expression, expression).format(controller=target.get("controller", "?"))
        parts = [source]
        if "key" in target.attrib:
            parts[0] += f" {target.get('key')}"
        if "channel" in target.attrib:
            parts.append(f"channel {int(self.document.number(target, 'channel')) + 1}")
        return _Target(name=", ".join(parts), track=scope.track, source=source)

    def _placed(
        self, element: Any, times: Doubles, values: Doubles, codes: NDArray[np.uint8], scope: _Scope
    ) -> Iterator[Fragment]:
        """The points in arrangement time: once, or piece by piece through a clip's window."""
        if scope.pieces is None:
            self._count(element, len(times))
            yield Fragment(times, values, codes)
            return
        lane = Lane(times, values, codes)
        for piece in scope.pieces:
            fragment = cut(lane, piece)
            self._count(element, len(fragment.times))
            yield fragment

    def _count(self, element: Any, points: int) -> None:
        self.points_placed += points
        if self.points_placed > MOST_POINTS:
            raise self.document.error(element, f"has more than {MOST_POINTS:,} points once its loops are unrolled")

    def _notes(self, element: Any, scope: _Scope) -> None:
        rows = self.document.notes.get(element, [])
        curves = self._note_curves(element, scope)
        numbered = sorted((*row, index) for index, row in enumerate(rows))
        times = [row[0] for row in numbered]
        for piece in scope.pieces or (Piece(-math.inf, math.inf, 0.0),):
            sounding = numbered[bisect_left(times, piece.begin) : bisect_left(times, piece.end)]
            self._count(element, len(sounding))
            for time, duration, channel, key, velocity, index in sounding:
                begin, end = time + piece.origin, min(time + duration, piece.end) + piece.origin
                if curves and end > begin:
                    self.expressive_notes += 1
                    if self.expressive_notes > MOST_EXPRESSIVE_NOTES:
                        problem = f"has more than {MOST_EXPRESSIVE_NOTES:,} notes in lanes with expressions of notes"
                        raise self.document.error(element, problem)
                    self.expressions.add(scope.track, scope.unit, begin, end, curves.get(index, {}))
                if scope.unit == "seconds":
                    begin, end = (float(self.tempo_map.beats_at(seconds)) for seconds in (begin, end))
                self.notes.append(Note(begin, end - begin, channel, key, velocity, scope.track))

    def _note_curves(self, element: Any, scope: _Scope) -> dict[int, dict[str, Lane]]:
        """Which note carries which expressions, over time from the note's beginning."""
        found: dict[int, dict[str, Lane]] = {}
        for index, points in self.document.expressions.get(element, []):
            target = points.find("Target")
            name = target.get("expression") if target is not None else None
            unit = points.get("timeUnit", scope.unit)
            if name is None or unit != scope.unit:
                self._leave(
                    points, f"a curve within a note on track {scope.track!r} that is no expression in its time unit"
                )
                continue
            times, values, codes = self.document.points[points].in_order()
            self._count(points, len(times))
            if name == "channelController":
                name = f"CC {target.get('controller', '?')}"
            found.setdefault(index, {})[name] = Lane(times, normalised(name, values), codes)
        return found

    def _markers(self, element: Any, scope: _Scope) -> None:
        for marker in element.iterfind("Marker"):
            time = self.document.number(marker, "time")
            beat = time if scope.unit == "beats" else float(self.tempo_map.beats_at(time))
            self.markers.append(Marker(marker.get("name", ""), beat))

    def _media(self, element: Any, scope: _Scope) -> None:
        files = [file.get("path", "") for file in element.iter("File")]
        what = f"media {', '.join(files)}" if files else f"an empty <{element.tag}>"
        if files or element.tag != "Clips":
            self._leave(element, f"{what} on track {scope.track!r} not read")

    def _lanes(self) -> Iterator[tuple[_Target, Lane]]:
        for (target, unit), fragments in self.fragments.items():
            fragments = in_sequence(fragments)
            times = np.concatenate([fragment.times for fragment in fragments])
            order = np.argsort(times, kind="stable")
            try:
                lane = Lane(
                    times[order],
                    np.concatenate([fragment.values for fragment in fragments])[order],
                    np.concatenate([fragment.codes for fragment in fragments])[order],
                    name=target.name,
                    key=target.key,
                    unit=unit,
                    track=target.track,
                    plugin=target.device,
                    plugin_id=target.device_id,
                    parameter_id=target.parameter_id,
                    active=target.active,
                )
            except InputError as error:
                raise FileError(
                    self.path, f"{target.name} on track {target.track!r}: {error}", position=PROJECT_FILE
                ) from None
            self.lane_places.append(self._lane_place(target, unit))
            yield target, lane
        for source, lane in self.expressions.lanes():
            self.lane_places.append(LanePlace(-1, "RealPoint", lane.unit, 0.0, 1.0))
            yield _Target(lane.name, track=lane.track, source=source), lane

    def _lane_place(self, target: _Target, unit: TimeUnit) -> LanePlace:
        (element, in_clip), *others = self.sources[target, unit]
        bounds = target.range_in(element.get("unit")) or (0.0, 1.0)
        kind = self.document.points[element].kind
        return LanePlace(-1 if in_clip or others else _ordinal(element), kind, unit, *bounds)

    def _leave(self, element: Any, what: str) -> None:
        self.unknown.append(f"{place(element)}: {what}")


def _switched_off(device: Any) -> str:
    """Why a device does nothing; "" if it does."""
    enabled = device.find("Enabled")
    if enabled is not None and enabled.get("value") in ("false", "0"):
        return "switched off"
    return "not loaded" if device.get("loaded") in ("false", "0") else ""


def _ordinal(element: Any) -> int:
    """Which element of its tag it is in the document, from 0."""
    return sum(1 for _ in takewhile(lambda other: other is not element, element.getroottree().iter(element.tag)))


def _is_parameter(element: Any) -> bool:
    """A channel's Volume, an EQ's Freq and so on have tags of their own, but a unit or a value as any parameter has."""
    return element.tag.endswith("Parameter") or not {"unit", "value", "numerator"}.isdisjoint(element.keys())


def _holds_automation(content: Any) -> bool:
    return content.tag == "Points" or next(content.iter("Points"), None) is not None


def _device_name(device: Any) -> str:
    return "" if device is None else device.get("deviceName") or device.get("name", "")


def _is_ours(device: Any) -> bool:
    return device is not None and (
        is_our_id(device.get("deviceID", "")) or device.get("deviceName") == identity.PLUGIN_NAME
    )
