"""Standard MIDI files -> lanes, tempo, meters, markers and notes; parsed by mido.

Values are 0..1: 7 bits as v / 127, 14 bits as v / 16383. Pitch bend is straight on either side of its centre (8192),
so that lowest, centre and highest are exactly 0, 0.5 and 1. A MIDI file has no curves: every lane holds its value
until the next event, and of several events on one tick the last counts. What drives X, Y and Pressure:
`controls.SOURCES_BY_KEY`.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import mido
import numpy as np

from terrain_core.errors import FileError
from terrain_core.lanes import LARGEST_TIME, Lane, Shape
from terrain_core.tempo import FASTEST_BPM, SLOWEST_BPM, Meter, TempoMap, TempoPoint
from terrain_daws.controls import assign_keys
from terrain_daws.project import Marker, Note, Project, Track

LARGEST_FILE: Final = 8 << 20
"""Bytes. Two million events; mido needs some 300 bytes and 5 µs for each."""

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


def read_midi(path: Path) -> Project:
    """Read a standard MIDI file of type 0 or 1.

    Raises:
        FileError: not a MIDI file, damaged (with track and byte), larger than 8 MiB, or of type 2.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise FileError(path, f"is a MIDI file of {size:,} bytes, more than the {LARGEST_FILE:,} that are read")
    layout = _Layout.of(path, path.read_bytes())
    reading = _Reading(layout.ticks_per_beat, unknown=layout.unknown)
    for number, (offset, chunk) in enumerate(layout.tracks, start=1):
        messages = _messages(path, number, offset, chunk)
        beats = messages[-1][0] / layout.ticks_per_beat if messages else 0.0
        if beats > LARGEST_TIME:
            problem = f"is {beats:.3g} beats long, expected at most {LARGEST_TIME:g}"
            raise FileError(path, problem, position=f"track {number}")
        reading.add_track(number, messages, has_tempo=not layout.counts_seconds)
    return reading.project(path)


# --- the file -------------------------------------------------------------------------------------------------------


@dataclass
class _Layout:
    """The file's chunks, before anything in them is looked at."""

    ticks_per_beat: float
    counts_seconds: bool
    tracks: list[tuple[int, bytes]]  # (byte offset in the file, the chunk's contents)
    unknown: list[str]

    @classmethod
    def of(cls, path: Path, data: bytes) -> _Layout:
        chunks, unknown = [], []
        for offset, kind, body in _chunks(path, data):
            if kind in (b"MThd", b"MTrk"):
                chunks.append((offset, kind, body))
            else:
                unknown.append(f"byte {offset}: a chunk {kind.decode('latin-1')!r} of {len(body)} bytes")
        if len(chunks[0][2]) < 6:
            raise FileError(path, f"has a header of {len(chunks[0][2])} bytes, expected 6", position="byte 8")
        file_type, count, division = struct.unpack(">HHH", chunks[0][2][:6])
        tracks = [(offset, body) for offset, kind, body in chunks[1:] if kind == b"MTrk"]
        if file_type not in (0, 1):
            raise FileError(
                path,
                f"is a MIDI file of type {file_type}, whose tracks are separate pieces; expected type 0 or 1",
                position="byte 8",
                hint="save each piece as a file of its own",
            )
        if len(tracks) < count:
            raise FileError(path, f"announces {count} tracks and has {len(tracks)}", position=f"byte {len(data)}")
        if len(tracks) > count:
            unknown.append(f"byte 10: announces {count} tracks; all {len(tracks)} were read")
        ticks, counts_seconds = _ticks_per_beat(path, division)
        return cls(ticks, counts_seconds, tracks, unknown)


