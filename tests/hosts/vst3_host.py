"""A VST3 host in Python, for what DawDreamer and pedalboard cannot do: several points in a queue, the whole transport,
note expressions, a switch to offline in mid-song, mono, blocks without samples or buses, saving while playing.

It is as strict as `terrain_plugin.clap_host`: every sample must be written and be a number, none behind the block
touched, silence flags true, references given back. Declarations: VST 3.7's binary interface, as far as it is used here.
"""

from __future__ import annotations

import select
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Audio
from terrain_core.identity import VST3_CLASS_UUID

UNKNOWN: Final = (
    "int32_t (*query)(void *, const uint8_t *, void **); uint32_t (*ref)(void *); uint32_t (*unref)(void *);"
)
BASE: Final = f"{UNKNOWN} int32_t (*initialize)(void *, void *); int32_t (*terminate)(void *);"

ffi: Any = FFI()
ffi.cdef(f"""
typedef int16_t text_t[128];
typedef struct {{ {UNKNOWN} }} unknown_t;
typedef struct {{ char vendor[64]; char url[256]; char email[128]; int32_t flags; }} factory_info_t;
typedef struct {{ uint8_t id[16]; int32_t cardinality; char category[32]; char name[64]; }} class_info_t;
typedef struct {{
    uint8_t id[16]; int32_t cardinality; char category[32]; char name[64]; uint32_t flags;
    char sub_categories[128]; char vendor[64]; char version[64]; char sdk_version[64];
}} class_info_2_t;
typedef struct {{
    uint8_t id[16]; int32_t cardinality; char category[32]; int16_t name[64]; uint32_t flags;
    char sub_categories[128]; int16_t vendor[64]; int16_t version[64]; int16_t sdk_version[64];
}} class_info_3_t;
typedef struct {{
    {UNKNOWN}
    int32_t (*get_factory_info)(void *, factory_info_t *);
    int32_t (*num_classes)(void *);
    int32_t (*get_class_info)(void *, int32_t, class_info_t *);
    int32_t (*create_instance)(void *, const uint8_t *, const uint8_t *, void **);
    int32_t (*get_class_info_2)(void *, int32_t, class_info_2_t *);
    int32_t (*get_class_info_3)(void *, int32_t, class_info_3_t *);
    int32_t (*set_host_context)(void *, void *);
}} factory_t;
typedef struct {{
    int32_t media, direction, channels; text_t name; int32_t type; uint32_t flags;
}} bus_info_t;
typedef struct {{
    {BASE}
    int32_t (*get_controller_class_id)(void *, uint8_t *);
    int32_t (*set_io_mode)(void *, int32_t);
    int32_t (*get_bus_count)(void *, int32_t, int32_t);
    int32_t (*get_bus_info)(void *, int32_t, int32_t, int32_t, bus_info_t *);
    int32_t (*get_routing_info)(void *, void *, void *);
    int32_t (*activate_bus)(void *, int32_t, int32_t, int32_t, uint8_t);
    int32_t (*set_active)(void *, uint8_t);
    int32_t (*set_state)(void *, void *);
    int32_t (*get_state)(void *, void *);
}} component_t;
typedef struct {{ int32_t mode, sample_size, max_block; double sample_rate; }} setup_t;
typedef struct {{
    uint32_t state; double sample_rate; int64_t samples, system_time, continuous_samples;
    double quarters, bar, cycle_start, cycle_end, bpm; int32_t numerator, denominator;
    struct {{ uint8_t key, root; int16_t mask; }} chord;
    int32_t smpte_offset; struct {{ uint32_t fps, flags; }} frame_rate; int32_t to_next_clock;
}} context_t;
typedef struct {{ int32_t channels; uint64_t silence; float **buffers; }} bus_buffers_t;
typedef struct {{
    int32_t mode, sample_size, samples, input_count, output_count; bus_buffers_t *inputs, *outputs;
    void *input_params, *output_params, *input_events, *output_events; context_t *context;
}} process_data_t;
typedef struct {{
    {UNKNOWN}
    int32_t (*set_bus_arrangements)(void *, uint64_t *, int32_t, uint64_t *, int32_t);
    int32_t (*get_bus_arrangement)(void *, int32_t, int32_t, uint64_t *);
    int32_t (*can_process_sample_size)(void *, int32_t);
    uint32_t (*get_latency_samples)(void *);
    int32_t (*setup_processing)(void *, setup_t *);
    int32_t (*set_processing)(void *, uint8_t);
    int32_t (*process)(void *, process_data_t *);
    uint32_t (*get_tail_samples)(void *);
}} processor_t;
typedef struct {{
    uint32_t id; text_t title, short_title, units; int32_t step_count; double initial; int32_t unit_id, flags;
}} param_info_t;
typedef struct {{
    {BASE}
    int32_t (*set_component_state)(void *, void *);
    int32_t (*set_state)(void *, void *);
    int32_t (*get_state)(void *, void *);
    int32_t (*get_parameter_count)(void *);
    int32_t (*get_parameter_info)(void *, int32_t, param_info_t *);
    int32_t (*get_parameter_string_for_value)(void *, uint32_t, double, int16_t *);
    int32_t (*get_parameter_value_for_string)(void *, uint32_t, int16_t *, double *);
    double (*normalised_parameter_to_plain)(void *, uint32_t, double);
    double (*plain_parameter_to_normalised)(void *, uint32_t, double);
    double (*get_parameter_normalised)(void *, uint32_t);
    int32_t (*set_parameter_normalised)(void *, uint32_t, double);
    int32_t (*set_component_handler)(void *, void *);
    void *(*create_view)(void *, const char *);
}} controller_t;
typedef struct {{ {UNKNOWN} int32_t (*assignment)(void *, int32_t, int16_t, int16_t, uint32_t *); }} midi_mapping_t;
typedef struct {{ {UNKNOWN} uint32_t (*requirements)(void *); }} requirements_t;
typedef struct {{ int32_t id, parent; text_t name; int32_t program_list; }} unit_info_t;
typedef struct {{
    {UNKNOWN}
    int32_t (*get_unit_count)(void *);
    int32_t (*get_unit_info)(void *, int32_t, unit_info_t *);
    int32_t (*get_program_list_count)(void *);
    void *of_programs[5];
    int32_t (*get_selected_unit)(void *);
    int32_t (*select_unit)(void *, int32_t);
}} units_t;
typedef struct {{
    uint32_t type; text_t title, short_title, units; int32_t unit_id; double initial, low, high; int32_t step_count;
    uint32_t parameter; int32_t flags;
}} expression_info_t;
typedef struct {{
    {UNKNOWN}
    int32_t (*count)(void *, int32_t, int16_t);
    int32_t (*info)(void *, int32_t, int16_t, int32_t, expression_info_t *);
    int32_t (*text)(void *, int32_t, int16_t, uint32_t, double, int16_t *);
    int32_t (*parse)(void *, int32_t, int16_t, uint32_t, const int16_t *, double *);
}} expressions_t;
typedef struct {{ uint32_t controller, expression; }} physical_map_t;
typedef struct {{ uint32_t count; physical_map_t *maps; }} physical_maps_t;
typedef struct {{ {UNKNOWN} int32_t (*map)(void *, int32_t, int16_t, physical_maps_t *); }} physical_t;
typedef struct {{
    {UNKNOWN}
    int32_t (*read)(void *, void *, int32_t, int32_t *);
    int32_t (*write)(void *, void *, int32_t, int32_t *);
    int32_t (*seek)(void *, int64_t, int32_t, int64_t *);
    int32_t (*tell)(void *, int64_t *);
}} stream_t;
typedef struct {{
    {UNKNOWN}
    uint32_t (*get_param_id)(void *);
    int32_t (*get_point_count)(void *);
    int32_t (*get_point)(void *, int32_t, int32_t *, double *);
    int32_t (*add_point)(void *, int32_t, double, int32_t *);
}} queue_t;
typedef struct {{
    {UNKNOWN}
    int32_t (*get_param_count)(void *);
    void *(*get_param_data)(void *, int32_t);
    void *(*add_param_data)(void *, uint32_t *, int32_t *);
}} changes_t;
typedef struct {{ int16_t channel, pitch; float tuning, velocity; int32_t length, note_id; }} note_on_t;
typedef struct {{ int16_t channel, pitch; float velocity; int32_t note_id; float tuning; }} note_off_t;
typedef struct {{ int16_t channel, pitch; float pressure; int32_t note_id; }} poly_pressure_t;
typedef struct {{ uint32_t type; int32_t note_id; double value; }} expression_t;
typedef struct {{
    int32_t bus, offset; double quarters; uint16_t flags, type;
    union {{
        note_on_t note_on; note_off_t note_off; poly_pressure_t poly_pressure; expression_t expression;
        struct {{ uint32_t size, type; const uint8_t *bytes; }} data;
    }};
}} event_t;
typedef struct {{
    {UNKNOWN}
    uint32_t (*get_event_count)(void *);
    int32_t (*get_event)(void *, int32_t, event_t *);
    int32_t (*add_event)(void *, event_t *);
}} events_t;
typedef struct {{
    {UNKNOWN}
    int32_t (*begin_edit)(void *, uint32_t);
    int32_t (*perform_edit)(void *, uint32_t, double);
    int32_t (*end_edit)(void *, uint32_t);
    int32_t (*restart_component)(void *, int32_t);
}} handler_t;
typedef struct {{ {UNKNOWN} void (*on_fd_is_set)(void *, int); }} event_handler_t;
typedef struct {{
    {UNKNOWN}
    int32_t (*register_event_handler)(void *, void *, int);
    int32_t (*unregister_event_handler)(void *, void *);
    int32_t (*register_timer)(void *, void *, uint64_t);
    int32_t (*unregister_timer)(void *, void *);
}} run_loop_t;
bool ModuleEntry(void *);
bool ModuleExit(void);
void *GetPluginFactory(void);
""")

