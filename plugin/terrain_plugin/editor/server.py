"""What answers the browser: the page, a socket for what is asked and shown, a socket for sound, uploads, downloads."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import socket
import struct
import threading
import time
import webbrowser
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from terrain_core.errors import InputError, TerrainError
from terrain_core.instrument import Instrument
from terrain_core.parameters import PARAMETERS
from terrain_core.pictures import View, sample_terrain
from terrain_plugin.editor import messages
from terrain_plugin.editor.gesture_keeper import MOST_KEPT, GestureKeeper
from terrain_plugin.editor.gestures import FORMATS
from terrain_plugin.editor.guard import new_token
from terrain_plugin.editor.library import LARGEST_SOUND, Library, plain_name
from terrain_plugin.editor.messages import Ask
from terrain_plugin.editor.motion import Way
from terrain_plugin.editor.pages import (
    FRAMES_WAITING,
    MOST_PAGES,
    PICTURES,
    WAITING,
    Page,
    Pages,
    as_json,
    both,
    map_message,
    picture,
    sentence,
    table_row,
)
from terrain_plugin.editor.session import Session
from terrain_plugin.editor.trajectory_shelf import TrajectoryShelf
from terrain_plugin.editor.workshop import Workshop
from terrain_plugin.editor.workshop_process import SHOWN_LATENTS
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

log = logging.getLogger(__name__)

SOUND_WAITING: Final = 40
"""Blocks that wait for a page that is slow, half a second; older ones are left out, and the page counts the gap."""

BUILT_IN: Final = "built-in"
"""What the page calls the instrument that comes with the program."""

SOUND_HEAD: Final = struct.Struct("<II")
"""Before a block of sound: its number, and how many channels; then float32 samples, channel by channel."""

TYPES: Final = {
    "dawproject": "application/zip",
    "reaper": "text/plain",
    "midi": "audio/midi",
    "live": "application/gzip",
}


class Editor(Pages):
    """One session, one workshop, one library, and the pages that look at them."""

    def __init__(self, session: Session, workshop: Workshop, library: Library, *, sound_to_pages: bool = True) -> None:
        """
        Args:
            sound_to_pages: whether pages may have the sound.
        """
        super().__init__()
        self.session, self.workshop, self.library = session, workshop, library
        self._sound_to_pages = sound_to_pages
        self._listeners: set[Page] = set()
        self._block = 0
        self._picture: bytes = b""
        self._stage = ""
        self._painting: set[asyncio.Task[None]] = set()
        self._uploading = asyncio.Lock()
        self._trajectories = TrajectoryShelf(library, session.ids, session.trajectories)
        self._keeper = GestureKeeper(library.gestures, session.reference)
        session.keep_gestures(self._keeper)

    def _routes(self) -> Sequence[BaseRoute]:
        return [
            Route("/upload", self._upload, methods=["POST"]),
            Route("/gesture/{id:int}/{format}", self._gesture),
            Route("/instrument", self._instrument),
            WebSocketRoute("/sound", self._sound),
        ]

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        self.session.on_audio = self._from_player(self._hand_out_sound)
        self.session.on_frame = self._from_player(self._hand_out_frame)
        self.session.on_change = self._from_player(self._session_changed)
        self.workshop.on_change = self._from_player(self._tell_build)
        self.workshop.on_picture = self._from_player(self._show_growth)
        self.workshop.on_problem = self._from_player(lambda problem: self._tell({"type": "error", "text": problem}))
        self.session.start()
        self._paint()
        try:
            yield
        finally:
            await asyncio.to_thread(self.session.stop)
            await asyncio.to_thread(self.workshop.close)

    def _from_player(self, call: Callable[..., None]) -> Callable[..., None]:
        """The same call, on the server's own loop."""

        def elsewhere(*arguments: Any) -> None:
            if self._loop is not None and not self._loop.is_closed():
                with contextlib.suppress(RuntimeError):  # it closes just now
                    self._loop.call_soon_threadsafe(call, *arguments)

        return elsewhere

    # --- pages and files ------------------------------------------------------------------------------------------

    async def _upload(self, request: Request) -> Response:
        """A sound, as the body of the request; its name is a name and no path."""
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or len(declared) > 12 or int(declared) > LARGEST_SOUND:
            return PlainTextResponse(f"A sound may have {LARGEST_SOUND >> 20} MiB.", 413)
        try:
            async with self._uploading:  # one at a time: the library's limits hold
                path = await self.library.take_in(request.query_params.get("name", ""), request.stream())
        except TerrainError as error:
            return PlainTextResponse(sentence(error), 400)
        id = self.workshop.add(path)
        return Response(json.dumps({"id": id, "name": path.name}), media_type="application/json")

    async def _gesture(self, request: Request) -> Response:
        """A gesture as a project, or as the sound that was heard."""
        format = request.path_params["format"]
        try:
            gesture = self.session.gesture(request.path_params["id"])
            if format == "wav":
                return _download(await asyncio.to_thread(gesture.wav), f"{gesture.name}.wav", "audio/wav")
            if format not in FORMATS:
                raise InputError(f"a gesture can be one of wav, {', '.join(FORMATS)}")
            reference = await asyncio.to_thread(self.session.reference, gesture.instrument)
            data = await asyncio.to_thread(gesture.file, format, reference)
        except TerrainError as error:
            return PlainTextResponse(sentence(error), 404)
        return _download(data, f"{gesture.name}{FORMATS[format]}", TYPES[format])

    async def _instrument(self, request: Request) -> Response:
        """The file of the instrument that plays."""
        path = self.session.path
        if path is None:
            return PlainTextResponse("Save the instrument first; the built-in one is there already.", 404)
        return _download(await asyncio.to_thread(path.read_bytes), path.name, "application/zip")

    # --- the socket of what is asked and shown --------------------------------------------------------------------

    def _leave(self, page: Page) -> None:
        """It leaves nothing behind."""

    def _greet(self, page: Page) -> None:
        page.send(
            as_json(
                {
                    "type": "hello",
                    "table": [table_row(parameter) for parameter in PARAMETERS if not parameter.read_only],
                    "formats": list(FORMATS),
                    "sound": self._sound_to_pages,
                    "shown_latents": SHOWN_LATENTS,
                }
            )
        )
        page.send(as_json(self._state()))
        page.send(as_json(self.workshop.state()))
        page.send(as_json(self._map()))
        if self._picture:
            page.send(self._picture)

    def _state(self) -> dict[str, Any]:
        library = [BUILT_IN, *self.library.instrument_names()]
        return {"type": "state", **self.session.state(), "library": library, "pages": len(self._pages)}

    def _map(self) -> dict[str, Any]:
        return map_message(self.session.instrument.sound_map)

    async def _do(self, page: Page, ask: Ask) -> None:
        session, workshop = self.session, self.workshop
        match ask.kind:
            case "pointer":
                session.point(ask["x"], ask["y"], ask["pressure"], ask["seq"])
            case "set":
                session.set(ask["values"])
            case "preset":
                session.set(session.instrument.preset(ask["name"]))
            case "cursor_glide":
                session.glide_cursor(ask["ms"])
            case "lock":
                session.hold_latent(ask["latent"], ask["value"])
            case "unlock":
                session.release_latent(ask["latent"])
            case "transport":
                session.transport(ask["playing"], ask["bpm"], ask["locate"])
            case "loop":
                session.loop(ask["slot"], ask["action"])
            case "record":
                if ask["on"] and self._keeper.full:
                    raise InputError(f"there are {MOST_KEPT} gestures: delete one first")
                session.record(ask["on"])
            case "build_train":
                await self._train(ask)
            case "build_save":
                place = self.library.place_for(ask["name"])
                await asyncio.to_thread(workshop.save, place)
                if workshop.instrument is not None:
                    session.files[workshop.instrument] = place
                self._tell({"type": "note", "text": f"{place.name} is in the library"})
                self._tell(self._state())
            case "build_play":
                if workshop.instrument is None:
                    raise InputError("nothing was trained yet")
                await asyncio.to_thread(session.play, workshop.instrument)
            case "open":
                await asyncio.to_thread(lambda: session.play(self._loaded(ask["name"])))
            case kind if kind.startswith("build"):
                self._build(ask)
            case _:
                self._paths(ask)

    def _loaded(self, name: str) -> Instrument:
        path = None if name == BUILT_IN else self.library.instrument(name)
        instrument = Instrument.load(path or DEFAULT_INSTRUMENT)
        if instrument.autoencoder.sample_rate != self.session.sample_rate:
            raise InputError(
                f"{name} plays at {instrument.autoencoder.sample_rate} Hz, this session at "
                f"{self.session.sample_rate:g} Hz: start it with `terrain play`"
            )
        self.session.files[instrument] = path
        return instrument

    async def _train(self, ask: Ask) -> None:
        made = self.workshop.train(epochs=ask["epochs"], rate=ask["rate"], width=ask["width"], fresh=ask["fresh"])
        if made is not None:
            await asyncio.to_thread(self.session.play, made)

    def _build(self, ask: Ask) -> None:
        workshop = self.workshop
        match ask.kind:
            case "build_encode":
                workshop.encode()
            case "build_cancel" | "build_stop":
                workshop.cancel()
            case "build_layout":
                workshop.lay_out(ask["method"])
            case "build_path":
                workshop.draw(ask["id"], ask["points"], by_hand=ask["freehand"])
            case "build_curve":
                workshop.draw_curve(ask["id"], ask["controls"])
            case "build_move":
                workshop.move(ask["id"], ask["dx"], ask["dy"])
            case "build_remove_path":
                workshop.remove_path(ask["id"])
            case "build_remove":
                workshop.remove(ask["id"])
            case "build_undo":
                workshop.undo()
            case "build_redo":
                workshop.redo()

    def _paths(self, ask: Ask) -> None:
        """Trajectories and gestures."""
        session = self.session
        if self._trajectories.do(ask):
            self._tell(self._state())
            return
        match ask.kind:
            case "trajectory_play":
                way = Way(ask["mode"], ask["seconds"], ask["beats"], ask["speed"], ask["reverse"])
                session.play_trajectory(ask["id"], way)
                return
            case "trajectory_stop":
                session.stop_trajectory()
                return
            case "gesture_trajectory":
                gesture = session.gesture(ask["id"])
                self._trajectories.add(gesture.name, gesture.path())
            case "gesture_rename":
                from dataclasses import replace

                gesture = session.gesture(ask["id"])
                session.gestures[gesture.id] = replace(gesture, name=ask["name"])
                self._keeper.rename(gesture.id, ask["name"])
            case "gesture_delete":
                del session.gestures[session.gesture(ask["id"]).id]
                self._keeper.delete(ask["id"])
        self._tell(self._state())

    # --- what goes out --------------------------------------------------------------------------------------------

    def _tell_build(self) -> None:
        state = self.workshop.state()
        self._tell(state)
        if self._stage == "training" != state["stage"] and self.session.instrument is self.workshop.instrument:
            self._paint()  # finer than while it grew
        self._stage = state["stage"]

    def _hand_out_frame(self, frame: dict[str, Any]) -> None:
        text = as_json(frame)
        for page in self._pages:
            page.send(text, room=WAITING - FRAMES_WAITING)

    def _session_changed(self, what: str) -> None:
        self._tell(self._state())
        if what == "instrument":
            self._tell(self._map())
            self._paint()

    def _paint(self) -> None:
        """Draw the terrain that plays, beside the loop."""

        async def paint() -> None:
            terrain = self.session.instrument.terrain
            if terrain is None:
                self._picture = b""
                return
            for size in PICTURES:
                latents = await asyncio.to_thread(sample_terrain, terrain, View.whole(terrain), (size, size))
                if self.session.instrument.terrain is not terrain:
                    return
                self._show(latents[:, :, :SHOWN_LATENTS])

        if self._loop is None:
            return
        task = self._loop.create_task(paint())
        self._painting.add(task)
        task.add_done_callback(self._painting.discard)

    def _show_growth(self, latents: NDArray[np.float32]) -> None:
        if self.session.instrument is self.workshop.instrument:
            self._show(latents)

    def _show(self, latents: NDArray[np.float32]) -> None:
        self._picture = picture(latents)
        for page in self._pages:
            page.send(self._picture, room=WAITING - 4 * FRAMES_WAITING)

    # --- the socket of sound --------------------------------------------------------------------------------------

    async def _sound(self, socket: WebSocket) -> None:
        if not self._sound_to_pages or len(self._listeners) >= MOST_PAGES:
            await socket.close(1013)
            return
        await socket.accept()
        page = Page(SOUND_WAITING)
        self._listeners.add(page)
        try:
            await both(page.send_all(socket), _drain(socket))
        finally:
            self._listeners.discard(page)

    def _hand_out_sound(self, audio: NDArray[np.float32]) -> None:
        self._block += 1
        if not self._listeners:
            return
        data = SOUND_HEAD.pack(self._block & 0xFFFFFFFF, len(audio)) + audio.astype("<f4").tobytes()
        for page in self._listeners:
            if not page.send(data):  # old sound is of no use: the newest goes out
                while page.queue.qsize() > 4:
                    page.queue.get_nowait()
                page.send(data)


