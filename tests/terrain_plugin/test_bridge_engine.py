"""The engine's processes, from a plugin's bank written in Python: also a hostile one."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_plugin.bridge.messages import Connection, Received
from terrain_plugin.bridge.protocol import (
    ENDED_RECORD,
    EVENT,
    HEADER,
    HELLO_RECORD,
    MAGIC,
    MAX_MESSAGE_BYTES,
    MESSAGE_HEADER,
    PROTOCOL_VERSION,
    READY_RECORD,
    REPLY,
    REQUEST,
    SPAWN_RECORD,
    SPAWNED_RECORD,
    STATE_RECORD,
    Layout,
    Message,
)

BLOCK = 512
PATIENCE_S = 20.0


def next_of(connection: Connection, waiting: deque[Received]) -> Received:
    """The next message; `waiting` keeps those that came with it."""
    while not waiting:
        waiting.extend(connection.receive())
        assert waiting or connection.open, "the other end is gone"
    return waiting.popleft()


class Bank:
    """A plugin's side of one engine."""

    def __init__(self, *, magic: int = MAGIC, rate: float = 44100.0) -> None:
        self.layout = Layout(BLOCK)
        self.memory = os.memfd_create("bank")
        os.truncate(self.memory, self.layout.memory_bytes)
        self.bytes = np.memmap(f"/proc/self/fd/{self.memory}", np.uint8, "r+", shape=(self.layout.memory_bytes,))
        places = ("request_at", "reply_at", "events_at", "audio_in_at", "audio_out_at")
        header = dict.fromkeys((field.name for field in HEADER.fields), 0) | {
            "magic": magic, "protocol": PROTOCOL_VERSION, "memory_bytes": self.layout.memory_bytes,
            "sample_rate": rate, "max_block": BLOCK, "max_events": self.layout.max_events,
            **{place: getattr(self.layout, place) for place in places},
        }  # fmt: skip
        self.bytes[: HEADER.struct.size] = np.frombuffer(HEADER.struct.pack(*header.values()), np.uint8)
        self.wake, self.their_wake = socket.socketpair()
        ours, self.their_control = socket.socketpair()
        self.wake.settimeout(PATIENCE_S)
        ours.settimeout(PATIENCE_S)
        self.control = Connection(ours)
        self.waiting: deque[Received] = deque()
        self.request = self.bytes[self.layout.request_at :][: REQUEST.struct.size].view(REQUEST.dtype)
        self.reply = self.bytes[self.layout.reply_at :][: REPLY.struct.size].view(REPLY.dtype)
        self.events = self.bytes[self.layout.events_at :][: EVENT.struct.size * self.layout.max_events]
        self.audio = self.bytes[self.layout.audio_out_at :][: BLOCK * 8].view(np.float32).reshape(2, BLOCK)

    def descriptors(self) -> list[int]:
        return [self.memory, self.their_wake.fileno(), self.their_control.fileno()]

    def ask(self, samples: int = BLOCK, **numbers: float) -> np.ndarray:
        """Have a block made; its samples as the engine counts them."""
        self.request["samples"] = samples
        for name, value in numbers.items():
            self.request[name] = value
        self.request["sequence"] += 1
        self.wake.send(b"\1")
        while self.reply["sequence"][0] != self.request["sequence"][0]:
            assert self.wake.recv(64), "the engine is gone"
        return self.audio[:, : int(self.reply["samples"][0])].copy()

    def receive(self) -> Received:
        return next_of(self.control, self.waiting)

    def close(self) -> None:
        self.control.close()
        for end in (self.wake, self.their_wake, self.their_control):
            end.close()
        os.close(self.memory)


class Nursery:
    """The nursery's process, and the plugin's end of its connection."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(PATIENCE_S)
        self.connection = Connection(ours)
        self.waiting: deque[Received] = deque()
        code = f"import os; os.dup2({theirs.fileno()}, 3); import terrain_plugin.bridge.nursery as n; n.main()"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], pass_fds=(theirs.fileno(),), env=environment, stderr=subprocess.DEVNULL
        )
        theirs.close()

    def receive(self) -> Received:
        return next_of(self.connection, self.waiting)

    def send_spawn(self, payload: bytes, descriptors: list[int]) -> None:
        data = MESSAGE_HEADER.pack(Message.SPAWN, len(payload)) + payload
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.connection.socket.sendmsg([data], rights)

    def bear(self, bank: Bank, state: PluginState | None = None) -> int:
        """The new engine's process id."""
        self.send_spawn(SPAWN_RECORD.struct.pack(1, 7, 5, 0) + (state or PluginState()).to_bytes(), bank.descriptors())
        spawned = self.receive()
        while spawned.type != Message.SPAWNED:
            spawned = self.receive()
        bank.their_wake.close()
        bank.their_control.close()
        return int(spawned.record(SPAWNED_RECORD)["pid"])

    def end(self) -> None:
        self.connection.close()
        self.process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    hello = made.receive()
    assert hello.type == Message.HELLO
    assert hello.record(HELLO_RECORD) == {"protocol": PROTOCOL_VERSION, "pid": made.process.pid}
    yield made
    made.end()
    assert made.process.returncode == 0


@pytest.fixture
def make_bank() -> Iterator[Callable[..., Bank]]:
    """Makes banks that are closed when the test is over."""
    with contextlib.ExitStack() as stack:

        def make(**settings: int) -> Bank:
            return stack.enter_context(contextlib.closing(Bank(**settings)))

        yield make


@pytest.fixture
def bank(nursery: Nursery, make_bank: Callable[..., Bank]) -> Bank:
    """One with an engine that is ready."""
    made = make_bank()
    nursery.bear(made)
    assert made.receive().type == Message.READY
    return made


