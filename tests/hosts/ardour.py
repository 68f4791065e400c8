"""Debian's Ardour, run headless in a home of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from terrain_core.lanes import Lane
from terrain_core.tempo import TempoMap

LIBRARIES = Path("/usr/lib/ardour7")
SUPERCLOCKS_PER_SECOND = 282_240_000
PATIENCE_S = 60
TICKS_PER_BEAT = 1920
BLOCK = 1024
BEFORE_START = 768
"""Samples that Ardour 7.3 rolls before a range begins: from there the plugin hears the transport play."""


@dataclass(frozen=True)
class Ardour:
    """An Ardour with its own settings, plugins and caches, all under `home`."""

    home: Path

    def install_vst3(self, bundle: Path) -> None:
        """Put a VST3 bundle where this Ardour looks, and have it scanned."""
        place = self.home / ".vst3" / bundle.name
        shutil.copytree(bundle, place)
        for path in (place, *place.rglob("*")):
            # Its cache keeps whole seconds: a bundle with a fraction more counts as newer and is left out.
            os.utime(path, (1_700_000_000, 1_700_000_000))
        (self.home / ".cache/ardour7/vst").mkdir(parents=True, exist_ok=True)
        self._run(LIBRARIES / "ardour-vst3-scanner", "-f", place)

    def lua(self, script: str) -> str:
        """Run a script in its Lua interpreter; returns what it printed.

        Raises:
            AssertionError: the script ends with an error.
        """
        file = self.home / "script.lua"
        file.write_text(script)
        printed = self._run("ardour7-lua", file)
        assert "Error:" not in printed, printed
        return printed

    def export(self, session: Path, name: str, out: Path) -> str:
        """Render a session's range to a float WAV; returns what it printed.

        On a busy machine an export has been seen to stand still, once in dozens, for a reason that was not found: it is
        tried once more then.
        """
        command = ("ardour7-export", "-b", "float", "-o", out, session, name)
        try:
            printed = self._run(*command)
        except subprocess.TimeoutExpired:
            printed = self._run(*command)
        assert out.is_file(), printed
        return printed

    def _run(self, *command: str | Path) -> str:
        environment = {
            **os.environ,
            "HOME": str(self.home),
            "LD_LIBRARY_PATH": str(LIBRARIES),
            "LATENT_TERRAIN_PYTHON": sys.executable,
            "XDG_STATE_HOME": str(self.home / "state"),
        }
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
            environment.pop(name, None)
        ran = subprocess.run(
            [str(part) for part in command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return ran.stdout


def blocks_of(position: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first sample and the length of the blocks that an export plays samples in. The way up to the range's start
    takes the rest of a block; then there are whole ones.
    """
    first = BLOCK - BEFORE_START
    later = first + (position - first) // BLOCK * BLOCK
    start = np.where(position < 0, -BEFORE_START, np.where(position < first, 0, later))
    return start, np.where(position < 0, BEFORE_START, np.where(position < first, first, BLOCK))


class ArdoursBeats:
    """A tempo map as Ardour tells it to plugins: the beat at each block's beginning, rounded to a tick."""

    def __init__(self, tempo_map: TempoMap, rate: int) -> None:
        self._map, self._rate = tempo_map, rate

    def __getattr__(self, name: str) -> object:
        return getattr(self._map, name)

    def beats_at(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        position = np.rint(np.asarray(seconds) * self._rate)
        start, _ = blocks_of(position)
        ticks = np.rint(self._map.beats_at(start / self._rate) * TICKS_PER_BEAT)
        along = (position - start) / self._rate * self._map.bpm_at_seconds(start / self._rate) / 60
        beats: NDArray[np.float64] = ticks / TICKS_PER_BEAT + along
        return beats


@dataclass(frozen=True)
class ByArdour:
    """A lane as Ardour plays it to a VST3: read at the edges of its blocks, each rounded to a tick and to float32, and
    joined by a straight line from a block's first sample to its last.

    `times`: the song's, where beats are asked for by another map.
    `low` and `high`: the parameter's range; the rounding to float32 is that of its plain value.
    """

    lane: Lane
    rate: int
    low: float = 0.0
    high: float = 1.0
    times: TempoMap | None = None

    def values_at(self, seconds: NDArray[np.float64], tempo_map: TempoMap) -> NDArray[np.float64]:
        position = np.rint(seconds * self.rate)
        start, samples = blocks_of(position)
        tempo_map = self.times or tempo_map
        begin, end = self._edge(start, tempo_map), self._edge(start + samples, tempo_map)
        return begin + (end - begin) * (position - start) / (samples - 1)

    def _edge(self, position: NDArray[np.float64], tempo_map: TempoMap) -> NDArray[np.float64]:
        beats = tempo_map.beats_at(np.maximum(position, 0) / self.rate)
        values: NDArray[np.float64] = self.lane.sample(np.rint(beats * TICKS_PER_BEAT) / TICKS_PER_BEAT)
        return (self.low + values * (self.high - self.low)).astype(np.float32).astype(np.float64)


def set_session_range(session_file: Path, seconds: float) -> None:
    """Give a session the range that an export renders: from its start to `seconds`."""
    end = round(seconds * SUPERCLOCKS_PER_SECOND)
    flags = 'flags="IsSessionRange" locked="0" timestamp="1"'
    location = f'<Location id="999999" name="session" start="a0" end="a{end}" {flags}/>'
    text = session_file.read_text()
    changed = re.sub(r"<Locations/>", f"<Locations>{location}</Locations>", text, count=1)
    assert changed != text, "the session has locations already"
    session_file.write_text(changed)
