"""What a CLAP host learns before it plays, and a plugin's life. After the catalogue of clap-validator."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from terrain_core import autoencoders, identity
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.parameters import PARAMETERS, Status, by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_plugin import binaries
from terrain_plugin.clap_host import CONTINUE, ClapLibrary, ClapPlugin
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.hosts.processes import wait_until

RATE, BLOCK = 44100.0, 512
STATUS, RUN = by_key("status").id, by_key("run").id
INSTRUMENT_FEATURES = {"instrument", "audio-effect", "note-effect", "analyzer"}
CLAP_DIALECT, MIDI_DIALECT, MPE_DIALECT = 1, 2, 4
MAIN_PORT = 1


# The library


def test_it_says_who_it_is(library: ClapLibrary) -> None:
    (found,) = library.descriptors
    assert found.id == identity.CLAP_ID
    assert (found.name, found.vendor) == (identity.PLUGIN_NAME, identity.VENDOR)
    assert (found.version, found.description) == (identity.VERSION, identity.DESCRIPTION)


def test_features_name_one_category_and_nothing_twice(library: ClapLibrary) -> None:
    features = library.descriptors[0].features
    assert "instrument" in features
    assert len(INSTRUMENT_FEATURES & set(features)) == 1
    assert len(features) == len(set(features))


def test_other_factories_and_plugins_are_not_there(library: ClapLibrary) -> None:
    assert library.factory_of("clap.plugin-factory")
    for name in ("", "clap.plugin-factory ", "clap.nonsense"):
        assert not library.factory_of(name)
    for id in ("", identity.CLAP_ID + "x", identity.CLAP_ID[:-1], identity.CLAP_ID.upper()):
        with pytest.raises(InputError, match="makes no plugin"):
            library.create(id)


@pytest.mark.skipif(shutil.which("nm") is None, reason="binutils' nm is not installed")
def test_the_library_shows_nothing_but_its_entry() -> None:
    names = subprocess.run(
        ["nm", "-D", "--defined-only", str(binaries.clap_path())], capture_output=True, text=True, check=True
    )
    assert [line.split()[-1] for line in names.stdout.splitlines()] == ["clap_entry"]


@pytest.mark.skipif(shutil.which("readelf") is None, reason="binutils' readelf is not installed")
def test_the_library_brings_its_own_runtime() -> None:
    dynamic = subprocess.run(
        ["readelf", "-d", str(binaries.clap_path())], capture_output=True, text=True, check=True
    ).stdout
    assert "libc.so" in dynamic
    assert "libstdc++" not in dynamic
    assert "libgcc" not in dynamic


def test_a_scan_is_quick_and_starts_no_process(library: ClapLibrary) -> None:
    code = """
import sys, psutil
from terrain_plugin.clap_host import ClapLibrary
for _ in range(3):
    with ClapLibrary(sys.argv[1]) as library, library.create() as plugin:
        assert len(plugin.parameters) > 10
