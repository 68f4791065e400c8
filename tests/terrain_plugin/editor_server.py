"""A real `terrain play` or `terrain edit` in a process of its own, and clients that may lie about who they are."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

COMMAND = [sys.executable, "-c", "from terrain_plugin.cli import main; main()"]
PATIENCE = 60.0


class EditorServer:
    """A running server: its port, token, and library."""

    def __init__(self, library: Path | None, *arguments: object, port: int = 0) -> None:
        self.library = library
        self._data = tempfile.TemporaryDirectory()  # `terrain edit`'s library
        self.rest = ""  # what it said until its end
        options = ["--no-browser", "--port", str(port), *map(str, arguments)]
        command = ["edit"] if library is None else ["play", "--library", str(library)]
        self.process = subprocess.Popen(
            [*COMMAND, *command, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_DATA_HOME": self._data.name},
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        found = re.search(r"(http://[\w.]+:(\d+)/\?token=(\S+))", self.said)
        assert found, self.said
        self.url, self.port, self.token = found[1], int(found[2]), found[3]

    @property
    def cookie(self) -> dict[str, str]:
        return {"Cookie": f"terrain_{self.port}={self.token}"}

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of a request with exactly these headers."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            client.request(method, path, body, headers or {})
            answer = client.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            client.close()

    def upload(self, name: str, data: bytes) -> tuple[int, bytes]:
        from urllib.parse import quote

        headers = {**self.cookie, "Origin": self.origin}
        return self.ask(f"/upload?name={quote(name)}", "POST", headers, data)[:2]

    def live(self, path: str = "/live") -> ClientConnection:
        return connect(
            f"ws://127.0.0.1:{self.port}{path}",
            additional_headers=self.cookie,
            origin=self.origin,  # type: ignore[arg-type]
            max_size=None,
            open_timeout=PATIENCE,
        )

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def close(self) -> int:
        """End it as a musician does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        try:
            if not self.process.stdout.closed:
                self.rest = self.process.communicate(timeout=PATIENCE)[0]
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.stdout.close()
            self._data.cleanup()


@contextmanager
def editor_server(library: Path | None, *arguments: object, port: int = 0) -> Iterator[EditorServer]:
    """`terrain play` with a library; without one, `terrain edit`."""
    server = EditorServer(library, *arguments, port=port)
    try:
        yield server
    finally:
        server.close()


def say(socket_: ClientConnection, type: str, **fields: Any) -> None:
    socket_.send(json.dumps({"type": type, **fields}))


def hear(
    socket_: ClientConnection, type: str, accept: Callable[[dict[str, Any]], bool] = lambda message: True
) -> dict[str, Any]:
    """The next message of a type that is accepted."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        data = socket_.recv(timeout=PATIENCE)
        if isinstance(data, str):
            message: dict[str, Any] = json.loads(data)
            if message["type"] == type and accept(message):
                return message
    raise AssertionError(f"no {type} within {PATIENCE} s")


def raw(port: int) -> socket.socket:
    """A connection without any manners."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
