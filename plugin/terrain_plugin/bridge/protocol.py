"""Everything that crosses the bridge, in tables: shared memory, messages, flags.

Both banks follow these tables: the engine through `dtype` and `struct_of`, the plugin through the C++ header that
`python -m terrain_plugin.bridge.headers` makes of them. A change here is a new `PROTOCOL_VERSION`.

All numbers are in the machine's own byte order: both banks run on one machine.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

PROTOCOL_VERSION: Final = 3

MAGIC: Final = 0x4C545242
"""The shared memory's first word."""

CHANNELS: Final = 2
"""Audio crosses in stereo, whatever host and autoencoder have."""

MAX_EVENTS: Final = 2048
"""Events in one request. The plugin cuts a block that has more into several requests, at an event."""

MAX_MESSAGE_BYTES: Final = 512 * 2**20
"""A message that says it is longer is taken for damage, and the connection is closed."""

CACHE_LINE: Final = 64


class RequestFlag(enum.IntFlag):
    """What a request says besides numbers. The `HAS_` flags say which of the transport's numbers the host gave."""

    OFFLINE = 1 << 0  # a bounce: the plugin waits for as long as the engine lives
    LINES = 1 << 1  # parameter points are joined by straight lines (VST3); else they are steps (CLAP)
    RESET = 1 << 2  # the host's stream begins anew before this block
    AUDIO_IN = 1 << 3  # there is incoming audio
    HAS_TRANSPORT = 1 << 4
    PLAYING = 1 << 5
    RECORDING = 1 << 6
    CYCLE = 1 << 7  # the host's loop is on
    HAS_BEAT = 1 << 8
    HAS_BPM = 1 << 9
    HAS_SECONDS = 1 << 10
    HAS_BAR = 1 << 11
    HAS_METER = 1 << 12
    HAS_CYCLE = 1 << 13


class EventKind(enum.IntEnum):
    """What an event is; see `EVENT` for where its facts stand."""

    PARAMETER = 1  # id: parameter, value: plain value
    MIDI = 2  # data: a short MIDI 1.0 message of `size` bytes
    NOTE_ON = 3  # key, channel, note_id; value: velocity 0..1
    NOTE_OFF = 4  # key, channel, note_id; value: release velocity 0..1
    NOTE_CHOKE = 5  # key, channel, note_id
    NOTE_EXPRESSION = 6  # id: NoteExpression; key, channel, note_id; value: see NoteExpression


class NoteExpression(enum.IntEnum):
    """Per-note controls that both formats have; -1 in key, channel or note_id means all."""

    TUNING = 1  # semitones, -120..120
    PRESSURE = 2  # 0..1
    BRIGHTNESS = 3  # 0..1, what CC 74 is in MPE
    VOLUME = 4  # 0..4, 1 is unchanged
    PAN = 5  # 0 left, 0.5 middle, 1 right


class GestureKind(enum.IntEnum):
    """What a hand at the editor does to a parameter. Between a BEGIN and its END the host may take it for touched."""

    BEGIN = 1
    VALUE = 2  # only within a gesture
    END = 3


class EngineState(enum.IntEnum):
    """What the engine says of itself in every reply."""

    READY = 1
    LOADING = 2  # an instrument is being opened: this may take seconds and is no hang


class Message(enum.IntEnum):
    """What a message on a control connection or the nursery's connection is; the payload's layout is in its record."""

    # nursery -> plugin
    HELLO = 1  # HELLO_RECORD, then the version's text: sent once, as soon as it runs
    SPAWNED = 2  # SPAWNED_RECORD: an engine runs
    ENDED = 3  # ENDED_RECORD: an engine is gone
    # plugin -> nursery
    SPAWN = 10  # SPAWN_RECORD, then the plugin state; with three descriptors: memory, wake, control
    EDIT = 11  # SPAWNED_RECORD (pid 0): the user wants this instance's editor
    # plugin -> engine
    STATE = 20  # STATE_RECORD, then a plugin state: become this
    SAVE = 21  # STATE_RECORD: say what must be remembered
    ABOUT = 22  # UTF-8: the host's name, a newline, the track's name where the host gives it; sent after birth and anew
    # engine -> plugin
    READY = 30  # READY_RECORD: answers SPAWN and STATE, and comes unasked when the latency changes
    FAULT = 31  # STATE_RECORD, then a line for the musician: what was asked could not be done; the old state goes on
    SAVED = 32  # STATE_RECORD, then the bytes of the plugin state's chunk LOOP
    GESTURES = 33  # any number of GESTURE_RECORD, in their order: for the host