sys.exit(len(psutil.Process().children()))
"""
    done = subprocess.run([sys.executable, "-c", code, library.path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("content", [b"", b"no library", b"\x7fELF"])
def test_the_host_refuses_what_is_no_plugin(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.clap"
    file.write_bytes(content)
    with pytest.raises(FileError, match=r"bad\.clap"):
        ClapLibrary(file)


# Ports and extensions


def test_ports(plugin: ClapPlugin) -> None:
    ((_, channels, flags),) = plugin.audio_ports(is_input=False)
    assert (channels, flags) == (2, MAIN_PORT)
    ((_, channels, flags),) = plugin.audio_ports(is_input=True)
    assert (channels, flags) == (2, 0)
    assert [dialects for _, dialects in plugin.note_ports(is_input=True)] == [CLAP_DIALECT | MIDI_DIALECT | MPE_DIALECT]
    assert plugin.note_ports(is_input=False) == []


@pytest.mark.parametrize("name", ["params", "state", "audio-ports", "note-ports", "latency", "tail", "render"])
def test_extensions(plugin: ClapPlugin, name: str) -> None:
    assert plugin.has_extension(f"clap.{name}")


def test_unknown_extensions_are_not_there(plugin: ClapPlugin) -> None:
    assert not any(plugin.has_extension(id) for id in ("", "clap.params ", "clap.nonsense"))


# Life


def test_an_engine_is_ready_after_activation(plugin: ClapPlugin) -> None:
    assert plugin.value(STATUS) == Status.OFF
    plugin.activate(RATE, BLOCK)
    assert wait_until(lambda: plugin.value(STATUS) == Status.READY, 30.0)
    plugin.set_offline(True)  # a busy machine may be late
    assert np.abs(plugin.process(BLOCK)).max() > 1e-3
    assert plugin.status == CONTINUE


def test_a_changed_status_is_told_on_the_main_thread(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    assert plugin.requests.callbacks > 0
    assert plugin.requests.rescans == []
    plugin.run_main_thread()
    assert plugin.requests.rescans == [1]  # values


def test_a_short_activation_leaves_every_value_as_it_was(plugin: ClapPlugin) -> None:
    """The engine waits on, but nothing plays; clap-validator compares so."""
    before = {parameter.id: plugin.value(parameter.id) for parameter in PARAMETERS}
    plugin.activate(RATE, BLOCK)
    plugin.process(BLOCK)
    assert wait_until(lambda: plugin.value(STATUS) == Status.READY, 30.0)
    plugin.run_main_thread()
    told = len(plugin.requests.rescans)
    plugin.deactivate()
    assert {parameter.id: plugin.value(parameter.id) for parameter in PARAMETERS} == before
    plugin.run_main_thread()
    assert len(plugin.requests.rescans) == told + 1
    plugin.activate(RATE, BLOCK)
    assert plugin.value(STATUS) == Status.READY


@pytest.mark.parametrize(("rate", "block"), [(0.0, 512), (-44100.0, 512), (float("nan"), 512), (44100.0, 0)])
def test_impossible_activations_are_refused(plugin: ClapPlugin, rate: float, block: int) -> None:
    with pytest.raises(InputError, match="cannot run"):
        plugin.activate(rate, block)
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    assert np.abs(plugin.process(BLOCK)).max() > 1e-3


def test_it_can_be_activated_again_and_again(plugin: ClapPlugin) -> None:
    plugin.set_offline(True)
    heard = []
    for _ in range(3):
        plugin.activate(RATE, BLOCK)
        heard.append(np.concatenate([plugin.process(BLOCK) for _ in range(4)], axis=1))
        plugin.deactivate()
    assert np.abs(heard[0]).max() > 1e-3
    np.testing.assert_array_equal(heard[0], heard[1])
    np.testing.assert_array_equal(heard[0], heard[2])


def test_latency_is_what_the_rate_asks_for_and_is_told_when_it_changes(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    assert plugin.latency == 0  # the built-in autoencoder's own rate
    assert plugin.requests.latency_changes == 0
    plugin.deactivate()
    plugin.activate(48000.0, BLOCK)
    resampled = plugin.latency
    assert 0 < resampled < 4800
    assert plugin.requests.latency_changes == 1
    plugin.set_offline(True)
    plugin.process(BLOCK)
    assert plugin.latency == resampled
    assert plugin.requests.restarts == 0


@pytest.fixture(scope="module")
def late_instrument(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default instrument with an autoencoder that says 32 kHz, so that the plugin must resample at 44.1 kHz."""
    folder = tmp_path_factory.mktemp("bundle") / "slower"
    shutil.copytree(Path(autoencoders.__file__).parent / "builtin", folder)
    card = json.loads((folder / "autoencoder.json").read_text())
    (folder / "autoencoder.json").write_text(json.dumps(card | {"name": "slower", "sample_rate": 32000}))
    terrain = Instrument.load(DEFAULT_INSTRUMENT).terrain
    Instrument(autoencoders.load(folder), terrain).save(folder.parent / "slower.terrain", embed_autoencoder=True)
    return folder.parent / "slower.terrain"


