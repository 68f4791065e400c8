"""What MIDI events mean: controllers become lanes, per-note ones follow the last note, notes get their ends.

Values are 0..1: 7 bits as v / 127, 14 bits as v / 16383. Pitch bend is straight on either side of its centre (8192),
so that lowest, centre and highest are exactly 0, 0.5 and 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from terrain_core.lanes import CODES, Lane, Shape
from terrain_core.tempo import FASTEST_BPM, SLOWEST_BPM, Meter, TempoMap, TempoPoint
from terrain_daws.project import Marker, Note, Track

DEFAULT_BPM: Final = 120.0
MICROSECONDS_A_MINUTE: Final = 60_000_000

BANK_AND_DATA = {6: "MSB", 38: "LSB", 96: "UP", 97: "DOWN"}  # data entry and increment, for the parameter selected
NRPN_SELECT, RPN_SELECT = (
    {99: 0, 98: 1},
    {101: 0, 100: 1},
)  # controller -> 0 for the high, 1 for the low 7 bits of the number
NO_PARAMETER: Final = 0x3FFF
MPE_CONFIGURATION: Final = 6  # the registered parameter that declares a zone
FIRST_CHANNEL_MODE: Final = 120

MPE_START: Final = {"MPE pitch bend": 0.5, "MPE timbre": 64 / 127, "MPE pressure": 0.0}
MPE_DIMENSION: Final = {"pitch bend": "MPE pitch bend", "CC 74": "MPE timbre", "channel pressure": "MPE pressure"}

NO_CURVES: Final[Mapping[int, tuple[Shape, float]]] = MappingProxyType({})


@dataclass
class _Stream:
    """The events of one controller (or pitch bend, or pressure) on one track and channel.

    `rows` are (tick, part, value): part "ALL" has the final value 0..1; "MSB", "LSB", "UP" and "DOWN" make up a number
    of 14 bits. `curves` has the shape and tension that a row's segment has, by the row's index, where it is no hold.
    """

    name: str
    source: str
    track: str
    channel: int
    rows: list[tuple[float, str, float]] = field(default_factory=list)
    curves: dict[int, tuple[Shape, float]] = field(default_factory=dict)

    def resolved(self) -> tuple[list[float], list[float]]:
        """Ticks and values 0..1. A new MSB sets the LSB to 0, as MIDI wants it; a number that only ever gets one half
        has 7 bits.
        """
        parts = {part for _, part, _ in self.rows}
        if parts == {"ALL"}:
            return [tick for tick, _, _ in self.rows], [value for _, _, value in self.rows]
        wide = {"MSB", "LSB"} <= parts
        only_low = "LSB" in parts and not wide
        number, ticks, values = 0, [], []
        for tick, part, value in self.rows:
            byte = int(value)
            if part == "LSB":
                number = (number & ~0x7F) | byte
            elif part == "MSB":
                number = byte << 7
            else:
                step = 1 if wide or only_low else 128
                number = min(max(number + (step if part == "UP" else -step), 0), 0x3FFF)
            ticks.append(tick)
            values.append(number / 0x3FFF if wide else (number & 0x7F if only_low else number >> 7) / 127)
        return ticks, values

    @property
    def is_wide(self) -> bool:
        return {"MSB", "LSB"} <= {part for _, part, _ in self.rows}


@dataclass
class MidiEvents:
    """What the events of all tracks mean: lanes, notes, tempo, meters and markers.

    Attributes:
        ticks_per_beat: how many ticks a quarter note has; ticks may be fractions.
        unknown: gets a line for each kind of event that is not taken over.
    """

    ticks_per_beat: float
    unknown: list[str]
    tracks: list[Track] = field(default_factory=list)
    streams: dict[tuple[int, int, str], _Stream] = field(default_factory=dict)
    selected: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    tempi: list[tuple[float, float]] = field(default_factory=list)
    meters: list[tuple[float, int, int]] = field(default_factory=list)
    markers: list[tuple[float, str]] = field(default_factory=list)
    # tick, end, channel, key, velocity, track
    rows_of_notes: list[tuple[float, float, int, int, int, str]] = field(default_factory=list)
    zone_members: dict[int, set[int]] = field(default_factory=dict)  # master channel -> member channels
    written: list[_Stream] = field(default_factory=list)  # what the latest event was added to

    def add_track(
        self,
        number: int,
        messages: Sequence[tuple[float, Any]],
        *,
        has_tempo: bool,
        name: str = "",
        curves: Mapping[int, tuple[Shape, float]] = NO_CURVES,
    ) -> None:
        """Take in a track.

        Args:
            messages: (tick, mido message), in order.
            has_tempo: whether its tempo events count.
            name: where the track has none in its events.
            curves: shape and tension of the segment after a controller's message, by its index in `messages`, for
                formats that have such a thing; the rest are held.
        """
        name = next((_text(m.name) for _, m in messages if m.type == "track_name" and m.name), name)
        track = name or f"track {number}"
        self.tracks.append(Track(track))
        place = f"track {number} {name!r}" if name else f"track {number}"
        left: dict[str, list[float]] = defaultdict(list)
        sounding: dict[tuple[int, int], list[tuple[float, int]]] = defaultdict(list)
        for index, (tick, message) in enumerate(messages):
            kind = message.type
            self.written.clear()
            if kind in ("note_on", "note_off"):
                self._note(tick, message, sounding, left)
            elif kind == "control_change":
                self._controller(tick, message, number, track, left)
            elif kind == "pitchwheel":
                self._stream(number, track, message.channel, "pitch bend").rows.append(
                    (tick, "ALL", bend_to_unit(message.pitch))
                )
            elif kind == "aftertouch":
                self._stream(number, track, message.channel, "channel pressure").rows.append(
                    (tick, "ALL", message.value / 127)
                )
            elif kind == "polytouch":
                self._stream(number, track, message.channel, f"poly pressure {message.note}").rows.append(
                    (tick, "ALL", message.value / 127)
                )
            elif kind == "set_tempo" and has_tempo and _is_playable_tempo(message.tempo):
                self.tempi.append((tick, MICROSECONDS_A_MINUTE / message.tempo))
            elif kind == "time_signature" and message.numerator > 0:
                self.meters.append((tick, message.numerator, message.denominator))
            elif kind in ("marker", "cue_marker"):
                self.markers.append((tick, _text(message.text)))
            elif kind not in ("track_name", "end_of_track"):
                left[_describe(message)].append(tick)
            if self.written and index in curves:
                stream = self.written[-1]
                stream.curves[len(stream.rows) - 1] = curves[index]
        end = messages[-1][0] if messages else 0
        for (channel, key), starts in sounding.items():
            for start, velocity in starts:
                self.rows_of_notes.append((start, end, channel, key, velocity, track))
                left[f"a note without an end (channel {channel + 1}, key {key}), ended with the track"].append(start)
        for what, ticks in left.items():
            times = f"{len(ticks)} times " if len(ticks) > 1 else ""
            self.unknown.append(f"{place}, tick {ticks[0]}: {times}{what}")

    def _note(self, tick: float, message: Any, sounding: Any, left: dict[str, list[float]]) -> None:
        pitch = (message.channel, message.note)
        if message.type == "note_on" and message.velocity:
            sounding[pitch].append((tick, message.velocity))
        elif sounding[pitch]:
            start, velocity = sounding[pitch].pop(0)
            self.rows_of_notes.append((start, tick, *pitch, velocity, self.tracks[-1].name))
        else:
            left["note_off without a note"].append(tick)

    def _controller(self, tick: float, message: Any, number: int, track: str, left: dict[str, list[float]]) -> None:
        controller, value, channel = message.control, message.value, message.channel
        selected = self.selected.setdefault((number, channel), {"kind": "", "number": [0x7F, 0x7F]})
        for kind, select in (("NRPN", NRPN_SELECT), ("RPN", RPN_SELECT)):
            if controller in select:
                if selected["kind"] != kind:
                    selected.update(kind=kind, number=[0x7F, 0x7F])
                selected["number"][select[controller]] = value
                return
        if controller in BANK_AND_DATA and selected["kind"]:
            parameter = selected["number"][0] << 7 | selected["number"][1]
            if parameter == NO_PARAMETER:
                left[f"data entry (CC {controller}) with no parameter selected"].append(tick)
                return
            name = f"{selected['kind']} {parameter}"
            part = BANK_AND_DATA[controller]
            self._stream(number, track, channel, name).rows.append((tick, part, value))
            if name == f"RPN {MPE_CONFIGURATION}" and part == "MSB" and channel in (0, 15):
                self._declare_zone(channel, value)
        elif controller >= FIRST_CHANNEL_MODE:
            left[f"channel mode message CC {controller} (channel {channel + 1})"].append(tick)
        elif controller < 32:
            self._stream(number, track, channel, f"CC {controller}").rows.append((tick, "MSB", value))
        elif controller < 64 and (number, channel, f"CC {controller - 32}") in self.streams:
            self._stream(number, track, channel, f"CC {controller - 32}").rows.append((tick, "LSB", value))
        else:
            self._stream(number, track, channel, f"CC {controller}").rows.append((tick, "MSB", value))

    def _declare_zone(self, master: int, members: int) -> None:
        members = min(members, 15)
        channels = range(1, 1 + members) if master == 0 else range(14, 14 - members, -1)
        self.zone_members[master] = set(channels)

    def _stream(self, number: int, track: str, channel: int, source: str) -> _Stream:
        key = (number, channel, source)
        if key not in self.streams:
            self.streams[key] = _Stream(f"{source}, channel {channel + 1}", source, track, channel)
        self.written.append(self.streams[key])
        return self.streams[key]

    # --- all tracks read: put it together ---

    def lanes(self) -> list[tuple[str, Lane]]:
        """(source as in `controls.SOURCES_BY_KEY`, lane over beats) of every controller; "" where it drives nothing by
        itself.
        """
        members = {channel for channels in self.zone_members.values() for channel in channels}
        pairs: list[tuple[str, Lane]] = []
        for stream in self.streams.values():
            name = stream.name.replace(",", " (14-bit),") if stream.is_wide else stream.name
            is_member = stream.channel in members and stream.source in MPE_DIMENSION
            lane = self._lane(*stream.resolved(), name=name, track=stream.track, curves=stream.curves)
            pairs.append(("" if is_member else stream.source, lane))
        pairs += self._last_note_lanes(members)
        return pairs

    def places(self) -> list[tuple[int, int, str, bool]]:
        """For each of `lanes`: its track's index (-1: of several), channel, source, and whether it has 14 bits."""
        rows = [(number - 1, s.channel, s.source, s.is_wide) for (number, _, _), s in self.streams.items()]
        return rows + [(-1, 0, "", False)] * (len(self.lanes()) - len(rows))

    def notes(self) -> list[Note]:
        """The notes, in order."""
        beats = self.ticks_per_beat
        return [
            Note(tick / beats, (end - tick) / beats, channel, key, velocity / 127, track)
            for tick, end, channel, key, velocity, track in sorted(self.rows_of_notes)
        ]

    def named_places(self) -> list[Marker]:
        """The markers, in order."""
        rows = sorted(self.markers, key=lambda row: row[0])
        return [Marker(name, tick / self.ticks_per_beat) for tick, name in rows]

    def tempo_map(self) -> TempoMap:
        """Tempo and meter events may stand in any track; 120 bpm and 4/4 until the first one."""
        tempi = [(0, DEFAULT_BPM), *sorted(self.tempi, key=lambda row: row[0])]
        last_on_each_tick = dict(tempi)
        meters = sorted(self.meters, key=lambda row: row[0])
        return TempoMap(
            [TempoPoint(tick / self.ticks_per_beat, bpm) for tick, bpm in last_on_each_tick.items()],
            [Meter(tick / self.ticks_per_beat, numerator, denominator) for tick, numerator, denominator in meters],
        )

    def _lane(
        self,
        ticks: Iterable[float],
        values: Iterable[float],
        *,
        name: str,
        track: str,
        curves: Mapping[int, tuple[Shape, float]] = NO_CURVES,
    ) -> Lane:
        at, levels = np.array(list(ticks), dtype=np.float64), np.array(list(values), dtype=np.float64)
        codes, tensions = np.full(len(at), CODES[Shape.HOLD], dtype=np.uint8), np.zeros(len(at))
        for row, (shape, tension) in curves.items():
            codes[row], tensions[row] = CODES[shape], tension
        last = np.append(np.diff(at) > 0, True)  # on its tick
        return Lane(at[last] / self.ticks_per_beat, levels[last], codes[last], tensions[last], name=name, track=track)

    def _last_note_lanes(self, members: set[int]) -> Iterator[tuple[str, Lane]]:
        """One lane per MPE dimension over all member channels: it follows the channel of the last note that still
        sounds.
        """
        rows = _LastNote(members).follow(self._mpe_events(members))
        for source, (ticks, values) in rows.items():
            if ticks:
                yield source, self._lane(ticks, values, name=f"{source}, last note", track="")

    def _mpe_events(self, members: set[int]) -> list[tuple[float, int, int, str, float]]:
        """(tick, order within it, channel, what, value): a note's end comes first, then the controls, then a note's
        start.
        """
        events = []
        for stream in self.streams.values():
            if stream.channel in members and stream.source in MPE_DIMENSION:
                for tick, value in zip(*stream.resolved(), strict=True):
                    events.append((tick, 1, stream.channel, MPE_DIMENSION[stream.source], value))
        for start, end, channel, *_ in self.rows_of_notes:
            if channel in members:
                events += [(start, 2, channel, "start", 0.0), (end, 0, channel, "end", 0.0)]
        return sorted(events, key=lambda event: event[:2])