@dataclass(frozen=True)
class Field:
    """One member of a record: `kind` is a key of `KINDS`; `count` more than 1 makes it an array."""

    name: str
    kind: str
    help: str
    count: int = 1


@dataclass(frozen=True)
class Record:
    """A struct that both banks lay out alike: members at their natural alignment, with no gaps between."""

    name: str
    help: str
    fields: tuple[Field, ...]

    @property
    def dtype(self) -> np.dtype[np.void]:
        """For numpy."""
        return np.dtype([(f.name, KINDS[f.kind].numpy, (f.count,)) if f.count > 1 else (f.name, KINDS[f.kind].numpy)
                         for f in self.fields])  # fmt: skip

    @property
    def struct(self) -> struct.Struct:
        """For messages."""
        return struct.Struct(
            "=" + "".join(f"{f.count if f.count > 1 else ''}{KINDS[f.kind].code}" for f in self.fields)
        )


@dataclass(frozen=True)
class Kind:
    """A number's type, as C++, numpy and `struct` call it."""

    cpp: str
    numpy: str
    code: str


KINDS: Final = {
    "u8": Kind("std::uint8_t", "u1", "B"),
    "u16": Kind("std::uint16_t", "u2", "H"),
    "i16": Kind("std::int16_t", "i2", "h"),
    "u32": Kind("std::uint32_t", "u4", "I"),
    "i32": Kind("std::int32_t", "i4", "i"),
    "u64": Kind("std::uint64_t", "u8", "Q"),
    "f64": Kind("double", "f8", "d"),
}

HEADER: Final = Record(
    "Header",
    "Begins the shared memory. The plugin writes it before the engine is born; afterwards it never changes.",
    (
        Field("magic", "u32", "MAGIC"),
        Field("protocol", "u32", "PROTOCOL_VERSION"),
        Field("memory_bytes", "u64", "the size of it all"),
        Field("sample_rate", "f64", "Hz"),
        Field("max_block", "u32", "samples in the longest request"),
        Field("max_events", "u32", "events in the fullest request"),
        Field("request_at", "u32", "byte at which Request begins; so for the rest"),
        Field("reply_at", "u32", "Reply"),
        Field("events_at", "u32", "max_events times Event"),
        Field("audio_in_at", "u32", "CHANNELS times max_block float32, channel after channel"),
        Field("audio_out_at", "u32", "CHANNELS times max_block float32, channel after channel"),
        Field("padding", "u32", "0"),
    ),
)

REQUEST: Final = Record(
    "Request",
    "A block to be made. The plugin fills it, the events and the audio, raises `sequence`, and sends a byte.",
    (
        Field("sequence", "u64", "one more than the request before; 0 before the first"),
        Field("samples", "u32", "1..max_block"),
        Field("flags", "u32", "RequestFlag"),
        Field("event_count", "u32", "0..max_events, sorted by offset"),
        Field("lost_samples", "u32", "samples of the host's stream since the request before that were never asked for"),
        Field("beat", "f64", "song position in quarter notes at the first sample; may be negative"),
        Field("bpm", "f64", "quarter notes a minute at the first sample"),
        Field("seconds", "f64", "song position"),
        Field("bar_beat", "f64", "where the running bar began, in quarter notes"),
        Field("cycle_begin", "f64", "the host's loop, in quarter notes"),
        Field("cycle_end", "f64", ""),
        Field("bar", "i32", "the running bar's number, 0 at beat 0"),
        Field("meter_numerator", "u16", ""),
        Field("meter_denominator", "u16", ""),
        Field("state_id", "u32", "the newest state that the plugin had asked for when it read its parameters"),
        Field("padding", "u32", "0"),
    ),
)

REPLY: Final = Record(
    "Reply",
    "A block that was made. The engine fills the audio and this, sets `sequence` to the request's, and sends a byte.",
    (
        Field("sequence", "u64", "of the request that is answered; 0 before the first"),
        Field("samples", "u32", "as in the request"),
        Field("state", "u32", "EngineState"),
        Field("spent_ns", "u64", "nanoseconds that the engine itself took (TerrainProcessor.process)"),
        Field("silent", "u32", "1 if every sample is zero"),
        Field("faults", "u32", "faults that the engine has covered up so far (Engine.faults)"),
        Field("loop_phase", "f64", "where in the chosen loop it is, 0..1: parameter Loop Phase"),
        Field("loop_state", "u32", "what the chosen loop does: parameter Loop State"),
        Field("padding", "u32", "0"),
    ),
)

