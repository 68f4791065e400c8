"""What the plugin costs beyond the engine: time per block, start, memory, what the audio thread does, late blocks.

Everything is measured through the built CLAP plugin in the Python host (whose own part is subtracted where it is told),
and through the VST3 in DawDreamer. `python -m benchmarks.plugin --minutes 10` plays live for longer.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks._numbers import note
from terrain_core.engine import render_batch
from terrain_core.instrument import Instrument
from terrain_core.tempo import TempoMap
from terrain_plugin import binaries
from terrain_plugin.bridge.protocol import REPLY
from terrain_plugin.bridge.shared_memory import SharedMemory
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

RATE = 44100
MIB = 2**20
LIVE_BLOCK = 128
DAWDREAMER_SECONDS = 60.0


class Observed:
    """The shared memory of the one plugin that this process has open, read from outside: what its engine took."""

    def __init__(self) -> None:
        for entry in Path("/proc/self/fd").iterdir():
            try:
                target = str(entry.readlink())
            except OSError:
                continue
            if "latent-terrain" in target:
                self._memory = SharedMemory(int(entry.name))
                return
        raise RuntimeError("no plugin is active")

    @property
    def engine_us(self) -> float:
        """What the engine took for the newest block."""
        return float(np.frombuffer(self._memory._memory, REPLY.dtype, 1, self._memory._reply_at)["spent_ns"][0]) / 1000


def engines() -> list[psutil.Process]:
    """This process's engines, the oldest first."""
    nurseries = psutil.Process().children()
    return sorted((e for nursery in nurseries for e in nursery.children()), key=lambda process: process.pid)


