"""A Live set as it was read, and as it becomes: the same XML with other text where something changed.

Everything else stays byte for byte, so that nothing that we do not know of is lost.
"""

from __future__ import annotations

import copy
import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from terrain_core.breakpoints import Doubles
from terrain_core.errors import InputError
from terrain_core.lanes import Lane
from terrain_core.parameters import by_key
from terrain_core.tempo import TempoMap
from terrain_daws.changes import lane_changes
from terrain_daws.live import container, names
from terrain_daws.live import tempo as live_tempo
from terrain_daws.live.curves import events_of
from terrain_daws.live.set_xml import INITIAL_TIME, Locator, Parameter, SetXml, Span, Track

if TYPE_CHECKING:
    from terrain_daws.project import Marker, PluginInstance, Project

EVENT_TAGS: Final = {"float": "FloatEvent", "bool": "BoolEvent", "enum": "EnumEvent"}
HEX_PER_LINE: Final = 96
FIRST_WITH_ENVELOPES: Final = 10
"""The version of Live that began to keep automation in envelopes, apart from what is automated."""


@dataclass(frozen=True)
class LaneSource:
    """Where a lane came from. `kind`: of its events, or "clip" for one that was put together from clips.

    `events`, `envelope`: where they stand. `bounds`: the values for 0 and 1; None if the lane has the file's values.
    """

    kind: str
    parameter: Parameter
    events: Span | None = None
    envelope: Span | None = None
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Patch:
    """Bytes `begin` to `end` of the XML become `text`."""

    begin: int
    end: int
    text: str


@dataclass
class _Addition:
    """What is put behind the content of an element."""

    span: Span
    tag: str
    newline: str
    elements: list[str] = field(default_factory=list)


