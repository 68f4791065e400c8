"""A CLAP host in Python: opens a `.clap` file and does with it what a DAW does, block by block.

For tests, benchmarks and `terrain plugin doctor`. It is a strict host. It keeps the rules itself: functions of the main
thread are called from the thread that made the plugin, those of the audio thread from whichever thread calls them here,
which counts as the audio thread as long as the call lasts; events are sorted, blocks no longer than was said. And it
sees to it that the plugin keeps them: every sample is written and is a number, none behind the block is touched, masks
and states tell the truth, and the host's functions are called on their own threads. `strict=False` leaves that out, for
trying out what a bad host does.

    with ClapLibrary("Latent Terrain.clap") as library, library.create() as plugin:
        plugin.activate(44100, 512)
        sound = plugin.process(512, [ParamValue(0, 1, 0.25)], Transport(beat=0, bpm=120))

The declarations below are CLAP 1.1's binary interface, as far as it is used here.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Audio
from terrain_core.errors import FileError, InputError

FIXED_POINT: Final = 1 << 31
"""CLAP's times are whole numbers: this many to a beat or a second."""

ffi: Any = FFI()
ffi.cdef("""
typedef struct { uint32_t major, minor, revision; } version_t;
typedef struct {
    version_t clap_version;
    const char *id, *name, *vendor, *url, *manual_url, *support_url, *version, *description;
    const char **features;
} descriptor_t;
typedef struct { uint32_t size, time; uint16_t space_id, type; uint32_t flags; } event_t;
typedef struct { event_t header; int32_t note_id; int16_t port, channel, key; double velocity; } note_t;
typedef struct {
    event_t header; int32_t expression_id; int32_t note_id; int16_t port, channel, key; double value;
} expression_t;
typedef struct {
    event_t header; uint32_t param_id; void *cookie; int32_t note_id; int16_t port, channel, key; double value;
} param_t;
typedef struct { event_t header; uint32_t param_id; } gesture_t;
typedef struct { event_t header; uint16_t port; uint8_t data[3]; } midi_t;
typedef struct {
    event_t header; uint32_t flags; int64_t beats, seconds; double tempo, tempo_inc;
    int64_t loop_start_beats, loop_end_beats, loop_start_seconds, loop_end_seconds, bar_start;
    int32_t bar_number; uint16_t numerator, denominator;
} transport_t;
typedef struct in_events { void *ctx; uint32_t (*size)(const struct in_events *);
    const event_t *(*get)(const struct in_events *, uint32_t); } in_events_t;
typedef struct out_events { void *ctx; bool (*try_push)(const struct out_events *, const event_t *); } out_events_t;
typedef struct { float **data32; double **data64; uint32_t channel_count, latency; uint64_t constant_mask; } buffer_t;
typedef struct {
    int64_t steady_time; uint32_t frames_count; const transport_t *transport;
    const buffer_t *audio_inputs; buffer_t *audio_outputs; uint32_t audio_inputs_count, audio_outputs_count;
    const in_events_t *in_events; const out_events_t *out_events;
} process_t;
typedef struct host {
    version_t clap_version; void *host_data; const char *name, *vendor, *url, *version;
    const void *(*get_extension)(const struct host *, const char *);
    void (*request_restart)(const struct host *);
    void (*request_process)(const struct host *);
    void (*request_callback)(const struct host *);
} host_t;
typedef struct plugin {
    const descriptor_t *desc; void *plugin_data;
    bool (*init)(const struct plugin *);
    void (*destroy)(const struct plugin *);
    bool (*activate)(const struct plugin *, double, uint32_t, uint32_t);
    void (*deactivate)(const struct plugin *);
    bool (*start_processing)(const struct plugin *);
    void (*stop_processing)(const struct plugin *);
    void (*reset)(const struct plugin *);
    int32_t (*process)(const struct plugin *, const process_t *);
    const void *(*get_extension)(const struct plugin *, const char *);
    void (*on_main_thread)(const struct plugin *);
} plugin_t;
typedef struct factory {
    uint32_t (*get_plugin_count)(const struct factory *);
    const descriptor_t *(*get_plugin_descriptor)(const struct factory *, uint32_t);
    const plugin_t *(*create_plugin)(const struct factory *, const host_t *, const char *);
} factory_t;
typedef struct {
    version_t clap_version; bool (*init)(const char *); void (*deinit)(void); const void *(*get_factory)(const char *);
} entry_t;
extern entry_t clap_entry;
typedef struct {
    uint32_t id, flags; void *cookie; char name[256]; char module[1024]; double low, high, initial;
} param_info_t;
typedef struct {
    uint32_t (*count)(const plugin_t *);
    bool (*get_info)(const plugin_t *, uint32_t, param_info_t *);
    bool (*get_value)(const plugin_t *, uint32_t, double *);
    bool (*value_to_text)(const plugin_t *, uint32_t, double, char *, uint32_t);
    bool (*text_to_value)(const plugin_t *, uint32_t, const char *, double *);
    void (*flush)(const plugin_t *, const in_events_t *, const out_events_t *);
} params_t;
typedef struct ostream { void *ctx; int64_t (*write)(const struct ostream *, const void *, uint64_t); } ostream_t;
typedef struct istream { void *ctx; int64_t (*read)(const struct istream *, void *, uint64_t); } istream_t;
typedef struct {
    bool (*save)(const plugin_t *, const ostream_t *); bool (*load)(const plugin_t *, const istream_t *);
} state_t;
typedef struct { uint32_t (*get)(const plugin_t *); } number_t;
typedef struct { bool (*has_hard_realtime_requirement)(const plugin_t *); bool (*set)(const plugin_t *, int32_t); }
    render_t;
typedef struct {
    uint32_t id; char name[256]; uint32_t flags, channel_count; const char *port_type; uint32_t in_place_pair;
} audio_port_t;
typedef struct {
    uint32_t (*count)(const plugin_t *, bool); bool (*get)(const plugin_t *, uint32_t, bool, audio_port_t *);
} audio_ports_t;
typedef struct { uint32_t id, supported_dialects, preferred_dialect; char name[256]; } note_port_t;
typedef struct {
    uint32_t (*count)(const plugin_t *, bool); bool (*get)(const plugin_t *, uint32_t, bool, note_port_t *);
} note_ports_t;
typedef struct {
    void (*rescan)(const host_t *, uint32_t); void (*clear)(const host_t *, uint32_t, uint32_t);
    void (*request_flush)(const host_t *);
} host_params_t;
typedef struct { void (*changed)(const host_t *); } host_latency_t;
typedef struct { bool (*is_main_thread)(const host_t *); bool (*is_audio_thread)(const host_t *); } host_threads_t;
typedef struct { void (*mark_dirty)(const host_t *); } host_state_t;
typedef struct { void (*log)(const host_t *, int32_t, const char *); } host_log_t;
typedef struct {
    uint64_t flags; char name[256]; uint8_t colour[4]; int32_t channels; const char *port_type;
} track_t;
typedef struct { bool (*get)(const host_t *, track_t *); } host_track_t;
typedef struct { void (*changed)(const plugin_t *); } track_changed_t;
typedef struct {
    bool (*is_api_supported)(const plugin_t *, const char *, bool);
    bool (*get_preferred_api)(const plugin_t *, const char **, bool *);
    bool (*create)(const plugin_t *, const char *, bool);
    void (*destroy)(const plugin_t *);
    bool (*set_scale)(const plugin_t *, double);
    bool (*get_size)(const plugin_t *, uint32_t *, uint32_t *);
    bool (*can_resize)(const plugin_t *);
    bool (*get_resize_hints)(const plugin_t *, void *);
    bool (*adjust_size)(const plugin_t *, uint32_t *, uint32_t *);
    bool (*set_size)(const plugin_t *, uint32_t, uint32_t);
    bool (*set_parent)(const plugin_t *, const void *);
    bool (*set_transient)(const plugin_t *, const void *);
    void (*suggest_title)(const plugin_t *, const char *);
    bool (*show)(const plugin_t *);
    bool (*hide)(const plugin_t *);
} gui_t;
""")

