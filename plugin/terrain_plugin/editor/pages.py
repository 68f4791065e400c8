"""Pages that are connected: what waits to be sent to them, and what they ask for.

Both servers of the editor stand on it: `server`, which plays an instrument itself, and `plugin_server` for plugins.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from terrain_core.errors import TerrainError
from terrain_core.sound_map import SoundMap
from terrain_plugin.editor import messages
from terrain_plugin.editor.guard import Guard
from terrain_plugin.editor.messages import Ask

PAGE: Final = Path(__file__).parent / "page"
PICTURES: Final = (56, 224)
"""Pixels a side of a terrain's picture: a quick one first, and one that stays while nothing trains."""

WAITING: Final = 512
"""Messages that wait for a page that is slow; frames that it would see late are left out before that."""

FRAMES_WAITING: Final = 16
MOST_PAGES: Final = 16
MOST_MISTAKES: Final = 50
"""Messages that make no sense, from one page, until it is put out."""

MOST_PLACES: Final = 4096
"""Of a sound map, that a page is shown."""


class Page:
    """A page that is connected: what waits to be sent to it."""

    def __init__(self, limit: int = WAITING) -> None:
        self.queue: asyncio.Queue[str | bytes] = asyncio.Queue(limit)
        self.mistakes = 0

    def send(self, message: str | bytes, *, room: int = 0) -> bool:
        """Queue a message if there is room for it and `room` others."""
        if self.queue.qsize() + room >= self.queue.maxsize:
            return False
        self.queue.put_nowait(message)
        return True

    async def send_all(self, socket: WebSocket) -> None:
        """Send what waits, and what will."""
        while True:
            message = await self.queue.get()
            if isinstance(message, str):
                await socket.send_text(message)
            else:
                await socket.send_bytes(message)


class Pages(abc.ABC):
    """A server's pages. What is asked on which page, and what a new one must know, is its heirs' to say."""

    def __init__(self) -> None:
        self._pages: set[Page] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def app(self, *, token: str, hosts: list[str], port: int) -> ASGIApp:
        """The ASGI application, behind its guard."""
        routes = [Route("/", self._index), WebSocketRoute("/live", self._live), *self._routes()]
        app = Starlette(routes=[*routes, Mount("/page", StaticFiles(directory=PAGE))], lifespan=self._life)
        return Guard(app, token=token, hosts=hosts, port=port)

    # --- the heirs' -----------------------------------------------------------------------------------------------

    def _routes(self) -> Sequence[BaseRoute]:
        """What is served besides the page and its socket."""
        return ()

    @abc.abstractmethod
    def _life(self, app: Starlette) -> contextlib.AbstractAsyncContextManager[None]:
        """From the first request to the last."""

    @abc.abstractmethod
    def _greet(self, page: Page) -> None:
        """Tell a new page all that it must know."""

    @abc.abstractmethod
    async def _do(self, page: Page, ask: Ask) -> None:
        """Do what a page asks for. A TerrainError is its answer."""

    @abc.abstractmethod
    def _leave(self, page: Page) -> None:
        """A page is gone."""

    # --- the socket of what is asked and shown --------------------------------------------------------------------

    async def _index(self, request: Request) -> Response:
        return Response((PAGE / "index.html").read_bytes(), media_type="text/html; charset=utf-8")

    async def _live(self, socket: WebSocket) -> None:
        if len(self._pages) >= MOST_PAGES:
            await socket.close(1013)
            return
        await socket.accept()
        page = Page()
        self._pages.add(page)
        self._greet(page)
        try:
            await both(page.send_all(socket), self._receive(page, socket))
        finally:
            self._pages.discard(page)
            self._leave(page)

    async def _receive(self, page: Page, socket: WebSocket) -> None:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                ask = messages.parse(message.get("text") or message.get("bytes") or "")
                if ask.kind == "ping":
                    page.send(as_json({"type": "pong", "at": ask["at"]}))
                else:
                    await self._do(page, ask)
            except TerrainError as error:
                page.mistakes += 1
                page.send(as_json({"type": "error", "text": sentence(error)}))
                if page.mistakes > MOST_MISTAKES:
                    await socket.close(1008)
                    return

    def _tell(self, message: dict[str, Any]) -> None:
        text = as_json(message)
        for page in self._pages:
            page.send(text)


def picture(latents: NDArray[np.float32]) -> bytes:
    """Sampled latents (height, width, K) as a page takes them: a size, a JSON head of that size, a byte for each value.

    Each latent is spread over 0..255 between the ends that the head names.
    """
    low, high = latents.min(axis=(0, 1)), latents.max(axis=(0, 1))
    spread = np.where(high > low, high - low, 1)
    head = as_json(
        {
            "type": "picture",
            "width": latents.shape[1],
            "height": latents.shape[0],
            "low": low.astype(float).tolist(),
            "high": high.astype(float).tolist(),
        }
    ).encode()
    levels = np.rint((latents - low) / spread * 255).astype(np.uint8)
    return b"".join((struct.pack("<I", len(head)), head, levels.transpose(2, 0, 1).tobytes()))


def map_message(sounds: SoundMap | None) -> dict[str, Any]:
    """A sound map as a page takes it: places and names; empty where an instrument has none."""
    if sounds is None:
        return {"type": "map", "positions": [], "names": []}
    names = list(sounds.names) or [str(n + 1) for n in range(len(sounds))]
    step = max(1, len(names) // MOST_PLACES)
    return {"type": "map", "positions": np.round(sounds.positions[::step], 4).tolist(), "names": names[::step]}


def table_row(parameter: Any) -> dict[str, Any]:
    """A parameter as a page takes it."""
    keys = ("id", "key", "name", "low", "high", "default", "unit", "group", "help")
    row = {key: getattr(parameter, key) for key in keys}
    return row | {"choices": list(parameter.choices or ()), "stepped": parameter.stepped}


def as_json(message: dict[str, Any]) -> str:
    """A message as it is sent."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def sentence(error: Exception) -> str:
    """An error as a sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


async def both(*sides: Any) -> None:
    """Run both until one ends; then the other is ended as well."""
    tasks = [asyncio.ensure_future(side) for side in sides]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):  # it went while it was sent something
            task.result()
