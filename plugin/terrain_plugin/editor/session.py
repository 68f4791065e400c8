"""What plays: an engine on a thread of its own, paced by the clock (or by a sound card), and what pages ask of it."""

from __future__ import annotations

import itertools
import logging
import queue
import re
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from terrain_core.engine import Block, Engine, ParameterPoint, Transport
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.looper import ChainEffect
from terrain_core.looper.looper import Action
from terrain_core.parameters import by_key
from terrain_core.plugin_state import InstrumentReference
from terrain_plugin.editor.gesture_keeper import Begun, GestureKeeper
from terrain_plugin.editor.gestures import Gesture
from terrain_plugin.editor.motion import Cursor, Playback, Trajectory, Way
from terrain_plugin.editor.taps import Locks, Probe
from terrain_plugin.instrument_shelf import loopers_of
from terrain_plugin.link_transport import LinkTransport
from terrain_plugin.shown import Played, Shown

log = logging.getLogger(__name__)

BLOCK: Final = 512
"""Samples that are made at once: 12 ms at 44,100 Hz."""

AHEAD_S: Final = 0.02
"""How far the clock may be behind what was made: what a late wake-up of this thread costs nobody."""

LINK_JUMP = 0.1
"""Beats: a Link session further away than this is gone to at once."""

LINK_PULL = 0.05
"""How much of the rest is taken off in each block."""

LATE_S: Final = 0.25
"""Beyond this nothing is caught up: the machine slept."""

FADE: Final = 256
"""Samples over which one engine's sound goes over into another's."""

LONGEST_RECORDING_S: Final = 600.0
METER: Final = (4, 4)

Audio = NDArray[np.float32]


class Pace(Protocol):
    """Says when the next block is due."""

    def wait(self, made: int) -> bool:
        """Return when a block should be made, `made` samples having been. False: time was lost, count anew."""
        ...

    def take(self, audio: Audio) -> None:
        """A block, (channels, samples)."""
        ...

    def close(self) -> None:
        """No more is needed."""
        ...


class WallClock:
    """The pace of a clock; nothing is heard here."""

    def __init__(self, sample_rate: float) -> None:
        self._rate = sample_rate
        self._start = time.perf_counter()
        self._offset = 0

    def wait(self, made: int) -> bool:
        """See `Pace`."""
        ahead = (made - self._offset) / self._rate - AHEAD_S - (time.perf_counter() - self._start)
        if ahead > 0:
            time.sleep(ahead)
        elif ahead < -LATE_S:
            self._start, self._offset = time.perf_counter(), made
            return False
        return True

    def take(self, audio: Audio) -> None:
        """See `Pace`."""

    def close(self) -> None:
        """See `Pace`."""


class _Recording:
    """A gesture in the making."""

    def __init__(self, name: str, bpm: float, loops: bytes, latency: int) -> None:
        self.name = name
        self.bpm, self.loops, self.latency = bpm, loops, latency
        self.frames: list[Played] = []
        self.audio: list[Audio] = []
        self.samples = 0