NOTE_ON, NOTE_OFF, NOTE_CHOKE, _, NOTE_EXPRESSION, PARAM_VALUE = range(6)
GESTURE_BEGIN, GESTURE_END = 7, 8
TRANSPORT, MIDI = 9, 10
VOLUME, PAN, TUNING, VIBRATO, EXPRESSION, BRIGHTNESS, PRESSURE = range(7)
"""CLAP's numbers for note expressions."""

ERROR, CONTINUE, CONTINUE_IF_NOT_QUIET, TAIL, SLEEP = range(5)
"""What `process()` may answer."""


GUARD: Final = 64
"""Samples behind a block that the plugin must leave alone."""


@dataclass(frozen=True)
class ParamValue:
    """A parameter takes a plain value at a sample. With a key, channel or note it is that note's value only; `space`
    is the event space, 0 for CLAP's own events.
    """

    offset: int
    id: int
    value: float
    key: int = -1
    channel: int = -1
    note_id: int = -1
    space: int = 0


@dataclass(frozen=True)
class Touch:
    """What the plugin tells of a hand at its own controls; `kind` is GESTURE_BEGIN, PARAM_VALUE (with a plain value) or
    GESTURE_END.
    """

    kind: int
    id: int
    value: float = 0.0


@dataclass(frozen=True)
class Note:
    """A note event; `kind` is NOTE_ON, NOTE_OFF or NOTE_CHOKE, velocity 0..1, -1 means all."""

    offset: int
    kind: int
    key: int
    velocity: float = 0.8
    channel: int = 0
    note_id: int = -1


