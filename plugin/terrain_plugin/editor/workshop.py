"""From sounds that were dropped in to an instrument, step by step and in sight: encode, lay out, draw, train, save."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from terrain_core.autoencoders.protocol import Autoencoder, Latents
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.layouts import CYCLES_PER_POINT, SQUARE, layout
from terrain_core.sound_map import SoundMap
from terrain_core.terrain import Terrain
from terrain_core.trajectories import LatentTrajectory, arc_lengths, bezier, freehand, polyline
from terrain_plugin.editor import workshop_process

MOST_STEPS: Final = 200
"""That can be undone."""

SHOWN_POINTS: Final = 512
"""Of a path that is sent to a page."""

BOUNDS: Final = np.array(SQUARE)
CURVE: Final = 2000
"""Points of the loss curve that are kept."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """A sound's path.

    Attributes:
        points: shape (frames, 2), in the unit square.
        controls: shape (3 · segments + 1, 2), what it was drawn by if that is a Bézier curve: see `bezier`.
    """

    points: Points
    controls: Points | None = None


Paths = dict[int, Drawn]


@dataclass(frozen=True)
class Sound:
    """A file of the library in the workshop.

    Attributes:
        name: of the file, without its ending.
        latents: shape (frames, D); None until it is encoded.
        problem: why it cannot be used; "" if it can.
    """

    id: int
    name: str
    path: Path
    latents: Latents | None = None
    frame_rate: float | None = None
    problem: str = ""


class Workshop:
    """What is being built. Paths are in the unit square; one history for all pages. Thread-safe.

    Listeners are called on the workshop's own thread.
    """

    def __init__(self, autoencoder: Autoencoder, name: str, *, seed: int = 0) -> None:
        """
        Args:
            autoencoder: that instruments are built for.
            name: by which `autoencoders.load` finds it in another process.
        """
        self.on_change: Callable[[], None] = lambda: None
        self.on_picture: Callable[[NDArray[np.float32]], None] = lambda latents: None
        self.on_problem: Callable[[str], None] = lambda problem: None
        self.instrument: Instrument | None = None
        self._autoencoder, self._name, self._seed = autoencoder, name, seed
        self._lock = threading.RLock()
        self._ids = itertools.count(1)
        self._sounds: dict[int, Sound] = {}
        self._paths: Paths = {}
        self._past: list[Paths] = []
        self._future: list[Paths] = []
        self._stage = "idle"
        self._progress: tuple[float, float, str] = (0, 0, "")
        self._curve: list[tuple[int, float, float]] = []
        self._report: dict[str, Any] = {}
        self._pipe: Any = None
        self._process: Any = None

    # --- sounds ---------------------------------------------------------------------------------------------------

    def add(self, path: Path) -> int:
        """A file of the library; gives its number."""
        with self._lock:
            id = next(self._ids)
            self._sounds[id] = Sound(id, path.stem, path)
        self.on_change()
        return id

    def remove(self, id: int) -> None:
        """Take a sound out of the workshop; its file stays in the library."""
        with self._lock:
            self._sound(id)
            if id in self._paths:
                self._remember()
                del self._paths[id]
            del self._sounds[id]
        self.on_change()

    def encode(self) -> None:
        """Encode what was not encoded yet."""
        with self._lock:
            self._require_rest()
            waiting = [(s.id, str(s.path)) for s in self._sounds.values() if s.latents is None and not s.problem]
            if not waiting:
                raise InputError("every sound is encoded already: drop some more in")
            self._stage, self._progress = "encoding", (0, len(waiting), "")
            self._tell(("encode", waiting))
        self.on_change()

    def cancel(self) -> None:
        """Stop what is going on: encoding after the present file, training within a step."""
        with self._lock:
            if self._stage in ("encoding", "training"):
                self._tell(("stop",))

    # --- paths ----------------------------------------------------------------------------------------------------

    def lay_out(self, method: str) -> None:
        """A place for every encoded sound: "map" (similar ones near each other) or "packed".

        Raises:
            InputError: nothing is encoded.
        """
        with self._lock:
            sounds = [s for s in self._sounds.values() if s.latents is not None]
            if not sounds:
                raise InputError("no sound is encoded yet")
            trajectories = [LatentTrajectory(s.name, s.latents, s.frame_rate) for s in sounds if s.latents is not None]
            places = layout("map" if method == "map" else "packed", trajectories, seed=self._seed)
            low, high = places.bounds.T
            self._remember()
            self._paths = {
                sound.id: Drawn((path.points - low) / (high - low))
                for sound, path in zip(sounds, places.trajectories, strict=True)
            }
        self.on_change()

    def draw(self, id: int, points: list[tuple[float, float]], *, by_hand: bool) -> None:
        """A sound's path anew: the corners of a polyline, or as a hand drew it."""
        with self._lock:
            sound, count = self._drawable(id)
            corners = np.array(points, np.float64)
            if len(corners) == 1 or not arc_lengths(corners)[-1]:
                path = np.repeat(corners[:1], count, axis=0)
            else:
                path = (freehand if by_hand else polyline)(sound.name, corners, points=count).points
            self._remember()
            self._paths = {**self._paths, id: Drawn(np.clip(path, 0, 1))}
        self.on_change()

    def draw_curve(self, id: int, controls: list[tuple[float, float]]) -> None:
        """A sound's path anew, as a Bézier curve: anchor, handle, handle, anchor, … It ends at the square's edge."""
        with self._lock:
            sound, count = self._drawable(id)
            points = np.array(controls, np.float64)
            path = bezier(sound.name, points, points=count).points
            self._remember()
            self._paths = {**self._paths, id: Drawn(np.clip(path, 0, 1), points)}
        self.on_change()

    def _drawable(self, id: int) -> tuple[Sound, int]:
        """A sound that can have a path, and of how many points."""
        sound = self._sound(id)
        if sound.latents is None:
            raise InputError(f"{sound.name} is not encoded yet")
        return sound, len(sound.latents)

    def move(self, id: int, dx: float, dy: float) -> None:
        """Move a whole path, as far as the square goes."""
        with self._lock:
            path = self._path(id)
            shift = np.clip([dx, dy], -path.points.min(axis=0), 1 - path.points.max(axis=0))
            controls = None if path.controls is None else path.controls + shift
            self._remember()
            self._paths = {**self._paths, id: Drawn(path.points + shift, controls)}
        self.on_change()

    def remove_path(self, id: int) -> None:
        """A sound without a path is not trained."""
        with self._lock:
            self._path(id)
            self._remember()
            self._paths = {other: path for other, path in self._paths.items() if other != id}
        self.on_change()

    def undo(self) -> None:
        """Take the last change of the paths back."""
        self._step(self._past, self._future, "there is nothing to undo")

    def redo(self) -> None:
        """Make it again."""
        self._step(self._future, self._past, "there is nothing to redo")

    def _step(self, source: list[Paths], target: list[Paths], problem: str) -> None:
        with self._lock:
            if not source:
                raise InputError(problem)
            target.append(self._paths)
            self._paths = {id: path for id, path in source.pop().items() if id in self._sounds}
        self.on_change()

    def _remember(self) -> None:
        self._past = [*self._past[-MOST_STEPS:], dict(self._paths)]
        self._future.clear()

    # --- training -------------------------------------------------------------------------------------------------

    def train(self, *, epochs: int, rate: float, width: int, fresh: bool) -> Instrument | None:
        """Begin to train, or go on with the terrain that is there.

        Returns:
            The instrument whose terrain grows, where it is a fresh one; it can be played at once.
        Raises:
            InputError: no sound has a path, or something is going on already.
        """
        with self._lock:
            self._require_rest()
            options = {"epochs": epochs, "rate": rate, "seed": self._seed}
            if not fresh and self.instrument is not None:
                self._tell(("continue", options))
                made = None
            else:
                made = self._begin(width, options)
            self._stage, self._progress = "training", (0, epochs, "")
        self.on_change()
        return made

    def _begin(self, width: int, options: dict[str, Any]) -> Instrument:
        chosen = [
            (sound, self._paths[sound.id].points, sound.latents)
            for sound in self._sounds.values()
            if sound.id in self._paths and sound.latents is not None
        ]
        if not chosen:
            raise InputError("no sound has a path: lay them out, or draw one")
        unit = np.concatenate([path for _, path, _ in chosen])
        latents = np.concatenate([frames for _, _, frames in chosen])
        coordinates = BOUNDS[:, 0] + unit * np.ptp(BOUNDS, axis=1)
        terrain = Terrain.create(
            2, self._autoencoder.latent_size, bounds=BOUNDS, gauss_scale=_gauss_scale(chosen), width=width
        )
        names = [sound.name for sound, _, frames in chosen for _ in range(len(frames))]
        self.instrument = Instrument(
            self._autoencoder,
            terrain,
            SoundMap(unit, latents, names),
            metadata={"layout": "drawn", "sounds": [sound.name for sound, _, _ in chosen]},
        )
        self._curve, self._report = [], {}
        self._tell(("fit", terrain.settings(), dict(terrain.arrays()), coordinates, latents, options))
        return self.instrument

    def save(self, place: Path) -> None:
        """Write the instrument.

        Raises:
            InputError: nothing was trained.
        """
        if self.instrument is None:
            raise InputError("nothing was trained yet")
        from terrain_core.notebook import instrument_png

        self.instrument.save(place, preview=instrument_png)

    # --- for the pages --------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All that a page shows."""
        with self._lock:
            done, total, what = self._progress
            return {
                "type": "build",
                "stage": self._stage,
                "done": done,
                "total": total,
                "what": what,
                "sounds": [
                    {
                        "id": sound.id,
                        "name": sound.name,
                        "frames": 0 if sound.latents is None else len(sound.latents),
                        "problem": sound.problem,
                        **_shown(self._paths.get(sound.id)),
                    }
                    for sound in self._sounds.values()
                ],
                "undo": len(self._past),
                "redo": len(self._future),
                "curve": self._curve[-CURVE:],
                "report": self._report,
                "trained": self.instrument is not None,
            }

    # --- the other process ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the process."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            self._pipe.close()
        process.join(1)
        if process.is_alive():
            process.kill()
            process.join(5)

    def _tell(self, order: tuple[Any, ...]) -> None:
        if self._process is None or not self._process.is_alive():
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(
                target=workshop_process.run, args=(theirs, self._name), name="terrain workshop", daemon=True
            )
            self._process.start()
            theirs.close()
            threading.Thread(target=self._listen, args=(self._pipe,), name="terrain workshop", daemon=True).start()
        self._pipe.send(order)

    def _listen(self, pipe: Any) -> None:
        try:
            while True:
                self._hear(pipe.recv())
        except (EOFError, OSError):
            with self._lock:
                ended = self._process is not None and self._pipe is pipe
                if ended:  # the pipe's end comes before the process counts as dead
                    self._process = None
                self._stage = "idle"
            if ended:
                self.on_problem("the workshop's process ended; what was trained so far is kept")
                self.on_change()

    def _hear(self, said: tuple[Any, ...]) -> None:
        kind, *rest = said
        with self._lock:
            if kind == "encoding":
                self._progress = (rest[0], rest[1], rest[2])
            elif kind == "encoded":
                self._update(rest[0], latents=rest[1], frame_rate=rest[2])
            elif kind == "unusable":
                self._update(rest[0], problem=rest[1])
            elif kind == "encoding done":
                self._stage = "idle"
            elif kind == "epoch":
                epoch, epochs, loss, psnr = rest
                self._progress = (epoch, epochs, "")
                self._curve.append((epoch, loss, psnr))
            elif kind == "grown":
                if self.instrument is not None and self.instrument.terrain is not None:
                    self.instrument.terrain.replace_weights(rest[0])
            elif kind == "trained":
                self._stage = "idle"
                keys = ("epochs", "loss", "psnr", "seconds", "stopped")
                self._report = dict(zip(keys, rest, strict=True))
                self._curve.append((rest[0], rest[1], rest[2]))
            elif kind == "failed":
                self._stage = "idle"
        if kind == "grown":
            self.on_picture(rest[1])
            return
        if kind == "failed":
            self.on_problem(rest[0])
        if kind == "encoding done" and not rest[0] and not self._paths:
            self.lay_out("map")
        self.on_change()

    def _update(self, id: int, **changes: Any) -> None:
        if id in self._sounds:  # it may have been removed meanwhile
            self._sounds[id] = replace(self._sounds[id], **changes)

    def _sound(self, id: int) -> Sound:
        if id not in self._sounds:
            raise InputError("there is no such sound any more")
        return self._sounds[id]

    def _path(self, id: int) -> Drawn:
        if id not in self._paths:
            raise InputError(f"{self._sound(id).name} has no path")
        return self._paths[id]

    def _require_rest(self) -> None:
        if self._stage != "idle":
            raise InputError(f"wait for the {self._stage}, or stop it")


def _gauss_scale(chosen: list[tuple[Sound, Points, Latents]]) -> float:
    """What suits the paths' points, by the layouts' own rule; clamped, since a hand may draw points on top of each
    other.
    """
    steps = [np.diff(arc_lengths(path * np.ptp(BOUNDS, axis=1))) for _, path, _ in chosen if len(path) > 1]
    spacing = float(np.median(np.concatenate(steps))) if steps else 1.0
    return min(max(CYCLES_PER_POINT / max(spacing, 1e-6), 0.02), 2.0)


def _shown(path: Drawn | None) -> dict[str, Any]:
    """A path as a page draws it: not more points than it can show, and its handles if it has some."""
    if path is None:
        return {"path": None, "controls": None}
    rows = path.points[:: max(1, len(path.points) // SHOWN_POINTS)]
    controls = None if path.controls is None else np.round(path.controls, 5).tolist()
    return {"path": np.round(rows, 4).tolist(), "controls": controls}
