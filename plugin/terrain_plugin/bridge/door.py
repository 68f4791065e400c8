"""The engine's door for the editor: a socket in the run folder, through which `terrain edit` sees what plays and hands
in gestures for the host.

Lines of JSON go both ways. Nothing here waits: an editor that does not read misses frames, one that talks nonsense is
put out. Gestures do not move anything by themselves; they go to the plugin, from there to the host, and come back as
the host's parameters.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import math
import os
import select
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from terrain_core import identity
from terrain_core.errors import FileError, InputError
from terrain_core.parameters import PARAMETERS, Parameter
from terrain_core.plugin_state import InstrumentReference
from terrain_plugin.bridge.protocol import GESTURE_RECORD, GestureKind
from terrain_plugin.bridge.run_folder import address

log = logging.getLogger("engine")

VERSION: Final = 1
"""Of what is said here; an editor of another version shows the instance as one that it cannot edit."""

LONGEST_LINE: Final = 64 << 10
"""Bytes that an editor may say at once."""

MOST_WAITING: Final = 16 << 20
"""Bytes that wait for an editor that does not read: beyond, it is put out. An instrument that is embedded fits."""

FRAMES_WAITING: Final = 64 << 10
"""Bytes waiting beyond which frames are left out."""

MOST_EDITORS: Final = 8
MOST_GESTURES: Final = 256
READ_AT_ONCE: Final = 64 << 10

SETTABLE: Final = {parameter.key: parameter for parameter in PARAMETERS if not parameter.read_only}
KINDS: Final = {"begin": GestureKind.BEGIN, "value": GestureKind.VALUE, "end": GestureKind.END}


class _Editor:
    """One that is connected."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.said = bytearray()
        self.waiting = bytearray()
        self.watches = False
        self.touching: set[str] = set()