class Session:
    """One instrument that is played. All methods may be called from any thread; what is asked happens at the next
    block.

    Listeners are called on the player's thread and must be quick.
    """

    def __init__(
        self,
        instrument: Instrument,
        path: Path | None = None,
        *,
        seed: int = 0,
        pace: Pace | None = None,
        link: LinkTransport | None = None,
    ) -> None:
        """
        Args:
            instrument: what plays first.
            path: its file; None for the built-in one.
            seed: of everything that is drawn at random.
            pace: what the player keeps time with; a clock if None.
            link: an Ableton Link session, open, whose tempo and beat are followed; a tempo set here is set there.
        """
        self._link = link
        self.sample_rate = float(instrument.autoencoder.sample_rate)
        self.instrument = instrument
        self.files: weakref.WeakKeyDictionary[Instrument, Path | None] = weakref.WeakKeyDictionary({instrument: path})
        """Where instruments are saved; None for the built-in one. What was never saved is not in it."""
        self.on_audio: Callable[[Audio], None] = lambda audio: None
        self.on_frame: Callable[[dict[str, Any]], None] = lambda frame: None
        self.on_change: Callable[[str], None] = lambda what: None
        self.locks = Locks()
        self.gestures: dict[int, Gesture] = {}
        self.trajectories: dict[int, Trajectory] = {}
        self.keeper: GestureKeeper | None = None
        """Where recordings are kept beyond this session; nowhere if None. Closed by `stop`."""
        self.ids = itertools.count(1)
        self.late_blocks = 0
        """How often the player could not keep up and time was lost."""
        self._seed = seed
        self._pace = pace or WallClock(self.sample_rate)
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._values: dict[str, float] = {}
        self._steps: deque[dict[str, float]] = deque()
        self._cursor = Cursor()
        self._seq = 0
        self._made = 0
        self._beat, self._seconds, self._playing, self._bpm = 0.0, 0.0, True, 120.0
        self._playback: Playback | None = None
        self._recording: _Recording | None = None
        self._gesture_count = itertools.count(1)
        self._shown = Shown(self.sample_rate)
        self._fading: Engine | None = None
        self._clean: Audio | None = None
        self._engine, self._chain, self._probe = self._engine_for(instrument)
        self._running = threading.Event()
        self._thread = threading.Thread(target=self._run, name="terrain player", daemon=True)

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to play."""
        self._running.set()
        self._thread.start()

    def stop(self) -> None:
        """End; waits for the player."""
        self._running.clear()
        if self._thread.is_alive():
            self._thread.join(2)
        self._end_recording()
        if self.keeper is not None:
            self.keeper.close()
        self._pace.close()

    def _engine_for(self, instrument: Instrument) -> tuple[Engine, ChainEffect, Probe]:
        chain, probe = loopers_of(instrument), Probe()
        engine = Engine(instrument, self.sample_rate, BLOCK, self._seed, effects=[self.locks, chain, probe])
        return engine, chain, probe

    def play(self, instrument: Instrument) -> None:
        """Go over to another instrument, with the parameters as they are; a recording ends. Slow (a tenth of a
        second), and the sound goes on meanwhile.
        """
        engine, chain, probe = self._engine_for(instrument)

        def change() -> None:
            if self._recording is not None:
                self._end_recording()
            engine.set_parameters({k: v for k, v in self._engine.parameters.items() if not by_key(k).read_only})
            self._fading, self._engine, self._chain, self._probe = self._engine, engine, chain, probe
            self.instrument = instrument
            self.locks.release()
            self._shown.tell_rings_again()
            self.on_change("instrument")

        self._asked.put(change)

    # --- what is asked --------------------------------------------------------------------------------------------

    def point(self, x: float, y: float, pressure: float | None, seq: int = 0) -> None:
        """Where the hand is, 0..1 each; it takes over from a trajectory that is played.

        Args:
            pressure: None leaves it as it is.
            seq: of the page's event; comes back with the first frame that it is heard in.
        """

        def ask() -> None:
            self._playback = None
            self._cursor.point_at(x, y)
            if pressure is not None:
                self._values["pressure"] = pressure
            self._seq = max(self._seq, seq)

        self._asked.put(ask)

    def set(self, values: Mapping[str, float]) -> None:
        """Parameters' plain values by key."""

        def ask() -> None:
            self._values.update(values)
            if {"x", "y"} & values.keys():
                x, y = self._cursor.target.tolist()
                self._playback = None
                self._cursor.point_at(values.get("x", x), values.get("y", y))
            self.on_change("parameters")

        self._asked.put(ask)

    def glide_cursor(self, ms: float) -> None:
        """The time constant with which X and Y follow the hand."""
        self._asked.put(lambda: setattr(self._cursor, "glide_ms", ms))

    def hold_latent(self, latent: int, value: float | None) -> None:
        """Lock a latent at a value, or where it is.

        Raises:
            InputError: the instrument has no such latent.
        """
        size = self.instrument.autoencoder.latent_size
        if latent >= size:
            raise InputError(f"there is no latent {latent + 1}: the instrument has {size}")
        self._asked.put(lambda: self.locks.hold(latent, value))

    def release_latent(self, latent: int | None = None) -> None:
        """Unlock one, or all."""
        self._asked.put(lambda: self.locks.release(latent))

    def transport(self, playing: bool | None = None, bpm: float | None = None, locate: float | None = None) -> None:
        """Start or stop the song, set its tempo, go to a beat. While a recording is made, its tempo stays."""

        def ask() -> None:
            if playing is not None:
                self._playing = playing
            if bpm is not None and self._recording is None:
                self._bpm = bpm
                if self._link is not None:
                    self._link.set_tempo(bpm)
            if locate is not None and self._recording is None:
                self._beat, self._seconds = locate, locate * 60 / self._bpm
            self.on_change("transport")

        self._asked.put(ask)

    def loop(self, slot: int, action: str) -> None:
        """Have a looper do something. It goes by way of the loop parameters, so that a recording has it too.

        Raises:
            InputError: there is no such slot.
        """
        if slot > len(self._chain.voices):
            raise InputError(f"there is no loop {slot}: the instrument has {len(self._chain.voices)}")
        number = 1 + list(Action).index(Action(action))

        def ask() -> None:
            self._steps.append({"loop_slot": slot, "loop_action": number})
            self._steps.append({"loop_action": 0})

        self._asked.put(ask)

    def record(self, on: bool) -> None:
        """Begin or end a recording. It begins at beat 0, with the engine as if freshly made: a render is the same."""
        self._asked.put(self._begin_recording if on else self._end_recording)

    def play_trajectory(self, id: int, way: Way) -> None:
        """Play a trajectory, or go on with it in another way.

        Raises:
            InputError: there is none of that number.
        """
        trajectory = self.trajectory(id)

        def ask() -> None:
            now = self._playback
            if now is not None and now.trajectory is trajectory and not now.ended(self._now, self._beat):
                now.change(way, self._now, self._beat)
            else:
                self._playback = Playback(trajectory, way, self._now, self._beat)
            self.on_change("playback")

        self._asked.put(ask)

    def stop_trajectory(self) -> None:
        """The hand stays where it is."""

        def ask() -> None:
            self._playback = None
            self.on_change("playback")

        self._asked.put(ask)

    def trajectory(self, id: int) -> Trajectory:
        """Raises InputError if there is none of that number."""
        if id not in self.trajectories:
            raise InputError("there is no such trajectory any more")
        return self.trajectories[id]

    def keep_gestures(self, keeper: GestureKeeper) -> None:
        """Keep recordings from now on, and bring back what earlier sessions left."""
        for gesture in keeper.read(lambda: next(self.ids)):
            self.gestures[gesture.id] = gesture
        numbers = [re.match(r"Gesture (\d{1,9})\b", gesture.name) for gesture in self.gestures.values()]
        self._gesture_count = itertools.count(1 + max((int(found[1]) for found in numbers if found), default=0))
        self.keeper = keeper

    def gesture(self, id: int) -> Gesture:
        """Raises InputError if there is none of that number."""
        if id not in self.gestures:
            raise InputError("there is no such gesture any more")
        return self.gestures[id]

    def reference(self, instrument: Instrument | InstrumentReference | None) -> InstrumentReference | None:
        """What a project says of an instrument (or said, when a gesture was kept); None for the built-in one. One that
        was never saved goes into the project as it is now.

        Raises:
            InputError: it is too large for that.
        """
        if not isinstance(instrument, Instrument):
            return instrument
        if instrument in self.files:
            path = self.files[instrument]
            return InstrumentReference.of(path) if path is not None else None
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "unsaved.terrain"
            instrument.save(place)
            reference = InstrumentReference.of(place)
        if not reference.embedded:
            raise InputError("the instrument is too large to go into a project: save it first")
        return reference

    @property
    def path(self) -> Path | None:
        """The file of the instrument that plays; None if it is built in, or was never saved."""
        return self.files.get(self.instrument)

    @property
    def name(self) -> str:
        """What a musician calls the instrument that plays."""
        path = self.path
        return path.stem if path is not None else "built-in" if self.instrument in self.files else "unsaved"

    def state(self) -> dict[str, Any]:
        """All that a page must know at its beginning."""
        engine, chain = self._engine, self._chain
        autoencoder = self.instrument.autoencoder
        playback = self._playback
        return {
            "instrument": self.name,
            "latents": autoencoder.latent_size,
            "latent_mean": autoencoder.latent_mean.astype(float).tolist(),
            "latent_std": autoencoder.latent_std.astype(float).tolist(),
            "frame_rate": autoencoder.sample_rate / autoencoder.hop,
            "sample_rate": self.sample_rate,
            "channels": autoencoder.channels,
            "latency_ms": 1000 * engine.latency / self.sample_rate,
            "parameters": engine.parameters | self._values,
            "presets": list(self.instrument.presets),
            "loops": list(chain.voices),
            "transport": {"playing": self._playing, "bpm": self._bpm},
            "cursor_glide": self._cursor.glide_ms,
            "recording": self._recording is not None,
            "playback": playback.trajectory.id if playback else None,
            "gestures": [gesture.as_json() for gesture in list(self.gestures.values())],
            "trajectories": [trajectory.as_json() for trajectory in list(self.trajectories.values())],
        }

    # --- the player's thread --------------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        """Seconds of sound so far."""
        return self._made / self.sample_rate

    def _run(self) -> None:
        while self._running.is_set():
            if not self._pace.wait(self._made):
                self.late_blocks += 1
            try:
                audio = self._block()
            except Exception:
                log.exception("a block could not be played")
                audio = np.zeros((1, BLOCK), np.float32)
                self._made += BLOCK
            self._pace.take(audio)
            self.on_audio(audio)

    def _block(self) -> Audio:
        while True:
            try:
                self._asked.get_nowait()()
            except queue.Empty:
                break
        if self._link is not None and self._recording is None:
            self._follow(self._link.transport(ahead=AHEAD_S))
        transport = Transport(
            self._playing, self._beat, self._bpm, self._seconds, self._beat // METER[0] * METER[0], METER
        )
        values = self._moved()
        points = [ParameterPoint(by_key(key).id, 0, value) for key, value in values.items()]
        block = Block(BLOCK, points, transport=transport)
        audio = self._engine.process(block)
        frames = self._probe.take()
        if frames and self._steps:
            self._values.update(self._steps.popleft())
        self._keep(frames, audio)
        out = self._faded(audio, block)
        self._shown.hear(out)
        self._made += BLOCK
        if self._playing:
            self._beat += BLOCK / self.sample_rate * self._bpm / 60
            self._seconds += BLOCK / self.sample_rate
        for frame in frames:
            self._tell(frame)
        return out

    def _follow(self, session: Transport) -> None:
        """Take on the Link session's tempo, and its beat: at once where it is elsewhere, little by little otherwise,
        since blocks are not made on the dot.
        """
        beat, bpm = session.beat, session.bpm
        if beat is None or bpm is None:
            return
        self._bpm = bpm
        apart = beat - self._beat
        self._beat += apart if abs(apart) > LINK_JUMP else LINK_PULL * apart

    def _moved(self) -> dict[str, float]:
        """The parameters' new values at this block's first sample."""
        values, self._values = self._values, {}
        playback = self._playback
        if playback is not None:
            self._cursor.point_at(*playback.at(self._now, self._beat))
            if playback.ended(self._now, self._beat):
                self._playback = None
                self.on_change("playback")
        values["x"], values["y"] = self._cursor.go_on(BLOCK / self.sample_rate)
        return values

    def _faded(self, audio: Audio, block: Block) -> Audio:
        """The new engine's sound, after an old one's; a step of the stream (a recording's beginning) rounded off."""
        out = audio
        if self._fading is not None:
            old = self._fading.process(block)
            self._fading = None
            out = audio.copy()
            ramp = np.linspace(0, 1, FADE, dtype=np.float32)
            channels = min(len(old), len(out))
            out[:channels, :FADE] = old[:channels, :FADE] * (1 - ramp) + out[:channels, :FADE] * ramp
        if self._clean is not None:  # the last sample before the stream began anew
            out = out.copy()
            out[:, :FADE] += self._clean * np.linspace(1, 0, FADE, dtype=np.float32)
            self._clean = None
        return out

    def _begin_recording(self) -> None:
        if self._recording is not None:
            return
        self._beat = self._seconds = 0.0
        self._playing = True
        if self._playback is not None:
            self._playback = Playback(self._playback.trajectory, self._playback.way, self._now, 0.0)
        self._clean = self._shown.heard[-1:].copy()
        self._engine.reset()
        self._probe.take()
        loops = b"" if self._chain.untouched else self._chain.to_bytes()
        self._recording = _Recording(f"Gesture {next(self._gesture_count)}", self._bpm, loops, self._engine.latency)
        if self.keeper is not None:
            channels = self.instrument.autoencoder.channels
            begun = Begun(
                self._recording.name,
                self.instrument,
                self._bpm,
                self.sample_rate,
                channels,
                self._engine.latency,
                loops,
            )
            self.keeper.begin(begun)
        self.on_change("recording")

    def _keep(self, frames: list[Played], audio: Audio) -> None:
        recording = self._recording
        if recording is None:
            return
        recording.frames += frames
        recording.audio.append(audio)
        recording.samples += audio.shape[1]
        if self.keeper is not None:
            self.keeper.add(frames, audio)
        if recording.samples > LONGEST_RECORDING_S * self.sample_rate:
            self._end_recording()

    def _end_recording(self) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        if not recording.frames:
            if self.keeper is not None:
                self.keeper.end(None)
            return
        audio = np.concatenate(recording.audio, axis=1)[:, recording.latency :]
        id = next(self.ids)
        if self.keeper is not None:
            self.keeper.end(id)
        self.gestures[id] = Gesture.of(
            id,
            recording.name,
            self.instrument,
            recording.bpm,
            recording.frames,
            audio,
            self.sample_rate,
            recording.loops,
        )
        self.on_change("gestures")

    # --- what pages see -------------------------------------------------------------------------------------------

    def _tell(self, played: Played) -> None:
        frame = self._shown.frame(played, self._chain) | {"seq": self._seq, "held": list(self.locks.held)}
        if "peak" in frame:
            frame["late"] = self.late_blocks
            if self._recording is not None:
                frame["recorded"] = round(self._recording.samples / self.sample_rate, 2)
        self.on_frame(frame)