class LiveDocument:
    """A set as it was read (a `SourceDocument`)."""

    def __init__(
        self,
        path: Path,
        data: bytes,
        found: SetXml,
        sources: list[LaneSource],
        track_names: dict[int, str],
        tempo: Parameter | None,
        meter: Parameter | None,
    ) -> None:
        self.path = path
        self.data = data
        self.found = found
        self.sources = sources
        self.track_names = track_names
        self.tempo = tempo
        self.meter = meter
        self.before: Project

    def remember(self, project: Project) -> None:
        """Keep what the project was when it was read. Lanes, notes and tempo maps are not changed in place; lists and
        instances are.
        """
        self.before = copy.copy(project)
        self.before.document = None
        for name in ("tracks", "lanes", "markers", "notes"):
            setattr(self.before, name, list(getattr(project, name)))
        self.before.instances = [copy.copy(instance) for instance in project.instances]

    def rewritten(self, project: Project) -> bytes:
        """See `SourceDocument`. Lanes, tempo, meters, markers and the states of our plugin can be changed.

        Raises:
            InputError: a change of anything else, of a lane from clips, or one that Live cannot hold.
        """
        self._refuse_other_changes(project)
        xml = b"".join(container.pieces(self.path, self.data, []))
        editor = _Editor(xml, self.found)
        self._write_lanes(editor, project)
        self._write_tempo(editor, project.tempo_map)
        self._write_markers(editor, project.markers)
        self._write_states(editor, project.instances)
        return container.packed(editor.result(), self.data) if editor.has_changes else self.data

    def _refuse_other_changes(self, project: Project) -> None:
        for name in ("tracks", "notes"):
            if getattr(project, name) != getattr(self.before, name):
                raise InputError(
                    f"{self.path}: the {name} were changed, and only lanes, tempo, meters, markers and the "
                    "plugin's state can be written into a Live set"
                )
        if len(project.instances) != len(self.before.instances):
            raise InputError(f"{self.path}: a plugin was added or taken away; do that in Live")

    # --- lanes ---

    def _write_lanes(self, editor: _Editor, project: Project) -> None:
        changes = lane_changes(self.before.lanes, project.lanes)
        for index in (*changes.replaced, *changes.removed):
            if self.sources[index].kind == "clip":
                lane = self.before.lanes[index]
                raise InputError(
                    f"{self.path}: {lane.name!r} on track {lane.track!r} lies in clips, which are not changed"
                )
        for index, lane in changes.replaced.items():
            editor.replace_events(self.sources[index], lane.to_beats(project.tempo_map))
        for index in changes.removed:
            editor.remove_events(self.sources[index], self.before.lanes[index])
        for lane in changes.added:
            self._add_lane(editor, lane.to_beats(project.tempo_map))

    def _add_lane(self, editor: _Editor, lane: Lane) -> None:
        taken = {id(source.parameter) for source in self.sources if source.kind != "clip"} | editor.added
        parameter = self._parameter_for(lane, taken) or self._free_slot_for(editor, lane)
        if parameter is None:
            raise InputError(
                f"{self.path}: there is no {lane.name!r} of {lane.plugin or 'the mixer'!r} on track {lane.track!r} "
                "that could be automated, or it has a lane already"
            )
        editor.add_events(parameter, lane)

    def _parameter_for(self, lane: Lane, taken: set[int]) -> Parameter | None:
        if lane.key and not lane.track and len(self.before.instances) == 1:
            candidates = [p for p in self.found.parameters if names.parameter_key(p) == lane.key]
        else:
            place = (lane.track, lane.plugin, lane.plugin_id, lane.parameter_id, lane.name)
            candidates = self._parameters_by_place.get(place, [])
        return next((parameter for parameter in candidates if id(parameter) not in taken), None)

    @cached_property
    def _parameters_by_place(self) -> dict[tuple[str, str, str, int | None, str], list[Parameter]]:
        """What a lane says of where it belongs -> what could be automated there."""
        places: dict[tuple[str, str, str, int | None, str], list[Parameter]] = {}
        for parameter in self.found.parameters:
            if parameter.track is None or parameter.controller is not None:
                continue
            device = parameter.device
            place = (
                self.track_names[id(parameter.track)],
                names.device_name(device),
                names.class_id(device) if device else "",
                names.parameter_id(parameter),
                names.parameter_name(parameter),
            )
            places.setdefault(place, []).append(parameter)
        return places

    def _free_slot_for(self, editor: _Editor, lane: Lane) -> Parameter | None:
        """A free slot of our plugin, filled with the lane's parameter; None where the plugin has that one."""
        if not lane.key:
            return None
        for device in self.found.devices:
            if not names.is_ours(device) or device.track is None:
                continue
            if lane.track and self.track_names[id(device.track)] != lane.track:
                continue
            slots = [one for one in self.found.parameters if one.device is device and one.slot is not None]
            used = [one for one in slots if names.parameter_id(one) is not None]
            free = [one for one in slots if names.parameter_id(one) is None and not editor.is_filled(one)]
            if free and all(names.parameter_key(one) != lane.key for one in used):
                editor.fill_slot(free[0], lane.key, len(used))
                return free[0]
        return None

    # --- tempo, meters, markers, states ---

    def _write_tempo(self, editor: _Editor, tempo_map: TempoMap) -> None:
        if tempo_map.points != self.before.tempo_map.points:
            if self.tempo is None:
                raise InputError(f"{self.path}: the set has no tempo that could be changed")
            beats, bpm = live_tempo.events_of(tempo_map)
            editor.write_main(self.tempo, "float", beats, bpm)
        if tempo_map.meters != self.before.tempo_map.meters:
            if self.meter is None:
                raise InputError(f"{self.path}: the set has no time signature that could be changed")
            codes = np.array([live_tempo.code_of(meter) for meter in tempo_map.meters], dtype=np.float64)
            beats = np.maximum([meter.beat for meter in tempo_map.meters], 0.0)
            editor.write_main(self.meter, "enum", beats, codes)

    def _write_markers(self, editor: _Editor, markers: Sequence[Marker]) -> None:
        wanted = Counter((marker.name, marker.beat) for marker in markers)
        for locator in self.found.locators:
            place = (locator.name or "", locator.time or 0.0)
            if wanted[place] > 0:
                wanted[place] -= 1
            else:
                editor.remove(locator.span)
        added = list(wanted.elements())
        if added:
            if self.found.locators_span is None:
                raise InputError(f"{self.path}: the set has no place for markers")
            editor.add_locators(self.found.locators_span, self.found.locators, added)

    def _write_states(self, editor: _Editor, instances: Sequence[PluginInstance]) -> None:
        devices = [device for device in self.found.devices if names.is_ours(device)]
        for device, before, now in zip(devices, self.before.instances, instances, strict=True):
            if before.state == now.state:
                continue
            if now.state is None or device.state_span is None:
                raise InputError(
                    f"{self.path}: the plugin's state on track {before.track!r} cannot be "
                    + ("taken away" if now.state is None else "written: the set has no place for it")
                )
            editor.write_state(device.state_span, now.state.to_bytes())