OK, FALSE, NOT_IMPLEMENTED = 0, 1, 3
NO_INTERFACE: Final = -1
AUDIO, EVENT = range(2)
INPUT, OUTPUT = range(2)
REALTIME, PREFETCH, OFFLINE = range(3)
STEREO, MONO, NO_SPEAKERS = 3, 1 << 19, 0
TUNING, BRIGHTNESS, PRESSURE = 2, 5, 100000
CHANNEL_PRESSURE, PITCH_BEND = 128, 129
VALUES_CHANGED, LATENCY_CHANGED = 1 << 2, 1 << 3

CLASS_ID: Final = bytes.fromhex(VST3_CLASS_UUID.replace("-", ""))

GUARD: Final = 64
"""Samples behind a block that the plugin must leave alone."""


def _iid(*words: int) -> bytes:
    return struct.pack(">4I", *words)


IIDS: Final[Mapping[str, bytes]] = {
    "unknown_t": _iid(0x00000000, 0x00000000, 0xC0000000, 0x00000046),
    "factory_t": _iid(0x4555A2AB, 0xC1234E57, 0x9B122910, 0x36878931),
    "component_t": _iid(0xE831FF31, 0xF2D54301, 0x928EBBEE, 0x25697802),
    "processor_t": _iid(0x42043F99, 0xB7DA453C, 0xA569E79D, 0x9AAEC33D),
    "controller_t": _iid(0xDCD7BBE3, 0x7742448D, 0xA874AACC, 0x979C759E),
    "midi_mapping_t": _iid(0xDF0FF9F7, 0x49B74669, 0xB63AB732, 0x7ADBF5E5),
    "requirements_t": _iid(0x2A654303, 0xEF764E3D, 0x95B5FE83, 0x730EF6D0),
    "units_t": _iid(0x3D4BD6B5, 0x913A4FD2, 0xA886E768, 0xA5EB92C1),
    "expressions_t": _iid(0xB7F8F859, 0x41234872, 0x91169581, 0x4F3721A3),
    "physical_t": _iid(0xB03078FF, 0x94D24AC8, 0x90CCD303, 0xD4133324),
    "stream_t": _iid(0xC3BF6EA2, 0x30994752, 0x9B6BF990, 0x1EE33E9B),
    "queue_t": _iid(0x01263A18, 0xED074F6F, 0x98C9D356, 0x4686F9BA),
    "changes_t": _iid(0xA4779663, 0x0BB64A56, 0xB44384A8, 0x466FEB9D),
    "events_t": _iid(0x3A2C4214, 0x346349FE, 0xB2C4F397, 0xB9695A44),
    "handler_t": _iid(0x93A0BEA3, 0x0BD045DB, 0x8E890B0C, 0xC1E46AC6),
    "run_loop_t": _iid(0x18C35366, 0x97764F1A, 0x9C5B8385, 0x7A871389),
}
"""By the name of the function table above."""


