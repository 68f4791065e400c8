"""A set's XML, read as a stream: what can be automated, what automates it, clips, markers, and where in the file each
stands, so that it can be changed there.

Nothing is decided here: an envelope names its target by a number (`PointeeId`) that may come later in the file, and a
parameter's range may come after its id. `reading` puts the parts together.

Facts about the format (it is not public; these are from sets that Live 8 to 12 saved):

* Live 10 and later keep a track's arrangement automation in `AutomationEnvelopes`; Live 8 and 9 under each parameter,
  in its `ArrangerAutomation`. There is always an event at beat -63072000: the value before the first real one.
* What may be automated has an `AutomationTarget` with an `Id` (not in Live 8) and, in the element around it, `Manual`
  and perhaps a `MidiControllerRange`.
* A plugin has 128 parameter slots; `ParameterId` -1 is a free one.
* A VST3 plugin's class id is four signed 32-bit numbers, the UUID's digits in order; its state is hexadecimal text.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat

from terrain_core.errors import FileError

INITIAL_TIME: Final = -63072000.0
"""Where Live puts the event that holds before the first real one. Anything before -1e6 is taken for it."""

LARGEST_NUMBER: Final = 1e12
LARGEST_BOUND: Final = 4e38
"""Live writes the largest single-precision number where a range has no end."""

LARGEST_TIME: Final = 1e8
"""Beats."""

MOST_EVENTS: Final = 2_000_000
"""Automation events and notes of the arrangement together."""

MOST_ELEMENTS: Final = 4_000_000
MOST_NAMES: Final = 20_000
MOST_DEPTH: Final = 1_000
LARGEST_TAG: Final = 8 << 20
LARGEST_STATE_TEXT: Final = 64 << 20

MOST_TEXTS: Final = 10
"""How many texts that should not be there are reported one by one."""

TEXT_TAGS: Final = {"ProcessorState", "ControllerState", "Buffer", "Data"}
"""Elements that hold text: hexadecimal data. Everything else is in attributes."""

NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
MACRO_CHANNEL: Final = 16
TRUTH: Final = {"true": 1.0, "false": 0.0}
CURVE_NAMES: Final = ("CurveControl1X", "CurveControl1Y", "CurveControl2X", "CurveControl2Y")
EVENT_ATTRIBUTES: Final = {"Id", "Time", "Value", *CURVE_NAMES}
TRACK_TAGS: Final = ("AudioTrack", "MidiTrack", "GroupTrack", "ReturnTrack", "MasterTrack", "MainTrack", "PreHearTrack")
MAIN_TAGS: Final = ("MasterTrack", "MainTrack")
VALUE_KINDS: Final = {"FloatEvent": "float", "BoolEvent": "bool", "EnumEvent": "enum", "IntEvent": "enum"}


@dataclass(slots=True)
class Span:
    """Where an element stands: byte offsets in the XML of its first tag, what is in it, its last tag, what follows. An
    empty element (`<Events />`) has `inner` and `end` after its only tag.
    """

    begin: int = 0
    inner: int = 0
    end: int = 0
    after: int = 0


@dataclass(slots=True)
class Events:
    """A list of automation events. Curves: index of the event that begins one -> x, y of both control points, 0..1 of
    the segment's length and rise.
    """

    span: Span
    line: int
    kind: str = ""  # "float", "bool", "enum"
    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    curves: dict[int, tuple[float, ...]] = field(default_factory=dict)
    has_ids: bool = False


@dataclass(slots=True)
class Track:
    """A track, a group, a return, the main track or the cue."""

    tag: str
    id: int
    line: int
    depth: int
    effective_name: str = ""
    user_name: str = ""
    is_named: bool = False
    group: int = -1
    frozen: bool = False
    soloed: bool = False
    sends: int = 0
    takes: int = 0
    session_clips: int = 0
    session_envelopes: int = 0
    envelopes: Span | None = None

    @property
    def name(self) -> str:
        return self.effective_name or self.user_name

    @property
    def is_main(self) -> bool:
        return self.tag in MAIN_TAGS


@dataclass(slots=True)
class Device:
    """A device, or a chain of a rack (whose tag ends with "Branch")."""

    tag: str
    line: int
    depth: int
    track: Track | None
    parent: Device | None
    user_name: str = ""
    plugin_name: str = ""
    plugin_format: str = ""  # "vst3", "vst2", "au", "" for Live's own
    unique_id: str = ""  # VST2's
    uid: dict[int, int] = field(default_factory=dict)
    preset_uid: dict[int, int] = field(default_factory=dict)
    browser_id: str = ""
    state_text: list[str] = field(default_factory=list)
    state_span: Span | None = None
    macro_names: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Slot:
    """What a plugin or a Max device says of one of its parameters."""

    name: str = ""
    parameter_id: int | None = None
    low: float | None = None
    high: float | None = None
    spans: dict[str, Span] = field(default_factory=dict)  # of a free slot of ours: tag -> where it stands


@dataclass(slots=True)
class Parameter:
    """What can be automated.

    `path`: tags from the device (or the track) down to it. `target`, `modulation`: the numbers by which envelopes name
    it. `events`: Live 8 and 9's automation. `controller`: 0 pitch bend, 1 channel pressure, else CC n - 2.
    `macro`: the number of the macro around it that moves it.
    """

    depth: int
    line: int
    track: Track | None
    device: Device | None
    path: tuple[str, ...]
    slot: Slot | None = None
    send: int = 0
    target: int | None = None
    modulation: int | None = None
    controller: int | None = None
    macro: int | None = None
    manual: str = ""
    manual_span: Span | None = None
    low: float | None = None
    high: float | None = None
    events: Events | None = None


@dataclass(slots=True)
class Envelope:
    """Automation that names its target; within a clip its times count from the clip's content."""

    line: int
    track: Track | None
    span: Span
    pointee: int | None = None
    events: Events | None = None
    own_loop: bool = False