def time_per_block(
    plugin: ClapPlugin, block: int, blocks: int = 3000
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Microseconds in process() beyond the engine's own, and the engine's own, per live block at the pace of a sound
    card.
    """
    plugin.activate(RATE, block)
    for _ in range(100):
        plugin.process(block)
    observed = Observed()
    beyond, engine = [], []
    due = time.perf_counter()
    for _ in range(blocks):
        due += block / RATE
        time.sleep(max(due - time.perf_counter(), 0))
        began = time.perf_counter_ns()
        plugin.process(block)
        taken = (time.perf_counter_ns() - began) / 1000
        engine.append(observed.engine_us)
        beyond.append(taken - engine[-1])
    plugin.deactivate()
    return np.array(beyond), np.array(engine)


def host_only_us() -> float:
    """What the Python host itself takes for a call: of a block of no samples, for which the plugin asks no engine."""
    with ClapLibrary(binaries.clap_path()) as library, library.create() as plugin:
        plugin.activate(RATE, 512)
        times = []
        for _ in range(2000):
            began = time.perf_counter_ns()
            plugin.process(0)
            times.append(time.perf_counter_ns() - began)
        return float(np.median(times)) / 1000


def report_blocks() -> None:
    host = host_only_us()
    print(f"process() beyond the engine's own time, live, the Python host's {host:.0f} us subtracted")
    for block in (128, 512):
        with ClapLibrary(binaries.clap_path()) as library, library.create() as plugin:
            beyond, engine = time_per_block(plugin, block)
        median, worst = np.percentile(beyond - host, [50, 99.9])
        own, own_worst = np.percentile(engine, [50, 99.9])
        lasts = block / RATE * 1e6
        note(f"process() beyond the engine, {block} samples, median", median, lasts, "us", "the block's length")
        note(f"process() beyond the engine, {block} samples, 99.9 %", worst, lasts, "us", "the block's length")
        print(
            f"  block {block:4}: median {median:6.0f} us, 99.9 % {worst:6.0f} us   "
            f"(engine: {own:.0f} and {own_worst:.0f} us; a block lasts {block / RATE * 1e6:.0f} us)"
        )


def first_sound(library: ClapLibrary) -> tuple[float, ClapPlugin]:
    """Seconds from making an instance to its first audible block, live."""
    began = time.perf_counter()
    plugin = library.create()
    plugin.activate(RATE, 512)
    while np.abs(plugin.process(512)).max() < 1e-4:
        pass
    return time.perf_counter() - began, plugin


def report_instances() -> None:
    with ClapLibrary(binaries.clap_path()) as library:
        first, one = first_sound(library)
        second, two = first_sound(library)
        note("first sound of the second instance", second, first, "s", "of the first")
        print(f"first sound: first instance {first:.3f} s, second {second:.3f} s ({second / first:.2f} of it)")
        nursery = psutil.Process().children()[0]
        sizes = [process.memory_full_info() for process in (nursery, *engines())]
        names = ("nursery", "first engine", "second engine")
        for name, size in zip(names, sizes, strict=True):
            print(
                f"  {name:13}: PSS {size.pss / MIB:6.1f} MiB, RSS {size.rss / MIB:6.1f} MiB, own {size.uss / MIB:.1f}"
            )
        for plugin in (one, two):
            plugin.destroy()


def report_audio_thread() -> None:
    program = Path(binaries.clap_path()).parent / "audio_thread"
    if not program.exists() or not shutil.which("strace"):
        print("audio thread: not counted (needs `make native` and strace)")
        return
    with tempfile.TemporaryDirectory() as folder:
        calls = Path(folder) / "calls"
        command = ["strace", "-f", "-o", str(calls), str(program), "1000", "512"]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        counts = json.loads(ran.stdout)
        lines = [line.split(maxsplit=1) for line in calls.read_text().splitlines()]
    thread = lines[0][0]  # the program's own, which began
    own = [call.partition("(")[0] for tid, call in lines if tid == thread and call[0].isalpha()]
    first = own.index("getppid")
    between = Counter(own[first + 1 : own.index("getppid", first + 1)])
    per_block = ", ".join(f"{name} {count / counts['blocks']:.2f}" for name, count in between.most_common())
    print(f"audio thread, per block of 512: {counts['allocations'] / counts['blocks']:.2f} allocations; {per_block}")


def environment() -> dict[str, str]:
    return {**os.environ, "LATENT_TERRAIN_PYTHON": sys.executable}


def report_dawdreamer() -> None:
    import dawdreamer as daw

    from terrain_plugin.dawdreamer import add_terrain

    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain")
    engine.load_graph([(terrain, [])])
    engine.render(1.0)
    ratios = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in render_batch(instrument, {}, TempoMap.constant(120), RATE, 0, DAWDREAMER_SECONDS):
            pass
        batch = time.perf_counter() - began
        began = time.perf_counter()
        engine.render(DAWDREAMER_SECONDS)
        hosted = time.perf_counter() - began
        ratios.append((hosted / batch, DAWDREAMER_SECONDS / hosted, DAWDREAMER_SECONDS / batch))
    ratio, speed, floor = sorted(ratios)[1]
    note("a bounce in DawDreamer, seconds of sound a second", speed, floor, "", "batch render", lower_is_better=False)
    print(
        f"DawDreamer, blocks of 512: {speed:.1f} times real time, batch render {floor:.1f}: "
        f"it takes {ratio:.2f} of its time"
    )


def burn(seconds: float) -> None:
    """Keep a core busy."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(10000))


def live(plugin: ClapPlugin, seconds: float, block: int = LIVE_BLOCK) -> tuple[int, int, int]:
    """Blocks played at a sound card's pace; those that were late, told by their faded or silent end; those that the
    host itself began more than a block too late.
    """
    late = missed = 0
    blocks = round(seconds * RATE / block)
    due = time.perf_counter()
    for _ in range(blocks):
        due += block / RATE
        wait = due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        elif wait < -block / RATE:
            missed += 1
            due = time.perf_counter()
        sound = plugin.process(block)
        late += bool((sound[:, -1] == 0).all())
    return blocks, late, missed


def report_live(minutes: float) -> None:
    for label, burners in (("as it is", 0), ("both cores busy", os.cpu_count() or 1)):
        workers = [multiprocessing.Process(target=burn, args=(minutes * 60 + 5,)) for _ in range(burners)]
        for worker in workers:
            worker.start()
        with ClapLibrary(binaries.clap_path()) as library, library.create() as plugin:
            plugin.activate(RATE, LIVE_BLOCK)
            live(plugin, 1.0)
            blocks, late, missed = live(plugin, minutes * 60)
        for worker in workers:
            worker.terminate()
            worker.join()
        print(
            f"live, {minutes:g} min at {LIVE_BLOCK} samples, {label}: {late} of {blocks} blocks late"
            f" ({missed} that the host began over a block too late)",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.5, help="of live playing, twice")
    minutes = parser.parse_args().minutes
    os.environ.setdefault("LATENT_TERRAIN_PYTHON", sys.executable)
    report_blocks()
    report_instances()
    report_audio_thread()
    report_dawdreamer()
    report_live(minutes)


if __name__ == "__main__":
    main()