class _Editor:
    """Collects the patches to a set's XML, in its own encoding, indentation and line ends."""

    def __init__(self, xml: bytes, found: SetXml) -> None:
        self.xml = xml
        self.found = found
        self.patches: list[_Patch] = []
        self.added: set[int] = set()
        self.additions: dict[int, _Addition] = {}
        self.filled: set[int] = set()

    @property
    def has_changes(self) -> bool:
        return bool(self.patches or self.additions)

    def result(self) -> bytes:
        """The XML with the patches."""
        parts, at = [], 0
        patches = [*self.patches, *(self._adding(addition) for addition in self.additions.values())]
        for patch in sorted(patches, key=lambda patch: (patch.begin, patch.end)):
            parts += [self.xml[at : patch.begin], self._encoded(patch.text)]
            at = patch.end
        return b"".join([*parts, self.xml[at:]])

    def remove(self, span: Span) -> None:
        """Take an element out, with the line it stands on."""
        begin = span.begin - len(self._encoded(self._newline_before(span)))
        self.patches.append(_Patch(begin, span.after, ""))

    # --- automation ---

    def replace_events(self, source: LaneSource, lane: Lane) -> None:
        """Other events for a lane that is there."""
        assert source.events is not None
        beats, values = events_of(lane, stepped=source.kind != "float")
        self._replace_content(
            source.events, "Events", self._events(source.events, source.kind, beats, _scaled(values, source))
        )

    def remove_events(self, source: LaneSource, lane: Lane) -> None:
        """No more automation. Where it stands at what it automates, the initial event must stay."""
        if source.envelope is not None:
            self.remove(source.envelope)
        elif source.events is not None:
            first = _scaled(lane.values[:1], source)
            self._replace_content(source.events, "Events", self._events(source.events, source.kind, np.zeros(0), first))

    def add_events(self, parameter: Parameter, lane: Lane) -> None:
        """Automation for what has none yet."""
        kind = "bool" if parameter.manual in ("true", "false") else "float"
        bounds = names.bounds_of(parameter, kind)
        if bounds is None:
            raise InputError(
                f"{self.found.path}: the range of {lane.name!r} is not known, so that it cannot be automated"
            )
        source = LaneSource(kind, parameter, parameter.events.span if parameter.events else None, None, bounds)
        beats, values = events_of(lane, stepped=kind == "bool")
        self._write_parameter(parameter, source, beats, _scaled(values, source))

    def write_main(self, parameter: Parameter, kind: str, beats: Doubles, values: Doubles) -> None:
        """The events of the tempo or of the time signature, and what Live shows where there are none."""
        events = self._existing_events(parameter)
        if parameter.manual_span is not None:
            self._replace_whole(parameter.manual_span, f'<Manual Value="{_text(values[0], kind)}" />')
        single = len(beats) == 1
        rows = (np.zeros(0), values) if single else (beats, values)
        if events is not None:
            self._replace_content(events, "Events", self._events(events, kind, *rows))
        elif not single or parameter.manual_span is None:
            self._write_parameter(parameter, LaneSource(kind, parameter), *rows)

    def _existing_events(self, parameter: Parameter) -> Span | None:
        if parameter.events is not None:
            return parameter.events.span
        for envelope in self.found.envelopes:
            if parameter.target is not None and envelope.pointee == parameter.target and envelope.events is not None:
                return envelope.events.span
        return None

    def _write_parameter(self, parameter: Parameter, source: LaneSource, beats: Doubles, values: Doubles) -> None:
        self.added.add(id(parameter))
        if source.events is not None:
            self._replace_content(source.events, "Events", self._events(source.events, source.kind, beats, values))
            return
        track = parameter.track
        if track is None or track.envelopes is None or parameter.target is None:
            raise InputError(f"{self.found.path}: the set has no place for automation of {parameter.path[-1]}")
        self._add_envelope(track, track.envelopes, parameter.target, source.kind, beats, values)

    def _add_envelope(
        self, track: Track, envelopes: Span, target: int, kind: str, beats: Doubles, values: Doubles
    ) -> None:
        addition = self._addition(envelopes, "Envelopes")
        inner = addition.newline + "\t"
        there = sum(envelope.track is track for envelope in self.found.envelopes)
        events = "".join(f"{inner}\t\t\t{row}" for row in _event_rows(kind, beats, values, with_ids=True))
        addition.elements.append(
            f'{inner}<AutomationEnvelope Id="{there + len(addition.elements)}">'
            f'{inner}\t<EnvelopeTarget>{inner}\t\t<PointeeId Value="{target}" />{inner}\t</EnvelopeTarget>'
            f"{inner}\t<Automation>{inner}\t\t<Events>{events}{inner}\t\t</Events>"
            f"{inner}\t\t<AutomationTransformViewState>"
            f'{inner}\t\t\t<IsTransformPending Value="false" />{inner}\t\t\t<TimeAndValueTransforms />'
            f"{inner}\t\t</AutomationTransformViewState>{inner}\t</Automation>{inner}</AutomationEnvelope>"
        )

    def _events(self, span: Span, kind: str, beats: Doubles, values: Doubles) -> str:
        """What stands within <Events>: the initial event and the others, each on its line."""
        newline = self._newline_before(span) or "\n"
        with_ids = self.found.version >= FIRST_WITH_ENVELOPES or not self.found.version
        return "".join(f"{newline}\t{row}" for row in _event_rows(kind, beats, values, with_ids=with_ids)) + newline

    # --- slots, markers, states ---

    def is_filled(self, parameter: Parameter) -> bool:
        """Whether the slot was given a parameter by this editor, or cannot be given one."""
        return id(parameter) in self.filled or parameter.slot is None or len(parameter.slot.spans) != 3

    def fill_slot(self, parameter: Parameter, key: str, index: int) -> None:
        """What Live's Configure does: a free slot gets one of our parameters."""
        assert parameter.slot is not None
        ours = by_key(key)
        texts = {"ParameterName": ours.name, "ParameterId": str(ours.id), "VisualIndex": str(index + len(self.filled))}
        for tag, text in texts.items():
            self._replace_whole(parameter.slot.spans[tag], f'<{tag} Value="{escaped(text)}" />')
        self.filled.add(id(parameter))

    def add_locators(self, span: Span, there: Sequence[Locator], added: Sequence[tuple[str, float]]) -> None:
        """More markers."""
        addition = self._addition(span, "Locators")
        inner = addition.newline + "\t"
        first_id = max((locator.id for locator in there), default=-1) + 1
        for number, (name, beat) in enumerate(added, first_id):
            with_id = f' Id="{number}"' if self.found.version >= FIRST_WITH_ENVELOPES else ""
            addition.elements.append(
                f"{inner}<Locator{with_id}>"
                + (f'{inner}\t<LomId Value="0" />' if with_id else "")
                + f'{inner}\t<Time Value="{_text(beat, "float")}" />{inner}\t<Name Value="{escaped(name)}" />'
                f'{inner}\t<Annotation Value="" />{inner}\t<IsSongStart Value="false" />{inner}</Locator>'
            )

    def write_state(self, span: Span, state: bytes) -> None:
        """Our plugin's state, as Live spells it."""
        newline = self._newline_before(span) or "\n"
        content = "".join(f"{newline}\t{line}" for line in hex_lines(state)) + newline
        self._replace_content(span, "ProcessorState", content)

    # --- text ---

    def _replace_content(self, span: Span, tag: str, content: str) -> None:
        if self._is_empty_tag(span):
            self._replace_whole(span, f"<{tag}>{content}</{tag}>")
        else:
            self.patches.append(_Patch(span.inner, span.end, content))

    def _addition(self, span: Span, tag: str) -> _Addition:
        newline = self._newline_before(span) or "\n"
        return self.additions.setdefault(id(span), _Addition(span, tag, newline))

    def _adding(self, addition: _Addition) -> _Patch:
        span, content = addition.span, "".join(addition.elements)
        if self._is_empty_tag(span):
            return _Patch(span.begin, span.after, f"<{addition.tag}>{content}{addition.newline}</{addition.tag}>")
        at = span.end - len(self._encoded(self._blank_before(span.end)))
        return _Patch(at, at, content)

    def _replace_whole(self, span: Span, text: str) -> None:
        self.patches.append(_Patch(span.begin, span.after, text))

    def _is_empty_tag(self, span: Span) -> bool:
        slash = self._encoded("/>")
        return self.xml[span.inner - len(slash) : span.inner] == slash

    def _newline_before(self, span: Span) -> str:
        """The line end and the indentation before an element; "" if it does not begin its line."""
        blank = self._blank_before(span.begin)
        return blank if blank.startswith(("\n", "\r")) else ""

    def _blank_before(self, at: int) -> str:
        text = self.xml[max(0, at - 2000) : at].decode(self.found.encoding, errors="replace")
        match = re.search(r"(?:\r?\n)?[ \t]*\Z", text)
        return match[0] if match else ""

    def _encoded(self, text: str) -> bytes:
        return text.encode(self.found.encoding, errors="xmlcharrefreplace")