@dataclass(slots=True)
class Clip:
    """A clip of the arrangement. Times in beats."""

    tag: str
    line: int
    track: Track | None
    numbers: dict[str, float] = field(default_factory=dict)
    truths: dict[str, bool] = field(default_factory=dict)
    envelopes: list[Envelope] = field(default_factory=list)
    notes: list[tuple[float, float, int, float]] = field(default_factory=list)  # time, duration, key, velocity 0..1
    expressive: int = 0
    chances: int = 0


@dataclass(slots=True)
class Locator:
    """A marker."""

    line: int
    span: Span
    id: int = -1
    time: float | None = None
    name: str | None = None


@dataclass
class SetXml:
    """Everything that was found, in the file's order."""

    path: Path
    creator: str = ""
    version: int = 0
    encoding: str = "utf-8"
    has_live_set: bool = False
    tracks: list[Track] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    locators: list[Locator] = field(default_factory=list)
    locators_span: Span | None = None
    unknown: list[str] = field(default_factory=list)


def parse(path: Path, pieces: Iterable[bytes], wanted_state: Callable[[Device], bool]) -> SetXml:
    """Read a set's XML.

    Args:
        wanted_state: whether a plugin's state is worth keeping, asked where it begins.
    Raises:
        FileError: not well-formed, no set, a number that is none, or made to harm; with the line.
    """
    return _Parser(path, wanted_state).run(pieces)