@dataclass(frozen=True)
class Expression:
    """A note's own control; `kind` is TUNING (semitones), PRESSURE (0..1), BRIGHTNESS (0..1), …"""

    offset: int
    kind: int
    value: float
    key: int = -1
    channel: int = -1
    note_id: int = -1


@dataclass(frozen=True)
class Midi:
    """A short MIDI 1.0 message."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class Transport:
    """The host's transport; what is None the host does not know. With an offset it is an event within a block."""

    beat: float | None = None
    bpm: float | None = None
    seconds: float | None = None
    playing: bool = True
    recording: bool = False
    bar: int = 0
    bar_beat: float = 0.0
    meter: tuple[int, int] | None = None
    cycle: tuple[float, float] | None = None
    offset: int = 0


Event = ParamValue | Note | Expression | Midi | Transport


@dataclass(frozen=True)
class Descriptor:
    """What a plugin says of itself."""

    id: str
    name: str
    vendor: str
    version: str
    description: str
    features: tuple[str, ...]


@dataclass(frozen=True)
class ParameterInfo:
    """What a plugin says of a parameter; `flags` are CLAP's."""

    id: int
    name: str
    module: str
    low: float
    high: float
    default: float
    flags: int


@dataclass
class Requests:
    """What a plugin has asked of its host so far."""

    restarts: int = 0
    callbacks: int = 0
    processes: int = 0
    latency_changes: int = 0
    flushes: int = 0
    rescans: list[int] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


