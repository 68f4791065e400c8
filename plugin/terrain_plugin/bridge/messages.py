"""Messages on the control and nursery connections; the other bank is `native/bridge/messages.cpp`."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from terrain_core.errors import InputError
from terrain_plugin.bridge.protocol import MAX_MESSAGE_BYTES, MESSAGE_HEADER, Message, Record

READ_AT_ONCE = 65536
MOST_DESCRIPTORS = 16
"""In one read: several messages may have come at once."""


@dataclass(frozen=True)
class Received:
    """A message: what it is (a number that may be no `Message` of this version), and its payload."""

    type: int
    payload: bytes

    def record(self, record: Record) -> dict[str, Any]:
        """The record that the payload begins with.

        Raises:
            InputError: it is too short for that.
        """
        if len(self.payload) < record.struct.size:
            raise InputError(f"message {self.type} has {len(self.payload)} bytes: too few for a {record.name}")
        return dict(zip((f.name for f in record.fields), record.struct.unpack_from(self.payload), strict=True))

    def after(self, record: Record) -> bytes:
        """What follows that record."""
        return self.payload[record.struct.size :]


@dataclass
class Connection:
    """One end of a stream of messages. `open` is False once the other end is gone or has talked nonsense."""

    socket: socket.socket
    open: bool = True
    descriptors: list[int] = field(default_factory=list)
    _buffer: bytearray = field(default_factory=bytearray)

    def send(self, type: Message, payload: bytes = b"") -> None:
        """Send a message; a lost connection is noticed by `receive`."""
        try:
            self.socket.sendall(MESSAGE_HEADER.pack(type, len(payload)) + payload)
        except OSError:
            self.open = False

    def receive(self) -> Iterator[Received]:
        """The messages that are there now: reads once, which blocks if nothing is there."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, READ_AT_ONCE, MOST_DESCRIPTORS)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        self.descriptors += descriptors
        if not data:
            self.open = False
            return
        self._buffer += data
        while self.open and len(self._buffer) >= MESSAGE_HEADER.size:
            kind, size = MESSAGE_HEADER.unpack_from(self._buffer)
            end = MESSAGE_HEADER.size + size
            if size > MAX_MESSAGE_BYTES:
                self.open = False
            elif len(self._buffer) < end:
                return
            else:
                message = Received(kind, bytes(self._buffer[MESSAGE_HEADER.size : end]))
                del self._buffer[:end]
                yield message

    def take_descriptors(self, count: int) -> list[int]:
        """The oldest descriptors that came and were not taken yet; fewer if there are not so many."""
        taken, self.descriptors = self.descriptors[:count], self.descriptors[count:]
        return taken

    def close(self) -> None:
        """Close it, and what came with it."""
        for descriptor in self.take_descriptors(len(self.descriptors)):
            os.close(descriptor)
        self.open = False
        self.socket.close()