EVENT: Final = Record(
    "Event",
    "Something that happens within a block; see EventKind for what the members mean.",
    (
        Field("offset", "u32", "sample in the block"),
        Field("kind", "u16", "EventKind"),
        Field("size", "u16", "bytes of a MIDI message"),
        Field("id", "u32", "parameter id or NoteExpression"),
        Field("note_id", "i32", "the host's name for a note; -1 for none"),
        Field("key", "i16", "0..127; -1 for all"),
        Field("channel", "i16", "0..15; -1 for all"),
        Field("data", "u8", "a MIDI message", 4),
        Field("value", "f64", ""),
    ),
)

HELLO_RECORD: Final = Record(
    "Hello", "The nursery runs.", (Field("protocol", "u32", "PROTOCOL_VERSION"), Field("pid", "u32", "its process id"))
)
SPAWN_RECORD: Final = Record(
    "Spawn",
    "An engine is wanted.",
    (
        Field("protocol", "u32", "PROTOCOL_VERSION"),
        Field("instance", "u32", "the plugin's number for it"),
        Field("state_id", "u32", "what READY or FAULT will answer"),
        Field("padding", "u32", "0"),
    ),
)
SPAWNED_RECORD: Final = Record(
    "Spawned", "An engine runs.", (Field("instance", "u32", "as in Spawn"), Field("pid", "u32", "its process id"))
)
ENDED_RECORD: Final = Record(
    "Ended",
    "An engine is gone.",
    (
        Field("instance", "u32", "as in Spawn"),
        Field("pid", "u32", "its process id, 0 if it could not be born"),
        Field("exit_status", "i32", "as Python's returncode: negative for a signal"),
        Field("padding", "u32", "0"),
    ),
)
STATE_RECORD: Final = Record(
    "State", "Begins messages about a state.", (Field("state_id", "u32", "a number that the answer repeats"),)
)
READY_RECORD: Final = Record(
    "Ready",
    "The engine plays what it was given.",
    (
        Field("state_id", "u32", "of the Spawn or STATE that is answered"),
        Field("protocol", "u32", "PROTOCOL_VERSION"),
        Field("pid", "u32", "the engine's process id"),
        Field("latency", "u32", "samples at the host's rate"),
        Field("tail", "u32", "samples; 0xFFFFFFFF if it never ends"),
        Field("padding", "u32", "0"),
    ),
)

GESTURE_RECORD: Final = Record(
    "GestureRecord",
    "A hand at the editor, on its way to the host.",
    (
        Field("id", "u32", "parameter id"),
        Field("kind", "u32", "GestureKind"),
        Field("value", "f64", "plain value, of a VALUE"),
    ),
)

RECORDS: Final = (
    HEADER, REQUEST, REPLY, EVENT,
    HELLO_RECORD, SPAWN_RECORD, SPAWNED_RECORD, ENDED_RECORD, STATE_RECORD, READY_RECORD, GESTURE_RECORD,
)  # fmt: skip

MESSAGE_HEADER: Final = struct.Struct("=II")
"""Before every message's payload: Message, and the payload's bytes."""


@dataclass(frozen=True)
class Layout:
    """Where things stand in a shared memory for blocks of up to `max_block` samples; byte offsets."""

    max_block: int
    max_events: int = MAX_EVENTS

    @property
    def request_at(self) -> int:
        return _aligned(HEADER.dtype.itemsize)

    @property
    def reply_at(self) -> int:
        return self.request_at + _aligned(REQUEST.dtype.itemsize)

    @property
    def events_at(self) -> int:
        return self.reply_at + _aligned(REPLY.dtype.itemsize)

    @property
    def audio_in_at(self) -> int:
        return self.events_at + _aligned(self.max_events * EVENT.dtype.itemsize)

    @property
    def audio_out_at(self) -> int:
        return self.audio_in_at + self._audio_bytes

    @property
    def memory_bytes(self) -> int:
        return self.audio_out_at + self._audio_bytes

    @property
    def _audio_bytes(self) -> int:
        return _aligned(CHANNELS * self.max_block * 4)


def _aligned(size: int) -> int:
    """Up to the next cache line, so that the two banks never write to one line at a time."""
    return -(-size // CACHE_LINE) * CACHE_LINE