class _Parser:
    """Expat's events -> `SetXml`. `stack` holds the tags that are open; `frames` what is to be done when they close."""

    def __init__(self, path: Path, wanted_state: Callable[[Device], bool]) -> None:
        self.found = SetXml(path)
        self.wanted_state = wanted_state
        self.stack: list[str] = []
        self.frames: list[tuple[int, Callable[[], None]]] = []
        self.awaiting: list[tuple[Span, str]] = []
        self.elements = 0
        self.counted = 0
        self.track: Track | None = None
        self.device: Device | None = None
        self.slot: Slot | None = None
        self.parameter: Parameter | None = None
        self.envelope: Envelope | None = None
        self.clip: Clip | None = None
        self.locator: Locator | None = None
        self.events: Events | None = None
        self.events_depth = -1
        self.key_notes: list[tuple[float, float, float]] = []
        self.key: int | None = None
        self.text: list[str] | None = None
        self.text_size = 0
        self.texts = 0
        self.expat = expat.ParserCreate()
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end
        # Text comes as what no other handler takes, so that a comment within it is not taken for it.
        self.expat.DefaultHandlerExpand = self._characters
        self.expat.CommentHandler = self._aside
        self.expat.ProcessingInstructionHandler = self._aside
        self.expat.StartDoctypeDeclHandler = self._doctype
        self.expat.XmlDeclHandler = self._declaration

    def run(self, pieces: Iterable[bytes]) -> SetXml:
        fed = 0
        try:
            for piece in pieces:
                self._note_encoding(piece if not fed else b"")
                self.expat.Parse(piece, False)
                fed += len(piece)
                if fed - self.expat.CurrentByteIndex > LARGEST_TAG:
                    raise self.error(f"has a tag or a comment of more than {LARGEST_TAG >> 20} MiB")
                if len(self.expat.intern) > MOST_NAMES:
                    raise self.error(f"has more than {MOST_NAMES:,} different tags")
            self.expat.Parse(b"", True)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise FileError(
                self.found.path, f"is not well-formed XML ({reason})", position=_line(error.lineno)
            ) from None
        except ValueError as error:
            if isinstance(error, FileError):
                raise
            raise self.error(f"has an encoding that cannot be read ({error})") from None
        except LookupError as error:  # Python knows no such encoding
            raise self.error(f"has an encoding that cannot be read ({error})") from None
        if not self.found.has_live_set:
            problem = "is an Ableton document without a LiveSet"
            raise FileError(self.found.path, problem, hint="presets (.adg, .adv) hold no arrangement")
        return self.found

    # --- expat's events ---

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.awaiting:
            self._settle()
        stack = self.stack
        self.elements += 1
        if len(stack) == self.events_depth and self.events is not None:
            self._event(tag, attributes)
        elif stack and stack[-1] in ("Devices", "Branches"):
            stack.append(tag)
            self._open_device(tag)
            return
        elif tag != "MidiNoteEvent" and stack[-2:] == ["KeyTrack", "Notes"]:
            self.leave(f"<{tag[:40]}> among notes not read")
        stack.append(tag)
        opener = OPENERS.get(tag)
        if opener is not None:
            opener(self, attributes)
        elif len(stack) < 3:
            self._check_root(tag)
        elif len(stack) > MOST_DEPTH:
            raise self.error(f"is nested more than {MOST_DEPTH:,} deep")
        if self.elements > MOST_ELEMENTS:
            raise self.error(f"has more than {MOST_ELEMENTS:,} elements")

    def _end(self, _: str) -> None:
        if self.awaiting:
            self._settle()
        depth = len(self.stack)
        while self.frames and self.frames[-1][0] == depth:
            self.frames.pop()[1]()
        self.stack.pop()

    def _settle(self) -> None:
        """Something follows a tag: that is where the tag ended."""
        index = self.expat.CurrentByteIndex
        for span, name in self.awaiting:
            setattr(span, name, index)
        self.awaiting.clear()

    def _await(self, span: Span, name: str) -> None:
        """Have `span.name` set to the place where the tag that is being read ends."""
        self.awaiting.append((span, name))

    def _characters(self, text: str) -> None:
        """Text between tags: indentation nearly always."""
        if self.awaiting:
            self._settle()
        if self.text is not None:
            self.text_size += len(text)
            if self.text_size > LARGEST_STATE_TEXT:
                raise self.error("has a plugin state that is larger than any of ours")
            self.text.append(text)
        elif not text.isspace() and self.stack and self.stack[-1] not in TEXT_TAGS and self.texts < MOST_TEXTS:
            self.texts += 1
            self.leave(f"text {text.strip()[:40]!r} in <{self.stack[-1]}>, where there should be none, not read")

    def _aside(self, *_: object) -> None:
        """A comment or an instruction to some program."""
        if self.awaiting:
            self._settle()

    def _doctype(self, *_: object) -> None:
        raise self.error("has a document type, where entities are declared; expected none")

    def _declaration(self, _: str, encoding: str | None, __: int) -> None:
        if encoding and not self.found.encoding.startswith("utf-16"):
            self.found.encoding = encoding

    def _note_encoding(self, beginning: bytes) -> None:
        if beginning[:2] in (b"\xff\xfe", b"<\0"):
            self.found.encoding = "utf-16-le"
        elif beginning[:2] in (b"\xfe\xff", b"\0<"):
            self.found.encoding = "utf-16-be"

    def _check_root(self, tag: str) -> None:
        if len(self.stack) == 1:
            raise self.error(f"begins with <{tag[:40]}>, expected <Ableton>")

    # --- what opens ---

    def _until_end(self, closer: Callable[[], None]) -> None:
        self.frames.append((len(self.stack), closer))

    def _spanned(self) -> Span:
        """The span of the element that opens, its end left open."""
        span = Span(self.expat.CurrentByteIndex)
        self._await(span, "inner")
        return span

    def _close_span(self, span: Span) -> None:
        span.end = self.expat.CurrentByteIndex
        self._await(span, "after")

    def _root(self, attributes: dict[str, str]) -> None:
        if len(self.stack) != 1:
            return
        self.found.creator = attributes.get("Creator", "")
        version = re.match(r"(?:Ableton Live )?(\d+)\.", attributes.get("MinorVersion", "") or self.found.creator)
        self.found.version = int(version[1][:4]) if version else 0

    def _live_set(self, _: dict[str, str]) -> None:
        self.found.has_live_set |= len(self.stack) == 2

    def _open_track(self, attributes: dict[str, str]) -> None:
        if self.stack[-2] not in ("Tracks", "LiveSet") or self.track is not None:
            return
        track_id = self._whole(attributes, "Id") if "Id" in attributes else -1
        self.track = Track(self.stack[-1], track_id, self.line, len(self.stack))
        self.found.tracks.append(self.track)
        self._until_end(self._close_track)

    def _close_track(self) -> None:
        self.track = None

    def _open_device(self, tag: str) -> None:
        device = Device(tag, self.line, len(self.stack), self.track, self.device)
        self.found.devices.append(device)
        self.frames.append((len(self.stack), partial(self._restore_device, self.device)))
        self.device = device

    def _restore_device(self, outer: Device | None) -> None:
        self.device = outer

    def _open_slot(self, _: dict[str, str]) -> None:
        self.slot = Slot()
        self._until_end(self._close_slot)

    def _close_slot(self) -> None:
        self.slot = None

    def _parameter_around(self, levels: int) -> Parameter:
        """The parameter that is `levels` above the element that opens; made when it is first heard of."""
        depth = len(self.stack) - levels
        if self.parameter is None or self.parameter.depth != depth:
            owner = self.device or self.track
            path = tuple(self.stack[owner.depth if owner else 0 : depth])
            sends = self.track.sends if self.track else 0
            made = Parameter(depth, self.line, self.track, self.device, path, self.slot, sends)
            self.frames.append((depth, partial(self._close_parameter, made, self.parameter)))
            # The frames of what opened between are none: this is called when the first child opens.
            self.parameter = made
        return self.parameter

    def _close_parameter(self, made: Parameter, outer: Parameter | None) -> None:
        self.parameter = outer
        if made.target is not None or made.modulation is not None or made.events is not None:
            self.found.parameters.append(made)

    def _manual(self, attributes: dict[str, str]) -> None:
        parameter = self._parameter_around(1)
        parameter.manual = attributes.get("Value", "")
        if self.track is not None and self.track.is_main:
            parameter.manual_span = self._spanned()
            self._until_end(partial(self._close_span, parameter.manual_span))

    def _target(self, attributes: dict[str, str]) -> None:
        self._parameter_around(1).target = self._whole(attributes, "Id")

    def _modulation(self, attributes: dict[str, str]) -> None:
        if "Id" in attributes:
            self._parameter_around(1).modulation = self._whole(attributes, "Id")

    def _range(self, attributes: dict[str, str]) -> None:
        if self.stack[-2] == "MidiControllerRange":
            parameter = self._parameter_around(2)
            bound = self._bound(attributes)
            if self.stack[-1] == "Min":
                parameter.low = bound
            else:
                parameter.high = bound

    def _bound(self, attributes: dict[str, str]) -> float | None:
        """An end of a range; None, and reported, if it is no number: nothing but the scale depends on it."""
        text = attributes.get("Value", "")
        if NUMBER.fullmatch(text):
            return float(text)
        self.leave(f"a range from or to {text[:40]!r} not read")
        return None

    def _macro(self, attributes: dict[str, str]) -> None:
        """What remote control, or a rack's macro, moves a parameter: the macros are controllers on channel 16."""
        if self.stack[-2] == "KeyMidi":
            parameter = self._parameter_around(2)
            number = self._whole(attributes, "Value")
            if self.stack[-1] == "Channel":
                parameter.macro = -1 if number == MACRO_CHANNEL else None
            elif parameter.macro is not None:
                parameter.macro = number

    def _slot_range(self, attributes: dict[str, str]) -> None:
        if self.slot is not None and self.stack[-2].startswith("MxD"):
            name = "low" if self.stack[-1] == "MinValue" else "high"
            setattr(self.slot, name, self._bound(attributes))

    def _slot_name(self, attributes: dict[str, str]) -> None:
        if self.slot is not None:
            self.slot.name = attributes.get("Value", "")
            self._slot_span(attributes)

    def _slot_id(self, attributes: dict[str, str]) -> None:
        if self.slot is not None:
            self.slot.parameter_id = self._whole(attributes, "Value")
            self._slot_span(attributes)

    def _slot_span(self, _: dict[str, str]) -> None:
        if self.slot is not None and self.device is not None and self.wanted_state(self.device):
            span = self.slot.spans[self.stack[-1]] = self._spanned()
            self._until_end(partial(self._close_span, span))

    def _controller(self, attributes: dict[str, str]) -> None:
        parameter = Parameter(len(self.stack), self.line, self.track, None, (self.stack[-1],))
        parameter.controller = int(self.stack[-1].partition(".")[2])
        parameter.target = self._whole(attributes, "Id")
        self.found.parameters.append(parameter)

    def _send(self, _: dict[str, str]) -> None:
        if self.track is not None:
            self.track.sends += 1

    def _effective_name(self, attributes: dict[str, str]) -> None:
        if self._is_below_track("Name"):
            assert self.track is not None
            self.track.effective_name = attributes.get("Value", "")
            self.track.is_named |= "Value" in attributes

    def _user_name(self, attributes: dict[str, str]) -> None:
        if self._is_below_track("Name"):
            assert self.track is not None
            self.track.user_name = attributes.get("Value", "")
            self.track.is_named |= "Value" in attributes
        elif self.device is not None and len(self.stack) == self.device.depth + 1:
            self.device.user_name = attributes.get("Value", "")

    def _is_below_track(self, parent: str) -> bool:
        return self.track is not None and len(self.stack) == self.track.depth + 2 and self.stack[-2] == parent

    def _track_number(self, attributes: dict[str, str]) -> None:
        if self.track is None or len(self.stack) != self.track.depth + 1:
            return
        if self.stack[-1] == "TrackGroupId":
            self.track.group = self._whole(attributes, "Value")
        else:
            self.track.frozen = self._truth(attributes)

    def _solo(self, attributes: dict[str, str]) -> None:
        if self.track is not None:
            self.track.soloed |= self._truth(attributes)

    def _name(self, attributes: dict[str, str]) -> None:
        text, parent = attributes.get("Value", ""), self.stack[-2]
        if self.locator is not None:
            self.locator.name = attributes.get("Value")
        elif self.slot is not None and parent.startswith("MxD"):
            self.slot.name = text
        elif self.device is not None and parent in PLUGIN_FORMATS:
            self.device.plugin_name = text

    def _plugin_info(self, _: dict[str, str]) -> None:
        if self.device is not None:
            self.device.plugin_format = PLUGIN_FORMATS[self.stack[-1]]

    def _plug_name(self, attributes: dict[str, str]) -> None:
        if self.device is not None:
            self.device.plugin_name = attributes.get("Value", "")

    def _unique_id(self, attributes: dict[str, str]) -> None:
        if self.device is not None and self.stack[-2] == "VstPluginInfo":
            self.device.unique_id = attributes.get("Value", "")

    def _uid_field(self, attributes: dict[str, str]) -> None:
        if self.device is None or self.stack[-2] != "Uid":
            return
        fields = self.device.preset_uid if self.stack[-3] == "Vst3Preset" else self.device.uid
        fields[int(self.stack[-1][-1])] = self._whole(attributes, "Value") & 0xFFFFFFFF

    def _browser_id(self, attributes: dict[str, str]) -> None:
        if self.device is not None:
            self.device.browser_id = attributes.get("Value", "")

    def _state(self, _: dict[str, str]) -> None:
        if self.device is None or not self.wanted_state(self.device):
            return
        self.device.state_span = self._spanned()
        self.text = self.device.state_text
        self._until_end(partial(self._close_state, self.device.state_span))

    def _close_state(self, span: Span) -> None:
        self.text = None
        self._close_span(span)

    def _macro_name(self, attributes: dict[str, str]) -> None:
        if self.device is not None:
            self.device.macro_names[int(self.stack[-1].partition(".")[2])] = attributes.get("Value", "")

    # --- envelopes and their events ---

    def _track_envelopes(self, _: dict[str, str]) -> None:
        if self._is_below_track("AutomationEnvelopes"):
            assert self.track is not None
            self.track.envelopes = self._spanned()
            self._until_end(partial(self._close_span, self.track.envelopes))

    def _open_envelope(self, _: dict[str, str]) -> None:
        envelope = Envelope(self.line, self.track, self._spanned())
        if self.stack[-1] == "AutomationEnvelope":
            self.found.envelopes.append(envelope)
        elif self.clip is not None:
            self.clip.envelopes.append(envelope)
        elif self.track is not None:
            self.track.session_envelopes += 1
        self.envelope = envelope
        self._until_end(self._close_envelope)

    def _close_envelope(self) -> None:
        if self.envelope is not None:
            self._close_span(self.envelope.span)
        self.envelope = None

    def _pointee(self, attributes: dict[str, str]) -> None:
        if self.envelope is not None:
            self.envelope.pointee = self._whole(attributes, "Value")

    def _loop_slot(self, _: dict[str, str]) -> None:
        if self.stack[-2] == "LoopSlot" and self.envelope is not None:
            self._until_end(partial(self._close_loop_slot, self.envelope, self.elements))

    def _close_loop_slot(self, envelope: Envelope, elements: int) -> None:
        envelope.own_loop = self.elements > elements

    def _open_events(self, _: dict[str, str]) -> None:
        parent = self.stack[-2]
        if parent == "Automation" and self.envelope is not None and self.events is None:
            self.envelope.events = self.events = Events(self._spanned(), self.line)
        elif parent == "ArrangerAutomation" and self.stack[-3] not in ("ClipTimeable", "Sample"):
            parameter = self._parameter_around(2)
            parameter.events = self.events = Events(self._spanned(), self.line)
        else:
            return
        self.events_depth = len(self.stack)
        self._until_end(self._close_events)

    def _close_events(self) -> None:
        if self.events is not None:
            self._close_span(self.events.span)
        self.events = None
        self.events_depth = -1

    def _event(self, tag: str, attributes: dict[str, str]) -> None:
        events = self.events
        assert events is not None
        kind = VALUE_KINDS.get(tag)
        if kind is None:
            self.leave(f"<{tag[:40]}> among automation events not read")
            return
        if events.kind != kind:
            if events.kind:
                raise self.error(f"<{tag}> stands among events of type {events.kind}")
            events.kind = kind
            events.has_ids = "Id" in attributes
        time = self._number(attributes, "Time")
        if events.times and time < events.times[-1]:
            raise self.error(f"an event at beat {time:g} comes after one at beat {events.times[-1]:g}; expected order")
        if time > LARGEST_TIME:
            raise self.error(f"an event at beat {time:g}, expected at most {LARGEST_TIME:g}")
        events.times.append(time)
        events.values.append(
            self._truth_number(attributes) if kind == "bool" else self._number(attributes, "Value", LARGEST_BOUND)
        )
        self._count()
        if len(attributes) > 3 or (len(attributes) == 3 and "Id" not in attributes):
            self._more_of_event(events, attributes)

    def _more_of_event(self, events: Events, attributes: Mapping[str, str]) -> None:
        if not attributes.keys() <= EVENT_ATTRIBUTES:
            names = ", ".join(sorted(attributes.keys() - EVENT_ATTRIBUTES))
            self.leave(f"an automation event's {names[:80]} not read")
        if not attributes.keys().isdisjoint(CURVE_NAMES):
            curve = tuple(self._number(attributes, name) if name in attributes else 0.5 for name in CURVE_NAMES)
            if curve != (0.5, 0.5, 0.5, 0.5):
                events.curves[len(events.times) - 1] = curve

    # --- clips and locators ---

    def _open_clip(self, _: dict[str, str]) -> None:
        if self.clip is not None or self.track is None or "FreezeSequencer" in self.stack:
            return
        if self.stack[-3:-1] == ["ArrangerAutomation", "Events"]:
            self.clip = Clip(self.stack[-1], self.line, self.track)
            self.found.clips.append(self.clip)
            self._until_end(self._close_clip)
        elif "TakeLanes" in self.stack:
            self.track.takes += 1
        elif "ClipSlot" in self.stack:
            self.track.session_clips += 1

    def _close_clip(self) -> None:
        self.clip = None

    def _clip_number(self, attributes: dict[str, str]) -> None:
        if self.clip is not None and self.stack[-2] in (self.clip.tag, "Loop"):
            self.clip.numbers[self.stack[-1]] = self._time(attributes, "Value")

    def _clip_truth(self, attributes: dict[str, str]) -> None:
        if self.clip is not None and self.stack[-2] in (self.clip.tag, "Loop"):
            self.clip.truths[self.stack[-1]] = self._truth(attributes)

    def _open_key_track(self, _: dict[str, str]) -> None:
        if self.clip is not None:
            self.key_notes, self.key = [], None
            self._until_end(self._close_key_track)

    def _close_key_track(self) -> None:
        assert self.clip is not None
        if self.key is None or not 0 <= self.key <= 127:
            raise self.error(f"a clip has notes on key {self.key}, expected 0 to 127")
        self.clip.notes += [(time, duration, self.key, velocity) for time, duration, velocity in self.key_notes]

    def _midi_key(self, attributes: dict[str, str]) -> None:
        self.key = self._whole(attributes, "Value")

    def _note(self, attributes: dict[str, str]) -> None:
        if self.clip is None or attributes.get("IsEnabled") == "false":
            return
        time, duration = self._time(attributes, "Time"), self._time(attributes, "Duration")
        velocity = self._number(attributes, "Velocity") / 127
        if duration < 0 or not 0 <= velocity <= 1:
            raise self.error(f"a note has the duration {duration:g} and the velocity {velocity * 127:g}")
        self.clip.chances += attributes.get("Probability", "1") != "1"
        self.key_notes.append((time, duration, velocity))
        self._count()

    def _expressive_note(self, _: dict[str, str]) -> None:
        if self.clip is not None:
            self.clip.expressive += 1

    def _locators(self, _: dict[str, str]) -> None:
        if self.stack[-2] == "Locators":
            self.found.locators_span = self._spanned()
            self._until_end(partial(self._close_span, self.found.locators_span))

    def _open_locator(self, attributes: dict[str, str]) -> None:
        if self.stack[-2] == "Locators":
            self.locator = Locator(
                self.line, self._spanned(), self._whole(attributes, "Id") if "Id" in attributes else -1
            )
            self._until_end(self._close_locator)

    def _close_locator(self) -> None:
        assert self.locator is not None
        self._close_span(self.locator.span)
        self.found.locators.append(self.locator)
        self.locator = None

    def _locator_time(self, attributes: dict[str, str]) -> None:
        if self.locator is not None and self.stack[-2] == "Locator":
            self.locator.time = self._time(attributes, "Value")

    # --- values ---

    def _number(self, attributes: Mapping[str, str], name: str, largest: float = LARGEST_NUMBER) -> float:
        text = attributes.get(name, "")
        # float() alone would take "nan", "1_0" and " 1" as well.
        number = float(text) if NUMBER.fullmatch(text) else math.inf
        if abs(number) > largest:
            raise self.error(f"<{self.stack[-1]}> has {name}={text!r:.40}, expected a number of sensible size")
        return number

    def _time(self, attributes: Mapping[str, str], name: str) -> float:
        number = self._number(attributes, name)
        if abs(number) > LARGEST_TIME:
            raise self.error(f"<{self.stack[-1]}> has the time {number:g}, expected at most {LARGEST_TIME:g} beats")
        return number

    def _whole(self, attributes: Mapping[str, str], name: str) -> int:
        number = self._number(attributes, name)
        if number != int(number):
            raise self.error(f"<{self.stack[-1]}> has {name}={number:g}, expected a whole number")
        return int(number)

    def _truth_number(self, attributes: Mapping[str, str]) -> float:
        text = attributes.get("Value", "")
        if text not in TRUTH:
            raise self.error(f"<{self.stack[-1]}> has Value={text!r:.40}, expected true or false")
        return TRUTH[text]

    def _truth(self, attributes: Mapping[str, str]) -> bool:
        return self._truth_number(attributes) == 1.0

    def _count(self) -> None:
        self.counted += 1
        if self.counted > MOST_EVENTS:
            raise self.error(f"has more than {MOST_EVENTS:,} automation events and notes")

    @property
    def line(self) -> int:
        return self.expat.CurrentLineNumber

    def leave(self, what: str) -> None:
        self.found.unknown.append(f"{_line(self.line)}: {what}")

    def error(self, problem: str) -> FileError:
        return FileError(self.found.path, problem, position=_line(self.line))


