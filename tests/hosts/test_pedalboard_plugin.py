"""The plugin in pedalboard: loaded with its instrument, driven by lanes, its latency trimmed, effects after it."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pedalboard
import pytest

from terrain_core.engine import TimedMidi, render_batch
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.parameters import PARAMETERS, by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.tempo import TempoMap, TempoPoint
from terrain_core.vst3_preset import pack_preset, unpack_preset
from terrain_plugin.pedalboard import load_terrain, parameter, render_lanes
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

RATE = 44100
FLOAT32 = 2.0**-24
"""Relative rounding error of the numbers in which pedalboard holds parameters."""


def batch(seconds: float, rate: int = RATE, **constants: float) -> np.ndarray:
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    chunks = render_batch(instrument, {}, TempoMap.constant(120), rate, 0, seconds, constants=constants)
    return np.concatenate(list(chunks), axis=1)


def test_every_parameter_is_there_and_reads_as_ours() -> None:
    plugin = load_terrain()
    assert sorted(found.name for found in plugin.parameters.values()) == sorted(p.name for p in PARAMETERS)  # type: ignore[attr-defined]
    for ours in PARAMETERS:
        theirs = parameter(plugin, ours.key)
        assert theirs.label == (ours.unit or None)
        if ours.read_only:
            assert theirs.string_value in (ours.choices or (ours.text(ours.default),))
            continue
        assert theirs.raw_value == pytest.approx(ours.to_normalised(ours.default), rel=2 * FLOAT32)
        assert theirs.string_value == ours.text(ours.default)


def test_values_can_be_set_in_their_own_units() -> None:
    """pedalboard makes up Python attributes from names and texts."""
    plugin = load_terrain()
    plugin.x, plugin.level_db, plugin.run, plugin.bypass, plugin.neighbours = 0.25, -6.0, "Notes", True, 3.0  # type: ignore[attr-defined]
    texts = {key: parameter(plugin, key).string_value for key in ("x", "level", "run", "bypass", "neighbours")}
    assert texts == {"x": "0.250", "level": "-6.0 dB", "run": "Notes", "bypass": "On", "neighbours": "3"}


def test_a_state_comes_back_byte_for_byte() -> None:
    settable = [p for p in PARAMETERS if not p.read_only]
    values = {p.key: p.from_normalised(0.3) for p in settable}
    state = PluginState(values, InstrumentReference.of(DEFAULT_INSTRUMENT), unknown_chunks={b"NEWS": b"later"})
    plugin = load_terrain()
    plugin.preset_data = pack_preset(state)  # type: ignore[attr-defined]
    for _ in range(2):
        assert unpack_preset(plugin.preset_data) == state  # type: ignore[attr-defined]
        assert state.to_bytes() in plugin.preset_data  # type: ignore[attr-defined]
        plugin.process([], 0.1, RATE, 2, 512, reset=False)
    assert {p.key: parameter(plugin, p.key).string_value for p in settable} == {
        key: by_key(key).text(value) for key, value in values.items()
    }


def test_raw_state_restores_the_sound() -> None:
    plugin = load_terrain(parameters={"x": 0.2, "y": 0.7})
    before, state = render_lanes(plugin, {}, seconds=0.5), plugin.raw_state  # type: ignore[attr-defined]
    other = load_terrain(parameters={"x": 0.9})
    assert np.abs(render_lanes(other, {}, seconds=0.5) - before).max() > 0.01
    other.raw_state = state  # type: ignore[attr-defined]
    np.testing.assert_array_equal(render_lanes(other, {}, seconds=0.5), before)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_latency_is_trimmed_at_any_rate(rate: int) -> None:
    """Also the first time, when the plugin has not run at that rate yet."""
    heard = render_lanes(load_terrain(parameters={"x": 0.25}), {}, seconds=0.7, sample_rate=rate)
    expected = batch(0.7, rate, x=0.25)
    assert heard.shape == (2, round(0.7 * rate))
    assert np.abs(heard).max() > 0.01
    assert np.abs(heard - expected).max() < 1e-5


def test_each_render_begins_anew() -> None:
    plugin = load_terrain()
    lanes = {"x": Lane([0, 1], [0.2, 0.8])}
    first = render_lanes(plugin, lanes)
    np.testing.assert_array_equal(render_lanes(plugin, lanes), first)


def test_plain_process_calls_go_on_where_they_were() -> None:
    plugin = load_terrain()
    parts = [plugin.process([], 0.2, RATE, 2, 441, reset=False) for _ in range(3)]
    assert np.abs(np.concatenate(parts, axis=1) - batch(0.6)).max() < 1e-5


def test_messages_come_at_their_sample() -> None:
    """Silent before the note, and not after it, whatever the blocks; also as mido's messages."""
    messages = [TimedMidi(0.3, bytes([0x90, 60, 100])), TimedMidi(0.1, bytes([0xB0, 7, 1]))]
    heard = render_lanes(load_terrain(parameters={"run": 2.0}), {}, seconds=0.6, midi=messages, block=500)
    assert not heard[:, : round(0.3 * RATE)].any()
    assert heard[:, round(0.3 * RATE) : round(0.31 * RATE)].any()
    plugin = load_terrain(parameters={"run": 2.0})
    note = mido.Message("note_on", note=60, velocity=100, time=0.3)
    np.testing.assert_allclose(plugin.process([note], 0.6, RATE, 2, 500, reset=False), heard, atol=1e-6)