def test_latency_stays_while_it_is_active_and_a_restart_is_asked_for(plugin: ClapPlugin, late_instrument: Path) -> None:
    plugin.activate(RATE, BLOCK)
    assert plugin.latency == 0
    assert plugin.load(PluginState(instrument=InstrumentReference.of(late_instrument)).to_bytes())

    def restart_is_wanted() -> bool:
        plugin.run_main_thread()
        return plugin.requests.restarts > 0

    assert wait_until(restart_is_wanted, 10.0)
    assert plugin.latency == 0, "a host has lined up everything else by this number"
    assert plugin.requests.latency_changes == 0
    plugin.deactivate()
    plugin.activate(RATE, BLOCK)
    assert plugin.requests.latency_changes == 1
    assert plugin.latency > 0
    plugin.run_main_thread()
    assert plugin.requests.restarts == 1, "it is content now"


def test_latency_that_changes_while_it_is_inactive_is_told(plugin: ClapPlugin, late_instrument: Path) -> None:
    plugin.activate(RATE, BLOCK)
    assert plugin.latency == 0
    plugin.deactivate()
    assert plugin.load(PluginState(instrument=InstrumentReference.of(late_instrument)).to_bytes())

    def change_is_told() -> bool:
        plugin.run_main_thread()
        return plugin.requests.latency_changes > 0

    assert wait_until(change_is_told, 10.0)
    assert plugin.latency > 0
    plugin.activate(RATE, BLOCK)
    assert (plugin.requests.latency_changes, plugin.requests.restarts) == (1, 0)


def test_the_tail_is_endless_since_it_sounds_by_itself(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    assert plugin.tail >= 2**31 - 1


def test_a_host_that_mixes_up_its_threads_is_told(library: ClapLibrary) -> None:
    with library.create(strict=False) as plugin:
        plugin.activate(RATE, BLOCK)
        assert plugin.requests.log == []
        other = threading.Thread(target=plugin.save)
        other.start()
        other.join()
        assert len(plugin.requests.log) == 1
        assert "outside the main thread" in plugin.requests.log[0]


def test_the_host_keeps_its_own_rules(plugin: ClapPlugin) -> None:
    problems: list[str] = []

    def activate() -> None:
        try:
            plugin.activate(RATE, BLOCK)
        except InputError as error:
            problems.append(str(error))

    other = threading.Thread(target=activate)
    other.start()
    other.join()
    assert "thread that made the plugin" in problems[0]
    plugin.activate(RATE, BLOCK)
    with pytest.raises(InputError, match="longer than"):
        plugin.process(BLOCK + 1)


def test_eight_instances_play_the_same(library: ClapLibrary) -> None:
    plugins = [library.create() for _ in range(8)]
    try:
        for plugin in plugins:
            plugin.activate(RATE, BLOCK)
            plugin.set_offline(True)
        heard = [[plugin.process(BLOCK) for plugin in plugins] for _ in range(4)]
    finally:
        for plugin in plugins:
            plugin.destroy()
    assert np.abs(heard[-1][0]).max() > 1e-3
    for blocks in heard:
        for block in blocks[1:]:
            np.testing.assert_array_equal(block, blocks[0])


def test_a_host_that_forgets_its_plugins_ends_quietly() -> None:
    script = (
        "from terrain_plugin.binaries import clap_path\n"
        "from terrain_plugin.clap_host import ClapLibrary\n"
        "library = ClapLibrary(clap_path())\n"
        "plugins = [library.create() for _ in range(3)]\n"
        "for plugin in plugins:\n"
        "    plugin.activate(44100, 512)\n"
        "for plugin in plugins:\n"
        "    plugin.load(plugin.save())\n"  # whose end will be told
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, b"")
