"""The engine's view of the memory it shares with its plugin; the other bank is `native/bridge/shared_memory.cpp`."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from terrain_core.errors import InputError
from terrain_plugin.bridge.protocol import (
    CHANNELS,
    EVENT,
    HEADER,
    MAGIC,
    PROTOCOL_VERSION,
    REPLY,
    REQUEST,
    EngineState,
    Layout,
)

LARGEST_BLOCK = 2**20

_EVENT_BYTES = EVENT.struct.size
_SEQUENCE = np.dtype("u8")

assert REQUEST.fields[0].name == REPLY.fields[0].name == "sequence", "the sequence stands first in both"


class Request(NamedTuple):
    """`protocol.REQUEST` as Python's numbers."""

    sequence: int
    samples: int
    flags: int
    event_count: int
    lost_samples: int
    beat: float
    bpm: float
    seconds: float
    bar_beat: float
    cycle_begin: float
    cycle_end: float
    bar: int
    meter_numerator: int
    meter_denominator: int
    state_id: int
    padding: int


class SharedMemory:
    """Requests to read and replies to write. Everything that is used per block is made once.

    What the plugin wrote is not trusted to be sane: sizes are checked before anything is read with them.
    """

    def __init__(self, descriptor: int) -> None:
        """
        Raises:
            InputError: it is not a shared memory of this protocol, or it is cut short.
        """
        try:
            self._memory = mmap.mmap(descriptor, 0)
        except (OSError, ValueError) as error:
            raise InputError(f"the shared memory cannot be mapped ({error})") from None
        self.sample_rate, self.max_block, self._max_events, layout = self._checked_header()
        self._request_at, self._reply_at, self._events_at = layout.request_at, layout.reply_at, layout.events_at
        shape = CHANNELS, self.max_block
        self.audio_in = self._floats(layout.audio_in_at, shape)
        self.audio_out = self._floats(layout.audio_out_at, shape)
        self._reply_sequence = np.frombuffer(self._memory, _SEQUENCE, 1, self._reply_at)
        self._reply = np.frombuffer(self._memory, REPLY.dtype, 1, self._reply_at)

    def _checked_header(self) -> tuple[float, int, int, Layout]:
        if len(self._memory) < HEADER.struct.size:
            raise InputError(f"the shared memory has {len(self._memory)} bytes: too few for its header")
        found: dict[str, Any] = dict(
            zip((field.name for field in HEADER.fields), HEADER.struct.unpack_from(self._memory), strict=True)
        )
        if found["magic"] != MAGIC or found["protocol"] != PROTOCOL_VERSION:
            raise InputError(
                f"the shared memory begins with {found['magic']:#x} and protocol {found['protocol']}: "
                f"expected {MAGIC:#x} and {PROTOCOL_VERSION}"
            )
        if not 0 < found["max_block"] <= LARGEST_BLOCK or not 0 < found["max_events"] <= LARGEST_BLOCK:
            raise InputError(f"the shared memory is for blocks of {found['max_block']} samples")
        layout = Layout(found["max_block"], found["max_events"])
        places = ("request_at", "reply_at", "events_at", "audio_in_at", "audio_out_at", "memory_bytes")
        if any(found[place] != getattr(layout, place) for place in places) or layout.memory_bytes > len(self._memory):
            raise InputError("the shared memory is laid out otherwise than this version expects")
        return found["sample_rate"], found["max_block"], found["max_events"], layout

    def _floats(self, at: int, shape: tuple[int, int]) -> NDArray[np.float32]:
        return np.frombuffer(self._memory, np.float32, shape[0] * shape[1], at).reshape(shape)

    def pending(self) -> Request | None:
        """The request that waits for its reply, if there is one."""
        request = Request._make(REQUEST.struct.unpack_from(self._memory, self._request_at))
        if request.sequence == self._reply_sequence[0]:
            return None
        return request._replace(
            samples=min(max(request.samples, 1), self.max_block), event_count=min(request.event_count, self._max_events)
        )

    def events(self, count: int) -> Iterator[tuple[Any, ...]]:
        """The first `count` events, each with the members of `protocol.EVENT` in their order (data: four numbers)."""
        return EVENT.struct.iter_unpack(self._memory[self._events_at : self._events_at + count * _EVENT_BYTES])

    def reply(
        self, request: Request, spent_ns: int, silent: bool, faults: int, loop: tuple[int, float] = (0, 0.0)
    ) -> None:
        """Answer: the audio is in `audio_out`. The sequence comes last: with it, the plugin may read all the rest."""
        REPLY.struct.pack_into(
            self._memory,
            self._reply_at,
            int(self._reply_sequence[0]),
            request.samples,
            EngineState.READY,
            spent_ns,
            silent,
            faults,
            loop[1],
            loop[0],
            0,
        )
        self._reply_sequence[0] = request.sequence

    def say(self, state: EngineState) -> None:
        """Tell the plugin's supervisor what the engine does now."""
        self._reply["state"] = state