def test_midi_controllers_move_our_parameters() -> None:
    """Through VST3's MIDI mapping, which pedalboard's host follows."""
    plugin = load_terrain()
    wheel, timbre = bytes([0xB0, 1, 127]), bytes([0xB0, 74, 0])
    plugin.process([(wheel, 0.0), (timbre, 0.0), (bytes([0xE0, 0, 0]), 0.0), (bytes([0xD0, 64]), 0.0)], 0.1, RATE)
    values = unpack_preset(plugin.preset_data).parameters  # type: ignore[attr-defined]
    assert (values["z"], values["y"], values["x"]) == (1.0, 0.0, 0.0)
    assert values["pressure"] == pytest.approx(64 / 127, rel=1e-6)


def test_tempo_comes_as_sync_bpm() -> None:
    """There is no other way: pedalboard's transport stands still."""
    plugin = load_terrain()
    tempo_map = TempoMap([TempoPoint(0, 60), TempoPoint(1, 140)])
    render_lanes(plugin, {}, tempo_map, seconds=0.5)
    assert parameter(plugin, "sync_bpm").string_value == "60.0 BPM"
    render_lanes(plugin, {}, tempo_map, seconds=1.5)
    assert parameter(plugin, "sync_bpm").string_value == "140.0 BPM"
    untold = load_terrain()
    render_lanes(untold, {}, seconds=0.1)
    assert parameter(untold, "sync_bpm").string_value == "120.0 BPM"
    set_before = load_terrain(parameters={"sync_bpm": 90.0})
    render_lanes(set_before, {}, seconds=0.1)
    assert parameter(set_before, "sync_bpm").string_value == "90.0 BPM"


def test_effects_follow_with_their_tail_and_without_their_latency() -> None:
    plugin = load_terrain()
    plain = render_lanes(plugin, {}, seconds=1.0)
    delay = pedalboard.Delay(delay_seconds=0.25, feedback=0.0, mix=0.5)
    echoed = render_lanes(plugin, {}, seconds=1.0, effects=[delay])
    assert echoed.shape[1] > 1.2 * RATE
    np.testing.assert_allclose(echoed[:, : RATE // 4], 0.5 * plain[:, : RATE // 4], atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "the length is None seconds: expected more than 0, or lanes that end somewhere"),
        ({"seconds": 0.0}, "the length is 0.0 seconds"),
        ({"seconds": float("nan")}, "the length is nan seconds"),
        ({"seconds": 1.0, "block": 0}, "block is 0: expected 1 samples or more"),
        ({"seconds": 1.0, "sample_rate": -1}, "sample_rate is -1: expected 1 Hz or more"),
    ],
)
def test_what_cannot_be_rendered_is_refused(arguments: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        render_lanes(load_terrain(), {}, **arguments)  # type: ignore[arg-type]


def test_unknown_keys_and_other_plugins_are_refused() -> None:
    with pytest.raises(InputError, match="no parameter is called 'w'"):
        render_lanes(load_terrain(), {"w": Lane([0, 1], [0, 1])})
    with pytest.raises(InputError, match="no parameter is called 'w'"):
        load_terrain(parameters={"w": 1.0})


def test_what_is_no_instrument_is_refused(tmp_path: Path) -> None:
    """The plugin itself would go on with the instrument it has."""
    with pytest.raises(FileError, match=r"none\.terrain"):
        load_terrain(tmp_path / "none.terrain")
    (tmp_path / "broken.terrain").write_text("no zip")
    with pytest.raises(FileError, match=r"broken\.terrain"):
        load_terrain(tmp_path / "broken.terrain")


@pytest.mark.parametrize(("key", "value"), [("x", float("nan")), ("level", float("-inf")), ("status", 2.0)])
def test_parameters_that_cannot_be_set_so_are_refused(key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{key} cannot be set to"):
        load_terrain(parameters={key: value})