class _LastNote:
    """Follows the member channel of the note that began last, back to the one before when it ends."""

    def __init__(self, members: set[int]) -> None:
        self.now = {channel: dict(MPE_START) for channel in members}
        self.sounding: list[int] = []
        self.rows: dict[str, tuple[list[float], list[float]]] = {source: ([], []) for source in MPE_START}

    def follow(self, events: list[tuple[float, int, int, str, float]]) -> dict[str, tuple[list[float], list[float]]]:
        for tick, _, channel, what, value in events:
            before = self.sounding[-1:]
            if what == "start":
                self.sounding.append(channel)
            elif what == "end" and channel in self.sounding:
                self.sounding.reverse()
                self.sounding.remove(channel)
                self.sounding.reverse()
            elif what in MPE_START:
                self.now[channel][what] = value
                if before == [channel]:
                    self._write(tick, channel, [what])
            if self.sounding and (self.sounding[-1:] != before or what == "start"):
                self._write(tick, self.sounding[-1], list(MPE_START))
        return self.rows

    def _write(self, tick: float, channel: int, sources: list[str]) -> None:
        for source in sources:
            ticks, values = self.rows[source]
            ticks.append(tick)
            values.append(self.now[channel][source])


def bend_to_unit(pitch: int) -> float:
    """Pitch bend -8192..8191 -> 0..1, with -8192, 0 and 8191 at exactly 0, 0.5 and 1."""
    return 0.5 + pitch / (2 * (8191 if pitch > 0 else 8192))


def _is_playable_tempo(microseconds: int) -> bool:
    return microseconds > 0 and SLOWEST_BPM <= MICROSECONDS_A_MINUTE / microseconds <= FASTEST_BPM


def _describe(message: Any) -> str:
    """An event that is not taken over, in a few words."""
    if message.type == "program_change":
        return f"program change (channel {message.channel + 1})"
    if message.type == "set_tempo":
        return f"a tempo of {message.tempo} µs per quarter note"
    if message.type == "time_signature":
        return f"a meter of {message.numerator}/{message.denominator}"
    return str(message.type).replace("_", " ")


def _text(text: str) -> str:
    """Names as their writer meant them: mido takes them for Latin-1, today's programs write UTF-8."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
