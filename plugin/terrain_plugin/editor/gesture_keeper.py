"""Recordings on the disk, written as they are made: a server that ends, or is killed, loses none.

A folder for each, in the library's folder `gestures`:

=============  ====================================================================================================
head.json      name, tempo, rate, channels, latency, the parameters in their order; whether it was ended by a hand
state.bin      a plugin state: the instrument, and what the loopers remembered
frames.f64     a row for each latent frame: its beat, then every parameter's plain value
audio.f32      the engine's samples, channel beside channel
=============  ====================================================================================================

What stands there when it is cut short in the middle of a row is read up to the row before.
"""

from __future__ import annotations

import json
import logging
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from terrain_core.errors import TerrainError
from terrain_core.instrument import Instrument
from terrain_core.parameters import DEFAULTS, PARAMETERS
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.safe_write import replacing
from terrain_plugin.editor.gestures import Gesture
from terrain_plugin.shown import Audio, Played

log = logging.getLogger(__name__)

MOST_KEPT: Final = 64
"""Recordings in a library."""

HEAD, STATE, FRAMES, AUDIO = "head.json", "state.bin", "frames.f64", "audio.f32"
CUT_SHORT: Final = " (cut short)"


@dataclass(frozen=True)
class Begun:
    """What is known when a recording begins."""

    name: str
    instrument: Instrument
    bpm: float
    sample_rate: float
    channels: int
    latency: int
    loops: bytes


class GestureKeeper:
    """One library's recordings. `begin`, `add` and `end` never wait for the disk: a thread of its own writes."""

    def __init__(self, folder: Path, reference: Callable[[Instrument], InstrumentReference | None]) -> None:
        """
        Args:
            folder: made if it is not there.
            reference: what a project says of an instrument; see `Session.reference`.
        """
        self._folder = folder
        self._reference = reference
        self._places: dict[int, Path] = {}  # of gestures that a page can see
        self._writing: _Writing | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="terrain gestures", daemon=True)
        self._thread.start()

    def read(self, new_id: Callable[[], int]) -> list[Gesture]:
        """What earlier sessions left, the oldest first. What cannot be read is left where it is."""
        found = []
        for place in sorted(self._folder.glob("*/")):
            try:
                gesture = _read(new_id(), place)
            except (OSError, ValueError, KeyError, TypeError, TerrainError) as error:
                log.warning("%s: no recording that can be read (%s)", place, error)
                continue
            if gesture is not None:
                self._places[gesture.id] = place
                found.append(gesture)
        return found

    @property
    def full(self) -> bool:
        """Whether there is no room for another one."""
        return len(self._places) >= MOST_KEPT

    def begin(self, begun: Begun) -> None:
        """A recording begins."""
        writing = self._writing = _Writing(self._folder, begun, self._reference)
        self._jobs.put(writing.open)

    def add(self, frames: Sequence[Played], audio: Audio) -> None:
        """It goes on."""
        writing = self._writing
        if writing is not None:
            self._jobs.put(lambda: writing.add(frames, audio))

    def end(self, id: int | None) -> None:
        """It is over, and is the gesture of this number now; None: there was nothing in it."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        if id is not None:
            self._places[id] = writing.place
            self._jobs.put(writing.end)
        else:
            self._jobs.put(writing.discard)

    def rename(self, id: int, name: str) -> None:
        """A gesture is called otherwise."""
        place = self._places.get(id)
        if place is not None:
            self._jobs.put(lambda: _write_head(place, _read_head(place) | {"name": name}))

    def delete(self, id: int) -> None:
        """A gesture is not wanted any more."""
        place = self._places.pop(id, None)
        if place is not None:
            self._jobs.put(lambda: shutil.rmtree(place, ignore_errors=True))

    def close(self) -> None:
        """Write what waits."""
        self._jobs.put(None)
        self._thread.join(30)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except (OSError, TerrainError) as error:  # a full disk: the recording itself goes on
                log.warning("a recording cannot be kept: %s", error)


class _Writing:
    """A recording in the making; all but the constructor runs on the keeper's thread."""

    def __init__(
        self, folder: Path, begun: Begun, reference: Callable[[Instrument], InstrumentReference | None]
    ) -> None:
        self.place = _new_folder(folder)
        self._begun, self._reference = begun, reference
        self._ready = False

    def open(self) -> None:
        begun = self._begun
        state = PluginState({}, self._reference(begun.instrument), begun.loops)
        with replacing(self.place / STATE) as beside:
            beside.write_bytes(state.to_bytes())
        for name in (FRAMES, AUDIO):
            (self.place / name).touch()
        head = {
            "name": begun.name,
            "bpm": begun.bpm,
            "sample_rate": begun.sample_rate,
            "channels": begun.channels,
            "latency": begun.latency,
            "parameters": [parameter.key for parameter in PARAMETERS],
            "ended": False,
        }
        _write_head(self.place, head)
        self._ready = True

    def add(self, frames: Sequence[Played], audio: Audio) -> None:
        if not self._ready:
            return
        with (self.place / AUDIO).open("ab") as file:
            file.write(np.ascontiguousarray(audio.T, np.float32).tobytes())
        if frames:
            rows = np.stack([np.append(frame.beat, frame.controls) for frame in frames])
            with (self.place / FRAMES).open("ab") as file:
                file.write(rows.astype(np.float64).tobytes())

    def end(self) -> None:
        if self._ready:
            _write_head(self.place, _read_head(self.place) | {"ended": True})

    def discard(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)


def _new_folder(folder: Path) -> Path:
    """The next number's; another server may write into the same library."""
    number = max((int(path.name) for path in folder.glob("*") if path.name.isdecimal()), default=0)
    while True:
        number += 1
        place = folder / f"{number:08}"
        try:
            place.mkdir(parents=True)
        except FileExistsError:
            continue
        return place


def _read_head(place: Path) -> dict[str, Any]:
    head = json.loads((place / HEAD).read_text("utf-8"))
    if not isinstance(head, dict):
        raise ValueError("its head is no object")
    return head


def _write_head(place: Path, head: dict[str, Any]) -> None:
    if place.is_dir():  # else it was deleted meanwhile
        with replacing(place / HEAD) as beside:
            beside.write_text(json.dumps(head), "utf-8")


def _read(id: int, place: Path) -> Gesture | None:
    """The recording in a folder; None if there is nothing in it."""
    head = _read_head(place)
    state = PluginState.from_bytes((place / STATE).read_bytes())
    keys = [str(key) for key in head["parameters"]]
    rows = np.fromfile(place / FRAMES, np.float64)
    rows = rows[: len(rows) // (1 + len(keys)) * (1 + len(keys))].reshape(-1, 1 + len(keys))
    channels, latency = int(head["channels"]), int(head["latency"])
    samples = (place / AUDIO).stat().st_size // (4 * channels)
    if not len(rows) or samples <= latency:
        return None
    audio = np.memmap(place / AUDIO, np.float32, "r", shape=(samples, channels))
    columns = {key: rows[:, 1 + n] for n, key in enumerate(keys)}
    controls = np.stack([columns.get(p.key, np.full(len(rows), DEFAULTS[p.key])) for p in PARAMETERS], axis=1)
    name = str(head["name"]) + ("" if head["ended"] else CUT_SHORT)
    return Gesture(
        id, name, state.instrument, float(head["bpm"]), rows[:, 0], controls, audio[latency:].T,
        float(head["sample_rate"]), state.loops,
    )  # fmt: skip
