"""What `terrain edit` does at an engine's door, and what somebody may do who is not so well behaved."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

from terrain_plugin.bridge.run_folder import Address, addresses
from tests.hosts.processes import wait_until

PATIENCE_S = 30.0


def doors(count: int) -> list[Address]:
    """The doors of so many engines, as soon as they are there."""
    assert wait_until(lambda: len(addresses()) == count, PATIENCE_S), addresses()
    return addresses()


def connected(address: Address) -> socket.socket:
    """A connection to an engine's door."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(PATIENCE_S)
    made.connect(str(address.path))
    return made


class Caller:
    """Somebody at an engine's door, who listens to all that is said."""

    def __init__(self, address: Address) -> None:
        self.socket = connected(address)
        self.put_out = False
        self._messages: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        try:
            self.hello = self.hear("hello")
        except AssertionError:
            self.close()
            raise

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self.socket.makefile("rb") as lines:
            for line in lines:
                self._messages.append(json.loads(line))
        self.put_out = True

    def say(self, **message: Any) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def touch(self, *gestures: tuple[object, ...]) -> None:
        self.say(type="touch", gestures=gestures)

    def heard(self, type: str, accept: Callable[[dict[str, Any]], bool] = lambda message: True) -> bool:
        """Whether a message of a type that is accepted has come."""
        return any(message["type"] == type and accept(message) for message in self._messages)

    def hear(self, type: str, accept: Callable[[dict[str, Any]], bool] = lambda message: True) -> dict[str, Any]:
        """The first message of a type that is accepted; waits for it."""
        assert wait_until(lambda: self.put_out or self.heard(type, accept), PATIENCE_S), f"no {type}"
        assert self.heard(type, accept), "the door was closed"
        return next(message for message in self._messages if message["type"] == type and accept(message))

    def forget(self) -> None:
        """What has come so far."""
        self._messages.clear()

    def is_put_out(self) -> bool:
        """Whether the engine closes the connection."""
        return wait_until(lambda: self.put_out, PATIENCE_S)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
