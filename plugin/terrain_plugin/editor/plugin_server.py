"""`terrain edit`: the page for plugins in hosts. What it moves are the host's parameters, as gestures that the host can
record; what it shows is what their engines hear from the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

from starlette.applications import Starlette

from terrain_core.errors import InputError, TerrainError
from terrain_core.instrument import Instrument
from terrain_core.looper.looper import Action
from terrain_core.parameters import DEFAULTS, PARAMETERS
from terrain_core.pictures import View, sample_terrain
from terrain_plugin.editor.instances import Instance, Instances, Row
from terrain_plugin.editor.library import Library
from terrain_plugin.editor.messages import Ask
from terrain_plugin.editor.motion import Playback, Trajectory, Way
from terrain_plugin.editor.pages import (
    FRAMES_WAITING,
    PICTURES,
    WAITING,
    Page,
    Pages,
    as_json,
    map_message,
    picture,
    sentence,
    table_row,
)
from terrain_plugin.editor.trajectory_shelf import TrajectoryShelf
from terrain_plugin.editor.workshop_process import SHOWN_LATENTS
from terrain_plugin.instrument_shelf import InstrumentShelf, loopers_of

log = logging.getLogger(__name__)

HAND: Final = ("x", "y", "pressure")
ACTION_FRAMES: Final = 2
"""Latent frames for which a loop's action stays, so that the engine sees its edge."""

ACTION_PATIENCE_S: Final = 0.5
"""For those frames: a host that does not process makes none."""

STEP_S: Final = 1 / 60
"""Between two places of a trajectory that plays."""

SEQUENCES: Final = 1024
"""Pointer events whose return is waited for."""


class Looked:
    """An instance that pages look at."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.pages: set[Page] = set()
        self.playing: Instrument | None = None
        self.sha256: str | None = None
        self.loops: list[str] = []
        self.picture = b""
        self.parameters: dict[str, float] = dict(DEFAULTS)
        self.transport: dict[str, Any] = {"known": False, "playing": False, "recording": False, "bpm": None}
        self.frames = 0
        self.open: dict[str, set[Page]] = {}
        """Parameters that are held, and on which pages."""
        self.seq = 0
        self.sent: deque[tuple[int, float, float]] = deque(maxlen=SEQUENCES)
        self.loading: asyncio.Task[None] | None = None
        self.actions: asyncio.Queue[tuple[int, int]] = asyncio.Queue(64)
        self.acting: asyncio.Task[None] | None = None
        self.playback: Playback | None = None
        self.moving: asyncio.Task[None] | None = None
        self._beat, self._beat_at = 0.0, 0.0

    def hear_frame(self, frame: dict[str, Any], now: float) -> None:
        """Take in what a frame says, and put the pointer's number into it."""
        self.frames += 1
        self.parameters.update(frame.get("parameters", {}))
        self.transport = frame.get("transport", self.transport)
        self._beat, self._beat_at = frame["beat"], now
        frame["seq"] = self.returned(frame["x"], frame["y"])

    def beat(self, now: float) -> float:
        """The song's beat, which goes on between two frames."""
        bpm = self.transport.get("bpm") if self.transport.get("playing") else 0
        return self._beat + (now - self._beat_at) * (bpm or 0) / 60

    def touch(self, page: Page, values: Mapping[str, float], *, held: bool) -> None:
        """Move parameters; their gestures begin if they have not, and end unless they are held."""
        rows: list[Row] = []
        for key, value in values.items():
            holders = self.open.setdefault(key, set())
            if not holders:
                rows.append(("begin", key))
            holders.add(page)
            rows.append(("value", key, value))
            if not held:
                rows += self._let_go(page, key)
        self.instance.touch(rows)

    def let_go(self, page: Page, keys: Iterable[str] | None = None) -> None:
        """A page lets go of parameters, or of all."""
        wanted = list(self.open) if keys is None else keys
        self.instance.touch([row for key in wanted for row in self._let_go(page, key)])

    def _let_go(self, page: Page, key: str) -> list[Row]:
        holders = self.open.get(key, set())
        if page not in holders:
            return []
        holders.discard(page)
        return [] if holders else [("end", key)]

    def returned(self, x: float, y: float) -> int:
        """The number of the newest pointer event that has come back from the host as this place; what came before
        another one of the host's is not waited for any longer.
        """
        for n, (seq, sent_x, sent_y) in enumerate(self.sent):
            if abs(sent_x - x) < 1e-5 and abs(sent_y - y) < 1e-5:
                self.seq = seq
                for _ in range(n + 1):
                    self.sent.popleft()
                break
        return self.seq