def hex_lines(state: bytes) -> list[str]:
    """A plugin's state as Live spells it."""
    digits = state.hex().upper()
    return [digits[at : at + HEX_PER_LINE] for at in range(0, len(digits), HEX_PER_LINE)]


def _scaled(values: Doubles, source: LaneSource) -> Doubles:
    """0..1 -> what stands in the file."""
    if source.bounds is None:
        return values
    low, high = source.bounds
    return values * (high - low) + low


def _event_rows(kind: str, beats: Doubles, values: Doubles, *, with_ids: bool) -> list[str]:
    """An element per event, before them the initial one."""
    tag = EVENT_TAGS[kind]
    times = [_text(INITIAL_TIME, "float"), *(_text(beat, "float") for beat in beats.tolist())]
    texts = [_text(value, kind) for value in [values[0], *values[: len(beats)]]]
    ids = [f'Id="{number}" ' if with_ids else "" for number in range(len(times))]
    return [f'<{tag} {i}Time="{t}" Value="{v}" />' for i, t, v in zip(ids, times, texts, strict=True)]


def _text(value: float, kind: str) -> str:
    """A value as Live writes it: no exponents."""
    if kind == "bool":
        return "true" if value >= 0.5 else "false"
    if kind == "enum":
        return str(round(value))
    return np.format_float_positional(value, trim="-")


def escaped(text: str) -> str:
    """Text for an attribute. Characters that XML cannot hold are left out."""
    text = re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "", text)
    return re.sub(r"[\t\n\r]", lambda match: f"&#{ord(match[0])};", html.escape(text))
