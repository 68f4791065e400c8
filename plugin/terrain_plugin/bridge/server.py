"""An engine's process: one plugin instance, from birth to the end of its control connection."""

from __future__ import annotations

import gc
import logging
import os
import select
import socket
import time
import traceback
from typing import Final

import numpy as np

from terrain_core.errors import TerrainError
from terrain_plugin.bridge.messages import Connection, Received
from terrain_plugin.bridge.processor import TerrainProcessor
from terrain_plugin.bridge.protocol import (
    PROTOCOL_VERSION,
    READY_RECORD,
    STATE_RECORD,
    EngineState,
    Message,
    RequestFlag,
)
from terrain_plugin.bridge.shared_memory import Request, SharedMemory
from terrain_plugin.instrument_shelf import InstrumentShelf

log = logging.getLogger("engine")

IDLE_MS: Final = 1000
"""Without a request for so long, garbage is collected and the parent is looked at."""

REALTIME_PRIORITY: Final = 5
"""Of SCHED_FIFO, where the system allows it: above everything that is not audio, below the host's own audio thread."""

MOST_FAULTS_LOGGED: Final = 20

_OFFLINE = int(RequestFlag.OFFLINE)
_WAKE = b"\1"


class Server:
    """Answers requests from the shared memory and messages from the control connection, one at a time."""

    def __init__(self, memory: SharedMemory, wake: socket.socket, control: Connection, shelf: InstrumentShelf) -> None:
        self._memory = memory
        self._wake = wake
        self._control = control
        self._processor = TerrainProcessor(memory.sample_rate, memory.max_block, shelf)
        self._parent = os.getppid()
        self._realtime = False
        self._failures = 0  # blocks that ended in an exception

    def run(self, state_id: int, state: bytes) -> None:
        """Take the first state, then serve until the plugin or the nursery is gone."""
        self._take_state(state_id, state, born=True)
        gc.disable()  # a collection takes milliseconds, and would come in the middle of a block
        poll = select.poll()
        wake = self._wake.fileno()
        for heard in (wake, self._control.socket.fileno()):
            poll.register(heard, select.POLLIN)
        while self._control.open and os.getppid() == self._parent:
            ready = poll.poll(IDLE_MS)
            if not ready:
                gc.collect()
            for descriptor, _ in ready:
                if descriptor == wake:
                    if not self._woken():
                        return
                    self._answer()
                else:
                    self._listen()

    def _woken(self) -> bool:
        """Take the bytes that woke us; False if the plugin is gone."""
        try:
            return bool(self._wake.recv(64))
        except ConnectionError:
            return False

    def _answer(self) -> None:
        request = self._memory.pending()
        if request is None:
            return
        self._set_realtime(not request.flags & _OFFLINE)
        started = time.perf_counter_ns()
        out = self._memory.audio_out[:, : request.samples]
        try:
            events = self._memory.events(request.event_count) if request.event_count else ()
            out[:] = self._processor.process(request, events, self._memory.audio_in)
        except Exception:  # the host goes on, whatever it was
            out[:] = 0.0
            self._note_failure(request)
        silent = not np.any(out)
        faults = self._processor.faults + self._failures
        self._memory.reply(request, time.perf_counter_ns() - started, silent, faults, self._processor.loop)
        try:
            self._wake.send(_WAKE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return  # bytes that are not read yet say the same
        except OSError:
            self._control.open = False

    def _note_failure(self, request: Request) -> None:
        self._failures += 1
        if self._failures <= MOST_FAULTS_LOGGED:
            log.error("block %s: %s", request, traceback.format_exc())

    def _listen(self) -> None:
        for message in self._control.receive():
            try:
                self._obey(message)
            except Exception:  # whatever a state held, the sound goes on
                log.exception("message %d was not understood", message.type)

    def _obey(self, message: Received) -> None:
        if message.type == Message.STATE:
            self._take_state(message.record(STATE_RECORD)["state_id"], message.after(STATE_RECORD))
        elif message.type == Message.SAVE:
            state_id = message.record(STATE_RECORD)["state_id"]
            self._control.send(Message.SAVED, STATE_RECORD.struct.pack(state_id) + self._processor.loops())

    def _take_state(self, state_id: int, state: bytes, *, born: bool = False) -> None:
        """Become `state`, and say so. An engine that cannot become its first one is ready all the same, and silent."""
        self._memory.say(EngineState.LOADING)
        try:
            self._processor.restore(state, state_id)
            log.info(
                "plays %r at %g Hz in blocks of up to %d",
                self._processor.instrument_name,
                self._memory.sample_rate,
                self._memory.max_block,
            )
        except TerrainError as error:
            self._control.send(Message.FAULT, STATE_RECORD.struct.pack(state_id) + str(error).encode())
            if not born:
                return
        finally:
            self._memory.say(EngineState.READY)
        ready = (state_id, PROTOCOL_VERSION, os.getpid(), self._processor.latency, self._processor.tail, 0)
        self._control.send(Message.READY, READY_RECORD.struct.pack(*ready))

    def _set_realtime(self, wanted: bool) -> None:
        """Live, before everything else that may be; in a bounce, as one process among others."""
        if wanted == self._realtime:
            return
        self._realtime = wanted
        try:
            policy = os.SCHED_FIFO if wanted else os.SCHED_OTHER
            os.sched_setscheduler(0, policy, os.sched_param(REALTIME_PRIORITY if wanted else 0))
        except (AttributeError, OSError):
            return  # not on this system, or not for this user


def serve(memory: int, wake: int, control: int, state_id: int, state: bytes, shelf: InstrumentShelf) -> None:
    """Run an engine on three descriptors until its plugin is gone.

    Raises:
        InputError: the memory is not one of this protocol.
    """
    connection = Connection(socket.socket(fileno=control))
    Server(SharedMemory(memory), socket.socket(fileno=wake), connection, shelf).run(state_id, state)
