"""The plugin in DawDreamer: its state, automation at the right sample by lanes, arrays and beats, renders that repeat.

DawDreamer's processors do not outlive their engine: whoever uses one holds on to both.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dawdreamer as daw
import numpy as np
import pytest
from numpy.typing import NDArray

from terrain_core.engine import render_batch
from terrain_core.errors import FileError, InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.parameters import PARAMETERS, by_key
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.tempo import TempoMap, TempoPoint
from terrain_core.vst3_preset import write_preset
from terrain_plugin.dawdreamer import add_terrain, automate, follow_tempo, parameter_index
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

RATE = 44100
FRAME = 1024
"""Samples of the built-in autoencoder's latent frame: it reads its controls at the first of them."""

JUCE_BASE64 = ".ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+"


@dataclass
class Sampled:
    """Values (samples,) that a host holds from block to block, as a lane for the oracle."""

    values: NDArray[np.float32]
    block: int

    def values_at(self, seconds: NDArray[np.float64], tempo_map: TempoMap) -> NDArray[np.float64]:
        at = np.rint(seconds * RATE).astype(np.int64) // self.block * self.block
        return self.values[np.minimum(at, len(self.values) - 1)].astype(np.float64)


def batch(
    samples: int, lanes: dict[str, Sampled] | None = None, rate: int = RATE, **constants: float
) -> NDArray[np.float32]:
    instrument, length = Instrument.load(DEFAULT_INSTRUMENT), samples / rate
    chunks = render_batch(instrument, lanes or {}, TempoMap.constant(120), rate, 0, length, constants=constants)
    return np.concatenate(list(chunks), axis=1)


def rendered(engine: Any, terrain: Any, seconds: float) -> NDArray[np.float32]:
    engine.load_graph([(terrain, [])])
    engine.render(seconds)
    return np.array(engine.get_audio())


