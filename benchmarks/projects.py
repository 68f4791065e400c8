"""Reading and writing DAW projects: a lane of 100,000 points, and 1,000 lanes of 100; beside a bare parse of the same
file by the library underneath (for REAPER, where none is used, splitting the text into lines and words). Each
measurement is a process of its own, whose peak of memory is its own.

Also lanes rendered a second: how fast sampled lanes of a project are at the engine's frame rate.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import mido
import numpy as np
from lxml import etree

from benchmarks._numbers import note
from terrain_core.lanes import Lane
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import PluginInstance, Project, read, write

MANY_POINTS = 100_000
MANY_LANES, POINTS_EACH = 1000, 100
FILES = {
    "reaper": "song.rpp",
    "ardour": "song/song.ardour",
    "dawproject": "song.dawproject",
    "live": "song.als",
    "midi": "song.mid",
}
KEYS = ("x", "y", "pressure", "z")
FRAME_RATE = 44100 / 1024
TEMPO = TempoMap([TempoPoint(0, 90), TempoPoint(64, 120)], [Meter(0, 4, 4)])


def one_long_lane() -> Project:
    beats = np.arange(MANY_POINTS) / 48
    lane = Lane(beats, 0.5 + 0.5 * np.sin(beats), name="X", key="x")
    return Project("new", Path("song"), lanes=[lane], tempo_map=TEMPO, instances=[PluginInstance("T", lanes=[lane])])


def many_lanes() -> Project:
    """Four lanes on each of many tracks with the plugin on it (MIDI has controllers for three of them)."""
    rng = np.random.default_rng(1)
    beats = np.arange(POINTS_EACH) / 4
    instances = []
    for number in range(MANY_LANES // len(KEYS)):
        lanes = [Lane(beats, rng.random(POINTS_EACH), name=key, key=key) for key in KEYS]
        instances.append(PluginInstance(f"Track {number}", lanes=lanes))
    every = [lane for instance in instances for lane in instance.lanes]
    return Project("new", Path("song"), lanes=every, tempo_map=TEMPO, instances=instances)


def bare_parse(format: str, path: Path) -> Any:
    """What the library underneath needs to take the file apart, with nothing understood."""
    data = path.read_bytes()
    if format == "reaper":
        return [line.split() for line in data.decode().splitlines()]
    if format == "midi":
        return mido.MidiFile(file=io.BytesIO(data))
    if format == "dawproject":
        with zipfile.ZipFile(path) as archive:
            return etree.fromstring(archive.read("project.xml"))
    return etree.fromstring(gzip.decompress(data) if format == "live" else data, etree.XMLParser(huge_tree=True))


def peak_memory() -> float:
    """MiB that this process has held at most. (getrusage would begin with what the parent held.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(what: str, format: str, path: Path) -> None:
    """In a process of its own: print seconds, MiB beyond what the imports took, and how many lanes there are."""
    before = peak_memory()
    began = time.perf_counter()
    found = read(path) if what == "read" else bare_parse(format, path)
    taken = time.perf_counter() - began
    print(taken, peak_memory() - before, len(found.lanes) if isinstance(found, Project) else 0)


def measured(what: str, format: str, path: Path) -> tuple[float, float, int]:
    """The fastest of three: seconds, MiB, lanes."""
    command = [sys.executable, "-m", "benchmarks.projects", what, format, str(path)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(3)]
    return min((float(run[0]), float(run[1]), int(run[2])) for run in runs)


def report(title: str, project: Project, folder: Path) -> None:
    print(title)
    for format, name in FILES.items():
        path = folder / name
        began = time.perf_counter()
        write(project, path)
        wrote = time.perf_counter() - began
        floor, floor_memory, _ = measured("parse", format, path)
        taken, memory, lanes = measured("read", format, path)
        size = path.stat().st_size / 2**20
        note(f"{format}: read, {title}", taken, floor, "s", "a bare parse")
        print(
            f"  {format:11} {size:6.2f} MiB, {lanes} lanes: read {taken:6.3f} s, {taken / floor:5.2f} x a bare parse "
            f"({floor:.3f} s); memory {memory:4.0f} MiB ({floor_memory:.0f}); written in {wrote:.2f} s"
        )


def lanes_a_second(project: Project) -> None:
    seconds = np.arange(0, 60, 1 / FRAME_RATE)
    began = time.perf_counter()
    for lane in project.lanes:
        lane.values_at(seconds, project.tempo_map)
    taken = time.perf_counter() - began
    rate = len(project.lanes) / taken
    print(f"a minute of {len(project.lanes)} lanes at {FRAME_RATE:.0f} frames a second: {rate:,.0f} lanes/s")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        report(f"one lane of {MANY_POINTS:,} points", one_long_lane(), Path(name))
        many = many_lanes()
        report(f"{MANY_LANES:,} lanes of {POINTS_EACH} points, four to a plugin and a track", many, Path(name))
        lanes_a_second(many)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    else:
        main()
