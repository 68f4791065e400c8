"""Loops by automation: the same in a batch render, DawDreamer, pedalboard and a raw CLAP host; and their state."""

from __future__ import annotations

import dawdreamer as daw
import numpy as np
import pytest
from numpy.typing import NDArray

from terrain_core.engine import render_batch
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper import LooperChain, State
from terrain_core.looper.chain_effect import ChainEffect
from terrain_core.parameters import by_key
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import TempoMap
from terrain_plugin.clap_host import ClapLibrary, ClapPlugin, Midi, ParamValue, Transport
from terrain_plugin.dawdreamer import add_terrain, automate, follow_tempo
from terrain_plugin.pedalboard import load_terrain, render_lanes
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.hosts.test_same_audio import ByHost

RATE, SECONDS, BPM = 44100, 6.0, 120.0
SAMPLES = round(RATE * SECONDS)
TEMPO = TempoMap.constant(BPM)

NORMALISED = {
    "x": Lane([0, 3, 7, 12], [0.0, 1.0, 0.2, 0.7]),
    "y": Lane([0, 2.5, 6, 12], [0.3, 0.9, 0.1, 0.5], "smooth"),
    "pressure": Lane([0, 1, 1, 6, 9, 9.5], [1.0, 0.4, 0.9, 0.5, 0.5, 0.0]),
}
PLAIN = {
    "loop_quantise": Lane([0], [2.0]),
    "loop_record": Lane([0, 0.7, 2.8], [0.0, 1.0, 0.0], "hold"),
    "loop_overdub": Lane([0, 4.6, 6.3], [0.0, 1.0, 0.0], "hold"),
    "loop_speed": Lane([0, 8, 9.5], [1.0, 0.5, -1.0], "hold"),
    "loop_mix": Lane([0, 10, 10.5], [1.0, 0.6, 1.0], "hold"),
    "loop_action": Lane([0, 7.2, 8.3], [0.0, 4.0, 2.0], "hold"),  # Replace, then Play
}


def normalised(key: str, lane: Lane) -> Lane:
    """A lane of plain values as hosts have it."""
    return Lane.from_points(
        [type(p)(p.time, by_key(key).to_normalised(p.value), p.shape, p.tension) for p in lane.points]
    )


LANES = NORMALISED | {key: normalised(key, lane) for key, lane in PLAIN.items()}


def batch(block: int | None = None) -> tuple[NDArray[np.float32], ChainEffect]:
    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    effect = LooperChain.empty().effect(instrument)
    lanes = {key: ByHost(lane, block) for key, lane in (NORMALISED | PLAIN).items()}
    chunks = render_batch(instrument, lanes, TEMPO, RATE, 0, SECONDS, effects=[effect])
    return np.concatenate(list(chunks), axis=1), effect


def assert_same(one: NDArray[np.float32], other: NDArray[np.float32]) -> None:
    assert one.shape[1] == other.shape[1] == SAMPLES
    assert np.abs(one[:, -RATE:]).max() > 0.01  # the hand is at rest there: this is the loop
    assert np.abs(one - other).max() < 1e-5


@pytest.mark.parametrize("block", [512, 64, 500])
def test_dawdreamer(block: int) -> None:
    expected, effect = batch(None if 1024 % block == 0 else block)
    assert effect.states["1"] is State.PLAYING
    assert len(effect.voices["1"].past) >= 2  # recorded, overdubbed
    engine = daw.RenderEngine(RATE, block)
    terrain = add_terrain(engine, "terrain")
    follow_tempo(engine, TEMPO, beats=16)
    automate(terrain, LANES, TEMPO)
    engine.load_graph([(terrain, [])])
    engine.render(SECONDS)
    assert_same(expected, np.asarray(engine.get_audio()))


def test_pedalboard() -> None:
    """It has no transport: the song runs by itself at 120."""
    heard = render_lanes(load_terrain(), LANES, TEMPO, seconds=SECONDS, sample_rate=RATE, block=512)
    assert_same(batch()[0], heard)


def played(
    plugin: ClapPlugin, begin: int, end: int, block: int, midi: dict[int, bytes] | None = None
) -> NDArray[np.float32]:
    """Blocks from sample `begin` to `end` of the song, with the lanes."""
    blocks = []
    for start in range(begin, end, block):
        seconds = start / RATE
        beat = seconds * BPM / 60
        values = {
            key: ByHost(lane).values_at(np.array([seconds]), TEMPO)[0] for key, lane in (NORMALISED | PLAIN).items()
        }
        events = [ParamValue(0, by_key(key).id, float(value)) for key, value in values.items()]
        events += [Midi(at - start, data) for at, data in (midi or {}).items() if start <= at < start + block]
        transport = Transport(beat, BPM, seconds, bar_beat=4 * np.floor(beat / 4), meter=(4, 4))
        blocks.append(plugin.process(block, events, transport))
    return np.concatenate(blocks, axis=1)


def test_a_state_saved_in_the_middle_of_an_overdub_goes_on_identically(library: ClapLibrary) -> None:
    """In another instance, from the same place in the song: the same loops to the last bit; the same sound but for the
    phases of the decoder's oscillators, once it has forgotten what it played before.
    """
    block, cut = 512, 512 * round(5.3 * 60 / BPM * RATE / 512)
    end = 512 * (SAMPLES // 512)
    with library.create() as one, library.create() as other:
        one.activate(RATE, block)
        one.set_offline(True)
        played(one, 0, cut, block)
        assert by_key("loop_state").choices[int(one.value(by_key("loop_state").id))] == "Overdubbing"
        state = one.save()
        assert state is not None
        assert PluginState.from_bytes(state).loops.startswith(b"LOOPS")
        assert other.load(state)
        other.activate(RATE, block)
        other.set_offline(True)
        rest, again = played(one, cut, end, block), played(other, cut, end, block)
        assert one.save() == other.save()
    loud = [np.sqrt(np.convolve(sound[0, RATE // 2 :] ** 2, np.ones(2048) / 2048, "valid")) for sound in (rest, again)]
    assert loud[0].max() > 0.01
    assert np.abs(loud[0] - loud[1]).max() < 0.15 * loud[0].max()


def test_state_and_phase_are_told_to_the_host(library: ClapLibrary) -> None:
    state, phase = by_key("loop_state"), by_key("loop_phase")
    with library.create() as plugin:
        plugin.activate(RATE, 512)
        plugin.set_offline(True)
        seen = []
        for start in range(0, 6 * RATE, 512):
            played(plugin, start, start + 512, 512)
            seen.append((state.choices[int(plugin.value(state.id))], plugin.value(phase.id)))
            assert plugin.told[state.id] == plugin.value(state.id)
            assert abs(plugin.told[phase.id] - plugin.value(phase.id)) < 1 / 128
    names = [name for n, (name, _) in enumerate(seen) if n == 0 or seen[n - 1][0] != name]
    assert names[:6] == ["Empty", "Armed", "Recording", "Ending", "Playing", "Armed"]
    assert "Overdubbing" in names
    turning = [at for (name, at) in seen if name == "Playing"]
    assert 0 <= min(turning) < 0.1
    assert 0.7 < max(turning) <= 1