class ClapLibrary:
    """An opened `.clap` file."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """
        Raises:
            FileError: it cannot be loaded, or is no CLAP plugin.
        """
        self.path = fspath(path)
        try:
            self._library = ffi.dlopen(_library_in(Path(path)))
            self._entry = ffi.addressof(self._library, "clap_entry")
        except (OSError, AttributeError) as error:
            raise FileError(self.path, f"is no CLAP plugin that can be loaded ({error})") from None
        if not self._entry.init(os.fsencode(self.path)):
            raise FileError(self.path, "says that it cannot start")
        factory = self._entry.get_factory(b"clap.plugin-factory")
        if factory == ffi.NULL:
            raise FileError(self.path, "makes no plugins")
        self._factory = ffi.cast("const factory_t *", factory)

    @property
    def descriptors(self) -> list[Descriptor]:
        """The plugins in it."""
        count = self._factory.get_plugin_count(self._factory)
        return [_descriptor(self._factory.get_plugin_descriptor(self._factory, i)) for i in range(count)]

    def factory_of(self, id: str) -> bool:
        """Whether it has a factory of that name."""
        return bool(self._entry.get_factory(id.encode()) != ffi.NULL)

    def create(self, id: str | None = None, *, strict: bool = True, track: str | None = None) -> ClapPlugin:
        """Make an instance of a plugin, the first one if none is named. The calling thread is its main thread.

        Args:
            track: the name of the track that it is on; None for a host that does not tell.
        Raises:
            InputError: it does not make one.
        """
        wanted = self.descriptors[0].id if id is None else id
        host = _Host(track)
        plugin = self._factory.create_plugin(self._factory, host.struct, wanted.encode())
        if plugin == ffi.NULL:
            raise InputError(f"{self.path} makes no plugin {wanted!r}")
        return ClapPlugin(plugin, host, strict)

    def close(self) -> None:
        """The plugins must be gone before."""
        self._entry.deinit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Host:
    """The host's side of one instance: what the plugin may call, and which thread counts as which."""

    def __init__(self, track: str | None = None) -> None:
        self.track = track
        self.requests = Requests()
        self.main_thread = threading.get_ident()
        self.audio_thread: int | None = None
        self._texts = [
            ffi.new("char[]", text) for text in (b"Latent Terrain's test host", b"Latent Terrain", b"", b"1")
        ]
        self._callbacks: list[Any] = []
        self._extensions = self._made_extensions()
        self.struct = ffi.new(
            "host_t *",
            {
                "clap_version": {"major": 1, "minor": 1, "revision": 0},
                "name": self._texts[0],
                "vendor": self._texts[1],
                "url": self._texts[2],
                "version": self._texts[3],
                "get_extension": self._callback("const void *(const host_t *, const char *)", self._extension),
                "request_restart": self._callback("void (const host_t *)", self._count("restarts")),
                "request_process": self._callback("void (const host_t *)", self._count("processes")),
                "request_callback": self._callback("void (const host_t *)", self._count("callbacks")),
            },
        )

    @contextmanager
    def on_audio_thread(self) -> Iterator[None]:
        """Within it, this thread is the audio thread, and no main thread."""
        self.audio_thread = threading.get_ident()
        try:
            yield
        finally:
            self.audio_thread = None

    def _is_main_thread(self, _: Any) -> bool:
        here = threading.get_ident()
        return here == self.main_thread and here != self.audio_thread

    def _is_audio_thread(self, _: Any) -> bool:
        return threading.get_ident() == self.audio_thread

    def _count(self, what: str) -> Any:
        def count(_: Any) -> None:
            setattr(self.requests, what, getattr(self.requests, what) + 1)

        return count

    def _change_latency(self, _: Any) -> None:
        self._expect_main_thread("latency.changed")
        self.requests.latency_changes += 1

    def _rescan(self, _: Any, flags: int) -> None:
        self._expect_main_thread("params.rescan")
        self.requests.rescans.append(flags)

    def _request_flush(self, _: Any) -> None:
        if self._is_audio_thread(None):
            self.requests.violations.append("params.request_flush is called on the audio thread")
        self.requests.flushes += 1

    def _name_track(self, _: Any, info: Any) -> bool:
        self._expect_main_thread("track_info.get")
        has_name = 1
        info.flags, info.name = has_name, (self.track or "").encode()
        return True

    def _expect_main_thread(self, function: str) -> None:
        if not self._is_main_thread(None):
            self.requests.violations.append(f"{function} is called outside the main thread")

    def _callback(self, signature: str, function: Any) -> Any:
        callback = ffi.callback(signature, function)
        self._callbacks.append(callback)  # cffi frees what nobody holds
        return callback

    def _made_extensions(self) -> dict[bytes, Any]:
        void = "void (const host_t *)"
        threads = {
            "is_main_thread": self._callback("bool (const host_t *)", self._is_main_thread),
            "is_audio_thread": self._callback("bool (const host_t *)", self._is_audio_thread),
        }
        params = {
            "rescan": self._callback("void (const host_t *, uint32_t)", self._rescan),
            "clear": self._callback("void (const host_t *, uint32_t, uint32_t)", lambda *_: None),
            "request_flush": self._callback(void, self._request_flush),
        }
        tracks = {"get": self._callback("bool (const host_t *, track_t *)", self._name_track)}
        log = self._callback(
            "void (const host_t *, int32_t, const char *)",
            lambda _, severity, text: self.requests.log.append(f"{severity}: {_text(text)}"),
        )
        return {
            b"clap.thread-check": ffi.new("host_threads_t *", threads),
            b"clap.params": ffi.new("host_params_t *", params),
            b"clap.latency": ffi.new("host_latency_t *", {"changed": self._callback(void, self._change_latency)}),
            b"clap.state": ffi.new("host_state_t *", {"mark_dirty": self._callback(void, lambda _: None)}),
            b"clap.log": ffi.new("host_log_t *", {"log": log}),
            **({b"clap.track-info/1": ffi.new("host_track_t *", tracks)} if self.track is not None else {}),
        }

    def _extension(self, _: Any, id: Any) -> Any:
        return self._extensions.get(ffi.string(id), ffi.NULL)