@dataclass(frozen=True)
class NoteOn:
    """A note begins; velocity 0..1."""

    offset: int
    key: int
    velocity: float = 0.8
    channel: int = 0
    note_id: int = -1


@dataclass(frozen=True)
class NoteOff:
    """A note ends."""

    offset: int
    key: int
    channel: int = 0
    note_id: int = -1


@dataclass(frozen=True)
class PolyPressure:
    """A held key is pressed harder, 0..1."""

    offset: int
    key: int
    pressure: float
    channel: int = 0


@dataclass(frozen=True)
class Expression:
    """A note's own control; `value` is normalised."""

    offset: int
    type: int
    note_id: int
    value: float


Note = NoteOn | NoteOff | PolyPressure | Expression
Points = Mapping[int, Sequence[tuple[int, float]]]
"""Parameter id -> the points of its queue: offset, normalised value."""


@dataclass(frozen=True)
class Context:
    """The transport at a block's first sample; what is None the host does not know."""

    samples: int = 0
    quarters: float | None = None
    bpm: float | None = None
    bar: float | None = None
    meter: tuple[int, int] | None = None
    cycle: tuple[float, float] | None = None
    cycle_active: bool = False
    playing: bool = True
    recording: bool = False


@dataclass(frozen=True)
class ParameterInfo:
    """What the plugin says of a parameter."""

    id: int
    title: str
    short_title: str
    units: str
    step_count: int
    initial: float
    unit_id: int
    flags: int


