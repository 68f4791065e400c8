"""The process that a TorchScript model lives in, seen from outside: it may crash, hang or be killed, and we go on."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO, cast

from terrain_core.autoencoders.nn_tilde.messages import Arrays, BadMessageError, pack, unpack
from terrain_core.errors import FileError

OPENING_SECONDS = 180.0
"""For importing torch, loading and measuring a large model on a slow machine."""
ANSWER_SECONDS = 60.0
CONVERTING_SECONDS = 600.0


class ModelProcess:
    """Sends requests, one at a time, from any thread; begins anew after a death.

    `generation` counts the processes: whoever keeps state in one asks whether it is still the same.
    """

    def __init__(self, path: Path, opening: dict[str, Any]) -> None:
        """`opening`: the facts of the first request to each process."""
        self.path = path
        self.generation = 0
        self._opening = opening
        self._lock = threading.RLock()
        self._child: subprocess.Popen[bytes] | None = None
        self._complaints: BinaryIO | None = None
        self._owner = os.getpid()

    @property
    def pid(self) -> int | None:
        """Of the process; None while there is none."""
        return self._child.pid if self._child else None

    def open(self) -> dict[str, Any]:
        """Make sure that there is a process; give what it said about the model.

        Raises:
            FileError: it could not open the model, or the process has died since; the next use starts another.
        """
        with self._lock:
            self._leave_to_parent()
            if self._child is not None and self._child.poll() is not None:
                raise self._death()
            if self._child is None:
                self._start()
                self.generation += 1
                self.facts, _ = self._exchange(self._opening, [], OPENING_SECONDS)
            return self.facts

    def ask(
        self, facts: dict[str, Any], arrays: Arrays | None = None, seconds: float = ANSWER_SECONDS
    ) -> tuple[dict[str, Any], Arrays]:
        """Send a request and wait for its answer.

        Raises:
            FileError: the model failed at it, took longer than `seconds`, or the process ended. The next request opens
                the model in a new process, whose state is clean.
        """
        with self._lock:
            self.open()
            return self._exchange(facts, arrays or [], seconds)

    def close(self) -> None:
        """End the process, if there is one."""
        with self._lock:
            self._leave_to_parent()
            child, self._child = self._child, None
            if child is None:
                return
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout, self._complaints):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:  # what was still to be written finds nobody any more
                        continue

    def __del__(self) -> None:
        self.close()

    def _leave_to_parent(self) -> None:
        """After a fork the model's process is the parent's, who goes on talking to it: we take one of our own."""
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._inherited = self._child  # kept, so that nobody waits for or closes it in its name
            self._child = None

    def _start(self) -> None:
        self._complaints = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # lives as long as the process
        command = [sys.executable, "-m", "terrain_core.autoencoders.nn_tilde.worker_torch"]
        try:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, bufsize=0
            )
        except OSError as error:
            raise FileError(self.path, f"no process could be started for it ({error.strerror})") from None

    def _exchange(self, facts: dict[str, Any], arrays: Arrays, seconds: float) -> tuple[dict[str, Any], Arrays]:
        child = self._child
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        until = time.monotonic() + seconds
        output = child.stdout.fileno()

        def read(size: int) -> bytes:
            data = bytearray()
            while len(data) < size:
                ready, _, _ = select.select([output], [], [], max(until - time.monotonic(), 0))
                if not ready:
                    raise TimeoutError
                piece = os.read(output, min(size - len(data), 1 << 20))
                if not piece:
                    raise EOFError
                data += piece
            return bytes(data)

        try:
            for part in pack(facts, arrays):
                self._write(child.stdin.fileno(), part, until)
            answer, found = unpack(read)
        except TimeoutError:
            self.close()
            raise FileError(
                self.path, f"did not answer within {seconds:g} s and was ended", hint="it may be damaged or too slow"
            ) from None
        except (EOFError, BrokenPipeError, ConnectionError):
            raise self._death() from None
        except BadMessageError as error:
            self.close()
            raise FileError(self.path, f"answered with {error} and was ended", hint="do not trust this file") from None
        except BaseException:  # Ctrl-C between question and answer: the next answer would be the wrong one
            self.close()
            raise
        if "failed" in answer:
            raise FileError(self.path, str(answer["failed"])[:500], hint=str(answer.get("hint", ""))[:500])
        return answer, found

    def _write(self, pipe: int, data: bytes, until: float) -> None:
        view = memoryview(data)
        while view:
            _, ready, _ = select.select([], [pipe], [], max(until - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            view = view[os.write(pipe, view[: select.PIPE_BUF]) :]

    def _death(self) -> FileError:
        """The error to raise when the process has ended by itself."""
        assert self._child is not None
        try:
            code = self._child.wait(5)
        except subprocess.TimeoutExpired:  # it closed its pipe and lives on
            code = 0
        said = self._last_words()
        self.close()
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return FileError(
            self.path,
            f"the process it ran in {how}" + (f" ({said})" if said else ""),
            hint="the next use opens it anew, from a clean state",
        )

    def _last_words(self) -> str:
        if self._complaints is None:
            return ""
        self._complaints.seek(0, os.SEEK_END)
        self._complaints.seek(max(0, self._complaints.tell() - 2000))
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