def gone(pid: int) -> bool:
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second, where it ends between open and read
        return True


def wait_for_end(pid: int) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not gone(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return gone(pid)


def test_an_engine_answers_for_its_state_and_plays(nursery: Nursery, make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    pid = nursery.bear(bank)
    ready = bank.receive()
    assert ready.type == Message.READY
    record = ready.record(READY_RECORD)
    assert (record["state_id"], record["protocol"], record["pid"], record["latency"]) == (5, PROTOCOL_VERSION, pid, 0)
    sound = np.concatenate([bank.ask() for _ in range(8)], axis=1)
    assert np.abs(sound).max() > 1e-3
    np.testing.assert_array_equal(sound[0], sound[1])
    assert bank.reply["spent_ns"][0] > 0
    bank.control.close()
    assert wait_for_end(pid), "an engine ends with its control connection"


def test_sizes_that_are_impossible_are_cut_to_what_there_is(bank: Bank) -> None:
    assert bank.ask(0).shape == (2, 1)
    assert bank.ask(2**32 - 1).shape == (2, BLOCK)
    assert np.isfinite(bank.ask(BLOCK, event_count=2**32 - 1)).all()
    bank.request["event_count"] = 0


def test_random_bytes_in_requests_and_events_are_survived(bank: Bank) -> None:
    draw = np.random.default_rng(3)
    for _ in range(150):
        at, size = bank.layout.request_at + 8, REQUEST.struct.size - 8
        bank.bytes[at : at + size] = draw.integers(0, 256, size, np.uint8)
        count = int(draw.integers(0, 60))
        bank.events[: count * EVENT.struct.size] = draw.integers(0, 256, count * EVENT.struct.size, np.uint8)
        for index in range(count):  # mostly kinds that exist
            bank.events[index * EVENT.struct.size + 4 : index * EVENT.struct.size + 6] = (int(draw.integers(0, 8)), 0)
        assert np.isfinite(bank.ask(int(draw.integers(0, 600)), event_count=count)).all()


def test_states_are_taken_refused_and_given_back(bank: Bank) -> None:
    def send(message: Message, state_id: int, data: bytes = b"") -> Received:
        bank.control.send(message, STATE_RECORD.struct.pack(state_id) + data)
        return bank.receive()

    assert send(Message.STATE, 11, PluginState({"x": 0.5}, loops=b"abc").to_bytes()).type == Message.READY
    saved = send(Message.SAVE, 12)
    assert (saved.type, saved.record(STATE_RECORD), saved.after(STATE_RECORD)) == (
        Message.SAVED, {"state_id": 12}, b"abc",
    )  # fmt: skip
    lost = PluginState(instrument=InstrumentReference("/nowhere/x.terrain", "0" * 64, "x")).to_bytes()
    for state_id, state in ((13, b"nonsense"), (14, lost)):
        fault = send(Message.STATE, state_id, state)
        assert fault.type == Message.FAULT
        assert fault.record(STATE_RECORD)["state_id"] == state_id
        assert len(fault.after(STATE_RECORD).decode().splitlines()) == 1
    assert send(Message.SAVE, 15).after(STATE_RECORD) == b"abc", "the old state goes on"
    assert np.abs(np.concatenate([bank.ask() for _ in range(4)])).max() > 1e-3


def test_messages_that_mean_nothing_are_passed_over(bank: Bank) -> None:
    for payload in (b"", b"\0", b"\0" * 100):
        for kind in (0, 1, 20, 21, 30, 999, 2**32 - 1):
            bank.control.socket.sendall(MESSAGE_HEADER.pack(kind, len(payload)) + payload)
    assert np.isfinite(bank.ask()).all()


def test_a_message_of_an_impossible_size_ends_the_engine(nursery: Nursery, make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    pid = nursery.bear(bank)
    bank.control.socket.sendall(MESSAGE_HEADER.pack(Message.STATE, MAX_MESSAGE_BYTES + 1))
    assert wait_for_end(pid)


def test_a_memory_of_another_kind_ends_the_engine_and_not_the_nursery(
    nursery: Nursery, make_bank: Callable[..., Bank]
) -> None:
    bank = make_bank(magic=1)
    pid = nursery.bear(bank)
    assert wait_for_end(pid)
    ended = nursery.receive()
    while ended.type != Message.ENDED or ended.record(ENDED_RECORD)["pid"] != pid:
        ended = nursery.receive()
    assert ended.record(ENDED_RECORD)["exit_status"] == 1
    another = make_bank()
    nursery.bear(another)
    assert another.receive().type == Message.READY


@pytest.mark.parametrize("payload", [b"", b"short", SPAWN_RECORD.struct.pack(1, 9, 1, 0)])
def test_a_wish_without_descriptors_is_answered(nursery: Nursery, payload: bytes) -> None:
    nursery.send_spawn(payload, [])
    ended = nursery.receive()
    while ended.type != Message.ENDED or ended.record(ENDED_RECORD)["pid"] != 0:
        ended = nursery.receive()


def test_the_nursery_ends_and_takes_its_engines_with_it(make_bank: Callable[..., Bank]) -> None:
    alone = Nursery()
    assert alone.receive().type == Message.HELLO
    banks = [make_bank(), make_bank()]
    pids = [alone.bear(bank) for bank in banks]
    assert all(bank.receive().type == Message.READY for bank in banks)
    os.kill(pids[0], 19)  # SIGSTOP: it cannot end by itself
    alone.end()
    assert all(wait_for_end(pid) for pid in pids)