@dataclass
class Requests:
    """What the plugin has asked of its host."""

    restarts: list[int] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)


class Interface:
    """One interface of a plugin's object: its functions as methods."""

    def __init__(self, kind: str, pointer: Any) -> None:
        self.pointer = pointer
        self._table = ffi.cast(f"{kind} **", pointer)[0]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(self._table, name)
        return lambda *arguments: function(self.pointer, *arguments)

    def as_(self, kind: str) -> Interface | None:
        """Another interface of the same object; None if it has none. Its reference is given back at once: the object
        lives as long as its first one.
        """
        found = ffi.new("void **")
        if self.query(IIDS[kind], found) != OK:
            assert found[0] == ffi.NULL
            return None
        other = Interface(kind, found[0])
        other.unref()
        return other


class HostObject:
    """An object of the host's: a table of Python functions (without `self`), and what it answers to a query."""

    def __init__(self, kind: str, functions: Mapping[str, Callable[..., Any]], *others: HostObject) -> None:
        self.references = 1
        self._found = {IIDS["unknown_t"]: self, IIDS[kind]: self, **{IIDS[other.kind]: other for other in others}}
        self.kind = kind
        self._table = ffi.new(f"{kind} *")
        self._callbacks = []
        every = {"query": self._query, "ref": lambda: self._count(1), "unref": lambda: self._count(-1), **functions}
        for name, member in ffi.typeof(kind).fields:
            function = every.get(name, lambda *_: NOT_IMPLEMENTED)
            callback = ffi.callback(member.type, lambda _, *arguments, f=function: f(*arguments))
            self._callbacks.append(callback)
            setattr(self._table, name, callback)
        self._object = ffi.new("void **", self._table)
        self.pointer = ffi.cast("void *", self._object)

    def _query(self, iid: Any, found: Any) -> int:
        known = self._found.get(bytes(ffi.buffer(iid, 16)))
        found[0] = known.pointer if known else ffi.NULL
        if known is None:
            return NO_INTERFACE
        known._count(1)
        return OK

    def _count(self, change: int) -> int:
        self.references += change
        return self.references


