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
from numpy.typing import NDArray

from terrain_core.engine.controls import COLUMN
from terrain_core.errors import TerrainError
from terrain_core.parameters import PARAMETERS
from terrain_plugin.bridge.door import Door
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
from terrain_plugin.shown import Played, Shown

log = logging.getLogger("engine")

IDLE_MS: Final = 1000
"""Without a request for so long, garbage is collected and the parent is looked at."""

REALTIME_PRIORITY: Final = 5
"""Of SCHED_FIFO, where the system allows it: above everything that is not audio, below the host's own audio thread."""

MOST_FAULTS_LOGGED: Final = 20

MOST_FRAMES_SHOWN: Final = 4
"""Of one block; of more, the last ones."""

SHOWN_APART_S: Final = 1 / 60
"""Seconds between two frames that are shown, in a bounce and where the autoencoder has no frames."""

_OFFLINE = int(RequestFlag.OFFLINE)
_PLAYING, _RECORDING = int(RequestFlag.PLAYING), int(RequestFlag.RECORDING)
_HAS_TRANSPORT, _HAS_BPM, _HAS_BEAT = (
    int(f) for f in (RequestFlag.HAS_TRANSPORT, RequestFlag.HAS_BPM, RequestFlag.HAS_BEAT)
)
_WAKE = b"\1"


class Server:
    """Answers requests from the shared memory and messages from the control connection, one at a time."""

    def __init__(
        self, memory: SharedMemory, wake: socket.socket, control: Connection, shelf: InstrumentShelf, key: str
    ) -> None:
        self._memory = memory
        self._wake = wake
        self._control = control
        self._processor = TerrainProcessor(memory.sample_rate, memory.max_block, shelf)
        self._parent = os.getppid()
        self._realtime = False
        self._failures = 0  # blocks that ended in an exception
        self._poll = select.poll()
        self._door = Door(key, self._poll, lambda gestures: control.send(Message.GESTURES, gestures))
        self._door.on_watch = self._tell_all_again
        self._shown = Shown(memory.sample_rate)
        self._told: dict[str, float] = {}  # parameters, to those who watch
        self._told_transport: dict[str, object] = {}
        self._shown_at = 0.0

    def run(self, state_id: int, state: bytes) -> None:
        """Take the first state, then serve until the plugin or the nursery is gone."""
        self._take_state(state_id, state, born=True)
        gc.disable()  # a collection takes milliseconds, and would come in the middle of a block
        wake, control = self._wake.fileno(), self._control.socket.fileno()
        for heard in (wake, control):
            self._poll.register(heard, select.POLLIN)
        self._door.open()
        try:
            while self._control.open and os.getppid() == self._parent:
                ready = self._poll.poll(IDLE_MS)
                if not ready:
                    gc.collect()
                for descriptor, _ in ready:
                    if descriptor == wake:
                        if not self._woken():
                            return
                        self._answer()
                    elif descriptor == control:
                        self._listen()
                    else:
                        self._serve_door(descriptor)
        finally:
            self._door.close()

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
            pass  # bytes that are not read yet say the same
        except OSError:
            self._control.open = False
        if self._door.watched:
            self._show(request, out)
        else:
            self._processor.probe.on = False

    def _show(self, request: Request, out: NDArray[np.float32]) -> None:
        """Tell those who watch; the plugin has its answer already."""
        try:
            self._shown.hear(out)
            for played in self._frames(request):
                frame = self._shown.frame(played, self._processor.chain) | {"held": []}
                values = {p.key: float(played.controls[COLUMN[p.key]]) for p in PARAMETERS if not p.read_only}
                news = {key: value for key, value in values.items() if self._told.get(key) != value}
                if news:
                    frame["parameters"] = news
                    self._told |= news
                if (transport := _transport(request)) != self._told_transport:
                    frame["transport"] = self._told_transport = transport
                self._door.frame(frame)
        except Exception:  # a page that stands still is no reason for silence
            log.exception("a frame could not be shown")
            self._processor.probe.on = False

    def _frames(self, request: Request) -> list[Played]:
        """The frames of this block that are worth showing. Where there are none (one-shots), or too many (a bounce),
        one in a while.
        """
        probe = self._processor.probe
        frames, probe.on = probe.take()[-MOST_FRAMES_SHOWN:], True
        if frames and not request.flags & _OFFLINE:
            return frames
        now = time.monotonic()
        if now - self._shown_at < SHOWN_APART_S or (not frames and self._processor.has_frames):
            return []
        self._shown_at = now
        return frames[-1:] or [_still(request, self._processor.parameters)]

    def _serve_door(self, descriptor: int) -> None:
        try:
            self._door.serve(descriptor)
        except Exception:
            log.exception("an editor is put out")

    def _tell_all_again(self) -> None:
        """Somebody new watches."""
        self._told, self._told_transport = {}, {}
        self._shown.tell_rings_again()

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
        elif message.type == Message.ABOUT:
            host, _, track = message.payload.decode(errors="replace").partition("\n")
            self._door.about(host, track)

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
        self._door.plays(self._processor.instrument, self._memory.sample_rate)
        self._tell_all_again()
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


def _transport(request: Request) -> dict[str, object]:
    """What a page shows of the host's."""
    flags = request.flags
    return {
        "known": bool(flags & _HAS_TRANSPORT),
        "playing": bool(flags & _PLAYING),
        "recording": bool(flags & _RECORDING),
        "bpm": round(request.bpm, 3) if flags & _HAS_BPM else None,
    }


def _still(request: Request, parameters: dict[str, float]) -> Played:
    """A frame of an engine that has none."""
    controls = np.array([parameters[parameter.key] for parameter in PARAMETERS], np.float64)
    return Played(request.beat if request.flags & _HAS_BEAT else 0.0, controls, np.empty(0, np.float32))


def serve(
    memory: int, wake: int, control: int, state_id: int, state: bytes, shelf: InstrumentShelf, key: str = "0-0"
) -> None:
    """Run an engine on three descriptors until its plugin is gone.

    Args:
        key: which instance it is; see `Door`.
    Raises:
        InputError: the memory is not one of this protocol.
    """
    connection = Connection(socket.socket(fileno=control))
    Server(SharedMemory(memory), socket.socket(fileno=wake), connection, shelf, key).run(state_id, state)