def _chunks(path: Path, data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(offset, kind, contents) of each chunk."""
    offset = 0
    while offset < len(data):
        if offset + 8 > len(data):
            raise FileError(path, "ends within a chunk's header", position=f"byte {offset}")
        kind, size = struct.unpack_from(">4sL", data, offset)
        missing = offset + 8 + size - len(data)
        if missing > 0:
            raise FileError(
                path,
                f"ends within the chunk {kind.decode('latin-1')!r}, {missing:,} of its {size:,} bytes are missing",
                position=f"byte {offset}",
            )
        yield offset, kind, data[offset + 8 : offset + 8 + size]
        offset += 8 + size


def _ticks_per_beat(path: Path, division: int) -> tuple[float, bool]:
    """Ticks per quarter note, and whether ticks are fractions of a second (SMPTE): then a beat is half a second, at
    120 bpm.
    """
    if division & 0x8000:
        frames, ticks = 256 - (division >> 8), division & 0xFF
        ticks_per_second = (30000 / 1001 if frames == 29 else frames) * ticks
        division_in_beats, counts_seconds = ticks_per_second * 60 / DEFAULT_BPM, True
    else:
        division_in_beats, counts_seconds = float(division), False
    if division_in_beats <= 0:
        raise FileError(path, "has 0 ticks per quarter note", position="byte 12")
    return division_in_beats, counts_seconds


def _messages(path: Path, number: int, offset: int, chunk: bytes) -> list[tuple[int, Any]]:
    """(tick, mido message) for one track. mido is given one track at a time, so that an error can say where it is."""
    header = struct.pack(">4sLHHH4sL", b"MThd", 6, 0, 1, 480, b"MTrk", len(chunk))
    stream = io.BytesIO(header + chunk)
    try:
        track = mido.MidiFile(file=stream).tracks[0] if chunk else []
    except (EOFError, OSError, ValueError, LookupError, TypeError, mido.KeySignatureError) as error:
        byte = max(offset, offset + 8 + stream.tell() - len(header))
        raise FileError(path, _what_mido_met(error), position=f"track {number}, byte {byte}") from None
    tick, timed = 0, []
    for message in track:
        tick += message.time
        timed.append((tick, message))
    return timed


def _what_mido_met(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "ends within an event"
    if isinstance(error, LookupError):  # mido looks for bytes, or for a kind of event, that are not there
        return "has an event that is too short or of no known kind"
    return f"has an event that is not MIDI ({error})"


# --- what the events mean -------------------------------------------------------------------------------------------


@dataclass
class _Stream:
    """The events of one controller (or pitch bend, or pressure) on one track and channel.

    `rows` are (tick, part, value): part "ALL" has the final value 0..1; "MSB", "LSB", "UP" and "DOWN" make up a number
    of 14 bits.
    """

    name: str
    source: str
    track: str
    channel: int
    rows: list[tuple[int, str, float]] = field(default_factory=list)

    def resolved(self) -> tuple[list[int], list[float]]:
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
class _Reading:
    """Everything found so far, over all tracks."""

    ticks_per_beat: float
    unknown: list[str]
    tracks: list[Track] = field(default_factory=list)
    streams: dict[tuple[int, int, str], _Stream] = field(default_factory=dict)
    selected: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict)
    tempi: list[tuple[int, float]] = field(default_factory=list)
    meters: list[tuple[int, int, int]] = field(default_factory=list)
    markers: list[tuple[int, str]] = field(default_factory=list)
    notes: list[tuple[int, int, int, int, int]] = field(default_factory=list)  # tick, end, channel, key, velocity
    zone_members: dict[int, set[int]] = field(default_factory=dict)  # master channel -> member channels

    def add_track(self, number: int, messages: list[tuple[int, Any]], *, has_tempo: bool) -> None:
        name = next((_text(m.name) for _, m in messages if m.type == "track_name" and m.name), "")
        track = name or f"track {number}"
        self.tracks.append(Track(track))
        place = f"track {number} {name!r}" if name else f"track {number}"
        left: dict[str, list[int]] = defaultdict(list)
        sounding: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for tick, message in messages:
            kind = message.type
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
        end = messages[-1][0] if messages else 0
        for (channel, key), starts in sounding.items():
            for start, velocity in starts:
                self.notes.append((start, end, channel, key, velocity))
                left[f"a note without an end (channel {channel + 1}, key {key}), ended with the track"].append(start)
        for what, ticks in left.items():
            times = f"{len(ticks)} times " if len(ticks) > 1 else ""
            self.unknown.append(f"{place}, tick {ticks[0]}: {times}{what}")

    def _note(self, tick: int, message: Any, sounding: Any, left: dict[str, list[int]]) -> None:
        pitch = (message.channel, message.note)
        if message.type == "note_on" and message.velocity:
            sounding[pitch].append((tick, message.velocity))
        elif sounding[pitch]:
            start, velocity = sounding[pitch].pop(0)
            self.notes.append((start, tick, *pitch, velocity))
        else:
            left["note_off without a note"].append(tick)

    def _controller(self, tick: int, message: Any, number: int, track: str, left: dict[str, list[int]]) -> None:
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
        return self.streams[key]

    # --- all tracks read: put it together ---

    def project(self, path: Path) -> Project:
        beats = self.ticks_per_beat
        members = {channel for channels in self.zone_members.values() for channel in channels}
        pairs: list[tuple[str, Lane]] = []
        for stream in self.streams.values():
            name = stream.name.replace(",", " (14-bit),") if stream.is_wide else stream.name
            is_member = stream.channel in members and stream.source in MPE_DIMENSION
            pairs.append(
                ("" if is_member else stream.source, self._lane(*stream.resolved(), name=name, track=stream.track))
            )
        pairs += self._last_note_lanes(members)
        lanes, second = assign_keys(pairs)
        return Project(
            format="midi",
            path=path,
            tracks=self.tracks,
            lanes=lanes,
            tempo_map=self._tempo_map(),
            markers=[Marker(name, tick / beats) for tick, name in sorted(self.markers, key=lambda row: row[0])],
            notes=[
                Note(tick / beats, (end - tick) / beats, channel, key, velocity / 127)
                for tick, end, channel, key, velocity in sorted(self.notes)
            ],
            unknown=self.unknown + second,
        )

    def _tempo_map(self) -> TempoMap:
        """Tempo and meter events may stand in any track; 120 bpm and 4/4 until the first one."""
        tempi = [(0, DEFAULT_BPM), *sorted(self.tempi, key=lambda row: row[0])]
        last_on_each_tick = dict(tempi)
        meters = sorted(self.meters, key=lambda row: row[0])
        return TempoMap(
            [TempoPoint(tick / self.ticks_per_beat, bpm) for tick, bpm in last_on_each_tick.items()],
            [Meter(tick / self.ticks_per_beat, numerator, denominator) for tick, numerator, denominator in meters],
        )

    def _lane(self, ticks: Iterable[int], values: Iterable[float], *, name: str, track: str) -> Lane:
        at, levels = np.array(list(ticks), dtype=np.float64), np.array(list(values), dtype=np.float64)
        last_on_its_tick = np.append(np.diff(at) > 0, True)
        return Lane(
            at[last_on_its_tick] / self.ticks_per_beat, levels[last_on_its_tick], Shape.HOLD, name=name, track=track
        )

    def _last_note_lanes(self, members: set[int]) -> Iterator[tuple[str, Lane]]:
        """One lane per MPE dimension over all member channels: it follows the channel of the last note that still
        sounds.
        """
        rows = _LastNote(members).follow(self._mpe_events(members))
        for source, (ticks, values) in rows.items():
            if ticks:
                yield source, self._lane(ticks, values, name=f"{source}, last note", track="")

    def _mpe_events(self, members: set[int]) -> list[tuple[int, int, int, str, float]]:
        """(tick, order within it, channel, what, value): a note's end comes first, then the controls, then a note's
        start.
        """
        events = []
        for stream in self.streams.values():
            if stream.channel in members and stream.source in MPE_DIMENSION:
                for tick, value in zip(*stream.resolved(), strict=True):
                    events.append((tick, 1, stream.channel, MPE_DIMENSION[stream.source], value))
        for start, end, channel, _, _ in self.notes:
            if channel in members:
                events += [(start, 2, channel, "start", 0.0), (end, 0, channel, "end", 0.0)]
        return sorted(events, key=lambda event: event[:2])


class _LastNote:
    """Follows the member channel of the note that began last, back to the one before when it ends."""

    def __init__(self, members: set[int]) -> None:
        self.now = {channel: dict(MPE_START) for channel in members}
        self.sounding: list[int] = []
        self.rows: dict[str, tuple[list[int], list[float]]] = {source: ([], []) for source in MPE_START}

    def follow(self, events: list[tuple[int, int, int, str, float]]) -> dict[str, tuple[list[int], list[float]]]:
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

    def _write(self, tick: int, channel: int, sources: list[str]) -> None:
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