class Stream(HostObject):
    """An IBStream over bytes; it may hand over only some at a time."""

    def __init__(self, data: bytes = b"", most_at_once: int = 2**30) -> None:
        super().__init__("stream_t", {"read": self._read, "write": self._write})
        self.data = bytearray(data)
        self._position = 0
        self._most = most_at_once

    def _read(self, buffer: Any, size: int, got: Any) -> int:
        part = bytes(self.data[self._position : self._position + min(size, self._most)])
        ffi.memmove(buffer, part, len(part))
        self._position += len(part)
        if got != ffi.NULL:
            got[0] = len(part)
        return OK

    def _write(self, buffer: Any, size: int, written: Any) -> int:
        taken = min(size, self._most)
        self.data += ffi.buffer(buffer, taken)
        if written != ffi.NULL:
            written[0] = taken
        return OK


class Queue(HostObject):
    """A parameter's points."""

    def __init__(self, id: int, points: Sequence[tuple[int, float]] = ()) -> None:
        self.id, self.points = id, list(points)
        super().__init__(
            "queue_t",
            {
                "get_param_id": lambda: id,
                "get_point_count": lambda: len(self.points),
                "get_point": self._get,
                "add_point": self._add,
            },
        )

    def _get(self, index: int, offset: Any, value: Any) -> int:
        offset[0], value[0] = self.points[index]
        return OK

    def _add(self, offset: int, value: float, index: Any) -> int:
        self.points.append((offset, value))
        index[0] = len(self.points) - 1
        return OK


class Changes(HostObject):
    """The queues of one block."""

    def __init__(self, points: Points) -> None:
        self.queues = [Queue(id, rows) for id, rows in points.items()]
        super().__init__(
            "changes_t",
            {
                "get_param_count": lambda: len(self.queues),
                "get_param_data": lambda index: self.queues[index].pointer,
                "add_param_data": self._add,
            },
        )

    def _add(self, id: Any, index: Any) -> Any:
        self.queues.append(Queue(id[0]))
        index[0] = len(self.queues) - 1
        return self.queues[-1].pointer


class Notes(HostObject):
    """The events of one block."""

    def __init__(self, notes: Sequence[Note]) -> None:
        packed = [_packed(note) for note in notes]

        def get(index: int, event: Any) -> int:
            event[0] = packed[index][0]
            return OK

        super().__init__("events_t", {"get_event_count": lambda: len(packed), "get_event": get})


def _packed(note: Note) -> Any:
    head = {"offset": note.offset}
    if isinstance(note, NoteOn):
        rest = {"channel": note.channel, "pitch": note.key, "velocity": note.velocity, "note_id": note.note_id}
        return ffi.new("event_t *", head | {"type": 0, "note_on": rest})
    if isinstance(note, NoteOff):
        rest = {"channel": note.channel, "pitch": note.key, "note_id": note.note_id}
        return ffi.new("event_t *", head | {"type": 1, "note_off": rest})
    if isinstance(note, PolyPressure):
        rest = {"channel": note.channel, "pitch": note.key, "pressure": note.pressure, "note_id": -1}
        return ffi.new("event_t *", head | {"type": 3, "poly_pressure": rest})
    rest = {"type": note.type, "note_id": note.note_id, "value": note.value}
    return ffi.new("event_t *", head | {"type": 4, "expression": rest})


