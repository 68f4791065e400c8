"""The nursery: opens libraries and weights once, then forks an engine for every plugin instance of a host process.

`python -m terrain_plugin.bridge.nursery` is what the plugin starts, with the connection on descriptor 3. A fork shares
all that is there before it, so that the second instance is ready at once and costs little memory. Nothing here may
start a thread: only the thread that forks lives on in the child.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import Final

from terrain_core import identity
from terrain_core.engine import Engine
from terrain_core.errors import InputError, TerrainError
from terrain_core.plugin_state import PluginState
from terrain_plugin.bridge.log import banner, log_path, start_anew_if_large, start_logging
from terrain_plugin.bridge.messages import Connection, Received
from terrain_plugin.bridge.protocol import (
    ENDED_RECORD,
    HELLO_RECORD,
    PROTOCOL_VERSION,
    SPAWN_RECORD,
    SPAWNED_RECORD,
    Message,
)
from terrain_plugin.bridge.server import serve
from terrain_plugin.instrument_shelf import InstrumentShelf

log = logging.getLogger("engine")

CONNECTION: Final = 3
"""The descriptor on which the plugin talks to the nursery."""

GLANCE_MS: Final = 500
"""How often the parent is looked at: the connection may have been inherited by a process that outlives the host."""

PATIENCE_S: Final = 1.0
"""For engines to end by themselves when the host is gone."""

WARM_UP_RATE: Final = 44100.0


class Nursery:
    """One host process's engines."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._shelf = InstrumentShelf()
        self._instances: dict[int, int] = {}  # engine's process id -> instance
        self._parent = os.getppid()

    def run(self) -> None:
        """Say hello, prepare, then bear engines until the host is gone."""
        hello = HELLO_RECORD.struct.pack(PROTOCOL_VERSION, os.getpid()) + identity.VERSION.encode()
        self._connection.send(Message.HELLO, hello)
        self._prepare(None)
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        for descriptor in (heard, self._connection.socket.fileno()):
            poll.register(descriptor, select.POLLIN)
        while self._connection.open and os.getppid() == self._parent:
            for descriptor, _ in poll.poll(GLANCE_MS):
                if descriptor == heard:
                    os.read(heard, 4096)
                else:
                    for message in self._connection.receive():
                        self._obey(message, inherited=(heard, told))
            self._bury()
        self._end()

    def _prepare(self, state: PluginState | None) -> None:
        """Open what an engine with this state will need, and let libraries do their slow first calls."""
        try:
            instrument = self._shelf.get(state.instrument if state else None)
            Engine(instrument, WARM_UP_RATE)
        except TerrainError as error:
            log.error("%s", error)  # the engine will say so to its plugin
        gc.collect()
        gc.freeze()  # or the children's first collection would copy every page that holds an object

    def _obey(self, message: Received, inherited: tuple[int, ...]) -> None:
        if message.type == Message.EDIT:
            self._open_editor(message)
            return
        if message.type != Message.SPAWN:
            log.error("message %d is not for the nursery", message.type)
            return
        descriptors = self._connection.take_descriptors(3)
        instance = 0
        try:
            wish = message.record(SPAWN_RECORD)
            instance = wish["instance"]
            if len(descriptors) < 3:
                raise InputError(f"an engine was wanted with {len(descriptors)} descriptors: expected 3")
            self._bear(instance, wish["state_id"], message.after(SPAWN_RECORD), descriptors, inherited)
        except Exception:  # the other instances' engines need their nursery
            log.exception("no engine could be born")
            self._connection.send(Message.ENDED, ENDED_RECORD.struct.pack(instance, 0, 1, 0))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _bear(
        self, instance: int, state_id: int, state: bytes, descriptors: list[int], inherited: tuple[int, ...]
    ) -> None:
        self._prepare(_state(state))
        pid = os.fork()
        if pid == 0:
            self._become_engine(instance, state_id, state, descriptors, inherited)
        self._instances[pid] = instance
        self._connection.send(Message.SPAWNED, SPAWNED_RECORD.struct.pack(instance, pid))

    def _open_editor(self, message: Received) -> None:
        """Open the page on an instance: a process of its own, which outlives the host if somebody still looks."""
        try:
            instance = message.record(SPAWNED_RECORD)["instance"]
            subprocess.Popen(
                [
                    sys.executable,
                    "-E",
                    "-P",
                    "-m",
                    "terrain_plugin",
                    "edit",
                    "--instance",
                    self._key(instance),
                    "--from-plugin",
                ],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, InputError) as error:
            log.error("the editor cannot be opened (%s)", error)

    def _key(self, instance: int) -> str:
        return f"{self._parent}-{instance}"

    def _become_engine(
        self, instance: int, state_id: int, state: bytes, descriptors: list[int], inherited: tuple[int, ...]
    ) -> None:
        """The child's side of the fork; never returns."""
        status = 1
        try:
            _die_with_parent()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._connection.socket.close()
            for descriptor in inherited:
                os.close(descriptor)
            memory, wake, control = descriptors
            serve(memory, wake, control, state_id, state, self._shelf, self._key(instance))
            status = 0
        except BaseException:
            log.exception("the engine fails")
        finally:
            os._exit(status)  # the nursery's clean-up is not the child's

    def _bury(self) -> None:
        while self._instances:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            instance = self._instances.pop(pid, None)
            if instance is None:
                continue  # an editor
            ended = ENDED_RECORD.struct.pack(instance, pid, os.waitstatus_to_exitcode(status), 0)
            self._connection.send(Message.ENDED, ended)

    def _end(self) -> None:
        """The host is gone: engines see it too; those that hang are killed."""
        deadline = time.monotonic() + PATIENCE_S
        while self._instances and time.monotonic() < deadline:
            self._bury()
            time.sleep(0.01)
        for pid in self._instances:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _state(data: bytes) -> PluginState | None:
    try:
        return PluginState.from_bytes(data)
    except InputError:
        return None  # the engine will say so to its plugin


def _die_with_parent() -> None:
    """Linux: be killed when the nursery dies, even in the middle of a decoder that does not return."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    """What the plugin starts."""
    start_anew_if_large(log_path())
    start_logging()
    log.info("%s", banner())
    Nursery(Connection(socket.socket(fileno=CONNECTION))).run()


if __name__ == "__main__":
    main()
