"""The plugin's loop parameters: what their lanes do to which loop, in a render and live."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from terrain_core.engine import Block, Engine, ParameterPoint, Transport, render_batch
from terrain_core.engine.controls import COLUMN, Controls, ControlState
from terrain_core.engine.effects import Frames
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper import Action, Layer, Looper, LooperChain, State
from terrain_core.looper.chain_effect import ChainEffect
from terrain_core.parameters import by_key
from terrain_core.tempo import TempoMap
from terrain_core.terrain import Terrain
from tests.terrain_core.reference_autoencoder import LinearAutoencoder

D = 3
PER_BEAT = 16


@pytest.fixture
def instrument() -> Instrument:
    return Instrument(LinearAutoencoder(latent_size=D), Terrain.create(2, D, seed=3, width=16, features=16))


def wave(beats: np.ndarray) -> np.ndarray:
    """Latents that never repeat."""
    return np.stack([np.sin(beats * 1.7), np.cos(beats * 0.9), beats * 0.01], axis=1).astype(np.float32)


class Hands:
    """Plays wave() through a chain, with parameters that change at beats."""

    def __init__(self, effect: ChainEffect) -> None:
        self.effect = effect
        self.beat = 0.0
        self.values = ControlState()

    def play(self, beats: float, **values: float) -> np.ndarray:
        """So many beats with these values; what comes out, (frames, D)."""
        self.values.set(values)
        at = self.beat + np.arange(round(beats * PER_BEAT)) / PER_BEAT
        controls = Controls(np.repeat(self.values.values[np.newaxis], len(at), axis=0))
        self.beat += beats
        return self.effect.process(wave(at), Frames(0, controls, at))


@pytest.fixture
def hands(instrument: Instrument) -> Hands:
    return Hands(LooperChain.empty().effect(instrument))


def test_choices_are_the_loopers_actions_and_states() -> None:
    names = [action.value.title() for action in Action]
    assert by_key("loop_action").choices == ("None", *names)
    assert len(by_key("loop_state").choices) == len(State)


def test_on_records_off_plays(hands: Hands) -> None:
    """It begins with the bar, and ends with the beat: what was played makes three of them."""
    hands.play(1, loop_record=0)
    before = hands.play(3, loop_record=1)
    assert hands.effect.states["1"] is State.WAIT_START
    first = hands.play(3)
    assert hands.effect.states["1"] is State.RECORDING
    again = hands.play(3, loop_record=0)
    assert hands.effect.states["1"] is State.PLAYING
    np.testing.assert_array_equal(before, wave(np.arange(16, 64) / PER_BEAT))
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(first, wave(4 + np.arange(48) / PER_BEAT))


def test_a_length_ends_the_recording_by_itself(hands: Hands) -> None:
    hands.play(2, loop_record=1, loop_length=2)
    second = hands.play(2)
    np.testing.assert_array_equal(second, wave(np.arange(32) / PER_BEAT))
    hands.play(2, loop_record=0)  # it plays already: nothing to end
    assert hands.effect.voices["1"].content.beats == 2
    assert hands.effect.states["1"] is State.PLAYING


@pytest.mark.parametrize(
    ("key", "value", "setting", "expected"),
    [
        ("loop_length", 7 / 3, "beats", Fraction(7, 3)),
        ("loop_length", 0.01, "beats", Fraction(1, 16)),
        ("loop_quantise", 2, "quantise", "beat"),
        ("loop_speed", -0.5, "speed", -1.0),
        ("loop_reverse", 1, "speed", -2.0),
        ("loop_feedback", 0.5, "feedback", 0.4),
        ("loop_mix", 0.25, "mix", 0.2),
        ("loop_blend", 0.3, "overdub", 0.3),
        ("loop_level", -6, "level", -9.0),
        ("loop_level", -60, "level", -60.0),
    ],
)
def test_a_knob_works_on_the_loops_own_setting(
    instrument: Instrument, key: str, value: float, setting: str, expected: object
) -> None:
    own = Looper("a", beats=3, speed=2.0, feedback=0.8, mix=0.8, overdub=0.6, level=-3.0, quantise="loop")
    hands = Hands(LooperChain(own).effect(instrument))
    hands.play(1)
    assert getattr(hands.effect.voices["a"].looper, setting) == getattr(own, setting)
    hands.play(1, **{key: value})
    assert getattr(hands.effect.voices["a"].looper, setting) == pytest.approx(expected)
    hands.play(1, **{key: by_key(key).default})
    assert getattr(hands.effect.voices["a"].looper, setting) == getattr(own, setting)


@pytest.mark.parametrize("action", list(Action), ids=lambda action: action.value)
def test_every_action_can_be_automated(instrument: Instrument, action: Action) -> None:
    """Loop Action, turned to it, does what `do` does."""
    loop = Looper("a", quantise="beat").holding(Layer.of(np.arange(64) / 64, wave(np.arange(64.0))), 4)
    told, turned = (Hands(LooperChain(loop).effect(instrument)) for _ in range(2))
    out = []
    for hands in (told, turned):
        hands.play(1)
        if hands is told:
            hands.effect.do("a", action)
        number = 1 + list(Action).index(action)
        out.append([hands.play(2.5, loop_action=number if hands is turned else 0), hands.play(8)])
    np.testing.assert_array_equal(out[0][0], out[1][0])
    np.testing.assert_array_equal(out[0][1], out[1][1])
    assert told.effect.states == turned.effect.states


@pytest.mark.parametrize(
    ("key", "action"), [("loop_undo", Action.UNDO), ("loop_redo", Action.REDO), ("loop_clear", Action.CLEAR)]
)
def test_switches_that_act_once(instrument: Instrument, key: str, action: Action) -> None:
    loop = Looper("a", quantise="none").holding(Layer.of(np.arange(64) / 64, wave(np.arange(64.0))), 4)
    told, switched = (Hands(LooperChain(loop).effect(instrument)) for _ in range(2))
    out = []
    for hands in (told, switched):
        hands.play(1, loop_overdub=1)
        hands.play(1, loop_overdub=0)
        hands.play(1, loop_undo=1)
        if hands is told:
            hands.effect.do("a", action)
        out.append(hands.play(3, loop_undo=0) if hands is told else hands.play(1 / PER_BEAT, loop_undo=0))
        if hands is switched:
            # The switch goes by its edge: what was told at the same frame is one frame later here.
            out[-1] = hands.play(3, **{key: 1})
    assert told.effect.states == switched.effect.states
    assert len(told.effect.voices["a"].past) == len(switched.effect.voices["a"].past)


def test_play_off_stops_and_on_goes_on(hands: Hands) -> None:
    hands.play(4, loop_record=1, loop_length=4)
    hands.play(4, loop_play=0)
    assert hands.effect.states["1"] is State.STOPPED
    np.testing.assert_array_equal(hands.play(4, loop_play=1), wave(np.arange(64) / PER_BEAT))
    muted = hands.play(4, loop_mute=1)
    np.testing.assert_array_equal(muted, wave(hands.beat - 4 + np.arange(64) / PER_BEAT))


def test_a_slot_keeps_what_it_was_set_to(hands: Hands) -> None:
    """Knobs work from the moment they move, on the slot of that moment."""
    hands.play(1, loop_speed=0.5)
    hands.play(1, loop_slot=3)
    assert hands.effect.voices["3"].looper.speed == 1
    hands.play(1, loop_speed=2)
    assert (hands.effect.voices["1"].looper.speed, hands.effect.voices["3"].looper.speed) == (0.5, 2)
    hands.play(1, loop_slot=64, loop_record=1)  # there is no such loop: nothing happens
    assert set(hands.effect.states.values()) == {State.EMPTY}
    assert hands.effect.selected == (0, 0.0)


def test_state_and_phase_of_the_chosen_loop(hands: Hands) -> None:
    hands.play(5, loop_record=1, loop_length=4)
    state, phase = hands.effect.selected
    assert by_key("loop_state").choices[state] == "Playing"
    assert phase == pytest.approx((1 - 1 / PER_BEAT) / 4)
    hands.play(1, loop_slot=2)
    assert hands.effect.selected == (0, 0.0)


def test_the_state_of_knobs_and_switches_goes_on_elsewhere(instrument: Instrument) -> None:
    """In the middle of an overdub, with the switch still on."""
    one = Hands(LooperChain.empty().effect(instrument))
    assert one.effect.untouched
    one.play(4, loop_record=1, loop_length=4, loop_speed=0.5, loop_slot=2)
    one.play(2.5, loop_overdub=1, loop_blend=0.3)
    assert one.effect.states["2"] is State.OVERDUBBING
    other = Hands(LooperChain.empty().effect(instrument))
    other.effect.restore(one.effect.to_bytes())
    assert not other.effect.untouched
    other.beat = one.beat
    other.values.set(one.values.get())
    for values in ({}, {"loop_overdub": 0}, {"loop_speed": 1}, {"loop_undo": 1}):
        np.testing.assert_array_equal(one.play(3, **values), other.play(3, **values))
    assert one.effect.to_bytes() == other.effect.to_bytes()
    other.effect.restore(b"")
    assert other.effect.untouched


# --- the same live and in a render ----------------------------------------------------------------------------------

LANES = {
    "x": Lane(np.arange(24) / 2, np.random.default_rng(1).random(24), "hold"),
    "pressure": Lane([0, 1.5, 3, 5], [1.0, 0.2, 0.7, 1.0], "hold"),
    "loop_record": Lane([0, 1, 3.2], [0.0, 1.0, 0.0], "hold"),
    "loop_quantise": Lane([0], [2.0]),
    "loop_overdub": Lane([0, 5, 6.7], [0.0, 1.0, 0.0], "hold"),
    "loop_speed": Lane([0, 8, 9], [1.0, 0.5, -1.0], "hold"),
    "loop_slot": Lane([0, 9.5], [1.0, 2.0], "hold"),
    "loop_action": Lane([0, 9.6], [0.0, 1.0], "hold"),
}


def batch(instrument: Instrument, bpm: float, seconds: float, chunk: int = 64) -> tuple[np.ndarray, ChainEffect]:
    effect = LooperChain.empty().effect(instrument)
    chunks = render_batch(
        instrument,
        LANES,
        TempoMap.constant(bpm),
        instrument.autoencoder.sample_rate,
        0,
        seconds,
        effects=[effect],
        chunk_frames=chunk,
    )
    return np.concatenate(list(chunks), axis=1), effect


def test_lanes_of_loop_parameters_are_bounced_as_they_are_played(instrument: Instrument) -> None:
    rng = np.random.default_rng(5)
    bpm, seconds, rate = 131.0, 6.0, instrument.autoencoder.sample_rate
    whole, effect = batch(instrument, bpm, seconds)
    for chunk in (1, 13):
        np.testing.assert_array_equal(batch(instrument, bpm, seconds, chunk)[0], whole)
    tempo_map = TempoMap.constant(bpm)
    live = LooperChain.empty().effect(instrument)
    engine = Engine(instrument, rate, effects=[live])
    engine.set_parameters({key: float(lane.values[0]) for key, lane in LANES.items()})
    changes = sorted(
        (int(np.ceil(at * rate - 1e-9)), by_key(key).id, float(value))
        for key, lane in LANES.items()
        for at, value in zip(tempo_map.seconds_at(lane.times), lane.values, strict=True)
    )
    position, blocks, total = 0, [], round(seconds * rate)
    while position < total:
        size = min(int(rng.integers(1, 700)), total - position)
        points = [
            ParameterPoint(id, at - position, value) for at, id, value in changes if position <= at < position + size
        ]
        beat = position / rate * bpm / 60
        transport = Transport(True, beat, bpm, position / rate, np.floor(beat / 4) * 4, (4, 4))
        blocks.append(engine.process(Block(size, points, transport=transport)))
        position += size
    sound, latency = np.concatenate(blocks, axis=1), engine.latency
    assert np.abs(sound[:, latency:] - whole[:, : sound.shape[1] - latency]).max() < 1e-5
    assert live.states == effect.states
    assert live.states["1"] is State.PLAYING
    assert live.states["2"] in (State.RECORDING, State.WAIT_START)


def test_loops_at_rest_change_nothing(instrument: Instrument) -> None:
    lanes = {key: LANES[key] for key in ("x", "pressure")}
    sounds = []
    for effects in ([], [LooperChain.empty().effect(instrument)]):
        chunks = render_batch(instrument, lanes, TempoMap.constant(100), 44100, 0, 2, effects=effects)
        sounds.append(np.concatenate(list(chunks), axis=1))
    np.testing.assert_array_equal(*sounds)


def test_every_column_of_the_loop_parameters_is_known() -> None:
    from terrain_core.looper.loop_controls import KEYS
    from terrain_core.parameters import PARAMETERS

    ours = {p.key for p in PARAMETERS if p.group == "Loop" and not p.read_only}
    assert set(KEYS) == ours
    assert all(key in COLUMN for key in KEYS)
