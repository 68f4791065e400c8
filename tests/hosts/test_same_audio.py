"""The same audio everywhere: batch render, DawDreamer, pedalboard and a raw CLAP host.

Hosts hold parameters as float32, and read lanes once a block. So the oracle is the batch render of the same lanes with
their values rounded to float32 (`ByHost`), and, where blocks and frames do not line up, held from block to block: then
nothing is left to explain, and the audio has to be equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dawdreamer as daw
import numpy as np
import pedalboard
import pytest
from numpy.typing import NDArray

from terrain_core.engine import TimedMidi, render_batch
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.parameters import PARAMETERS, by_key
from terrain_core.tempo import TempoMap, TempoPoint
from terrain_core.terrain import Terrain
from terrain_plugin.clap_host import ClapLibrary, Note, ParamValue, Transport
from terrain_plugin.dawdreamer import add_terrain, automate, follow_tempo, parameter_index
from terrain_plugin.pedalboard import load_terrain, render_lanes
from terrain_plugin.shipped import DEFAULT_INSTRUMENT

RATE, SECONDS = 44100, 4.0
SAMPLES = round(RATE * SECONDS)
FULL_SCALE_TOLERANCE = 1e-5

LANES = {
    "x": Lane([0, 3, 6], [0.0, 1.0, 0.2]),
    "y": Lane([0, 2.5, 6], [0.3, 0.9, 0.1], "smooth"),
    "pressure": Lane([0, 1, 1, 6], [1.0, 0.4, 0.9, 0.5]),
}
TEMPO = TempoMap.constant(96)


@dataclass
class ByHost:
    """A lane as a host hands it over: float32, and where `block` is given, one value for a whole block."""

    lane: Lane
    block: int | None = None

    def values_at(self, seconds: NDArray[np.float64], tempo_map: TempoMap) -> NDArray[np.float64]:
        if self.block:
            samples = np.rint(seconds * RATE)
            seconds = samples // self.block * self.block / RATE
        return self.lane.values_at(seconds, tempo_map).astype(np.float32).astype(np.float64)


def batch(
    lanes: dict[str, ByHost], tempo_map: TempoMap = TEMPO, instrument: Path = DEFAULT_INSTRUMENT, **settings: object
) -> NDArray[np.float32]:
    chunks = render_batch(Instrument.load(instrument), lanes, tempo_map, RATE, 0, SECONDS, **settings)  # type: ignore[arg-type]
    return np.concatenate(list(chunks), axis=1)


def assert_same(one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    """Equal to the tolerance, over all of it, and not because both are silent."""
    assert one.shape[1] == other.shape[1] == SAMPLES
    assert np.abs(one).max() > 0.01
    assert np.abs(one - other).max() < FULL_SCALE_TOLERANCE


def in_dawdreamer(lanes: dict[str, Lane], block: int) -> NDArray[np.float32]:
    engine = daw.RenderEngine(RATE, block)
    terrain = add_terrain(engine, "terrain")
    automate(terrain, lanes, TEMPO)
    engine.load_graph([(terrain, [])])
    engine.render(SECONDS)
    return np.asarray(engine.get_audio())


def in_clap(library: ClapLibrary, lanes: dict[str, Lane], block: int, rate: int = RATE) -> NDArray[np.float32]:
    with library.create() as plugin:
        plugin.activate(rate, block)
        plugin.set_offline(True)
        blocks = []
        for start in range(0, round(rate * SECONDS), block):
            seconds = start / rate
            beat = float(TEMPO.beats_at(seconds))
            values = {key: lane.values_at(np.array([seconds]), TEMPO) for key, lane in lanes.items()}
            points = [ParamValue(0, by_key(key).id, float(np.float32(value[0]))) for key, value in values.items()]
            blocks.append(plugin.process(block, points, Transport(beat, 96.0, seconds)))
        latency = plugin.latency
    return np.concatenate(blocks, axis=1)[:, latency : latency + round(rate * SECONDS)]


@pytest.mark.parametrize("block", [1024, 512, 64])
def test_dawdreamer_where_blocks_and_frames_line_up(block: int) -> None:
    assert_same(batch({key: ByHost(lane) for key, lane in LANES.items()}), in_dawdreamer(LANES, block))


@pytest.mark.parametrize("block", [500, 1000, 2048])
def test_dawdreamer_where_they_do_not(block: int) -> None:
    assert_same(batch({key: ByHost(lane, block) for key, lane in LANES.items()}), in_dawdreamer(LANES, block))


@pytest.mark.parametrize("block", [512, 500])
def test_pedalboard(block: int) -> None:
    held = None if 1024 % block == 0 else block
    heard = render_lanes(load_terrain(), LANES, TEMPO, seconds=SECONDS, sample_rate=RATE, block=block)
    assert_same(batch({key: ByHost(lane, held) for key, lane in LANES.items()}), heard)


@pytest.mark.parametrize("block", [512, 441])
def test_a_raw_clap_host(library: ClapLibrary, block: int) -> None:
    held = None if 1024 % block == 0 else block
    heard = in_clap(library, LANES, block)[:, :SAMPLES]
    if heard.shape[1] < SAMPLES:  # whole blocks
        heard = np.pad(heard, ((0, 0), (0, SAMPLES - heard.shape[1])))
    assert_same(batch({key: ByHost(lane, held) for key, lane in LANES.items()}), heard)


def test_at_another_sample_rate_after_latency(library: ClapLibrary) -> None:
    rate, block = 48000, 480
    heard = in_clap(library, {}, block, rate)
    chunks = render_batch(Instrument.load(DEFAULT_INSTRUMENT), {}, TEMPO, rate, 0, SECONDS)
    expected = np.concatenate(list(chunks), axis=1)[:, : heard.shape[1]]
    assert heard.shape[1] > 3 * rate
    assert np.abs(heard - expected).max() < FULL_SCALE_TOLERANCE


def test_an_instrument_file_and_parameters_travel_in_the_state(tmp_path: Path) -> None:
    other = tmp_path / "ähnlich aber anders.terrain"
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    instrument.terrain = Terrain.create(2, 8, gauss_scale=0.1, seed=5)
    instrument.save(other)
    values = {"x": 0.25, "level": -6.0, "glide": 100.0}
    expected = batch({}, instrument=other, constants=values)
    assert np.abs(expected - batch({}, constants=values)).max() > 0.01, "it is another instrument"

    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain", other, parameters=values)
    engine.load_graph([(terrain, [])])
    engine.render(SECONDS)
    played = load_terrain(other, parameters=values)
    heard = render_lanes(played, {}, seconds=SECONDS, sample_rate=RATE)
    assert_same(expected, np.asarray(engine.get_audio()))
    assert_same(expected, heard)


def test_automation_by_beats_follows_the_engines_tempo() -> None:
    tempo_map = TempoMap([TempoPoint(0, 60), TempoPoint(2, 120)])
    lane = Lane([0, 1, 2, 3, 4], [0, 0.25, 0.5, 0.75, 1.0], "hold")
    engine = daw.RenderEngine(RATE, 64)
    terrain = add_terrain(engine, "terrain")
    follow_tempo(engine, tempo_map, beats=8)
    automate(terrain, {"x": lane}, by_beats=True)
    terrain.record_automation = True
    engine.load_graph([(terrain, [])])
    engine.render(SECONDS)
    recorded = np.asarray(terrain.get_automation()["X"]).reshape(-1)
    index = np.arange(0, min(len(recorded), SAMPLES), 64)
    expected = lane.values_at(index / RATE, tempo_map)
    wrong = np.flatnonzero(np.abs(recorded[index] - expected) > 1e-6)
    # A step may come a block late: DawDreamer sums its beats up block by block.
    assert len(recorded) >= SAMPLES - 64
    assert len(wrong) <= 5
    assert recorded.max() == 1.0


def test_notes_reach_the_plugin_in_every_host(library: ClapLibrary) -> None:
    """Run mode Notes: silent but for the time between a note's start and its end."""
    on, off = 44032, 88064  # samples, on the blocks' grid
    midi = [TimedMidi(on / RATE, bytes([0x90, 60, 100])), TimedMidi(off / RATE, bytes([0x80, 60, 0]))]
    expected = batch({}, constants={"run": 2.0}, midi=midi)
    assert np.abs(expected[:, :on]).max() == 0
    heard = render_lanes(load_terrain(parameters={"run": 2.0}), {}, seconds=SECONDS, sample_rate=RATE, midi=midi)
    assert_same(expected, heard)

    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain", parameters={"run": 2.0})
    terrain.add_midi_note(60, 100, on / RATE, (off - on) / RATE)
    engine.load_graph([(terrain, [])])
    engine.render(SECONDS)
    assert_same(expected, np.asarray(engine.get_audio()))

    with library.create() as plugin:
        plugin.activate(RATE, 512)
        plugin.set_offline(True)
        plugin.flush([ParamValue(0, by_key("run").id, 2.0)])
        blocks = []
        for start in range(0, SAMPLES, 512):
            kinds = {on: 0, off: 1}
            events = [Note(at - start, kind, 60) for at, kind in kinds.items() if start <= at < start + 512]
            blocks.append(plugin.process(512, events, Transport(start / RATE * 2, 120.0, start / RATE)))
        assert_same(expected, np.concatenate(blocks, axis=1)[:, :SAMPLES])


def test_effects_follow_in_pedalboard() -> None:
    plain = render_lanes(load_terrain(), {}, seconds=1.0)
    quieter = render_lanes(load_terrain(), {}, seconds=1.0, effects=[pedalboard.Gain(-6.0)])
    np.testing.assert_allclose(quieter, plain * 10 ** (-6 / 20), atol=1e-6)


def test_parameters_are_ours_in_both_hosts() -> None:
    engine = daw.RenderEngine(RATE, 512)
    terrain = add_terrain(engine, "terrain")
    player = load_terrain()
    names = {terrain.get_parameter_name(index) for index in range(terrain.get_plugin_parameter_size())}
    assert names == {parameter.name for parameter in PARAMETERS}
    assert {found.name for found in player.parameters.values()} == names  # type: ignore[attr-defined]
    assert terrain.get_parameter_text(parameter_index(terrain, "level")) == "0.0 dB"
    assert terrain.get_parameter_text(parameter_index(terrain, "status")) in ("Ready", "Loading")
