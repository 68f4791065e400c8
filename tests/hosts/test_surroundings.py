"""A hostile house: no home, no room, little memory, another locale, files that change under us. docs/faults.md lists
what a musician sees of each.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from terrain_core.instrument import Instrument
from terrain_core.parameters import PARAMETERS, Source, Status, by_key
from terrain_core.plugin_state import LARGEST_EMBEDDED, InstrumentReference, PluginState
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin, ParamValue
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.hosts.processes import wait_until

RATE, BLOCK = 44100.0, 512
STATUS, SOURCE = by_key("status").id, by_key("source").id
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("alone")


def heard(plugin: ClapPlugin, blocks: int = 4) -> np.ndarray:
    return np.concatenate([plugin.process(BLOCK) for _ in range(blocks)], axis=1)


def loud(plugin: ClapPlugin) -> bool:
    return bool(np.abs(heard(plugin)).max() > 1e-4)


@pytest.mark.parametrize("home", [None, "", "/proc/nowhere", "{tmp}/file"])
def test_without_a_home_it_plays(
    library: ClapLibrary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None
) -> None:
    """There is nowhere to write a log to then: so none is written."""
    (tmp_path / "file").write_text("a file, no folder")
    for name in ("XDG_STATE_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home.format(tmp=tmp_path))
    with library.create() as plugin:
        plugin.activate(RATE, BLOCK)
        plugin.set_offline(True)
        assert plugin.value(STATUS) == Status.READY
        assert loud(plugin)


@pytest.mark.parametrize("name", ['ähnlich 森 ☃ \'mit "allem" $HOME.terrain', "long " * 49 + ".terrain", "-o.terrain"])
def test_odd_names_are_names(plugin: ClapPlugin, tmp_path: Path, name: str) -> None:
    folder = tmp_path / ("tief/" * 20)
    folder.mkdir(parents=True)
    file = folder / name
    shutil.copy(DEFAULT_INSTRUMENT, file)
    assert plugin.load(PluginState({"x": 0.2}, InstrumentReference.of(file)).to_bytes())
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    assert loud(plugin)
    saved = plugin.save()
    assert saved is not None
    reference = PluginState.from_bytes(saved).instrument
    assert reference is not None
    assert Path(reference.path) == file


def test_with_little_memory_the_host_goes_on(
    library: ClapLibrary, patch_engines: Callable[[str], None], engine_log: Path
) -> None:
    """The engine gets 96 MiB more than it was born with: too little for an instrument of random bytes' size."""
    patch_engines(
        "import resource, terrain_core.instrument as i\n"
        "old = i.Instrument.load.__func__\n"
        "def load(cls, path, *a, **k):\n"
        "    used = int(next(l for l in open('/proc/self/status') if l.startswith('VmSize')).split()[1]) * 1024\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))\n"
        "    bytearray(2**27)\n"
        "    return old(cls, path, *a, **k)\n"
        "i.Instrument.load = classmethod(load)\n"
    )
    with library.create() as plugin:
        plugin.activate(RATE, BLOCK)
        for _ in range(20):
            assert np.abs(plugin.process(BLOCK)).max() == 0
        assert plugin.value(STATUS) != Status.READY or not loud(plugin)
        assert plugin.save() is not None
    assert "MemoryError" in engine_log.read_text()


def test_an_instrument_replaced_while_it_plays(library: ClapLibrary, tmp_path: Path) -> None:
    """The sound goes on; a project opened again finds the copy in its state, and a damaged file hurts nobody."""
    file = tmp_path / "mine.terrain"
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    instrument.metadata = {"mine": True}
    instrument.save(file)
    assert file.stat().st_size < LARGEST_EMBEDDED
    state = PluginState({"x": 0.7}, InstrumentReference.of(file)).to_bytes()
    with library.create() as plugin, library.create() as later:
        assert plugin.load(state)
        plugin.activate(RATE, BLOCK)
        plugin.set_offline(True)
        before = heard(plugin, 8)
        file.write_bytes(b"not an instrument any more")
        assert loud(plugin)
        assert later.load(state)
        later.activate(RATE, BLOCK)
        later.set_offline(True)
        np.testing.assert_array_equal(heard(later, 8), before)
        assert later.save() == plugin.save()