class PluginEditor(Pages):
    """The pages, and the plugins that they look at."""

    def __init__(self, library: Library, chosen: str | None = None) -> None:
        """
        Args:
            library: where trajectories are kept.
            chosen: the key of the instance that a new page shows; None: the first one.
        """
        super().__init__()
        self._first = chosen
        self._instances = Instances(self._hear, self._gone, self._list)
        self._chosen: dict[Page, str] = {}
        self._looked: dict[str, Looked] = {}
        self._shelf = InstrumentShelf()
        self._trajectories: dict[int, Trajectory] = {}
        self._paths = TrajectoryShelf(library, itertools.count(1), self._trajectories)
        self._tasks: set[asyncio.Task[None]] = set()
        self.left = time.monotonic()
        """When the last page left; infinity while there is one."""

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        self._loop = asyncio.get_running_loop()
        await self._instances.look()
        looking = asyncio.create_task(self._instances.run())
        try:
            yield
        finally:
            looking.cancel()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(looking, *self._tasks, return_exceptions=True)
            await self._instances.close()

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- pages ----------------------------------------------------------------------------------------------------

    def _greet(self, page: Page) -> None:
        self.left = float("inf")
        page.send(
            as_json(
                {
                    "type": "hello",
                    "plugin": True,
                    "table": [table_row(parameter) for parameter in PARAMETERS if not parameter.read_only],
                    "formats": [],
                    "sound": False,
                    "shown_latents": SHOWN_LATENTS,
                }
            )
        )
        self._choose_for(page)
        self._tell_list(page)

    def _leave(self, page: Page) -> None:
        self._look_away(page)
        if not self._pages:
            self.left = time.monotonic()

    def _choose_for(self, page: Page) -> None:
        """Something for a page that has not chosen: what the command named, else the first that is there."""
        keys = [row["key"] for row in self._instances.rows() if row["there"]]
        if page in self._chosen or not keys:
            return
        if self._first is None or self._first in keys:
            self._look_at(page, self._first or keys[0])

    def _look_at(self, page: Page, key: str) -> None:
        instance = self._instances[key]
        if self._chosen.get(page) == key:
            return
        self._look_away(page)
        self._chosen[page] = key
        looked = self._looked.setdefault(key, Looked(instance))
        looked.instance = instance
        looked.pages.add(page)
        self._begin(looked)

    def _look_away(self, page: Page) -> None:
        key = self._chosen.pop(page, None)
        if key is None:
            return
        looked = self._looked[key]
        looked.let_go(page)
        looked.pages.discard(page)
        if not looked.pages:
            looked.instance.say(type="watch", on=False)
            for task in (looked.loading, looked.acting, looked.moving):
                if task is not None:
                    task.cancel()
            del self._looked[key]

    def _begin(self, looked: Looked) -> None:
        """Have frames come, and see to it that what plays is known."""
        if not looked.instance.editable:
            return
        looked.instance.say(type="watch", on=True)
        if looked.playing is not None and looked.sha256 == looked.instance.hello.get("sha256"):
            self._show_all(looked)
        elif looked.loading is None or looked.loading.done():
            looked.loading = self._spawn(self._load(looked))

    def _tell_list(self, page: Page) -> None:
        page.send(as_json({"type": "instances", "list": self._instances.rows(), "chosen": self._chosen.get(page)}))

    # --- engines --------------------------------------------------------------------------------------------------

    def _list(self) -> None:
        for page in self._pages:
            self._choose_for(page)
            self._tell_list(page)

    def _hear(self, instance: Instance, message: dict[str, Any]) -> None:
        looked = self._looked.get(instance.key)
        if looked is None:
            return
        looked.instance = instance
        match message.get("type"):
            case "hello":
                self._begin(looked)
            case "frame":
                looked.hear_frame(message, time.monotonic())
                text = as_json(message)
                for page in looked.pages:
                    page.send(text, room=WAITING - FRAMES_WAITING)

    def _gone(self, instance: Instance) -> None:
        """Its engine ended, and with it every gesture: the plugin has told its host."""
        looked = self._looked.get(instance.key)
        if looked is not None:
            looked.open.clear()
            looked.sent.clear()

    async def _load(self, looked: Looked) -> None:
        """Open what the plugin plays, and show it."""
        try:
            while looked.sha256 != (wanted := str(looked.instance.hello.get("sha256", ""))) or looked.playing is None:
                reference = await looked.instance.instrument()
                looked.playing = await asyncio.to_thread(self._shelf.get, reference)
                looked.loops = list(loopers_of(looked.playing).voices)
                looked.sha256 = wanted
                looked.picture = b""
            self._show_all(looked)
            await self._paint(looked, looked.playing)
        except TerrainError as error:
            for page in looked.pages:
                page.send(as_json({"type": "error", "text": sentence(error)}))
        except Exception:
            log.exception("an instrument cannot be shown")

    def _show_all(self, looked: Looked) -> None:
        if looked.playing is None:
            return
        self._show_state(looked)
        places = as_json(map_message(looked.playing.sound_map))
        for page in looked.pages:
            page.send(places)
            if looked.picture:
                page.send(looked.picture)

    def _show_state(self, looked: Looked) -> None:
        if looked.playing is None:
            return
        state = as_json(self._state(looked, looked.playing))
        for page in looked.pages:
            page.send(state)

    def _state(self, looked: Looked, instrument: Instrument) -> dict[str, Any]:
        autoencoder = instrument.autoencoder
        return {
            "type": "state",
            "instrument": str(looked.instance.hello.get("instrument", "")),
            "latents": autoencoder.latent_size,
            "latent_mean": autoencoder.latent_mean.astype(float).tolist(),
            "latent_std": autoencoder.latent_std.astype(float).tolist(),
            "frame_rate": autoencoder.sample_rate / autoencoder.hop,
            "sample_rate": looked.instance.hello.get("sample_rate", 0),
            "channels": autoencoder.channels,
            "latency_ms": 0.0,
            "parameters": looked.parameters,
            "presets": list(instrument.presets),
            "loops": looked.loops,
            "transport": looked.transport,
            "cursor_glide": 0.0,
            "recording": False,
            "playback": looked.playback.trajectory.id if looked.playback else None,
            "gestures": [],
            "trajectories": [trajectory.as_json() for trajectory in self._trajectories.values()],
            "library": [],
            "pages": len(looked.pages),
        }

    async def _paint(self, looked: Looked, instrument: Instrument) -> None:
        terrain = instrument.terrain
        if terrain is None:
            return
        for size in PICTURES:
            latents = await asyncio.to_thread(sample_terrain, terrain, View.whole(terrain), (size, size))
            if looked.playing is not instrument:
                return
            looked.picture = picture(latents[:, :, :SHOWN_LATENTS])
            for page in looked.pages:
                page.send(looked.picture, room=WAITING - 4 * FRAMES_WAITING)

    # --- what is asked --------------------------------------------------------------------------------------------

    async def _do(self, page: Page, ask: Ask) -> None:
        if ask.kind == "choose":
            self._look_at(page, ask["instance"])
            self._tell_list(page)
            return
        looked = self._looked_at_by(page)
        match ask.kind:
            case "pointer":
                self._point(page, looked, ask)
            case "set":
                looked.touch(page, ask["values"], held=ask["held"])
            case "preset":
                if looked.playing is not None:
                    looked.touch(page, looked.playing.preset(ask["name"]), held=False)
            case "loop":
                self._loop_action(page, looked, ask["slot"], ask["action"])
            case "trajectory_play":
                self._play(looked, ask)
            case "trajectory_stop":
                looked.playback = None
            case _ if self._paths.do(ask):
                for each in self._looked.values():
                    self._show_state(each)
            case _:
                raise InputError("that is for `terrain play`: here the DAW plays, and the page moves its parameters")

    def _looked_at_by(self, page: Page) -> Looked:
        key = self._chosen.get(page)
        if key is None or not self._looked[key].instance.editable:
            raise InputError("no plugin is there: open Latent Terrain in your DAW")
        return self._looked[key]

    def _point(self, page: Page, looked: Looked, ask: Ask) -> None:
        looked.playback = None  # the hand takes over
        values = {"x": ask["x"], "y": ask["y"]}
        if ask["pressure"] is not None:
            values["pressure"] = ask["pressure"]
        looked.sent.append((ask["seq"], ask["x"], ask["y"]))
        looked.touch(page, values, held=ask["held"])
        if not ask["held"]:
            looked.let_go(page, HAND)

    def _play(self, looked: Looked, ask: Ask) -> None:
        """Play a trajectory, or go on with it in another way: X and Y are held as long as it plays."""
        way = Way(ask["mode"], ask["seconds"], ask["beats"], ask["speed"], ask["reverse"])
        trajectory, now = self._paths[ask["id"]], time.monotonic()
        playing = looked.playback
        if playing is not None and playing.trajectory is trajectory and not playing.ended(now, looked.beat(now)):
            playing.change(way, now, looked.beat(now))
        else:
            looked.playback = Playback(trajectory, way, now, looked.beat(now))
        if looked.moving is None or looked.moving.done():
            looked.moving = self._spawn(self._move(looked))
        self._show_state(looked)

    async def _move(self, looked: Looked) -> None:
        hand = Page()
        try:
            while (playback := looked.playback) is not None and looked.instance.editable:
                now = time.monotonic()
                beat = looked.beat(now)
                x, y = playback.at(now, beat)
                looked.touch(hand, {"x": x, "y": y}, held=True)
                if playback.ended(now, beat) and looked.playback is playback:
                    break
                await asyncio.sleep(STEP_S)
        finally:
            looked.playback = None
            looked.let_go(hand)
            self._show_state(looked)

    def _loop_action(self, page: Page, looked: Looked, slot: int, action: str) -> None:
        if slot > len(looked.loops):
            raise InputError(f"there is no loop {slot}: the instrument has {len(looked.loops)}")
        try:
            looked.actions.put_nowait((slot, 1 + list(Action).index(Action(action))))
        except asyncio.QueueFull:
            raise InputError("that is more at once than loops can do") from None
        if looked.acting is None or looked.acting.done():
            looked.acting = self._spawn(self._act(looked))

    async def _act(self, looked: Looked) -> None:
        """Loop actions one after another: the parameter Loop Action is pressed for a moment, and let go."""
        hand = Page()  # a hand of its own: the pages' may hold something else meanwhile
        while not looked.actions.empty():
            slot, number = looked.actions.get_nowait()
            looked.touch(hand, {"loop_slot": slot}, held=False)
            looked.touch(hand, {"loop_action": number}, held=True)
            await self._frames_of(looked, ACTION_FRAMES)
            looked.touch(hand, {"loop_action": 0}, held=False)
            await self._frames_of(looked, ACTION_FRAMES)

    async def _frames_of(self, looked: Looked, count: int) -> None:
        until, loop = looked.frames + count, asyncio.get_running_loop()
        end = loop.time() + ACTION_PATIENCE_S
        while looked.frames < until and loop.time() < end:
            await asyncio.sleep(0.005)
