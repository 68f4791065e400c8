"""Ableton Live sets (.als), Live 8 to 12 -> `Project`.

`set_xml` has read what the file says; here envelopes meet what they automate, values meet their ranges, clips their
places in the arrangement, and the tempo its law.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from terrain_core import identity
from terrain_core.breakpoints import Doubles
from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import ours
from terrain_daws.clips import Fragment, Piece, cut, in_sequence
from terrain_daws.controls import assign_keys
from terrain_daws.live import container, names, set_xml
from terrain_daws.live.curves import Points, points_of
from terrain_daws.live.document import LaneSource, LiveDocument
from terrain_daws.live.set_xml import Clip, Device, Envelope, Events, Parameter, SetXml, place
from terrain_daws.live.set_xml import Track as LiveTrack
from terrain_daws.live.tempo import (
    FASTEST_BPM,
    SLOWEST_BPM,
    TempoLaw,
    drawn_points,
    meter_of,
    played_points,
)
from terrain_daws.project import Marker, Note, PluginInstance, Project, Track

OLDEST_VERSION, NEWEST_VERSION = 8, 12
FIRST_WITH_VALUES: Final = 9
"""The version that began to write a value beside each parameter's automation."""

DEFAULT_BPM: Final = 120.0
MOST_REPORTS: Final = 20
"""Lines about the same kind of damage."""

MOST_PIECES: Final = 100_000
"""Times that clips are played, loops unrolled."""

MOST_POINTS: Final = 2_000_000
"""Points and notes once loops are unrolled."""

RANGE_ROUNDING: Final = 1e-5
"""Of a parameter's range: Live keeps single precision, so that values may be that far beyond it."""


def read_live(path: Path, law: TempoLaw = "daw") -> Project:
    """Read a set: gzipped, as Live saves it, or its bare XML.

    Args:
        law: "daw" for the tempo that Live plays, in steps of a sixteenth note; "theoretical" for the one that is drawn.
    Raises:
        FileError: damaged, hostile, or no set; says where.
        InputError: no such law.
    """
    if law not in ("daw", "theoretical"):
        raise InputError(f"no tempo law {law!r}, expected daw or theoretical")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileError(path, f"cannot be opened ({error.strerror or error})") from None
    return read_bytes(data, path, law)


def read_bytes(data: bytes, path: Path, law: TempoLaw = "daw") -> Project:
    """As `read_live`, from the file's bytes; `path` is what messages call it."""
    if not data:
        raise FileError(path, "is empty, expected an Ableton Live set", position="byte 0")
    repairs: list[str] = []
    found = set_xml.parse(path, container.pieces(path, data, repairs), names.may_be_ours)
    try:
        return _Reader(path, data, found, law, repairs).project()
    except InputError as error:  # a number in the file that lanes or tempo maps refuse
        raise FileError(path, str(error)) from None


@dataclass(frozen=True)
class _Found:
    """A lane, what it drives as a MIDI source, and where it stands in the file."""

    line: int
    source: str
    lane: Lane
    parameter: Parameter | None
    origin: LaneSource


