"""What happens when the engine dies, hangs, is absent or is another version; and when the host dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from terrain_core.parameters import Status, by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_plugin import binaries
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin, ParamValue
from tests.hosts.processes import descriptors, engines, is_alive, nurseries, shared_memories, wait_until

RATE, BLOCK = 44100.0, 512
BLOCK_S = BLOCK / RATE
STATUS, X, LEVEL = (by_key(key).id for key in ("status", "x", "level"))

pytestmark = pytest.mark.usefixtures("alone")


def play_live(plugin: ClapPlugin, seconds: float) -> tuple[np.ndarray, list[float]]:
    """Blocks at the pace of a sound card; the sound, and how long each call took."""
    blocks, times = [], []
    due = time.monotonic()
    for _ in range(round(seconds / BLOCK_S)):
        time.sleep(max(due - time.monotonic(), 0))
        due += BLOCK_S
        began = time.monotonic()
        blocks.append(plugin.process(BLOCK))
        times.append(time.monotonic() - began)
    return np.concatenate(blocks, axis=1), times


def sounds(plugin: ClapPlugin) -> bool:
    return bool(np.abs(plugin.process(BLOCK)).max() > 1e-4)


def sound_is_back(plugin: ClapPlugin, seconds: float) -> bool:
    """Whether the plugin sounds again within a time; asked at a live pace, with a block's own time between."""

    def attempt() -> bool:
        time.sleep(BLOCK_S / 2)
        return sounds(plugin)

    return wait_until(attempt, seconds)


def clicks(sound: np.ndarray) -> float:
    """The largest step from sample to sample."""
    return float(np.abs(np.diff(sound, axis=1)).max())