def _download(data: bytes, name: str, kind: str) -> Response:
    safe = plain_name(name).encode("ascii", "replace").decode().replace("?", "_")
    return Response(data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{safe}"'})


async def _drain(socket: WebSocket) -> None:
    """Listeners have nothing to say; until they go."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


# --- starting -------------------------------------------------------------------------------------------------------


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        InputError: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(128)  # who has the address may call at once
    except OSError as error:
        listener.close()
        raise InputError(f"port {port} cannot be had ({error.strerror or error}): choose another with --port") from None
    return listener


@dataclass(frozen=True)
class Place:
    """Where a server listens, and who may call it.

    Attributes:
        hosts: names that it answers to.
        port: the one that was had.
        url: of the page, as others see it; with its token.
        here: the same as this machine sees it.
        lan: whether the local network is let in.
    """

    listener: socket.socket
    hosts: tuple[str, ...]
    port: int
    token: str
    url: str
    here: str
    lan: bool

    @classmethod
    def take(cls, port: int, *, lan: bool, or_any: bool = False) -> Place:
        """Listen, with a fresh token.

        Args:
            lan: let the local network in.
            or_any: another port will do where this one is taken.
        Raises:
            InputError: the port is taken, or there is no network.
        """
        hosts = ("127.0.0.1", "localhost", *([lan_address()] if lan else []))
        address = "0.0.0.0" if lan else "127.0.0.1"
        try:
            listener = listen(address, port)
        except InputError:
            if not or_any:
                raise
            listener = listen(address, 0)
        found, token = listener.getsockname()[1], new_token()
        url, here = (f"http://{host}:{found}/?token={token}" for host in (hosts[-1] if lan else hosts[0], hosts[0]))
        return cls(listener, hosts, found, token, url, here, lan)

    def announce(self, what: str, page: str | None) -> None:
        """Tell the player where the page is.

        Args:
            what: is found there.
            page: address to open in the browser; None: leave it closed.
        """
        print(f"{what}: open {self.url}", flush=True)
        if self.lan:
            print(qr_code(self.url))
            print("Anyone in this network who has this address can play, and read what goes over it.", flush=True)
        print("Ctrl-C ends it.", flush=True)
        if page is not None:
            webbrowser.open(page)


def lan_address() -> str:
    """This machine's address in its local network, as others see it.

    Raises:
        InputError: it is in none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: nothing is sent, a route is chosen
            address: str = probe.getsockname()[0]
        except OSError:
            raise InputError("this machine is in no network: play without --lan") from None
    return address


def qr_code(address: str) -> str:
    """An address as a QR code of block characters, for a terminal."""
    import segno

    out = io.StringIO()
    segno.make(address, error="l").terminal(out=out, compact=True)
    return out.getvalue()


def serve(
    pages: Pages,
    place: Place,
    announce: Callable[[], None],
    until: Callable[[], bool] | None = None,
) -> None:
    """Answer until Ctrl-C, or until a condition comes true.

    Args:
        announce: called when pages are answered and Ctrl-C is heard, in a thread of its own: a browser may take its
            time.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            threading.Thread(target=announce, daemon=True).start()

    config = uvicorn.Config(
        pages.app(token=place.token, hosts=list(place.hosts), port=place.port),
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_max_size=messages.LARGEST,
        ws_per_message_deflate=False,
        h11_max_incomplete_event_size=16 << 10,
        limit_concurrency=128,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
    )
    server = Server(config)

    def watch(until: Callable[[], bool]) -> None:
        while not until():
            time.sleep(1)
        server.should_exit = True

    if until is not None:
        threading.Thread(target=watch, args=(until,), daemon=True).start()
    server.run(sockets=[place.listener])