_living: weakref.WeakSet[ClapPlugin] = weakref.WeakSet()


@atexit.register
def _destroy_the_living() -> None:
    """While Python shuts down it ends any thread that calls into it, a plugin's own too: the process would abort."""
    for plugin in list(_living):
        plugin.destroy()


class ClapPlugin:
    """One instance of a plugin.

    Attributes:
        active: whether it is activated.
        strict: whether host and plugin are held to the rules.
        constant_mask: bit c is set if the last block's channel c was one value throughout.
        status: what the last `process()` said, one of CONTINUE, CONTINUE_IF_NOT_QUIET, TAIL, SLEEP.
        spent_ns: nanoseconds in the plugin's own `process()` for the last block, the way there and back left out.
    """

    def __init__(self, plugin: Any, host: _Host, strict: bool) -> None:
        self._plugin = plugin
        self._host = host
        self.active = False
        self.strict = strict
        self.constant_mask = 0
        self.status = CONTINUE
        self.spent_ns = 0
        self._max_block = 0
        if not plugin.init(plugin):
            raise InputError("the plugin says that it cannot start")
        has_ports = self.has_extension("clap.audio-ports")
        self._hears = bool(self.audio_ports(is_input=True)) if has_ports else False
        self._params = self._extension("clap.params", "params_t")
        self._state = self._extension("clap.state", "state_t")
        self._events: list[Any] = []
        self._in = ffi.new("in_events_t *")
        self._size = ffi.callback("uint32_t (const in_events_t *)", lambda _: len(self._events))
        self._get = ffi.callback("const event_t *(const in_events_t *, uint32_t)", self._event_at)
        self._in.size, self._in.get = self._size, self._get
        self._out = ffi.new("out_events_t *")
        self.told: dict[int, float] = {}
        """Parameter id -> the value that the plugin last told its host from `process`."""
        self.touches: list[Touch] = []
        """What the plugin told of hands at its own controls, the oldest first."""
        self.takes_events = True
        """Whether there is room for what the plugin tells."""
        self.touched: set[int] = set()
        """Parameters that a hand at the plugin's own controls holds just now, by id."""
        self._push = ffi.callback("bool (const out_events_t *, const event_t *)", self._hear)
        self._out.try_push = self._push
        self._call = ffi.new("process_t *")
        self._steady_time = 0
        _living.add(self)

    @property
    def requests(self) -> Requests:
        """What the plugin has asked for."""
        return self._host.requests

    @property
    def parameters(self) -> list[ParameterInfo]:
        """In the plugin's order."""
        infos = []
        for index in range(self._params.count(self._plugin)):
            info = ffi.new("param_info_t *")
            if not self._params.get_info(self._plugin, index, info):
                raise InputError(f"the plugin has no parameter {index} of those that it counted")
            texts = _text(info.name), _text(info.module)
            infos.append(ParameterInfo(info.id, *texts, info.low, info.high, info.initial, info.flags))
        return infos

    def value(self, id: int) -> float:
        """A parameter's plain value."""
        value = ffi.new("double *")
        if not self._params.get_value(self._plugin, id, value):
            raise InputError(f"the plugin has no parameter with the id {id}")
        return float(value[0])

    def text(self, id: int, value: float) -> str | None:
        """What the plugin shows for a value; None if it shows nothing."""
        display = ffi.new("char[256]")
        return _text(display) if self._params.value_to_text(self._plugin, id, value, display, 256) else None

    def parse(self, id: int, text: str) -> float | None:
        """The value that the plugin reads in a text; None if it cannot read it."""
        value = ffi.new("double *")
        return float(value[0]) if self._params.text_to_value(self._plugin, id, text.encode(), value) else None

    def flush(self, events: Sequence[Event]) -> None:
        """Set parameters while no block is processed."""
        self._events = [_packed(event) for event in events]
        with self._host.on_audio_thread() if self.active else nullcontext():
            self._params.flush(self._plugin, self._in, self._out)
        self._check_conduct()

    @property
    def latency(self) -> int:
        """Samples."""
        return int(self._extension("clap.latency", "number_t").get(self._plugin))

    @property
    def tail(self) -> int:
        """Samples; 2^31 - 1 or more means that it never ends."""
        return int(self._extension("clap.tail", "number_t").get(self._plugin))

    def set_offline(self, offline: bool) -> bool:
        """Tell it whether it is bounced; whether it takes note."""
        return bool(self._extension("clap.render", "render_t").set(self._plugin, int(offline)))

    def save(self, most_at_once: int = 2**30) -> bytes | None:
        """The state; None if it says that it cannot save. A stream may take only some bytes at a time."""
        data = bytearray()

        def write(_: Any, buffer: Any, size: int) -> int:
            taken = min(size, most_at_once)
            data.extend(ffi.buffer(buffer, taken))
            return taken

        callback = ffi.callback("int64_t (const ostream_t *, const void *, uint64_t)", write)
        stream = ffi.new("ostream_t *", {"write": callback})
        return bytes(data) if self._state.save(self._plugin, stream) else None

    def load(self, data: bytes, most_at_once: int = 2**30) -> bool:
        """Restore a state; whether it was taken."""
        position = 0

        def read(_: Any, buffer: Any, size: int) -> int:
            nonlocal position
            part = data[position : position + min(size, most_at_once)]
            ffi.memmove(buffer, part, len(part))
            position += len(part)
            return len(part)

        callback = ffi.callback("int64_t (const istream_t *, void *, uint64_t)", read)
        return bool(self._state.load(self._plugin, ffi.new("istream_t *", {"read": callback})))

    def audio_ports(self, is_input: bool) -> list[tuple[str, int, int]]:
        """Name, channels and flags of each."""
        ports = self._extension("clap.audio-ports", "audio_ports_t")
        found = []
        for index in range(ports.count(self._plugin, is_input)):
            port = ffi.new("audio_port_t *")
            if ports.get(self._plugin, index, is_input, port):
                found.append((_text(port.name), port.channel_count, port.flags))
        return found

    def note_ports(self, is_input: bool) -> list[tuple[str, int]]:
        """Name and dialects of each."""
        ports = self._extension("clap.note-ports", "note_ports_t")
        found = []
        for index in range(ports.count(self._plugin, is_input)):
            port = ffi.new("note_port_t *")
            if ports.get(self._plugin, index, is_input, port):
                found.append((_text(port.name), port.supported_dialects))
        return found

    def has_extension(self, id: str) -> bool:
        """Whether the plugin knows an extension."""
        return bool(self._plugin.get_extension(self._plugin, id.encode()) != ffi.NULL)

    def activate(self, sample_rate: float, max_block: int, *, start: bool = True) -> None:
        """Make it ready for blocks of up to `max_block` samples.

        Raises:
            InputError: it refuses.
        """
        self._expect_main_thread("activate")
        if not self._plugin.activate(self._plugin, sample_rate, 1, max_block):
            raise InputError(f"the plugin cannot run at {sample_rate} Hz in blocks of {max_block}")
        self.active, self._max_block = True, max_block
        self._check_conduct()
        if start:
            with self._host.on_audio_thread():
                self._plugin.start_processing(self._plugin)

    def deactivate(self) -> None:
        """Undo `activate`."""
        if self.active:
            self._expect_main_thread("deactivate")
            with self._host.on_audio_thread():
                self._plugin.stop_processing(self._plugin)
            self._plugin.deactivate(self._plugin)
            self.active = False

    def reset(self) -> None:
        """The next block begins a new stream."""
        with self._host.on_audio_thread():
            self._plugin.reset(self._plugin)

    def process(
        self,
        samples: int,
        events: Sequence[Event] = (),
        transport: Transport | None = None,
        audio_in: NDArray[np.float32] | None = None,
        *,
        channels: int = 2,
        in_place: bool = False,
    ) -> Audio:
        """Have a block made.

        Args:
            samples: 0 or more.
            events: sorted by their offsets, which lie within the block.
            transport: at the block's first sample; None for a host without one.
            audio_in: (channels, samples); None: silence, as a DAW has it where nothing is connected.
            channels: of the output: 2, or 1 for a mono host.
            in_place: whether the output shares its memory with the input.
        Returns:
            (channels, samples)
        Raises:
            InputError: it reports an error, or somebody breaks a rule.
        """
        if self.strict:
            self._check_call(samples, events)
        memory = np.full((channels, samples + GUARD), np.nan, np.float32)  # what is not written shows
        out, guard = memory[:, :samples], memory[:, samples:]
        inputs = np.zeros((channels, samples), np.float32) if audio_in is None else audio_in.astype(np.float32)
        if in_place:
            out[:] = inputs
            inputs = out
        self._events = [_packed(event) for event in events]
        call = self._call
        call.steady_time, call.frames_count = self._steady_time, samples
        packed_transport = _packed(transport) if transport else ffi.NULL
        call.transport = ffi.cast("const transport_t *", packed_transport)
        output_buffer, _rows = _buffers(out)
        call.audio_outputs, call.audio_outputs_count = output_buffer, 1
        input_buffer, _input_rows = _buffers(inputs)
        input_buffer.constant_mask = (1 << channels) - 1 if audio_in is None else 0
        call.audio_inputs, call.audio_inputs_count = input_buffer, int(self._hears)
        call.in_events, call.out_events = self._in, self._out
        with self._host.on_audio_thread():
            began = time.perf_counter_ns()
            self.status = self._plugin.process(self._plugin, call)
            self.spent_ns = time.perf_counter_ns() - began
        if self.status == ERROR:
            raise InputError("the plugin reports an error in a block")
        self._steady_time += samples
        self.constant_mask = output_buffer.constant_mask
        if self.strict:
            self._check_sound(out, guard)
            self._check_conduct()
        return out

    def _check_call(self, samples: int, events: Sequence[Event]) -> None:
        if samples > self._max_block:
            raise InputError(f"a block of {samples} samples is longer than the {self._max_block} of activate")
        offsets = [event.offset for event in events]
        if offsets != sorted(offsets) or any(not 0 <= offset < max(samples, 1) for offset in offsets):
            raise InputError("events should be sorted by their offsets, which lie within the block")

    def _check_sound(self, out: Audio, guard: Audio) -> None:
        if not np.isfinite(out).all():
            raise InputError("the plugin left samples unwritten, or made some that are no numbers")
        if not np.isnan(guard).all():
            raise InputError("the plugin wrote behind the block")
        for channel, row in enumerate(out):
            if self.constant_mask >> channel & 1 and row.size and np.ptp(row) > 0:
                raise InputError(f"the plugin says that channel {channel} is constant, which it is not")

    def _check_conduct(self) -> None:
        if self.strict and self.requests.violations:
            raise InputError("; ".join(self.requests.violations))

    def _expect_main_thread(self, function: str) -> None:
        if self.strict and threading.get_ident() != self._host.main_thread:
            raise InputError(f"{function} should be called on the thread that made the plugin")

    def run_main_thread(self) -> None:
        """Give the plugin the main thread, if it has asked for it."""
        self._expect_main_thread("run_main_thread")
        if self.requests.callbacks:
            self.requests.callbacks = 0
            self._plugin.on_main_thread(self._plugin)
            self._check_conduct()

    def destroy(self) -> None:
        """End the instance."""
        if self._plugin is not None:
            self.deactivate()
            self._plugin.destroy(self._plugin)
            self._plugin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    def _hear(self, _: Any, event: Any) -> bool:
        if not self.takes_events:
            return False
        if event.space_id == 0 and event.type == PARAM_VALUE:
            told = ffi.cast("param_t *", event)
            self.told[int(told.param_id)] = float(told.value)
            if told.param_id in self.touched:
                self.touches.append(Touch(PARAM_VALUE, int(told.param_id), float(told.value)))
        elif event.space_id == 0 and event.type in (GESTURE_BEGIN, GESTURE_END):
            self._hear_touch(event.type, int(ffi.cast("gesture_t *", event).param_id))
        return True

    def _hear_touch(self, kind: int, id: int) -> None:
        begins = kind == GESTURE_BEGIN
        if begins == (id in self.touched):
            what = "begins a gesture that it has begun" if begins else "ends a gesture that it has not begun"
            self.requests.violations.append(f"the plugin {what} (parameter {id})")
        self.touched ^= {id}
        self.touches.append(Touch(kind, id))

    def rename_track(self, name: str) -> None:
        """Tell the plugin that its track is called otherwise now; it must have had a name before."""
        self._host.track = name
        self._extension("clap.track-info/1", "track_changed_t").changed(self._plugin)
        self._check_conduct()

    def show_editor(self) -> bool:
        """Ask for the plugin's own window, which floats; whether it says that it shows one."""
        gui = self._extension("clap.gui", "gui_t")
        return bool(gui.create(self._plugin, b"x11", True) and gui.show(self._plugin))

    def _event_at(self, _: Any, index: int) -> Any:
        return ffi.cast("const event_t *", self._events[index])

    def _extension(self, id: str, kind: str) -> Any:
        extension = self._plugin.get_extension(self._plugin, id.encode())
        if extension == ffi.NULL:
            raise InputError(f"the plugin has no extension {id}")
        return ffi.cast(f"const {kind} *", extension)