class _Reader:
    def __init__(self, path: Path, data: bytes, found: SetXml, law: TempoLaw, repairs: list[str]) -> None:
        self.path = path
        self.data = data
        self.found = found
        self.law = law
        self.repairs = repairs
        self.unknown = found.unknown
        self.targets: dict[int, Parameter] = {}
        self.modulations: dict[int, Parameter] = {}
        self.track_names = {id(track): names.track_name(track, n) for n, track in enumerate(found.tracks, 1)}
        self.groups = {track.id: track for track in found.tracks if track.tag == "GroupTrack" and track.id >= 0}
        self.off: set[int] = set()  # tracks, devices and chains that are switched off
        self.lanes: list[_Found] = []
        self.notes: list[Note] = []
        self.placed = 0
        self.pieces_placed = 0

    def project(self) -> Project:
        self._check_version()
        self._check_completeness()
        self._index_targets()
        tempo = self._main_parameter("Tempo")
        meter = self._main_parameter("TimeSignature")
        tempo_map = self._tempo_map(tempo, meter)
        taken = {id(parameter) for parameter in (tempo, meter) if parameter}
        self._envelopes(taken)
        for parameter in self.found.parameters:
            if parameter.events is not None and id(parameter) not in taken and len(parameter.events.times) > 1:
                self._whole_lane(parameter, parameter.events, None)
        self._clips()
        self._report_the_rest()
        self.lanes.sort(key=lambda found: found.line)
        self._find_what_is_off()
        lanes, second = assign_keys((found.source, found.lane) for found in self.lanes)
        markers = self._markers()
        instances = self._instances(lanes)
        document = LiveDocument(
            self.path, self.data, self.found, [found.origin for found in self.lanes], self.track_names, tempo, meter
        )
        project = Project(
            format="live",
            path=self.path,
            tracks=self._tracks(),
            lanes=lanes,
            tempo_map=tempo_map,
            markers=markers,
            notes=sorted(self.notes, key=lambda note: (note.beat, note.channel, note.key)),
            unknown=self.unknown + second,
            instances=instances,
            repairs=self.repairs,
            document=document,
        )
        document.remember(project)
        self._drop_columns()
        return project

    def _check_version(self) -> None:
        version = self.found.version
        if not version:
            self.repairs.append(
                "line 2 of the XML: does not say by which version of Live it was saved; read as Live 12's"
            )
        elif not OLDEST_VERSION <= version <= NEWEST_VERSION:
            self.unknown.append(
                f"{place(2)}: saved by Live {version}; Live {OLDEST_VERSION} to {NEWEST_VERSION} are known, and "
                "what is like theirs was read"
            )

    def _index_targets(self) -> None:
        wanted = {one.pointee for one in self.found.envelopes}
        wanted |= {one.pointee for clip in self.found.clips for one in clip.envelopes}
        for parameter in self.found.parameters:
            for number, index in ((parameter.target, self.targets), (parameter.modulation, self.modulations)):
                if number is None:
                    continue
                first = index.setdefault(number, parameter)
                if first is not parameter and number in wanted:
                    self.repairs.append(
                        f"{place(parameter.line)}: {self._what(parameter)} has the number {number} of "
                        f"{self._what(first)}; the automation was given to the latter"
                    )

    def _check_completeness(self) -> None:
        """What every set has. A tag that is damaged is no tag that is known."""
        missing = [f"{place(track.line)}: a track has no name" for track in self.found.tracks if not track.is_named]
        missing += [f"{place(one.line)}: a locator has no name" for one in self.found.locators if one.name is None]
        if self.found.version >= FIRST_WITH_VALUES:
            missing += [
                f"{place(parameter.line)}: {self._what(parameter)} has no value"
                for parameter in self.found.parameters
                if not parameter.manual and parameter.target is not None and parameter.controller is None
            ]
        more = len(missing) - MOST_REPORTS
        self.repairs += missing[:MOST_REPORTS] + ([f"{more} more like the last"] if more > 0 else [])

    def _what(self, parameter: Parameter) -> str:
        name, device = names.parameter_name(parameter), names.device_name(parameter.device)
        return f"{name} of {device or 'the mixer'} on track {self._track_name(parameter.track)!r}"

    def _track_name(self, track: LiveTrack | None) -> str:
        return self.track_names[id(track)] if track is not None else ""

    def _main_parameter(self, name: str) -> Parameter | None:
        for parameter in self.found.parameters:
            if parameter.path[-2:] == ("Mixer", name) and parameter.track is not None and parameter.track.is_main:
                return parameter
        return None

    # --- tempo and meter ---

    def _automation_of(self, parameter: Parameter | None) -> Events | None:
        """The arrangement's events on a parameter, wherever the set's version keeps them; None if there is but the
        initial one, and the parameter's own value beside it.
        """
        events = self._events_of(parameter) if parameter is not None else None
        if events is None or parameter is None or not events.times:
            return None
        return None if parameter.manual and len(events.times) == 1 else events

    def _events_of(self, parameter: Parameter) -> Events | None:
        if parameter.events is not None:
            return parameter.events
        for envelope in self.found.envelopes:
            if parameter.target is not None and envelope.pointee == parameter.target:
                return envelope.events
        return None

    def _tempo_map(self, tempo: Parameter | None, meter: Parameter | None) -> TempoMap:
        meters = self._meters(meter)
        events = self._automation_of(tempo)
        if events is None:
            return TempoMap.constant(self._manual_tempo(tempo), meters)
        if events.kind != "float":
            raise FileError(self.path, f"the tempo has events of type {events.kind}", position=place(events.line))
        points = points_of(events)
        wrong = (points.values < SLOWEST_BPM) | (points.values > FASTEST_BPM)
        if wrong.any():
            first = int(np.argmax(wrong))
            problem = (
                f"the tempo at beat {points.times[first]:g} is {points.values[first]:g} bpm, "
                f"expected {SLOWEST_BPM:g} to {FASTEST_BPM:g}"
            )
            raise FileError(self.path, problem, position=place(events.line))
        self._report_curves(events, "the tempo")
        drawn = drawn_points(points.times, points.values)
        return TempoMap(self._by_law(drawn, events), meters)

    def _by_law(self, drawn: list[TempoPoint], events: Events) -> list[TempoPoint]:
        if self.law == "theoretical":
            return drawn
        played, too_many = played_points(drawn)
        if too_many:
            self.unknown.append(f"{place(events.line)}: tempo ramps too long for Live's sixteenths; read as straight")
        return played

    def _manual_tempo(self, tempo: Parameter | None) -> float:
        if tempo is None or not tempo.manual:
            self.unknown.append(f"{place(1)}: no tempo given, taken as {DEFAULT_BPM:g} bpm")
            return DEFAULT_BPM
        bpm = float(tempo.manual) if set_xml.NUMBER.fullmatch(tempo.manual) else math.nan
        if not SLOWEST_BPM <= bpm <= FASTEST_BPM:
            problem = f"the tempo is {tempo.manual[:40]!r}, expected {SLOWEST_BPM:g} to {FASTEST_BPM:g} bpm"
            raise FileError(self.path, problem, position=place(tempo.line))
        return bpm

    def _meters(self, meter: Parameter | None) -> list[Meter]:
        events = self._automation_of(meter)
        if events is not None:
            line = events.line
            rows = list(zip(np.maximum(events.times, 0.0).tolist(), events.values, strict=True))
        elif meter is not None and set_xml.NUMBER.fullmatch(meter.manual):
            line, rows = meter.line, [(0.0, float(meter.manual))]
        else:
            self._leave(1, "no time signature given, taken as 4/4")
            return [Meter(0.0)]
        meters = []
        for beat, code in rows:
            fraction = meter_of(code)
            if fraction is None:
                self.unknown.append(
                    f"{place(line)}: the time signature {code:g} at beat {beat:g} is none that is known"
                )
            else:
                meters.append(Meter(beat, *fraction))
        return meters or [Meter(0.0)]

    # --- the arrangement's envelopes ---

    def _envelopes(self, taken: set[int]) -> None:
        seen: set[int] = set()
        for envelope in self.found.envelopes:
            events = envelope.events
            if events is None or not events.times:
                continue
            parameter = self.targets.get(envelope.pointee) if envelope.pointee is not None else None
            if parameter is None:
                self._leave(
                    envelope.line,
                    f"automation on track {self._track_name(envelope.track)!r} of number {envelope.pointee}, which "
                    f"nothing in the set has ({len(events.times)} events)",
                )
            elif id(parameter) not in taken:
                if id(parameter) in seen:
                    self.repairs.append(
                        f"{place(envelope.line)}: {self._what(parameter)} has a second envelope; both were read, the "
                        "first one counts"
                    )
                self._whole_lane(parameter, events, envelope, active=id(parameter) not in seen)
                seen.add(id(parameter))

    def _whole_lane(
        self, parameter: Parameter, events: Events, envelope: Envelope | None, *, active: bool = True
    ) -> None:
        """A lane that lies in the arrangement itself."""
        self._report_curves(events, self._what(parameter))
        points = points_of(events)
        bounds = self._checked_bounds(parameter, events, points)
        values = points.values if bounds is None else names.normalised(parameter, points.values, bounds)
        origin = LaneSource(events.kind, parameter, events.span, envelope.span if envelope else None, bounds)
        lane = self._lane(parameter, points.times, values, points.codes, active=active)
        self._count(events.line, len(lane))
        self.lanes.append(_Found(events.line, "", lane, parameter, origin))

    def _lane(
        self, parameter: Parameter, times: Doubles, values: Doubles, codes: np.ndarray, *, active: bool, note: str = ""
    ) -> Lane:
        return Lane(
            times,
            values,
            codes,
            name=names.parameter_name(parameter) + note,
            key="" if note else names.parameter_key(parameter),
            track=self._track_name(parameter.track),
            plugin=names.device_name(parameter.device),
            plugin_id=names.class_id(parameter.device) if parameter.device else "",
            parameter_id=names.parameter_id(parameter),
            active=active,
        )

    def _checked_bounds(self, parameter: Parameter, events: Events, points: Points) -> tuple[float, float] | None:
        """The parameter's range; what does not fit it is reported."""
        what = self._what(parameter)
        is_switch = parameter.manual in set_xml.TRUTH
        if parameter.manual and is_switch != (events.kind == "bool"):
            self.repairs.append(
                f"{place(events.line)}: {what} is {'a' if is_switch else 'no'} switch, and has events of "
                f"type {events.kind}; read as they are"
            )
        bounds = names.bounds_of(parameter, events.kind)
        if bounds is None:
            self._leave(events.line, f"{what} has no range in the set; values were not scaled")
            return None
        low, high = bounds
        beyond = int(np.count_nonzero(np.abs(points.values - (low + high) / 2) > (high - low) * (0.5 + RANGE_ROUNDING)))
        if beyond:
            report = self.repairs if names.parameter_key(parameter) else self.unknown
            report.append(
                f"{place(events.line)}: {beyond} values of {what} are beyond {low:g} to {high:g}; cut off there"
            )
        return bounds

    def _report_curves(self, events: Events, what: str) -> None:
        if events.curves:
            self._leave(
                events.line,
                f"{len(events.curves)} curved segments of {what} drawn as cubic Béziers; Live's own law is not public",
            )

    # --- clips ---

    def _clips(self) -> None:
        fragments: dict[tuple[int, bool], list[Fragment]] = {}
        heads: dict[tuple[int, bool], tuple[int, Parameter]] = {}
        for clip in self.found.clips:
            if not (clip.notes or clip.envelopes or clip.expressive):
                continue
            where = f"a clip on track {self._track_name(clip.track)!r}"
            if clip.truths.get("Disabled"):
                self._leave(clip.line, f"{where} is deactivated")
                continue
            pieces = self._pieces(clip, where)
            self._notes(clip, pieces, where)
            for envelope in clip.envelopes:
                for key, parameter, placed in self._placed(clip, envelope, pieces, where):
                    heads.setdefault(key, (envelope.line, parameter))
                    fragments.setdefault(key, []).append(placed)
        for key, (line, parameter) in heads.items():
            self._clip_lane(line, parameter, key[1], fragments[key])

    def _pieces(self, clip: Clip, where: str) -> list[Piece]:
        """What of the clip's content sounds where."""
        numbers = clip.numbers
        missing = [name for name in ("CurrentStart", "CurrentEnd", "LoopStart", "LoopEnd") if name not in numbers]
        if missing:
            raise FileError(self.path, f"{where} has no {missing[0]}", position=place(clip.line))
        guessed = [name for name in ("StartRelative", "LoopOn") if name not in numbers and name not in clip.truths]
        if guessed:
            self.repairs.append(f"{place(clip.line)}: {where} has no {' and no '.join(guessed)}; taken as 0")
        begin, end = numbers["CurrentStart"], numbers["CurrentEnd"]
        loop_start, loop_end = numbers["LoopStart"], numbers["LoopEnd"]
        if end < begin:
            raise FileError(
                self.path, f"{where} ends {begin - end:g} beats before it begins", position=place(clip.line)
            )
        start = loop_start + numbers.get("StartRelative", 0.0)
        length = loop_end - loop_start
        if not clip.truths.get("LoopOn", False) or length <= 0:
            return [Piece(start, start + end - begin, begin - start)]
        passes = math.ceil((end - begin) / length) + 2  # the first may begin anywhere
        self.pieces_placed += passes
        if self.pieces_placed > MOST_PIECES:
            problem = f"clips are looped until together they sound more than {MOST_PIECES:,} times"
            raise FileError(self.path, problem, position=place(clip.line))
        pieces, now, content = [], begin, start
        for _ in range(passes):
            sounding = min(max(loop_end - content, 0.0), end - now)
            if sounding > 0:
                pieces.append(Piece(content, content + sounding, now - content))
            now, content = now + sounding, loop_start
        return pieces

    def _notes(self, clip: Clip, pieces: list[Piece], where: str) -> None:
        if clip.expressive:
            self._leave(clip.line, f"{clip.expressive} expression lanes (MPE) of notes in {where} not read")
        if clip.chances:
            self._leave(clip.line, f"{clip.chances} notes in {where} sound by chance; read as if they always did")
        rows = sorted(clip.notes)
        times = [row[0] for row in rows]
        for piece in pieces:
            sounding = rows[bisect_left(times, piece.begin) : bisect_left(times, piece.end)]
            self._count(clip.line, len(sounding))
            for time, duration, key, velocity in sounding:
                beat, end = time + piece.origin, min(time + duration, piece.end) + piece.origin
                self.notes.append(Note(beat, end - beat, 0, key, velocity))

    def _placed(
        self, clip: Clip, envelope: Envelope, pieces: list[Piece], where: str
    ) -> Iterator[tuple[tuple[int, bool], Parameter, Fragment]]:
        """A clip's envelope in arrangement time: which lane it belongs to (parameter, whether it modulates), and it."""
        events = envelope.events
        if events is None or not events.times:
            return
        pointee = -1 if envelope.pointee is None else envelope.pointee
        modulates = pointee not in self.targets
        parameter = self.modulations.get(pointee) if modulates else self.targets[pointee]
        if parameter is None:
            self._leave(envelope.line, f"an envelope of {where} for number {pointee} (of the clip itself?) not read")
            return
        if envelope.own_loop or clip.truths.get("IsWarped") is False:
            why = "loops by itself" if envelope.own_loop else "counts in seconds, as the clip is not warped"
            self._leave(envelope.line, f"{self._what(parameter)}: its envelope in {where} {why}; not read")
            return
        self._report_curves(events, self._what(parameter))
        points = points_of(events)
        values = points.values
        if not modulates:
            bounds = self._checked_bounds(parameter, events, points)
            values = values if bounds is None else names.normalised(parameter, values, bounds)
        lane = Lane(points.times, values, points.codes)
        for piece in pieces:
            fragment = cut(lane, piece)
            self._count(envelope.line, len(fragment.times))
            yield (id(parameter), modulates), parameter, fragment

    def _clip_lane(self, line: int, parameter: Parameter, modulates: bool, fragments: list[Fragment]) -> None:
        if modulates:
            self._leave(
                line, f"{self._what(parameter)} is modulated by clips: a lane of its own, in Live's unit, not played"
            )
        fragments = in_sequence(fragments)
        times = np.concatenate([fragment.times for fragment in fragments])
        order = np.argsort(times, kind="stable")
        lane = self._lane(
            parameter,
            times[order],
            np.concatenate([fragment.values for fragment in fragments])[order],
            np.concatenate([fragment.codes for fragment in fragments])[order],
            active=not modulates,
            note=" (modulation)" if modulates else "",
        )
        source = "" if parameter.controller is None else names.parameter_name(parameter)
        self.lanes.append(_Found(line, source, lane, parameter, LaneSource("clip", parameter)))

    def _count(self, line: int, points: int) -> None:
        self.placed += points
        if self.placed > MOST_POINTS:
            problem = f"has more than {MOST_POINTS:,} points and notes once its loops are unrolled"
            raise FileError(self.path, problem, position=place(line))

    # --- tracks, markers, our plugin ---

    def _find_what_is_off(self) -> None:
        """Switches that are off and stay off."""
        automated = {id(found.parameter) for found in self.lanes}
        for parameter in self.found.parameters:
            if parameter.manual != "false" or id(parameter) in automated:
                continue
            if parameter.device is None and parameter.path[-2:] == ("Mixer", "Speaker"):
                self.off.add(id(parameter.track))
            elif parameter.path == (("MixerDevice", "Speaker") if names.is_chain(parameter.device) else ("On",)):
                self.off.add(id(parameter.device))

    def _tracks(self) -> list[Track]:
        return [
            Track(self.track_names[id(track)], self._track_name(self._group_of(track)), self._silence_of(track))
            for track in self.found.tracks
            if track.tag != "PreHearTrack"
        ]

    def _group_of(self, track: LiveTrack) -> LiveTrack | None:
        return self.groups.get(track.group)

    def _silence_of(self, track: LiveTrack) -> str:
        """Why a track is not heard; "" if it is."""
        if id(track) in self.off:
            return "muted"
        group = self._group_of(track)
        for _ in self.groups:  # as many steps as there are groups: a damaged set may have a circle of them
            if group is None:
                break
            if id(group) in self.off:
                return f"in the muted folder {self.track_names[id(group)]!r}"
            group = self._group_of(group)
        return ""

    def _markers(self) -> list[Marker]:
        markers = []
        for locator in self.found.locators:
            if locator.time is None:
                raise FileError(
                    self.path, f"the locator {locator.name or ''!r} has no time", position=place(locator.line)
                )
            markers.append(Marker(locator.name or "", locator.time))
        return sorted(markers, key=lambda marker: marker.beat)

    def _instances(self, lanes: list[Lane]) -> list[PluginInstance]:
        instances = []
        for device in self.found.devices:
            if not names.is_ours(device):
                continue
            if len(set(names.class_ids(device))) > 1:
                self.repairs.append(f"{place(device.line)}: the device's class ids differ; taken for our plugin")
            driven = [
                lane
                for lane, found in zip(lanes, self.lanes, strict=True)
                if found.parameter is not None and found.parameter.device is device
            ]
            text = "".join(device.state_text)
            instance = PluginInstance(
                track=self._track_name(device.track),
                name=device.user_name or device.plugin_name or identity.PLUGIN_NAME,
                lanes=driven,
                silenced_by=self._silence_of_device(device),
                position=place(device.line),
            )
            try:
                instance.state, problem = ours.read_state(bytes.fromhex(text)) if text.strip() else (None, "")
            except ValueError as error:
                problem = f"is not hexadecimal ({error})"
            if problem:
                self.repairs.append(f"{place(device.line)}: the plugin's state is not read: {problem}")
            self._check_parameters(device)
            instances.append(instance)
        return instances

    def _check_parameters(self, device: Device) -> None:
        """A slot's number and its name should be the same parameter's; a macro may move it."""
        for parameter in self.found.parameters:
            if parameter.device is not device or parameter.slot is None:
                continue
            number = names.parameter_id(parameter)
            by_id, by_name = ours.key_of(number), ours.key_of(None, parameter.slot.name)
            if number is not None and by_id != by_name:
                self.repairs.append(
                    f"{place(parameter.line)}: the parameter {parameter.slot.name!r} has the number {number} of "
                    f"{by_id or 'none of ours'}; its number counts"
                )
            if parameter.macro is not None:
                macro = names.macro_name(_rack_around(device), parameter.macro)
                what = f"{self._what(parameter)} follows the macro {macro!r} of its rack, from "
                ends = [f"{end:g}" for end in (parameter.low, parameter.high) if end is not None]
                self._leave(parameter.line, f"{what}{' to '.join(ends)}; its lane can be mapped")

    def _silence_of_device(self, device: Device) -> str:
        if id(device) in self.off:
            return "the device is off"
        owner = device.parent
        while owner is not None:
            if id(owner) in self.off:
                return f"{'a chain of ' if names.is_chain(owner) else ''}the rack {names.device_name(owner)!r} is off"
            owner = owner.parent
        silence = self._silence_of(device.track) if device.track else ""
        return f"the track is {silence}" if silence else ""

    def _report_the_rest(self) -> None:
        for track in self.found.tracks:
            name = self.track_names[id(track)]
            if track.session_clips:
                envelopes = f" with {track.session_envelopes} envelopes" if track.session_envelopes else ""
                self._leave(track.line, f"{track.session_clips} session clips{envelopes} on track {name!r} not read")
            if track.takes:
                self._leave(track.line, f"{track.takes} clips in take lanes of track {name!r} not read")
            if track.frozen:
                self._leave(track.line, f"track {name!r} is frozen: Live plays a recording of it")
            if track.soloed:
                self._leave(track.line, f"track {name!r} is soloed; read as if it were not")

    def _drop_columns(self) -> None:
        """The lanes have the events now."""
        lists = [parameter.events for parameter in self.found.parameters]
        lists += [envelope.events for envelope in self.found.envelopes]
        for events in lists:
            if events is not None:
                events.times, events.values = array("d"), array("d")
        self.found.clips.clear()
        for device in self.found.devices:
            device.state_text.clear()

    def _leave(self, line: int, what: str) -> None:
        self.unknown.append(f"{place(line)}: {what}")


def _rack_around(device: Device) -> Device | None:
    """The rack that a device lies in."""
    rack = device.parent
    while rack is not None and names.is_chain(rack):
        rack = rack.parent
    return rack