def assert_same(heard: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert heard.shape[1] == expected.shape[1]
    assert np.abs(expected).max() > 0.01
    assert np.abs(heard - expected).max() < 1e-5


def component_state(processor: Any, folder: Path) -> bytes:
    """The component's own bytes in what DawDreamer saves: JUCE's base64 of them, in XML."""
    file = folder / "saved"
    processor.save_state(str(file))
    found = re.search(rb"<IComponent>(\d+)\.(\S+)</IComponent>", file.read_bytes())
    assert found is not None
    six = np.array([JUCE_BASE64.index(letter) for letter in found[2].decode()], np.uint8)
    bits = np.unpackbits(six[:, np.newaxis], axis=1, bitorder="little")[:, :6]
    return np.packbits(bits.ravel(), bitorder="little").tobytes()[: int(found[1])]


# Parameters and state


def test_every_parameter_is_there_and_reads_as_ours() -> None:
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain")
    rows = {row["name"]: row for row in terrain.get_parameters_description()}
    assert rows.keys() == {parameter.name for parameter in PARAMETERS}
    for parameter in PARAMETERS:
        row = rows[parameter.name]
        assert (row["label"], row["isAutomatable"]) == (parameter.unit, not parameter.read_only)
        assert (row["min"], row["max"]) == (parameter.text(parameter.low), parameter.text(parameter.high))
        if parameter.stepped:
            assert row["numSteps"] == parameter.steps + 1
        if not parameter.read_only:
            assert row["text"] == parameter.text(parameter.default)


def test_a_state_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """Through the preset, at once and after a render; and it is shown."""
    settable = [parameter for parameter in PARAMETERS if not parameter.read_only]
    values = {parameter.key: parameter.from_normalised(0.3) for parameter in settable}
    state = PluginState(values, InstrumentReference.of(DEFAULT_INSTRUMENT), unknown_chunks={b"NEWS": b"later"})
    write_preset(state, tmp_path / "state.vstpreset")
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain")
    assert terrain.load_vst3_preset(str(tmp_path / "state.vstpreset"))
    assert component_state(terrain, tmp_path) == state.to_bytes()
    rendered(engine, terrain, 0.1)
    assert component_state(terrain, tmp_path) == state.to_bytes()
    for parameter in settable:
        index = parameter_index(terrain, parameter.key)
        assert terrain.get_parameter_text(index) == parameter.text(values[parameter.key])


def test_parameters_are_set_exactly() -> None:
    """Not by way of the host's 32-bit values: -6.1 dB is none of them, and is heard as it is."""
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain", parameters={"level": -6.1, "x": 0.3})
    np.testing.assert_array_equal(rendered(engine, terrain, 0.5), np.repeat(batch(22050, level=-6.1, x=0.3), 2, axis=0))


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
def test_at_another_rate_it_is_as_late_as_it_says(rate: int) -> None:
    """DawDreamer trims nothing."""
    engine = daw.RenderEngine(rate, 480)
    terrain = add_terrain(engine, "terrain", parameters={"x": 0.3})
    latency = terrain.get_latency_samples()
    heard = rendered(engine, terrain, 1.0)
    assert 0 < latency < rate // 10
    assert_same(heard[:, latency:], batch(rate, rate=rate, x=0.3)[:, : rate - latency])


def test_two_terrains_in_one_engine() -> None:
    engine = daw.RenderEngine(RATE, 512)
    one = add_terrain(engine, "one", parameters={"x": 0.2})
    other = add_terrain(engine, "other", parameters={"x": 0.7})
    total = engine.make_add_processor("total", [0.5, 0.25])
    engine.load_graph([(one, []), (other, []), (total, ["one", "other"])])
    engine.render(0.5)
    expected = 0.5 * batch(22050, x=0.2) + 0.25 * batch(22050, x=0.7)
    np.testing.assert_allclose(engine.get_audio(), np.repeat(expected, 2, axis=0), atol=1e-6)


def test_incoming_audio_comes_once_its_bus_is_enabled(rng: np.random.Generator) -> None:
    """Bypassed, the plugin gives it back."""
    audio = rng.uniform(-1, 1, (2, RATE // 2)).astype(np.float32)
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain", parameters={"bypass": 1.0})
    assert terrain.get_num_input_channels() == 0
    terrain.enable_all_buses()
    assert terrain.get_num_input_channels() == 2
    source = engine.make_playback_processor("source", audio)
    engine.load_graph([(source, []), (terrain, ["source"])])
    engine.render(0.5)
    np.testing.assert_array_equal(engine.get_audio(), audio)


def test_renders_repeat() -> None:
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain")
    automate(terrain, {"x": np.linspace(0, 1, RATE)})
    first = rendered(engine, terrain, 1.0)
    engine.render(1.0)
    np.testing.assert_array_equal(engine.get_audio(), first)


def test_engines_render_side_by_side() -> None:
    """DawDreamer renders without Python's lock: a thread per engine."""
    setups = []
    for x in (0.1, 0.4, 0.8):
        engine = daw.RenderEngine(RATE, 512)
        terrain = add_terrain(engine, "terrain", parameters={"x": x})
        engine.load_graph([(terrain, [])])
        setups.append((x, engine))
    threads = [threading.Thread(target=engine.render, args=(0.5,)) for _, engine in setups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x, engine in setups:
        assert_same(np.array(engine.get_audio()), batch(22050, x=x))


# Automation over time


@pytest.mark.parametrize("block", [1, 16, 37, 128, 512])
def test_an_array_counts_from_its_sample_on_at_any_block_size(block: int) -> None:
    """Three steps, each just before, on, and just after a frame's first sample."""
    values = np.full(6 * FRAME, 0.1, np.float32)
    for frame, shift in ((2, -1), (3, 0), (4, 1)):
        values[frame * FRAME + shift :] += 0.2
    engine = daw.RenderEngine(RATE, block)
    terrain = add_terrain(engine, "terrain")
    automate(terrain, {"x": values})
    heard = rendered(engine, terrain, len(values) / RATE)[:, : len(values)]
    assert_same(heard, batch(len(values), {"x": Sampled(values, block)}))
    if block == 1:  # the last step misses its frame by one sample, and comes a frame later
        late = np.where(np.arange(len(values)) < 5 * FRAME, np.minimum(values, values[3 * FRAME]), values)
        assert_same(heard, batch(len(values), {"x": Sampled(late.astype(np.float32), 1)}))


def test_x_y_and_pressure_by_arrays(rng: np.random.Generator) -> None:
    walks = {key: np.clip(0.5 + np.cumsum(rng.normal(0, 1e-3, RATE)), 0, 1) for key in ("x", "y", "pressure")}
    engine = daw.RenderEngine(RATE, 256)
    terrain = add_terrain(engine, "terrain")
    automate(terrain, walks)
    lanes = {key: Sampled(walk.astype(np.float32), 256) for key, walk in walks.items()}
    assert_same(rendered(engine, terrain, 1.0), batch(RATE, lanes))


@pytest.mark.parametrize("values", [[0.25], [0.25, 0.25], [0.9, 0.25]])
def test_the_last_value_of_a_short_array_stays(values: list[float]) -> None:
    """DawDreamer takes an array of one value for none at all: not so here."""
    engine = daw.RenderEngine(RATE, 256)
    terrain = add_terrain(engine, "terrain")
    automate(terrain, {"x": values})
    full = np.array([values[0]] + [0.25] * (4 * FRAME - 1), np.float32)
    heard = rendered(engine, terrain, 4 * FRAME / RATE)
    assert_same(heard, batch(4 * FRAME, {"x": Sampled(full, 256)}))


def test_a_choice_is_automated_too() -> None:
    """From the first second on it waits for notes."""
    run = by_key("run")
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain")
    automate(terrain, {"run": Lane([0, 1], [0.0, run.to_normalised(2)], "hold", unit="seconds")})
    heard = rendered(engine, terrain, 1.5)
    assert terrain.get_parameter_text(parameter_index(terrain, "run")) == "Notes"
    assert np.abs(heard[:, 0 : RATE - 2048]).max() > 0.01
    assert np.abs(heard[:, RATE + 8192 :]).max() == 0


# Automation over beats


@pytest.mark.parametrize("ppqn", [24, 960])
def test_beats_under_a_constant_tempo(ppqn: int) -> None:
    """At 90 bpm a quarter note is 29400 samples; a step on each."""
    lane = Lane([0, 1, 2], [0.2, 0.5, 0.8], "hold")
    engine = daw.RenderEngine(RATE, 100)
    engine.set_bpm(90.0)
    terrain = add_terrain(engine, "terrain")
    automate(terrain, {"x": lane}, by_beats=True, ppqn=ppqn)
    heard = rendered(engine, terrain, 2.5 * 60 / 90)
    values = np.repeat(np.array([0.2, 0.5, 0.8], np.float32), [29400, 29400, 14700])
    assert_same(heard, batch(len(values), {"x": Sampled(values, 100)}))


def test_beats_under_a_changing_tempo() -> None:
    """Lanes over beats, once at the times of the tempo map, once by the engine's own beat: the same within a block."""
    tempo_map = TempoMap([TempoPoint(0, 60, "linear-beats"), TempoPoint(2, 180), TempoPoint(4, 90)])
    lane = Lane([0, 2, 4, 5], [0.0, 0.4, 0.8, 1.0])
    block, seconds = 32, 3.0
    recorded = []
    for by_beats in (False, True):
        engine = daw.RenderEngine(RATE, block)
        terrain = add_terrain(engine, "terrain")
        if by_beats:
            follow_tempo(engine, tempo_map, beats=6)
        automate(terrain, {"x": lane}, tempo_map, by_beats=by_beats)
        terrain.record_automation = True
        rendered(engine, terrain, seconds)
        recorded.append(np.asarray(terrain.get_automation()["X"]).reshape(-1)[: round(seconds * RATE)])
    at = np.arange(0, len(recorded[0]), block)
    exact = lane.values_at(at / RATE, tempo_map)
    np.testing.assert_allclose(recorded[0][at], exact, atol=1e-6)
    # 180 bpm for a block moves the lane by 0.2 a beat, and DawDreamer's sum of beats lags within the ramp.
    one_block = 0.2 * 180 / 60 * block / RATE
    assert np.abs(recorded[1][at] - exact).max() < 4 * one_block
    assert np.ptp(recorded[0]) > 0.9


def test_bpm_reaches_the_plugin() -> None:
    """Noise is numbered by song position, and glide counts milliseconds: tempo alone changes neither."""
    sounds = []
    for bpm in (60.0, 140.0):
        engine = daw.RenderEngine(RATE, 512)
        engine.set_bpm(bpm)
        terrain = add_terrain(engine, "terrain", parameters={"noise": 0.5})
        sounds.append(rendered(engine, terrain, 0.5))
    np.testing.assert_array_equal(*sounds)
    assert_same(sounds[0], batch(22050, noise=0.5))


# Refusals


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    engine = daw.RenderEngine(RATE, 512)
    with pytest.raises(FileError, match=r"none\.terrain"):
        add_terrain(engine, "terrain", tmp_path / "none.terrain")
    (tmp_path / "broken.terrain").write_text("no zip")
    with pytest.raises(FileError, match=r"broken\.terrain"):
        add_terrain(engine, "terrain", tmp_path / "broken.terrain")
    with pytest.raises(InputError, match="no parameter is called 'w'"):
        add_terrain(engine, "terrain", parameters={"w": 1.0})


@pytest.mark.parametrize(
    ("lanes", "said"),
    [
        ({"w": [0.5]}, "no parameter is called 'w'"),
        ({"x": []}, r"the automation of x has the shape \(0,\)"),
        ({"x": [[0.5]]}, r"the automation of x has the shape \(1, 1\)"),
        ({"x": [0.5, 1.5]}, "the automation of x is 1.5 at index 1: expected 0 to 1"),
        ({"x": [np.nan]}, "the automation of x is nan at index 0"),
        ({"x": Lane([0, 1], [0, 7])}, "the automation of x is"),
        ({"status": [0.5]}, "Status is read-only"),
    ],
)
def test_bad_automation_is_refused(lanes: dict[str, Any], said: str) -> None:
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain")
    with pytest.raises(InputError, match=said):
        automate(terrain, lanes)


def test_other_processors_are_refused() -> None:
    engine = daw.RenderEngine(RATE, 512)
    other = engine.make_playback_processor("other", np.zeros((2, 8), np.float32))
    with pytest.raises(InputError, match="add_terrain"):
        automate(other, {"x": [0.5]})