def _line(number: int) -> str:
    return f"line {number} of the XML"


place = _line

PLUGIN_FORMATS: Final = {"Vst3PluginInfo": "vst3", "VstPluginInfo": "vst2", "AuPluginInfo": "au"}
"""What describes a plugin -> its format."""

Opener = Callable[[Any, dict[str, str]], None]

OPENERS: Final[dict[str, Opener]] = {
    "Ableton": _Parser._root,
    "LiveSet": _Parser._live_set,
    **dict.fromkeys(TRACK_TAGS, _Parser._open_track),
    **dict.fromkeys(("PluginFloatParameter", "PluginEnumParameter"), _Parser._open_slot),
    **dict.fromkeys((f"MxD{kind}Parameter" for kind in ("Float", "Int", "Bool", "Enum")), _Parser._open_slot),
    "Manual": _Parser._manual,
    "AutomationTarget": _Parser._target,
    "ModulationTarget": _Parser._modulation,
    "Channel": _Parser._macro,
    "NoteOrController": _Parser._macro,
    "Min": _Parser._range,
    "Max": _Parser._range,
    "MinValue": _Parser._slot_range,
    "MaxValue": _Parser._slot_range,
    "ParameterName": _Parser._slot_name,
    "ParameterId": _Parser._slot_id,
    "VisualIndex": _Parser._slot_span,
    **{f"ControllerTargets.{n}": _Parser._controller for n in range(131)},
    "TrackSendHolder": _Parser._send,
    "EffectiveName": _Parser._effective_name,
    "UserName": _Parser._user_name,
    "TrackGroupId": _Parser._track_number,
    "Freeze": _Parser._track_number,
    "SoloSink": _Parser._solo,
    "Name": _Parser._name,
    **dict.fromkeys(PLUGIN_FORMATS, _Parser._plugin_info),
    "PlugName": _Parser._plug_name,
    "UniqueId": _Parser._unique_id,
    **{f"Fields.{n}": _Parser._uid_field for n in range(4)},
    "BranchDeviceId": _Parser._browser_id,
    "ProcessorState": _Parser._state,
    **{f"MacroDisplayNames.{n}": _Parser._macro_name for n in range(16)},
    "Envelopes": _Parser._track_envelopes,
    **dict.fromkeys(("AutomationEnvelope", "ClipEnvelope", "Modulation"), _Parser._open_envelope),
    "PointeeId": _Parser._pointee,
    "Value": _Parser._loop_slot,
    "Events": _Parser._open_events,
    **dict.fromkeys(("MidiClip", "AudioClip"), _Parser._open_clip),
    **dict.fromkeys(("CurrentStart", "CurrentEnd", "LoopStart", "LoopEnd", "StartRelative"), _Parser._clip_number),
    **dict.fromkeys(("LoopOn", "Disabled", "IsWarped"), _Parser._clip_truth),
    "KeyTrack": _Parser._open_key_track,
    "MidiKey": _Parser._midi_key,
    "MidiNoteEvent": _Parser._note,
    "PerNoteEventList": _Parser._expressive_note,
    "Locators": _Parser._locators,
    "Locator": _Parser._open_locator,
    "Time": _Parser._locator_time,
}
"""Tag -> what is noted when it opens."""