def test_the_engine_killed_a_hundred_times(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    plugin.flush([ParamValue(0, X, 0.25)])
    usual, _ = play_live(plugin, 0.5)
    draw = np.random.default_rng(1)
    longest, loudest_step = 0.0, clicks(usual)
    files = descriptors()
    for _ in range(100):
        for _ in range(int(draw.integers(1, 6))):
            assert np.isfinite(plugin.process(BLOCK)).all()
        pid = engines()[0].pid
        os.kill(pid, signal.SIGKILL)
        for _ in range(3):
            began = time.monotonic()
            block = plugin.process(BLOCK)
            longest = max(longest, time.monotonic() - began)
            assert np.isfinite(block).all()
        assert sound_is_back(plugin, 3.0)
        assert engines()[0].pid != pid
    # "beyond one deadline": a call waits for at most four fifths of a block; the rest is this busy machine's.
    assert longest < 3.0, "the host was held up"
    assert plugin.value(X) == 0.25
    assert loudest_step > 0
    assert wait_until(lambda: descriptors() <= files + 3, 2.0), "files were leaked"
    assert shared_memories() <= 2
    plugin.deactivate()


def test_nothing_is_left_when_a_plugin_goes(library: ClapLibrary) -> None:
    before = descriptors()
    plugins = [library.create() for _ in range(3)]
    for instance in plugins:
        instance.activate(RATE, BLOCK)
    processes = [*nurseries(), *engines()]
    assert len(processes) == 4
    assert shared_memories() == 3
    for instance in plugins:
        instance.destroy()
    assert wait_until(lambda: not any(process.is_running() for process in processes), 3.0)
    assert shared_memories() == 0
    assert descriptors() == before


def test_the_nursery_killed(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    assert sounds(plugin)
    old = [*nurseries(), *engines()]
    os.kill(nurseries()[0].pid, signal.SIGKILL)
    assert sound_is_back(plugin, 10.0)
    assert wait_until(lambda: not any(map(is_alive, old)), 3.0)


def test_a_stopped_engine_leaves_no_stale_audio(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    assert sounds(plugin)
    engine = engines()[0]
    engine.suspend()
    heard, times = play_live(plugin, 5.0)
    # The first block fades out; then there is silence, or a new engine's sound, which begins with a fade.
    assert np.abs(heard[:, 64:BLOCK]).max() == 0
    assert np.median(times) < BLOCK_S
    if engine.is_running():
        engine.resume()
    assert sound_is_back(plugin, 3.0)


def test_gaps_fade(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    usual, _ = play_live(plugin, 0.5)
    engine = engines()[0]
    engine.suspend()
    gap = np.concatenate([usual[:, -BLOCK:], plugin.process(BLOCK), plugin.process(BLOCK)], axis=1)
    engine.resume()
    time.sleep(0.1)
    back = np.concatenate([gap[:, -BLOCK:], *(plugin.process(BLOCK) for _ in range(4))], axis=1)
    assert np.abs(gap[:, BLOCK + 64 :]).max() == 0
    assert np.abs(back[:, -BLOCK:]).max() > 1e-4
    assert clicks(gap) < clicks(usual) + np.abs(usual).max() / 32
    assert clicks(back) < clicks(usual) + np.abs(usual).max() / 32


def test_an_engine_killed_in_a_bounce_leaves_no_hole(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    blocks = []
    for index in range(60):
        if index in (10, 30, 31):
            os.kill(engines()[0].pid, signal.SIGKILL)
        blocks.append(plugin.process(BLOCK))
    levels = [np.abs(block).max() for block in blocks[2:]]
    assert min(levels) > 1e-4


def test_without_an_interpreter_the_host_goes_on(
    library: ClapLibrary, monkeypatch: pytest.MonkeyPatch, engine_log: Path
) -> None:
    monkeypatch.setenv("LATENT_TERRAIN_PYTHON", "/nowhere/python")
    with library.create() as plugin:
        plugin.activate(RATE, BLOCK)
        assert plugin.value(STATUS) == Status.NO_ENGINE
        assert np.abs(plugin.process(BLOCK)).max() == 0
        plugin.set_offline(True)
        assert np.abs(plugin.process(BLOCK)).max() == 0, "a bounce without an engine ends, and is silent"
    assert "/nowhere/python" in engine_log.read_text()


def test_an_interpreter_without_the_package_says_so(
    library: ClapLibrary, monkeypatch: pytest.MonkeyPatch, engine_log: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "raise SystemExit(\'nothing here\')"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("LATENT_TERRAIN_PYTHON", str(bare))
    with library.create() as plugin:
        plugin.activate(RATE, BLOCK)
        assert plugin.value(STATUS) == Status.NO_ENGINE
    log = engine_log.read_text()
    assert "nothing here" in log
    assert "is latent-terrain installed there?" in log


def test_another_protocol_version_says_so(
    library: ClapLibrary, monkeypatch: pytest.MonkeyPatch, engine_log: Path, tmp_path: Path
) -> None:
    newer = tmp_path / "newer"
    script = "import socket; from terrain_plugin.bridge import protocol; protocol.PROTOCOL_VERSION = 99; "
    script += "import terrain_plugin.bridge.nursery as n; n.main()"
    newer.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{script}"\n')
    newer.chmod(0o755)
    monkeypatch.setenv("LATENT_TERRAIN_PYTHON", str(newer))
    with library.create() as plugin:
        plugin.activate(RATE, BLOCK)
        assert plugin.value(STATUS) == Status.WRONG_VERSION
        assert np.abs(plugin.process(BLOCK)).max() == 0
    assert "speaks protocol 99" in engine_log.read_text()


HOST = """
    import sys, time
    from terrain_plugin.clap_host import ClapLibrary
    plugin = ClapLibrary(sys.argv[1]).create()
    plugin.activate(44100, 512)
    plugin.process(512)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_killed_host_leaves_no_process() -> None:
    command = [sys.executable, "-c", textwrap.dedent(HOST), str(binaries.clap_path())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        left = [*nurseries(host.pid), *engines(host.pid)]
        assert len(left) == 2
        left[1].suspend()  # even one that hangs
        host.kill()
    assert wait_until(lambda: not any(process.is_running() for process in left), 2.0)


def test_an_instrument_that_is_gone_says_so_and_is_kept_in_the_state(plugin: ClapPlugin, engine_log: Path) -> None:
    state = PluginState({"x": 0.1}, InstrumentReference("/vanished/forest.terrain", "0" * 64, "forest"))
    plugin.activate(RATE, BLOCK)
    assert plugin.load(state.to_bytes())
    plugin.set_offline(True)
    assert sounds(plugin), "the old instrument goes on"
    assert "forest.terrain" in engine_log.read_text()
    saved = plugin.save()
    assert saved is not None
    assert PluginState.from_bytes(saved).instrument == state.instrument


def test_a_bounce_begins_with_the_state_it_was_given(library: ClapLibrary) -> None:
    """A state travels to the engine by another way than blocks do: a bounce must not overtake it."""
    state = PluginState({"x": 0.9, "y": 0.1}).to_bytes()
    first_blocks = []
    for _ in range(5):
        with library.create() as plugin:
            plugin.activate(RATE, BLOCK)
            plugin.set_offline(True)
            plugin.process(BLOCK)
            plugin.reset()
            assert plugin.load(state)
            first_blocks.append(plugin.process(BLOCK))
    for block in first_blocks[1:]:
        np.testing.assert_array_equal(block, first_blocks[0])
