"""What a VST3 host learns before it plays, and a plugin's life."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable

import numpy as np
import pytest

from terrain_core import identity
from terrain_core.parameters import Status, by_key
from terrain_core.plugin_state import PluginState
from terrain_plugin import binaries
from tests.hosts.processes import wait_until
from tests.hosts.vst3_host import (
    AUDIO,
    CLASS_ID,
    EVENT,
    IIDS,
    INPUT,
    LATENCY_CHANGED,
    MONO,
    NO_INTERFACE,
    NO_SPEAKERS,
    OFFLINE,
    OK,
    OUTPUT,
    STEREO,
    VALUES_CHANGED,
    Vst3Library,
    Vst3Plugin,
    ffi,
)

RATE, BLOCK = 44100.0, 512
STATUS = by_key("status").id
MAIN, AUX = range(2)
DEFAULT_ACTIVE = 1


def status(vst3: Vst3Plugin) -> Status:
    return Status(round(vst3.value(STATUS) * (len(Status) - 1)))


# The bundle


def test_the_factory_says_who_it_is(vst3_library: Vst3Library) -> None:
    assert vst3_library.factory.num_classes() == 1
    assert vst3_library.factory_info()["vendor"] == identity.VENDOR
    for info in vst3_library.class_infos():
        assert (info["id"], info["name"], info["category"]) == (CLASS_ID, identity.PLUGIN_NAME, "Audio Module Class")
    for info in vst3_library.class_infos()[1:]:
        assert (info["vendor"], info["version"]) == (identity.VENDOR, identity.VERSION)
        assert info["sub_categories"] == "Instrument|Synth"


def test_moduleinfo_says_the_same_as_the_factory(vst3_library: Vst3Library) -> None:
    written = json.loads((binaries.vst3_path() / "Contents" / "Resources" / "moduleinfo.json").read_text())
    said = vst3_library.class_infos()[2]
    (row,) = written["Classes"]
    assert written["Factory Info"]["Vendor"] == vst3_library.factory_info()["vendor"]
    assert written["Factory Info"]["Flags"]["Unicode"] == bool(vst3_library.factory_info()["flags"] & 1 << 4)
    assert bytes.fromhex(row["CID"]) == said["id"]
    assert "|".join(row["Sub Categories"]) == said["sub_categories"]
    keys = {"Name": "name", "Vendor": "vendor", "Version": "version", "SDKVersion": "sdk_version"}
    keys |= {"Category": "category", "Cardinality": "cardinality", "Class Flags": "flags"}
    assert {key: row[key] for key in keys} == {key: said[name] for key, name in keys.items()}


def test_there_is_no_other_class(vst3_library: Vst3Library) -> None:
    assert vst3_library.factory.get_class_info(1, ffi.new("class_info_t *")) != OK
    found = ffi.new("void **")
    assert vst3_library.factory.create_instance(bytes(16), IIDS["component_t"], found) != OK
    assert found[0] == ffi.NULL
    assert vst3_library.factory.create_instance(CLASS_ID, bytes(16), found) != OK
    assert found[0] == ffi.NULL


@pytest.mark.skipif(shutil.which("nm") is None, reason="binutils' nm is not installed")
def test_the_library_shows_nothing_but_its_entries() -> None:
    (library,) = binaries.vst3_path().glob("Contents/*/*.so")
    names = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in names.splitlines()} == {"GetPluginFactory", "ModuleEntry", "ModuleExit"}


# The object


def test_one_object_is_component_processor_and_controller(vst3: Vst3Plugin) -> None:
    own = {kind for kind in IIDS if vst3.component.as_(kind) is not None}
    wanted = {"unknown_t", "component_t", "processor_t", "controller_t", "midi_mapping_t", "requirements_t"}
    assert own == wanted | {"units_t", "expressions_t", "physical_t", "info_listener_t"}
    identities = set()
    for kind in own:
        unknown = vst3.interface(kind).as_("unknown_t")
        assert unknown is not None
        identities.add(unknown.pointer)
    assert len(identities) == 1


def test_other_interfaces_are_not_there(vst3: Vst3Plugin) -> None:
    found = ffi.new("void **")
    assert vst3.component.query(bytes(range(16)), found) == NO_INTERFACE
    assert found[0] == ffi.NULL


def test_there_is_no_controller_of_another_class(vst3: Vst3Plugin) -> None:
    assert vst3.component.get_controller_class_id(ffi.new("uint8_t[16]")) != OK


def test_buses(vst3: Vst3Plugin) -> None:
    assert vst3.bus(AUDIO, OUTPUT) == ("Out", 2, MAIN, DEFAULT_ACTIVE)
    assert vst3.bus(AUDIO, INPUT) == ("Audio In", 2, AUX, 0)
    assert vst3.bus(EVENT, INPUT) == ("Notes", 16, MAIN, DEFAULT_ACTIVE)
    counts = {(m, d): vst3.component.get_bus_count(m, d) for m in (AUDIO, EVENT) for d in (INPUT, OUTPUT)}
    assert counts == {(AUDIO, INPUT): 1, (AUDIO, OUTPUT): 1, (EVENT, INPUT): 1, (EVENT, OUTPUT): 0}
    for media, direction, index in [(EVENT, OUTPUT, 0), (AUDIO, OUTPUT, 1), (AUDIO, INPUT, -1), (2, INPUT, 0)]:
        assert vst3.bus(media, direction, index) is None


@pytest.mark.parametrize(
    ("inputs", "outputs", "accepted"),
    [
        ([STEREO], [STEREO], True),
        ([], [STEREO], True),
        ([NO_SPEAKERS], [STEREO], True),
        ([MONO], [MONO], True),
        ([STEREO], [MONO], True),
        ([], [], False),
        ([], [STEREO, STEREO], False),
        ([STEREO, STEREO], [STEREO], False),
        ([], [0b111111], False),
        ([0b111111], [STEREO], False),
    ],
)
def test_arrangements(vst3: Vst3Plugin, inputs: list[int], outputs: list[int], accepted: bool) -> None:
    assert vst3.arrange(inputs, outputs) == accepted
    arrangement = ffi.new("uint64_t *")
    assert vst3.processor.get_bus_arrangement(OUTPUT, 0, arrangement) == OK
    assert arrangement[0] == (outputs[0] if accepted else STEREO)
    name, channels, *_ = vst3.bus(AUDIO, OUTPUT) or ("", 0)
    assert (name, channels) == ("Out", 1 if accepted and outputs == [MONO] else 2)


def test_only_32_bit_samples(vst3: Vst3Plugin) -> None:
    assert vst3.processor.can_process_sample_size(0) == OK
    assert vst3.processor.can_process_sample_size(1) != OK
    assert not vst3.activate(RATE, BLOCK, sample_size=1)


def test_it_says_what_it_needs_of_the_transport(vst3: Vst3Plugin) -> None:
    project_time, bar, cycle, tempo, meter, state = (1 << bit for bit in (2, 3, 4, 6, 7, 10))
    needs = vst3.interface("requirements_t").requirements()
    assert needs == project_time | bar | cycle | tempo | meter | state


# Life


def test_an_engine_is_ready_after_activation(vst3: Vst3Plugin) -> None:
    assert status(vst3) == Status.OFF
    assert vst3.activate(RATE, BLOCK)
    assert wait_until(lambda: status(vst3) == Status.READY, 30.0)
    assert np.abs(vst3.process(BLOCK, mode=OFFLINE)).max() > 1e-3


def test_status_is_an_output_parameter(vst3: Vst3Plugin) -> None:
    vst3.activate(RATE, BLOCK)
    vst3.process(BLOCK)
    ((offset, value),) = vst3.output_points[STATUS]
    assert (offset, round(value * (len(Status) - 1))) == (0, Status.READY)
    vst3.process(BLOCK)
    assert vst3.output_points == {}  # nothing new


@pytest.mark.parametrize(("rate", "block"), [(0.0, 512), (-44100.0, 512), (float("nan"), 512), (44100.0, 0)])
def test_impossible_setups_are_refused(vst3: Vst3Plugin, rate: float, block: int) -> None:
    assert not vst3.activate(rate, block)
    assert vst3.activate(RATE, BLOCK)


def test_nothing_is_processed_before_activation(vst3: Vst3Plugin) -> None:
    assert vst3.processor.process(ffi.new("process_data_t *")) != OK


def test_it_can_be_activated_again_and_again(vst3: Vst3Plugin) -> None:
    heard = []
    for _ in range(3):
        assert vst3.activate(RATE, BLOCK, OFFLINE)
        heard.append(np.concatenate([vst3.process(BLOCK) for _ in range(4)], axis=1))
        vst3.deactivate()
    assert np.abs(heard[0]).max() > 1e-3
    np.testing.assert_array_equal(heard[0], heard[1])
    np.testing.assert_array_equal(heard[0], heard[2])


def test_the_tail_is_endless_since_it_sounds_by_itself(vst3: Vst3Plugin) -> None:
    vst3.activate(RATE, BLOCK)
    assert vst3.processor.get_tail_samples() == 2**32 - 1


# News for the UI thread


def test_latency_is_what_the_rate_asks_for(vst3: Vst3Plugin) -> None:
    vst3.activate(RATE, BLOCK)
    assert vst3.latency == 0  # the built-in autoencoder's own rate
    vst3.deactivate()
    vst3.activate(48000.0, BLOCK)
    assert 0 < vst3.latency < 4800
    assert vst3.requests.restarts == []  # the host asks after activation anyway


def test_latency_is_known_once_it_is_set_up(vst3: Vst3Plugin) -> None:
    """Hosts on JUCE ask between setup and activation, and not again."""
    assert vst3.latency == 0
    setup = ffi.new("setup_t *", {"mode": OFFLINE, "max_block": BLOCK, "sample_rate": 48000.0})
    assert vst3.processor.setup_processing(setup) == OK
    before = vst3.latency
    vst3.activate(48000.0, BLOCK)
    assert before == vst3.latency > 0


LATENCY_IS_X = """
from terrain_plugin.bridge.processor import TerrainProcessor
TerrainProcessor.latency = property(lambda self: round(1000 * self._state.parameters.get("x", 0.0)))
"""


@pytest.mark.parametrize("run_loop", [True, False])
def test_another_latency_is_told_on_the_ui_thread(
    vst3_library: Vst3Library, patch_engines: Callable[[str], None], run_loop: bool
) -> None:
    """Through the host's event loop; where it offers none, when it next asks for a value."""
    patch_engines(LATENCY_IS_X)
    with vst3_library.create(run_loop=run_loop) as vst3:
        vst3.load(PluginState({"x": 0.1}).to_bytes())
        vst3.activate(RATE, BLOCK)
        assert vst3.latency == 100
        vst3.load(PluginState({"x": 0.25}).to_bytes())
        assert wait_until(lambda: vst3.latency == 250, 5.0)
        if run_loop:
            assert wait_until(lambda: vst3.run_main_thread() > 0, 5.0)
        else:
            wait_until(lambda: vst3.value(STATUS) < 0 or LATENCY_CHANGED in vst3.requests.restarts, 5.0)
        assert vst3.requests.restarts == [VALUES_CHANGED, VALUES_CHANGED, LATENCY_CHANGED]
        assert vst3.requests.threads == {threading.get_ident()}