def _buffers(audio: NDArray[np.float32]) -> tuple[Any, Any]:
    """A CLAP buffer over an array, and what must live as long as it."""
    rows = [ffi.cast("float *", row.ctypes.data) for row in audio]
    pointers = ffi.new("float *[]", rows)
    return ffi.new("buffer_t *", {"data32": pointers, "channel_count": len(rows)}), pointers


def _header(kind: str, type: int, offset: int) -> dict[str, Any]:
    return {"size": ffi.sizeof(kind), "time": offset, "type": type}


def _packed(event: Event) -> Any:
    """An event as CLAP's struct."""
    if isinstance(event, ParamValue):
        head = _header("param_t", PARAM_VALUE, event.offset) | {"space_id": event.space}
        who = {"note_id": event.note_id, "port": -1, "channel": event.channel, "key": event.key}
        return ffi.new("param_t *", {"header": head, "param_id": event.id, "value": event.value, **who})
    if isinstance(event, Note):
        head = _header("note_t", event.kind, event.offset)
        who = {"note_id": event.note_id, "channel": event.channel, "key": event.key}
        return ffi.new("note_t *", {"header": head, "velocity": event.velocity, **who})
    if isinstance(event, Expression):
        head = _header("expression_t", NOTE_EXPRESSION, event.offset)
        who = {"note_id": event.note_id, "channel": event.channel, "key": event.key, "port": -1}
        return ffi.new("expression_t *", {"header": head, "expression_id": event.kind, "value": event.value, **who})
    if isinstance(event, Midi):
        head = _header("midi_t", MIDI, event.offset)
        return ffi.new("midi_t *", {"header": head, "data": list(event.data.ljust(3, b"\0"))})
    return _packed_transport(event)