def test_decimal_commas_change_nothing(tmp_path: Path) -> None:
    """A host that has set a locale whose numbers have commas: texts and states are as ever."""
    subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", "--no-archive", str(tmp_path / "de_DE.UTF-8")],
        check=True,
        capture_output=True,
    )
    script = f"""
import ctypes, locale
print(locale.setlocale(locale.LC_ALL, "de_DE.UTF-8"), locale.format_string("%.1f", 0.5))
from terrain_core.parameters import PARAMETERS
from terrain_plugin import binaries
from terrain_plugin.clap_host import ClapLibrary
with ClapLibrary(binaries.clap_path()) as library, library.create() as plugin:
    for p in PARAMETERS:
        value = p.clamp(p.low + 0.3 * (p.high - p.low))
        text = plugin.text(p.id, value)
        assert text == p.text(value), (p.key, text)
        assert abs(plugin.parse(p.id, text) - value) <= 0.5 * 10.0 ** -p.decimals, p.key
    plugin.activate({RATE}, {BLOCK})
    plugin.set_offline(True)
    assert abs(plugin.process({BLOCK})).max() > 1e-4
print("done")
"""
    environment = os.environ | {"LOCPATH": str(tmp_path), "LC_ALL": "de_DE.UTF-8"}
    environment["LATENT_TERRAIN_PYTHON"] = sys.executable
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert "0,5" in ran.stdout, ran.stdout + ran.stderr
    assert "done" in ran.stdout, ran.stderr


def test_denormal_input_is_no_trouble(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    plugin.flush([ParamValue(0, SOURCE, float(Source.INPUT))])
    tiny = np.full((2, BLOCK), 1e-41, np.float32)
    assert tiny.max() > 0, "denormals are flushed here: nothing is tried"
    for _ in range(60):
        sound = plugin.process(BLOCK, audio_in=tiny)
        assert np.isfinite(sound).all()


def test_another_rate_and_block_while_it_plays(plugin: ClapPlugin) -> None:
    """Hosts deactivate, and activate with other numbers: the state stays, the sound comes back."""
    plugin.set_offline(True)
    assert plugin.load(PluginState({"x": 0.3, "glide": 40.0}).to_bytes())
    saved = set()
    for rate, block in ((44100.0, 512), (96000.0, 64), (48000.0, 2048), (22050.0, 1), (44100.0, 512)):
        plugin.activate(rate, block)
        sound = np.concatenate([plugin.process(block) for _ in range(max(8192 // block, 2))], axis=1)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() > 1e-4
        state = plugin.save()
        assert state is not None
        saved.add(state)
        plugin.deactivate()
    assert len(saved) == 1


def test_no_clock_on_the_wall_decides_anything() -> None:
    """A clock that is set back must not make a block late: only monotonic clocks are read, but for the log's lines."""
    for path in (ROOT / "plugin/native").rglob("*.[ch]*"):
        if path.name in ("log.cpp",) or "tests" in path.parts:
            continue
        assert not re.search(r"system_clock|gettimeofday|CLOCK_REALTIME|\btime\(", path.read_text()), path
    for path in (ROOT / "plugin/terrain_plugin/bridge").glob("*.py"):
        assert not re.search(r"\btime\.time\(|datetime\.now", path.read_text()), path


def test_a_full_disk_costs_the_log_and_nothing_else(
    library: ClapLibrary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """/dev/full stands in for it: every write there fails as on a full disk."""
    state = tmp_path / "state"
    state.mkdir()
    with library.create() as probe:  # where the log is
        monkeypatch.setenv("XDG_STATE_HOME", str(state))
        probe.activate(RATE, BLOCK)
    logs = list(state.rglob("*.log"))
    assert len(logs) == 1
    logs[0].unlink()
    logs[0].symlink_to("/dev/full")
    with library.create() as plugin:
        plugin.activate(RATE, BLOCK)
        plugin.set_offline(True)
        assert plugin.value(STATUS) == Status.READY
        assert loud(plugin)


def test_read_only_parameters_are_the_engines_alone(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    for parameter in PARAMETERS:
        if parameter.read_only:
            before = plugin.value(parameter.id)
            plugin.flush([ParamValue(0, parameter.id, parameter.high)])
            plugin.process(BLOCK, [ParamValue(0, parameter.id, parameter.high)])
            assert plugin.value(parameter.id) == before
    assert wait_until(lambda: plugin.value(STATUS) == Status.READY, 5.0)
