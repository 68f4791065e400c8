"""A small DAW: plays plugins at a sound card's pace on a thread of its own, with automation and a transport."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np

from terrain_plugin.clap_host import ClapPlugin, ParamValue, Transport

RATE, BLOCK = 44100.0, 512


class Daw:
    """Plays as long as it is open; blocks wait for their engines, so that a busy machine loses none."""

    def __init__(self, *plugins: ClapPlugin) -> None:
        self.automation: dict[ClapPlugin, Mapping[int, float]] = {plugin: {} for plugin in plugins}
        """Plugin -> parameter id -> the plain value that is played now; a parameter that is touched is left alone."""
        self.bpm = 120.0
        self.recording = False
        self.loudest = 0.0
        self.problem: BaseException | None = None
        self._beat = 0.0
        self._lock = threading.Lock()
        self._quit = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def remove(self, plugin: ClapPlugin) -> None:
        """Play it no longer."""
        with self._lock:
            del self.automation[plugin]

    def _run(self) -> None:
        try:
            due = time.monotonic()
            while not self._quit.is_set():
                with self._lock:
                    for plugin in self.automation:
                        self._play(plugin)
                self._beat += BLOCK / RATE * self.bpm / 60
                due = max(due + BLOCK / RATE, time.monotonic() - 0.1)
                time.sleep(max(due - time.monotonic(), 0.001))
        except BaseException as error:
            self.problem = error

    def _play(self, plugin: ClapPlugin) -> None:
        values = self.automation[plugin]
        events = [ParamValue(0, id, value) for id, value in values.items() if id not in plugin.touched]
        transport = Transport(beat=self._beat, bpm=self.bpm, recording=self.recording)
        self.loudest = max(self.loudest, float(np.abs(plugin.process(BLOCK, events, transport)).max()))

    def __enter__(self) -> Self:
        for plugin in self.automation:
            plugin.activate(RATE, BLOCK)
            plugin.set_offline(True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quit.set()
        self._thread.join(60)
        if error is None and self.problem is not None:
            raise self.problem