def _packed_transport(transport: Transport) -> Any:
    known = (
        transport.bpm is not None, transport.beat is not None, transport.seconds is not None,
        transport.meter is not None, transport.playing, transport.recording, transport.cycle is not None,
    )  # fmt: skip
    numerator, denominator = transport.meter or (4, 4)
    begin, end = transport.cycle or (0.0, 0.0)
    return ffi.new(
        "transport_t *",
        {
            "header": _header("transport_t", TRANSPORT, transport.offset),
            "flags": sum(1 << bit for bit, there in enumerate(known) if there),
            "beats": _fixed(transport.beat),
            "seconds": _fixed(transport.seconds),
            "tempo": transport.bpm or 0.0,
            "loop_start_beats": _fixed(begin),
            "loop_end_beats": _fixed(end),
            "bar_start": _fixed(transport.bar_beat),
            "bar_number": transport.bar,
            "numerator": numerator,
            "denominator": denominator,
        },
    )


def _fixed(value: float | None) -> int:
    return round((value or 0.0) * FIXED_POINT)


def _library_in(clap: Path) -> str:
    """What is to be loaded: on macOS a `.clap` is a folder with the library inside."""
    return os.fspath(clap / "Contents" / "MacOS" / clap.stem if clap.is_dir() else clap)


def _descriptor(found: Any) -> Descriptor:
    features: list[str] = []
    while found.features[len(features)] != ffi.NULL:
        features.append(_text(found.features[len(features)]))
    texts = {key: _text(getattr(found, key)) for key in ("id", "name", "vendor", "version", "description")}
    return Descriptor(**texts, features=tuple(features))


def _text(characters: Any) -> str:
    return "" if characters == ffi.NULL else str(ffi.string(characters).decode(errors="replace"))
