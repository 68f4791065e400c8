"""The plugins that run on this machine: their engines are looked for in the run folder, and listened to."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

from terrain_core.errors import InputError, TerrainError
from terrain_core.plugin_state import InstrumentReference
from terrain_plugin.bridge.door import MOST_GESTURES, VERSION
from terrain_plugin.bridge.run_folder import Address, addresses

log = logging.getLogger(__name__)

GLANCE_S: Final = 0.5
"""How often the folder is looked at."""

LONGEST_LINE: Final = 32 << 20
"""Bytes of a line of an engine's: an embedded instrument is in one."""

MOST_UNREAD: Final = 1 << 20
"""Bytes that wait for an engine that does not read, until it is given up."""

Row = tuple[str, str] | tuple[str, str, float]
"""A gesture: "begin" or "end" and a parameter's key, or "value", the key and a plain value."""


class Instance:
    """A plugin in a host, by its engine of the moment. It stays the same when that is replaced."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.hello: dict[str, Any] = {}
        self.pid = 0
        self._writer: asyncio.StreamWriter | None = None
        self._answers: list[asyncio.Future[dict[str, Any]]] = []

    @property
    def there(self) -> bool:
        """Whether its engine can be talked to."""
        return self._writer is not None and bool(self.hello)

    @property
    def editable(self) -> bool:
        """Whether its engine speaks our version."""
        return self.there and self.hello.get("version") == VERSION

    @property
    def name(self) -> str:
        """What a musician calls it: track, instrument, host; what is not known is left out."""
        words = [str(self.hello.get(word) or "") for word in ("track", "instrument", "host")]
        name = " · ".join(word for word in words if word)
        if self.there and not self.editable:
            return f"{name} (version {self.hello.get('program', '?')}: cannot be edited with this one)"
        return name or f"plugin {self.key}"

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {"key": self.key, "name": self.name, "there": self.editable}

    def say(self, **message: Any) -> None:
        """Say something to the engine, if it is there."""
        writer = self._writer
        if writer is None:
            return
        if writer.transport.get_write_buffer_size() > MOST_UNREAD:
            writer.transport.abort()
            return
        writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def touch(self, rows: Iterable[Row]) -> None:
        """Hand in gestures for the host."""
        every = list(rows)
        for start in range(0, len(every), MOST_GESTURES):
            self.say(type="touch", gestures=every[start : start + MOST_GESTURES])

    async def instrument(self) -> InstrumentReference | None:
        """What plays; None for the built-in one.

        Raises:
            InputError: the engine is gone, or tells what makes no sense.
        """
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        if self._writer is None:
            raise InputError("the plugin's engine is gone")
        self._answers.append(answer)
        self.say(type="instrument")
        found = await answer
        if not found.get("sha256"):
            return None
        try:
            embedded = base64.b64decode(found["embedded"], validate=True)
            return InstrumentReference(str(found["path"]), str(found["sha256"]), str(found["name"]), embedded)
        except (KeyError, TypeError, binascii.Error):
            raise InputError("the plugin's engine does not say what it plays") from None

    async def listen(self, address: Address, hear: Callable[[Instance, dict[str, Any]], None]) -> None:
        """Connect, and hear its engine until it is gone."""
        try:
            reader, writer = await asyncio.open_unix_connection(os.fspath(address.path), limit=LONGEST_LINE)
        except OSError:
            with contextlib.suppress(OSError):  # nobody listens there any more
                address.path.unlink(missing_ok=True)
            return
        self._writer, self.pid = writer, address.pid
        try:
            while line := await reader.readline():
                message = json.loads(line)
                if message.get("type") == "hello":
                    self.hello = message
                if message.get("type") == "instrument" and self._answers:
                    answer = self._answers.pop(0)
                    if not answer.done():
                        answer.set_result(message)
                else:
                    hear(self, message)
        except (OSError, ValueError, AttributeError) as error:
            log.debug("engine %d: %s", address.pid, error)
        finally:
            self._writer = None
            for answer in self._answers:
                if not answer.done():
                    answer.set_exception(InputError("the plugin's engine is gone"))
            self._answers.clear()
            writer.close()


class Instances:
    """All of them. Used on one asyncio loop."""

    def __init__(
        self,
        on_hear: Callable[[Instance, dict[str, Any]], None],
        on_gone: Callable[[Instance], None],
        on_list: Callable[[], None],
    ) -> None:
        """
        Args:
            on_hear: what an engine says.
            on_gone: an engine is gone; another may follow.
            on_list: there are others now than before, or they are called otherwise.
        """
        self._on_hear, self._on_gone, self._on_list = on_hear, on_gone, on_list
        self._known: dict[str, Instance] = {}
        self._listening: dict[str, asyncio.Task[None]] = {}
        self._told: list[dict[str, Any]] = []

    def __getitem__(self, key: str) -> Instance:
        """
        Raises:
            InputError: there is none of that key.
        """
        if key not in self._known:
            raise InputError("that plugin is not there any more")
        return self._known[key]

    @property
    def settled(self) -> bool:
        """Whether every engine that was found has said who it is, or is gone."""
        return all(self._known[key].hello or task.done() for key, task in self._listening.items())

    def rows(self) -> list[dict[str, Any]]:
        """For the page, in the order in which they came."""
        return [instance.as_json() for instance in self._known.values()]

    async def look(self) -> None:
        """Look for engines once."""
        try:
            found = {entry.key: entry for entry in await asyncio.to_thread(addresses)}  # the newest of each key
        except TerrainError as error:
            log.warning("%s", error)
            found = {}
        for key, entry in found.items():
            task = self._listening.get(key)
            if task is None or task.done():
                instance = self._known.setdefault(key, Instance(key))
                self._listening[key] = asyncio.create_task(self._listen(instance, entry))
        for key in self._known.keys() - found.keys():
            if self._listening[key].done():
                del self._known[key], self._listening[key]
        self._tell()

    async def run(self) -> None:
        """Look for engines for ever."""
        while True:
            await self.look()
            await asyncio.sleep(GLANCE_S)

    async def close(self) -> None:
        """Let go of all."""
        for task in self._listening.values():
            task.cancel()
        await asyncio.gather(*self._listening.values(), return_exceptions=True)

    async def _listen(self, instance: Instance, entry: Address) -> None:
        try:
            await instance.listen(entry, self._hear)
        finally:
            self._on_gone(instance)
            self._tell()

    def _hear(self, instance: Instance, message: dict[str, Any]) -> None:
        if message.get("type") == "hello":
            self._tell()
        self._on_hear(instance, message)

    def _tell(self) -> None:
        rows = self.rows()
        if rows != self._told:
            self._told = rows
            self._on_list()
