"""States as a CLAP host saves and restores them."""

from __future__ import annotations

import struct
import threading
import zlib

import numpy as np
import pytest

from terrain_core.parameters import PARAMETERS, by_key
from terrain_core.plugin_state import HEADER, MAGIC, VERSION, InstrumentReference, PluginState
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin, ParamValue

RATE, BLOCK = 44100.0, 512
SETTABLE = [parameter for parameter in PARAMETERS if not parameter.read_only]


def values(plugin: ClapPlugin) -> dict[int, float]:
    return {parameter.id: plugin.value(parameter.id) for parameter in SETTABLE}


def scramble(plugin: ClapPlugin, seed: int) -> dict[int, float]:
    """Every parameter somewhere else; returns where."""
    draw = np.random.default_rng(seed)
    wanted = {p.id: p.clamp(float(draw.uniform(p.low, p.high))) for p in SETTABLE}
    plugin.flush([ParamValue(0, id, value) for id, value in wanted.items()])
    return wanted


def saved(plugin: ClapPlugin, most_at_once: int = 2**30) -> bytes:
    data = plugin.save(most_at_once)
    assert data is not None
    return data


def test_a_state_is_what_python_reads(plugin: ClapPlugin) -> None:
    wanted = scramble(plugin, 1)
    state = PluginState.from_bytes(saved(plugin))
    assert {p.id: state.parameters[p.key] for p in SETTABLE} == wanted
    assert set(state.parameters) == {p.key for p in SETTABLE}
    assert state.to_bytes() == saved(plugin)


@pytest.mark.parametrize("most_at_once", [1, 7, 4096, 2**30])
def test_states_come_back_byte_by_byte_too(library: ClapLibrary, plugin: ClapPlugin, most_at_once: int) -> None:
    wanted = scramble(plugin, 2)
    data = saved(plugin, most_at_once)
    assert data == saved(plugin)
    with library.create() as other:
        assert other.load(data, most_at_once)
        assert values(other) == wanted
        assert saved(other) == data
        assert other.requests.rescans == [1]  # values


def test_a_state_from_python_is_taken(plugin: ClapPlugin) -> None:
    assert plugin.load(PluginState({"x": 0.25, "run": 2.0}).to_bytes())
    for parameter in SETTABLE:
        assert plugin.value(parameter.id) == {"x": 0.25, "run": 2.0}.get(parameter.key, parameter.default)


def test_what_a_newer_version_added_is_kept(plugin: ClapPlugin) -> None:
    state = PluginState(
        {"x": 0.25},
        InstrumentReference("/somewhere/wood.terrain", "0" * 64, "wood", b"its bytes"),
        b"loops",
        {777: 1.5},
        {b"NEWS": b"from the future"},
    )
    assert plugin.load(state.to_bytes())
    again = PluginState.from_bytes(saved(plugin))
    assert again.parameters["x"] == 0.25
    assert (again.instrument, again.loops) == (state.instrument, state.loops)
    assert (again.unknown_parameters, again.unknown_chunks) == (state.unknown_parameters, state.unknown_chunks)


def test_values_out_of_range_are_clamped(plugin: ClapPlugin) -> None:
    rows = b"".join(struct.pack("<Id", p.id, 1e300) for p in SETTABLE)
    body = struct.pack("<4sI", b"PARM", len(rows)) + rows
    assert plugin.load(HEADER.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body)
    assert values(plugin) == {p.id: p.high for p in SETTABLE}


def test_an_active_plugin_sounds_as_its_state_says(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    plugin.set_offline(True)
    assert np.abs(plugin.process(BLOCK)).max() > 1e-3
    assert plugin.load(PluginState({"level": -60.0}).to_bytes())
    heard = [np.abs(plugin.process(BLOCK)).max() for _ in range(8)]
    assert heard[-1] == 0


def damaged(good: bytes) -> dict[str, bytes]:
    draw = np.random.default_rng(3)
    flipped = bytearray(good)
    flipped[-5] ^= 0x10
    body = struct.pack("<4sI", b"PARM", 2**31) + b"short"
    return {
        "empty": b"",
        "random 1": draw.bytes(2**20),
        "random 2": draw.bytes(2**20),
        "random 3": draw.bytes(2**20),
        "header only": good[: HEADER.size],
        "half": good[: len(good) // 2],
        "one byte short": good[:-1],
        "a flipped bit": bytes(flipped),
        "newer version": good[:8] + struct.pack("<I", VERSION + 1) + good[12:],
        "a chunk beyond the end": HEADER.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body,
        "a size beyond the end": HEADER.pack(MAGIC, VERSION, 0, 2**32 - 1),
    }


@pytest.mark.parametrize("active", [False, True])
def test_bad_states_are_refused_and_change_nothing(plugin: ClapPlugin, active: bool) -> None:
    if active:
        plugin.activate(RATE, BLOCK)
    scramble(plugin, 4)
    good = saved(plugin)
    for name, data in damaged(good).items():
        assert not plugin.load(data), name
        assert saved(plugin) == good, name
    assert plugin.load(good)


def test_every_truncation_is_refused(plugin: ClapPlugin) -> None:
    good = saved(plugin)
    assert not any(plugin.load(good[:length]) for length in range(len(good)))


def test_states_come_and_go_while_it_plays(plugin: ClapPlugin) -> None:
    plugin.activate(RATE, BLOCK)
    states = []
    for seed in (5, 6):
        scramble(plugin, seed)
        # What is recorded while it plays belongs to the state: nothing is recorded here.
        plugin.flush([ParamValue(0, by_key(key).id, 0.0) for key in ("loop_record", "loop_overdub", "loop_action")])
        states.append(saved(plugin))
    ended = threading.Event()
    problems: list[BaseException] = []
    blocks = 0

    def play() -> None:
        nonlocal blocks
        try:
            while not ended.is_set():
                plugin.process(BLOCK)
                blocks += 1
        except BaseException as error:
            problems.append(error)

    audio = threading.Thread(target=play)
    audio.start()
    try:
        for turn in range(60):
            assert plugin.load(states[turn % 2])
            assert saved(plugin) == states[turn % 2]
    finally:
        ended.set()
        audio.join()
    assert problems == []
    assert blocks > 10