class Door:
    """One engine's. Made open; without a folder for it, it stays closed and the engine plays on."""

    def __init__(self, key: str, poll: select.poll, hand_on: Callable[[bytes], None]) -> None:
        """
        Args:
            key: which instance this is: the host's process id, a hyphen, the plugin's number for it.
            poll: what the engine waits with; `serve` is to be called for `descriptors` that have something.
            hand_on: takes GESTURE_RECORDs for the plugin.
        """
        self._key = key
        self._poll = poll
        self._hand_on = hand_on
        self._editors: dict[int, _Editor] = {}
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._about = {"host": "", "track": ""}
        self._instrument: InstrumentReference | None = None
        self._sample_rate = 0.0
        self.on_watch: Callable[[], None] = lambda: None
        """Called when somebody begins to watch."""

    def open(self) -> None:
        """Begin to listen."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            path = address(self._key, os.getpid())
            # Seen only once it listens: whoever finds a socket that refuses takes it for a dead engine's.
            beside = path.with_suffix(".new")
            beside.unlink(missing_ok=True)
            listener.bind(os.fspath(beside))
            beside.chmod(0o600)
            listener.listen(MOST_EDITORS)
            beside.replace(path)
        except (OSError, FileError) as error:
            log.info("no editor can come: %s", error)
            listener.close()
            return
        listener.setblocking(False)
        self._listener, self._path = listener, path
        self._poll.register(listener, select.POLLIN)

    def close(self) -> None:
        """End, and leave nothing behind."""
        for editor in list(self._editors.values()):
            self._put_out(editor)
        if self._listener is not None and self._path is not None:
            self._poll.unregister(self._listener)
            self._listener.close()
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._listener = None

    @property
    def watched(self) -> bool:
        """Whether anybody wants frames."""
        return any(editor.watches for editor in self._editors.values())

    # --- what goes out --------------------------------------------------------------------------------------------

    def about(self, host: str, track: str) -> None:
        """Whose instance it is; a name that is not known is empty."""
        self._about = {"host": host[:256], "track": track[:256]}
        self._tell_all(self._hello())

    def plays(self, instrument: InstrumentReference | None, sample_rate: float) -> None:
        """What plays, None for the built-in one, and at which rate."""
        self._instrument, self._sample_rate = instrument, sample_rate
        self._tell_all(self._hello())

    def frame(self, frame: dict[str, Any]) -> None:
        """A frame for those who watch."""
        line = _line(frame)
        for editor in list(self._editors.values()):
            if editor.watches and len(editor.waiting) < FRAMES_WAITING:
                self._send(editor, line)

    def _hello(self) -> bytes:
        instrument = self._instrument
        return _line(
            {
                "type": "hello",
                "version": VERSION,
                "program": identity.VERSION,
                "pid": os.getpid(),
                **self._about,
                "instrument": instrument.name if instrument else "built-in",
                "sha256": instrument.sha256 if instrument else "",
                "sample_rate": self._sample_rate,
            }
        )

    def _tell_all(self, line: bytes) -> None:
        for editor in list(self._editors.values()):
            self._send(editor, line)

    def _send(self, editor: _Editor, line: bytes) -> None:
        editor.waiting += line
        self._drain(editor)

    def _drain(self, editor: _Editor) -> None:
        try:
            while editor.waiting:
                del editor.waiting[: editor.socket.send(editor.waiting)]
        except (BlockingIOError, InterruptedError):
            if len(editor.waiting) > MOST_WAITING:
                self._put_out(editor)
                return
        except OSError:
            self._put_out(editor)
            return
        wanted = select.POLLIN | (select.POLLOUT if editor.waiting else 0)
        self._poll.modify(editor.socket, wanted)

    # --- what comes in --------------------------------------------------------------------------------------------

    def serve(self, descriptor: int) -> None:
        """See to a descriptor of the door's that has something to say."""
        if self._listener is not None and descriptor == self._listener.fileno():
            self._let_in(self._listener)
        elif (editor := self._editors.get(descriptor)) is not None:
            self._drain(editor)
            if descriptor in self._editors:
                self._hear(editor)

    def _let_in(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if len(self._editors) >= MOST_EDITORS or not _is_ours(connection):
            connection.close()
            return
        connection.setblocking(False)
        editor = _Editor(connection)
        self._editors[connection.fileno()] = editor
        self._poll.register(connection, select.POLLIN)
        self._send(editor, self._hello())

    def _hear(self, editor: _Editor) -> None:
        try:
            data = editor.socket.recv(READ_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        editor.said += data
        try:
            if not data:
                raise InputError("is gone")
            *lines, rest = bytes(editor.said).split(b"\n")
            editor.said = bytearray(rest)
            if len(rest) > LONGEST_LINE:
                raise InputError("says a line that does not end")
            for line in lines:
                self._obey(editor, line)
        except InputError as error:
            if data:
                log.info("an editor is put out: it %s", error)
            self._put_out(editor)

    def _obey(self, editor: _Editor, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise InputError("says what is not JSON") from None
        match message:
            case {"type": "touch", "gestures": list() as gestures} if len(gestures) <= MOST_GESTURES:
                self._touch(editor, gestures)
            case {"type": "watch", "on": bool() as on}:
                editor.watches = on
                if on:
                    self.on_watch()
            case {"type": "instrument"}:
                self._send(editor, _line(self._reference()))
            case _:
                raise InputError("asks for what is not in the table")

    def _reference(self) -> dict[str, Any]:
        instrument = self._instrument
        if instrument is None:
            return {"type": "instrument", "sha256": ""}
        return {
            "type": "instrument",
            "sha256": instrument.sha256,
            "path": instrument.path,
            "name": instrument.name,
            "embedded": base64.b64encode(instrument.embedded).decode(),
        }

    def _touch(self, editor: _Editor, gestures: list[Any]) -> None:
        """Rows [kind, parameter's key], of values with a plain value; all are checked before any is handed on."""
        rows = [_checked(row) for row in gestures]
        out = b""
        for kind, parameter, value in rows:
            if kind == GestureKind.BEGIN:
                begun = self._is_touched(parameter.key)
                editor.touching.add(parameter.key)
                if begun:
                    continue  # by another editor: the host need not know of two hands
            elif parameter.key not in editor.touching:
                continue  # nothing that could be moved or ended
            elif kind == GestureKind.END:
                editor.touching.discard(parameter.key)
                if self._is_touched(parameter.key):
                    continue
            out += GESTURE_RECORD.struct.pack(parameter.id, kind, value)
        if out:
            self._hand_on(out)

    def _is_touched(self, key: str) -> bool:
        return any(key in editor.touching for editor in self._editors.values())

    def _put_out(self, editor: _Editor) -> None:
        """Also one that went: what it held is let go."""
        descriptor = editor.socket.fileno()
        if self._editors.get(descriptor) is not editor:
            return
        self._poll.unregister(editor.socket)
        self._touch(editor, [["end", key] for key in sorted(editor.touching)])
        del self._editors[descriptor]
        editor.socket.close()


def _checked(row: Any) -> tuple[GestureKind, Parameter, float]:
    match row:
        case ["begin" | "end" as kind, str() as key] if key in SETTABLE:
            return KINDS[kind], SETTABLE[key], 0.0
        case ["value", str() as key, int() | float() as value] if key in SETTABLE and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.nan
            if math.isfinite(number):
                return GestureKind.VALUE, SETTABLE[key], SETTABLE[key].clamp(number)
    raise InputError("makes a gesture that is none")


def _is_ours(connection: socket.socket) -> bool:
    """Whether it is the same user; the folder keeps others out already."""
    if sys.platform != "linux":
        return True
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(uid == os.getuid())


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"
