"""The workshop's other half, a process of its own: it encodes and trains, so that the player never waits for it.

It talks in plain tuples over a pipe. What it is told: ("encode", [(id, path), …]), ("cancel",), ("fit", settings,
weights, coordinates, latents, options), ("continue", options), ("stop",), ("end",). What it says is in `Workshop`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import threadpoolctl
from numpy.typing import NDArray

from terrain_core import autoencoders
from terrain_core.errors import TerrainError
from terrain_core.pictures import View, sample_terrain
from terrain_core.terrain import Terrain
from terrain_core.terrain.fit import FitProgress, FitSettings, FitState, fit
from terrain_core.trajectories import encode_file

PICTURE_S: Final = 0.3
"""While it trains, weights and picture go out this often."""

PICTURE: Final = 72
"""Pixels a side of those pictures."""

SHOWN_LATENTS: Final = 8
"""How many latents a page can look at."""


def run(pipe: Connection, autoencoder_name: str) -> None:
    """The process: until the pipe closes."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(10)  # the sound goes first
    threadpoolctl.threadpool_limits(1, "blas")
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        _Process(pipe, autoencoder_name).run()


class _Process:
    def __init__(self, pipe: Connection, autoencoder_name: str) -> None:
        self._pipe = pipe
        self._name = autoencoder_name
        self._todo: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._terrain: Terrain | None = None
        self._pairs: tuple[NDArray[Any], NDArray[Any]] | None = None
        self._state: FitState | None = None
        self._shown = 0.0

    def run(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        while (order := self._todo.get())[0] != "end":
            self._stop.clear()
            try:
                getattr(self, f"_{order[0]}")(*order[1:])
            except TerrainError as error:
                self._pipe.send(("failed", str(error)))
            except Exception as error:
                self._pipe.send(("failed", f"{type(error).__name__}: {error}"))

    def _listen(self) -> None:
        try:
            while True:
                order = self._pipe.recv()
                if order[0] in ("cancel", "stop"):
                    self._stop.set()
                else:
                    self._todo.put(order)
        except (EOFError, OSError):
            self._stop.set()
            self._todo.put(("end",))

    def _encode(self, files: list[tuple[int, str]]) -> None:
        autoencoder = autoencoders.load(self._name)
        for done, (id, path) in enumerate(files):
            if self._stop.is_set():
                break
            self._pipe.send(("encoding", done, len(files), Path(path).name))
            try:
                trajectory = encode_file(path, autoencoder)
                self._pipe.send(("encoded", id, trajectory.latents, trajectory.frame_rate))
            except TerrainError as error:
                self._pipe.send(("unusable", id, str(error).removeprefix(f"{path}: ")))
        self._pipe.send(("encoding done", self._stop.is_set()))

    def _fit(
        self,
        settings: dict[str, Any],
        weights: dict[str, Any],
        coordinates: NDArray[Any],
        latents: NDArray[Any],
        options: dict[str, Any],
    ) -> None:
        self._terrain = Terrain.from_arrays(settings, weights)
        self._pairs, self._state = (coordinates, latents), None
        self._continue(options)

    def _continue(self, options: dict[str, Any]) -> None:
        if self._terrain is None or self._pairs is None:
            self._pipe.send(("failed", "nothing was trained yet"))
            return
        report = fit(
            self._terrain,
            *self._pairs,
            FitSettings(epochs=options["epochs"], learning_rate=options["rate"], threads=1, seed=options["seed"]),
            callback=self._note,
            stop=self._stop,
            state=self._state,
        )
        self._state = report.state
        self._show()
        self._pipe.send(("trained", report.epochs, report.loss, report.psnr, report.seconds, report.stopped))

    def _note(self, progress: FitProgress) -> None:
        now = time.perf_counter()
        if now - self._shown < PICTURE_S:
            return
        self._shown = now
        self._pipe.send(("epoch", progress.epoch, progress.epochs, progress.loss, progress.psnr))
        self._show()

    def _show(self) -> None:
        assert self._terrain is not None
        latents = sample_terrain(self._terrain, View.whole(self._terrain), (PICTURE, PICTURE))[:, :, :SHOWN_LATENTS]
        self._pipe.send(("grown", dict(self._terrain.weights), latents))