class Vst3Library:
    """An opened VST3 bundle (Linux)."""

    def __init__(self, bundle: Path) -> None:
        (library,) = bundle.glob("Contents/*-linux/*.so")
        self._library = ffi.dlopen(str(library))
        assert self._library.ModuleEntry(ffi.NULL)
        self.factory = Interface("factory_t", self._library.GetPluginFactory())

    def factory_info(self) -> dict[str, Any]:
        return _as_dict(filled("factory_info_t", self.factory.get_factory_info))

    def class_infos(self) -> list[dict[str, Any]]:
        """What the three generations of class info say of the first class."""
        return [
            _as_dict(filled(f"class_info{which}_t", getattr(self.factory, f"get_class_info{which}"), 0))
            for which in ("", "_2", "_3")
        ]

    def create(self, *, run_loop: bool = True) -> Vst3Plugin:
        """An instance. The calling thread is its UI thread; `run_loop`: whether the host offers one."""
        found = ffi.new("void **")
        assert self.factory.create_instance(CLASS_ID, IIDS["component_t"], found) == OK
        return Vst3Plugin(Interface("component_t", found[0]), run_loop)


class Vst3Plugin:
    """An instance in a host."""

    def __init__(self, component: Interface, run_loop: bool) -> None:
        self.component = component
        self.requests = Requests()
        self._handlers: dict[int, Any] = {}  # file descriptor -> event handler
        self._run_loop = HostObject(
            "run_loop_t",
            {"register_event_handler": self._register, "unregister_event_handler": self._unregister},
        )
        offers = (self._run_loop,) if run_loop else ()
        self._host = HostObject("unknown_t", {}, *offers)
        self._handler = HostObject("handler_t", {"restart_component": self._restart}, *offers)
        assert component.initialize(self._host.pointer) == OK
        self.processor = self.interface("processor_t")
        self.controller = self.interface("controller_t")
        assert self.controller.set_component_handler(self._handler.pointer) == OK
        self.active = False
        self.silence = 0
        self.output_points: dict[int, list[tuple[int, float]]] = {}

    def interface(self, kind: str) -> Interface:
        """Another interface of the plugin's, which must be there."""
        found = self.component.as_(kind)
        assert found is not None, kind
        return found

    # ---- the host's side

    def _register(self, handler: Any, descriptor: int) -> int:
        self._handlers[descriptor] = handler
        return OK

    def _unregister(self, handler: Any) -> int:
        self._handlers = {d: known for d, known in self._handlers.items() if known != handler}
        return OK

    def _restart(self, flags: int) -> int:
        self.requests.restarts.append(flags)
        self.requests.threads.add(threading.get_ident())
        return OK

    def run_main_thread(self) -> int:
        """Serve the run loop once; how many handlers were called."""
        ready, _, _ = select.select(list(self._handlers), [], [], 0)
        for descriptor in ready:
            Interface("event_handler_t", self._handlers[descriptor]).on_fd_is_set(descriptor)
        return len(ready)

    # ---- controller

    @property
    def parameters(self) -> list[ParameterInfo]:
        """In the plugin's order."""
        infos = []
        for index in range(self.controller.get_parameter_count()):
            info = filled("param_info_t", self.controller.get_parameter_info, index)
            texts = (text_of(info.title), text_of(info.short_title), text_of(info.units))
            infos.append(ParameterInfo(info.id, *texts, info.step_count, info.initial, info.unit_id, info.flags))
        return infos

    def units(self) -> dict[int, str]:
        """Id -> name of every unit, the root among them."""
        units = self.interface("units_t")
        infos = [filled("unit_info_t", units.get_unit_info, index) for index in range(units.get_unit_count())]
        assert [info.parent for info in infos] == [-1, *[0] * (len(infos) - 1)]
        return {info.id: text_of(info.name) for info in infos}

    def value(self, id: int) -> float:
        """A parameter's normalised value, as the controller shows it."""
        return float(self.controller.get_parameter_normalised(id))

    def text(self, id: int, normalised: float) -> str | None:
        output = ffi.new("text_t")
        return text_of(output) if self.controller.get_parameter_string_for_value(id, normalised, output) == OK else None

    def parse(self, id: int, text: str) -> float | None:
        value = ffi.new("double *")
        if self.controller.get_parameter_value_for_string(id, wide(text), value) != OK:
            return None
        return float(value[0])

    def midi_assignment(self, controller: int, channel: int = 0, bus: int = 0) -> int | None:
        id = ffi.new("uint32_t *")
        mapping = self.interface("midi_mapping_t")
        return int(id[0]) if mapping.assignment(bus, channel, controller, id) == OK else None

    # ---- component and processor

    def bus(self, media: int, direction: int, index: int = 0) -> tuple[str, int, int, int] | None:
        """Name, channels, type and flags of a bus; None if there is none."""
        info = ffi.new("bus_info_t *")
        if self.component.get_bus_info(media, direction, index, info) != OK:
            return None
        return text_of(info.name), info.channels, info.type, info.flags

    def arrange(self, inputs: Sequence[int], outputs: Sequence[int]) -> bool:
        """Ask for speakers; whether the plugin agrees."""
        rows = [ffi.new("uint64_t[]", list(buses)) for buses in (inputs, outputs)]
        return bool(self.processor.set_bus_arrangements(rows[0], len(inputs), rows[1], len(outputs)) == OK)

    def save(self, most_at_once: int = 2**30) -> bytes:
        stream = Stream(most_at_once=most_at_once)
        assert self.component.get_state(stream.pointer) == OK
        assert stream.references == 1
        return bytes(stream.data)

    def load(self, data: bytes, most_at_once: int = 2**30) -> bool:
        """Restore a state, as hosts do: the component gets it, then the controller."""
        if self.component.set_state(Stream(data, most_at_once).pointer) != OK:
            return False
        return bool(self.controller.set_component_state(Stream(data).pointer) == OK)

    @property
    def latency(self) -> int:
        return int(self.processor.get_latency_samples())

    def activate(self, rate: float, max_block: int, mode: int = REALTIME, sample_size: int = 0) -> bool:
        setup = ffi.new("setup_t *", {"mode": mode, "sample_size": sample_size, "max_block": max_block})
        setup.sample_rate = rate
        if self.processor.setup_processing(setup) != OK or self.component.set_active(1) != OK:
            return False
        self.processor.set_processing(1)
        self.rate, self.mode, self.active = rate, mode, True
        return True

    def deactivate(self) -> None:
        if self.active:
            self.processor.set_processing(0)
            assert self.component.set_active(0) == OK
            self.active = False

    def restart_stream(self) -> None:
        """The next block begins a new stream."""
        self.processor.set_processing(0)
        self.processor.set_processing(1)

    def process(
        self,
        samples: int,
        points: Points | None = None,
        notes: Sequence[Note] = (),
        context: Context | None = None,
        audio_in: NDArray[np.float32] | None = None,
        *,
        mode: int | None = None,
        channels: int = 2,
        in_place: bool = False,
        buses: bool = True,
    ) -> Audio:
        """Have a block made: (channels, samples).

        `mode` other than the one of `activate` is what hosts do that switch to a bounce without setting up anew;
        `buses=False` leaves audio out altogether.
        """
        memory = np.full((channels, samples + GUARD), np.nan, np.float32)  # what is not written shows
        out, guard = memory[:, :samples], memory[:, samples:]
        inputs = None
        if audio_in is not None:
            inputs = np.ascontiguousarray(audio_in, np.float32)
            if in_place:
                out[:] = inputs
                inputs = out
        changes, new_changes, events = Changes(points or {}), Changes({}), Notes(notes)
        input_buffers, _rows_in = _buffers(inputs)
        output_buffers, _rows_out = _buffers(out)
        packed_context = _packed_context(context, self.rate) if context else ffi.NULL
        data = ffi.new(
            "process_data_t *",
            {
                "mode": self.mode if mode is None else mode,
                "samples": samples,
                "inputs": input_buffers,
                "input_count": int(inputs is not None),
                "outputs": output_buffers if buses else ffi.NULL,
                "output_count": int(buses),
                "input_params": changes.pointer if points is not None else ffi.NULL,
                "output_params": new_changes.pointer,
                "input_events": events.pointer if notes else ffi.NULL,
                "context": packed_context,
            },
        )
        assert self.processor.process(data) == OK
        self.output_points = {queue.id: queue.points for queue in new_changes.queues}
        self.silence = output_buffers.silence
        assert all(o.references == 1 for o in (changes, new_changes, events, *changes.queues, *new_changes.queues))
        if buses:
            self._check(out, guard)
        return out

    def _check(self, out: Audio, guard: Audio) -> None:
        assert np.isfinite(out).all(), "samples were left unwritten, or are no numbers"
        assert np.isnan(guard).all(), "the plugin wrote behind the block"
        for channel, row in enumerate(out):
            assert not (self.silence >> channel & 1 and row.any()), f"channel {channel} is not silent"

    def destroy(self) -> None:
        self.deactivate()
        assert self.controller.terminate() == OK
        assert self.component.terminate() == OK
        assert self._handlers == {}
        assert self.component.unref() == 0, "somebody still refers to the plugin"
        assert [o.references for o in (self._host, self._handler, self._run_loop)] == [1, 1, 1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()


def _packed_context(context: Context, rate: float) -> Any:
    bits = {
        1: context.playing,
        2: context.cycle_active,
        3: context.recording,
        9: context.quarters is not None,
        10: context.bpm is not None,
        11: context.bar is not None,
        12: context.cycle is not None,
        13: context.meter is not None,
    }
    begin, end = context.cycle or (0.0, 0.0)
    numerator, denominator = context.meter or (0, 0)
    return ffi.new(
        "context_t *",
        {
            "state": sum(1 << bit for bit, is_set in bits.items() if is_set),
            "sample_rate": rate,
            "samples": context.samples,
            "quarters": context.quarters or 0.0,
            "bar": context.bar or 0.0,
            "cycle_start": begin,
            "cycle_end": end,
            "bpm": context.bpm or 0.0,
            "numerator": numerator,
            "denominator": denominator,
        },
    )


def _buffers(audio: Audio | None) -> tuple[Any, Any]:
    """A bus's buffers over an array, and what must live as long as they."""
    if audio is None:
        return ffi.NULL, None
    pointers = ffi.new("float *[]", [ffi.cast("float *", row.ctypes.data) for row in audio])
    return ffi.new("bus_buffers_t *", {"channels": len(audio), "silence": 0, "buffers": pointers}), pointers


def filled(kind: str, function: Callable[..., int], *arguments: Any) -> Any:
    """A struct that a function of the plugin's fills."""
    info = ffi.new(f"{kind} *")
    assert function(*arguments, info) == OK
    return info


def _as_dict(info: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, member in ffi.typeof(info).item.fields:
        value = getattr(info, name)
        kind = member.type.cname
        if kind.startswith("char"):
            value = ffi.string(value).decode()
        elif kind.startswith("int16_t"):
            value = text_of(value)
        elif kind.startswith("uint8_t"):
            value = bytes(value)
        found[name] = value
    return found


def text_of(units: Any) -> str:
    found = list(units)
    return "".join(map(chr, found[: found.index(0)]))


def wide(text: str) -> Any:
    return ffi.new("int16_t[]", [*np.frombuffer(text.encode("utf-16-le"), np.int16).tolist(), 0])
