"""What a chain has besides loopers: loudness, effects, chains within chains, automation, MIDI, incoming sound."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from terrain_core.engine import Block, Engine, MidiEvent, ParameterPoint, TimedMidi, Transport, render_batch
from terrain_core.engine.controls import Controls, ControlState
from terrain_core.engine.effects import Frames, Glide, TimedMessage
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper import Action, Binding, LatentEffects, Layer, Looper, LooperChain, State
from terrain_core.looper.looper import Statistics
from terrain_core.looper.voice import Cue, Voice, crossfaded
from terrain_core.parameters import Run, Source, by_key
from terrain_core.tempo import TempoMap
from terrain_core.terrain import Terrain
from tests.terrain_core.reference_autoencoder import LinearAutoencoder

D = 3
UNIT = Statistics(np.zeros(D, np.float32), np.ones(D, np.float32))


@pytest.fixture
def instrument() -> Instrument:
    return Instrument(LinearAutoencoder(latent_size=D), Terrain.create(2, D, seed=3, width=16, features=16))


def still(name: str, value: float, beats: float = 4, loudness: float | None = None) -> Looper:
    """A loop of one vector."""
    loud = None if loudness is None else np.full(1, loudness)
    return Looper(name).holding(Layer.of(np.zeros(1), np.full((1, D), value), loud), beats)


def frames_of(beats: np.ndarray, loudness: float = 1.0, midi=(), **values: float) -> Frames:
    state = ControlState()
    state.set(values)
    controls = Controls(np.repeat(state.values[np.newaxis], len(beats), axis=0))
    return Frames(0, controls, beats, loudness=np.full(len(beats), loudness), midi=midi)


def through(effect, beats: np.ndarray, incoming: float = 0.0, loudness: float = 1.0, midi=()):
    """(latents, loudness) of a chain's effect."""
    latents = np.full((len(beats), D), incoming, np.float32)
    return effect.process(latents, frames_of(beats, loudness, midi)), effect.loudness


BEATS = np.arange(64) / 16


# --- loudness -------------------------------------------------------------------------------------------------------


def test_a_loop_keeps_its_rests_and_sounds_while_the_hand_rests() -> None:
    voice = Voice(Looper("a", beats=4, quantise="none"), UNIT)
    vectors = np.repeat(np.sin(BEATS)[:, None], D, axis=1).astype(np.float32)
    played = np.where((BEATS % 2) < 1, 0.8, 0.0).astype(np.float32)
    bars = np.stack([np.zeros(64), np.full(64, 4.0)], axis=1)
    voice.process(vectors, BEATS, bars, [Cue(0, Action.RECORD)], played)
    out, presence, loud = voice.process(vectors * 0, BEATS + 4, bars, (), np.zeros(64, np.float32))
    assert (presence == 1).all()
    np.testing.assert_array_equal(loud, played)
    np.testing.assert_array_equal(out, vectors)
    voice.set(8, level=-6.0206)
    np.testing.assert_allclose(voice.process(vectors, BEATS + 8, bars)[2], played / 2, rtol=1e-4)
    voice.set(12, level=-60.0)
    assert (voice.process(vectors, BEATS + 12, bars)[2] == 0).all()


def test_a_resting_hand_overdubs_nothing_and_into_rests_it_plays_alone() -> None:
    bars = np.stack([np.zeros(64), np.full(64, 4.0)], axis=1)
    loop = Layer.of(np.arange(64) / 64, np.full((64, D), 2.0), np.where(BEATS < 2, 1.0, 0.0))
    hand = np.where((BEATS % 2) < 1, 0.0, 0.5).astype(np.float32)
    voice = Voice(Looper("a", quantise="none", overdub=0.5).holding(loop, 4), UNIT)
    out, _, loud = voice.process(np.full((64, D), 6.0, np.float32), BEATS, bars, [Cue(0, Action.OVERDUB)], hand)
    assert (out[BEATS < 1] == 2).all()  # the hand rests
    # both: 0.5 · 1 of the loop, 0.5 · 0.5 of the hand
    np.testing.assert_allclose(out[(BEATS >= 1) & (BEATS < 2)], (1.0 * 2 + 0.5 * 6) / 1.5, rtol=1e-6)
    np.testing.assert_allclose(out[BEATS >= 3], 6, rtol=1e-6)  # the loop rests
    assert loud[(BEATS < 2)].tolist() == [1.0] * 32
    assert (loud[(BEATS >= 2) & (BEATS < 3)] == 0).all()
    assert (loud[BEATS >= 3] == 0.5).all()


def test_crossfades_go_from_one_to_the_other() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 9, D)).astype(np.float32)
    loud_a, loud_b = rng.random((2, 9)).astype(np.float32)
    for share, vectors, loud in ((0.0, a, loud_a), (1.0, b, loud_b)):
        out, heard = crossfaded(a, loud_a, b, loud_b, share)
        np.testing.assert_allclose(out, vectors, atol=1e-6)
        np.testing.assert_allclose(heard, loud, atol=1e-6)
    steps = [crossfaded(a, loud_a, b, loud_b, share)[0] for share in np.linspace(0, 1, 1001)]
    assert max(np.abs(y - x).max() for x, y in pairwise(steps)) < 0.1


def test_in_parallel_what_is_silent_leaves_no_trace(instrument: Instrument) -> None:
    chain = LooperChain(still("a", 1, loudness=0.0), still("b", 3, loudness=0.5), mode="parallel")
    out, loud = through(chain.effect(instrument), BEATS, 9.0, 0.7)
    assert (out == 3).all()
    assert loud == pytest.approx(0.5)
    chain = LooperChain(still("a", 1, loudness=0.5), still("b", 3, loudness=0.5), mode="parallel")
    out, loud = through(chain.effect(instrument), BEATS, 9.0)
    assert (out == 2).all()
    assert loud == pytest.approx(1.0)
    chain = LooperChain(still("a", 1), mode="parallel", weights={"a": 0.25})
    out, loud = through(chain.effect(instrument), BEATS, 9.0, 0.0)  # the hand rests
    assert (out == 1).all()
    assert loud == pytest.approx(0.25)


def test_loops_are_heard_while_pressure_is_zero(instrument: Instrument) -> None:
    looper = still("a", 0.7)
    rms = {}
    for name, effects in (("hand", []), ("loop", [LooperChain(looper).effect(instrument)])):
        chunks = render_batch(
            instrument, {}, TempoMap.constant(120), 44100, 0, 1, constants={"pressure": 0.0}, effects=effects
        )
        rms[name] = float(np.sqrt(np.mean(np.concatenate(list(chunks), axis=1) ** 2)))
    assert rms["hand"] == 0
    assert rms["loop"] > 0.01


# --- effects and chains within chains -------------------------------------------------------------------------------


def test_effects_in_a_chain_are_the_instruments_own(instrument: Instrument) -> None:
    jump = Layer.of([0.0, 0.5], np.array([[0.0] * D, [4.0] * D]))
    looper = Looper("a", interpolation="linear").holding(jump, 4)
    chain = LooperChain(looper, LatentEffects("wash", {"glide": 300.0}))
    dry, _ = through(LooperChain(looper).effect(instrument), BEATS)
    wet, _ = through(chain.effect(instrument), BEATS)
    glide = Glide(instrument.autoencoder.sample_rate / instrument.autoencoder.hop)
    np.testing.assert_array_equal(wet, glide.process(dry, frames_of(BEATS, glide=300.0)))
    assert np.abs(wet - dry).max() > 0.1
    with pytest.raises(InputError, match="effect 'w' has 'level', expected one of glide"):
        LatentEffects("w", {"level": 0.0})
    with pytest.raises(InputError, match="effect 'w' has glide=-1, expected 0 to 5000"):
        LatentEffects("w", {"glide": -1})


def test_chains_within_chains(instrument: Instrument) -> None:
    inner = LooperChain(still("a", 1), still("b", 3), mode="parallel", name="pair", beats=8)
    outer = LooperChain(inner, LatentEffects("up", {"offset_1": 1.0}), mode="series")
    out, _ = through(outer.effect(instrument), BEATS)
    assert (out[:, 1:] == 2).all()
    np.testing.assert_allclose(out[:, 0], 2 + instrument.autoencoder.latent_std[0], rtol=1e-6)
    song = LooperChain(inner, still("c", 5, 2), mode="song", song=[("pair", 1), ("c", 2)])
    out, _ = through(song.effect(instrument), np.arange(24) * 0.5 + 1e-6)
    assert out[:, 0].tolist() == [2.0] * 16 + [5.0] * 8
    assert [looper.name for looper in song.loopers] == ["a", "b", "c"]
    facts, arrays = song.to_parts()
    again = LooperChain.from_parts(facts, arrays)
    assert again.to_parts()[0] == facts
    again_out, _ = through(again.effect(instrument), np.arange(24) * 0.5 + 1e-6)
    np.testing.assert_array_equal(again_out, out)


def test_actions_in_a_song_wait_for_their_loopers_turn(instrument: Instrument) -> None:
    chain = LooperChain(still("a", 1, 2), Looper("b", beats=2, quantise="none"), mode="song", song=[("a", 1), ("b", 1)])
    for cuts in ((), (5,), (1, 30, 31, 32, 33, 70), tuple(range(1, 128))):
        effect = chain.effect(instrument)
        effect.do("b", Action.RECORD, 1.0)
        beats = np.arange(128) / 16
        latents = np.repeat(beats[:, None], D, axis=1).astype(np.float32)
        edges = [0, *cuts, 128]
        out = np.concatenate(
            [effect.process(latents[i:j], frames_of(beats[i:j])) for i, j in pairwise(edges)]
        )  # fmt: skip
        assert (out[:32, 0] == 1).all()
        np.testing.assert_array_equal(out[32:64, 0], beats[32:64])  # recorded at its turn
        np.testing.assert_array_equal(out[96:128, 0], beats[32:64])  # and played at the next


# --- automation -----------------------------------------------------------------------------------------------------


def test_every_setting_can_be_automated(instrument: Instrument) -> None:
    ramp = Layer.of(np.arange(64) / 64, np.repeat(np.arange(64.0)[:, None], D, axis=1))
    looper = Looper("a").holding(ramp, 4)
    lanes = {"a": {"mix": Lane([0, 4], [0.0, 1.0]), "transpose": Lane([0], [0])}}
    with pytest.raises(InputError, match="automates 'transpose' of 'a', expected count_in"):
        LooperChain(looper, automation=lanes)
    with pytest.raises(InputError, match="over seconds, expected beats"):
        LooperChain(looper, automation={"a": {"mix": Lane([0], [1], unit="seconds")}})
    with pytest.raises(InputError, match="automates 'b', expected one of a"):
        LooperChain(looper, automation={"b": {}})
    del lanes["a"]["transpose"]
    chain = LooperChain(looper, automation=lanes)
    whole, _ = through(chain.effect(instrument), BEATS, 100.0)
    expected = (1 - BEATS / 4) * 100 + BEATS / 4 * np.arange(64)
    np.testing.assert_allclose(whole[:, 0], expected, rtol=1e-5)
    effect = chain.effect(instrument)
    parts = [through(effect, BEATS[i:j], 100.0)[0] for i, j in pairwise([0, 1, 7, 30, 64])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_weights_can_be_automated(instrument: Instrument) -> None:
    lanes = {"a": {"weight": Lane([0, 4], [1.0, 0.0])}, "b": {"weight": Lane([0, 4], [0.0, 1.0])}}
    chain = LooperChain(still("a", 1), still("b", 3), mode="parallel", automation=lanes)
    out, _ = through(chain.effect(instrument), BEATS)
    np.testing.assert_allclose(out[:, 0], 1 + 2 * BEATS / 4, rtol=1e-6)
    effects = LooperChain(
        LatentEffects("e"), automation={"e": {"offset_2": Lane([0, 4], [0.0, 2.0])}}, mode="series"
    )  # fmt: skip
    out, _ = through(effects.effect(instrument), BEATS)
    np.testing.assert_allclose(out[:, 1], BEATS / 2 * instrument.autoencoder.latent_std[1], atol=1e-6)


# --- MIDI -----------------------------------------------------------------------------------------------------------

NOTES = [(0x90, 36, 100), (0x80, 36, 0)]


def bound() -> LooperChain:
    loopers = (Looper("a", beats=None, quantise="none", round_to="free"), still("b", 2))
    return LooperChain(
        *loopers,
        bindings=[
            Binding("a", do=Action.RECORD, note=36, hold=True),
            Binding("b", set="mix", controller=20, channel=2, low=0.0, high=0.5),
            Binding("b", do=Action.MUTE, controller=21),
            Binding("a", do=Action.TRIGGER, note=-1),
        ],
    )


def test_a_note_records_as_long_as_it_lasts(instrument: Instrument) -> None:
    effect = bound().effect(instrument)
    messages = [TimedMessage(16, 0.97, bytes(NOTES[0])), TimedMessage(48, 2.97, bytes(NOTES[1]))]
    through(effect, BEATS, midi=messages)
    layer, beats, origin = effect.voices["a"].content
    assert (beats, origin) == (pytest.approx(2.0), pytest.approx(0.97))
    assert len(layer) == 32
    assert effect.claims(bytes(NOTES[0]))
    assert not effect.claims(bytes((0x90, 60, 1)))


def test_controllers_set_and_do(instrument: Instrument) -> None:
    effect = bound().effect(instrument)
    messages = [
        TimedMessage(0, 0, bytes((0xB1, 20, 127))),
        TimedMessage(1, 0, bytes((0xB0, 20, 0))),  # another channel
        TimedMessage(2, 0, bytes((0xB0, 21, 70))),
        TimedMessage(3, 0, bytes((0xB0, 21, 90))),  # still up: once
    ]
    through(effect, BEATS, midi=messages)
    assert effect.voices["b"].looper.mix == 0.5
    assert effect.voices["b"].muted
    through(effect, BEATS + 4, midi=[TimedMessage(0, 4, bytes((0xB0, 21, v))) for v in (10, 90)])
    assert not effect.voices["b"].muted


def test_any_note_triggers_and_plays(instrument: Instrument) -> None:
    ramp = Layer.of(np.arange(64) / 64, np.repeat(np.arange(64.0)[:, None], D, axis=1))
    chain = LooperChain(
        Looper("a").holding(ramp, 4), bindings=[Binding("a", do=Action.TRIGGER, note=-1)]
    )  # fmt: skip
    effect = chain.effect(instrument)
    message = bytes((0x95, 71, 1))
    out, _ = through(effect, BEATS, midi=[TimedMessage(20, 1.25, message)])
    assert out[:, 0].tolist() == [*range(20), *range(44)]
    assert not effect.claims(message)


def test_midi_is_bounced_as_it_is_played(instrument: Instrument) -> None:
    """Bound notes at odd times; they do not open the gate of Run: Notes, others do."""
    bpm, seconds, rate = 113.0, 5.0, instrument.autoencoder.sample_rate
    messages = [
        (0.02, (0x90, 50, 90)),
        (0.531, NOTES[0]),
        (1.777, NOTES[1]),
        (2.9, (0x90, 61, 3)),
        (3.1, (0x80, 50, 0)),
    ]
    messages += [(3.6, (0x80, 61, 0)), (3.8, NOTES[0])]
    walk = Lane(np.arange(40) / 8, np.random.default_rng(2).random(40), "hold")
    effects = [bound().effect(instrument) for _ in range(2)]
    constants = {"run": float(Run.NOTES)}
    midi = [TimedMidi(at, bytes(data)) for at, data in messages]
    tempo_map = TempoMap.constant(bpm)
    whole = np.concatenate(
        list(
            render_batch(
                instrument,
                {"x": walk},
                tempo_map,
                rate,
                0,
                seconds,
                constants=constants,
                midi=midi,
                effects=effects[:1],
            )
        ),
        axis=1,
    )
    engine = Engine(instrument, rate, effects=effects[1:])
    engine.set_parameters(constants | {"x": float(walk.values[0])})
    changes = np.ceil(tempo_map.seconds_at(walk.times) * rate - 1e-9).astype(int)
    rng = np.random.default_rng(3)
    position, blocks = 0, []
    while position < round(seconds * rate):
        size = int(rng.integers(1, 600))
        inside = np.flatnonzero((changes >= position) & (changes < position + size))
        points = [ParameterPoint(by_key("x").id, int(changes[i] - position), float(walk.values[i])) for i in inside]
        events = [
            MidiEvent(round(at * rate) - position, bytes(data))
            for at, data in messages
            if position <= round(at * rate) < position + size
        ]
        beat = position / rate * bpm / 60
        transport = Transport(True, beat, bpm, position / rate, np.floor(beat / 4) * 4, (4, 4))
        blocks.append(engine.process(Block(size, points, midi=events, transport=transport)))
        position += size
    live = np.concatenate(blocks, axis=1)[:, engine.latency :]
    length = min(live.shape[1], whole.shape[1])
    assert np.abs(whole[:, int(3.7 * rate) :]).max() == 0  # the bound note alone sounds nothing
    assert np.abs(whole[:, : int(3.0 * rate)]).max() > 0.01
    assert np.abs(live[:, :length] - whole[:, :length]).max() < 1e-5
    for name in ("a", "b"):
        assert effects[0].voices[name].state is effects[1].voices[name].state
    assert effects[0].voices["a"].state is State.RECORDING


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either do an action or set a setting"),
        ({"do": Action.PLAY}, "either a note or a controller"),
        ({"do": Action.PLAY, "note": 128}, "names number 128"),
        ({"do": Action.PLAY, "note": 1, "channel": 0}, "has channel 0"),
        ({"set": "name", "controller": 1}, "sets 'name'"),
        ({"set": "mix", "note": 1}, "expected a controller"),
        ({"do": Action.UNDO, "note": 1, "hold": True}, "holds, expected insert"),
    ],
)
def test_bindings_that_cannot_be_are_refused(options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Binding("a", **options)


# --- tempo and incoming sound ---------------------------------------------------------------------------------------


def test_a_tapped_tempo_drives_the_loops_where_the_host_has_none(instrument: Instrument) -> None:
    tap, rate = by_key("tap").id, instrument.autoencoder.sample_rate
    engine = Engine(instrument, rate, effects=[LooperChain.empty().effect(instrument)])
    gap = round(60 / 97 * rate)
    for _ in range(5):
        engine.process(Block(gap, [ParameterPoint(tap, 10, 1.0), ParameterPoint(tap, gap // 2, 0.0)]))
    assert engine._song.bpm == pytest.approx(97, rel=1e-4)
    engine.process(Block(gap, transport=Transport(True, 0.0, 140.0)))
    assert engine._song.bpm == 140
    engine.set_parameters({"sync_bpm": 80.0})
    engine.process(Block(gap))
    assert engine._song.bpm == 80
    engine.set_parameters({"sync_bpm": 0.0})
    engine.process(Block(4 * rate))  # a pause: the next two taps count from anew
    engine.process(Block(gap, [ParameterPoint(tap, 0, 1.0), ParameterPoint(tap, 9, 0.0)]))
    engine.process(Block(rate // 2, [ParameterPoint(tap, rate // 2 - gap + gap, 1.0)]))
    assert engine._song.bpm != pytest.approx(97, rel=1e-3)


def test_incoming_sound_is_looped_and_begins_the_recording_by_itself() -> None:
    """Through the encoder of the built-in autoencoder: half a second of silence, then a tone."""
    from terrain_core import autoencoders

    builtin = autoencoders.load("builtin")
    instrument = Instrument(builtin, None)
    chain = LooperChain(Looper("a", beats=2, quantise="none", threshold=0.1))
    effect = chain.effect(instrument)
    effect.do("a", Action.RECORD)
    rate = 44100
    engine = Engine(instrument, rate, 512, effects=[effect])
    engine.set_parameters({"source": float(Source.INPUT)})
    seconds = np.arange(3 * rate) / rate
    tone = np.where(seconds > 0.5, 0.5 * np.sin(2 * np.pi * 440 * seconds), 0.0).astype(np.float32)
    silence = np.zeros(rate, np.float32)
    began = None
    out = []
    for start in range(0, 4 * rate - 512, 512):
        audio = np.concatenate([tone, silence])[None, start : start + 512]
        transport = Transport(True, start / rate * 2, 120.0, start / rate)
        out.append(engine.process(Block(512, audio=audio, transport=transport)))
        if began is None and effect.states["a"] is State.RECORDING:
            began = start / rate
    delay = engine.input_delay_frames * builtin.hop / rate
    assert began == pytest.approx(0.5 + delay, abs=2 * builtin.hop / rate)
    assert effect.states["a"] is State.PLAYING
    sound = np.concatenate(out, axis=1)[0]
    after = sound[round(3.4 * rate) : round(3.9 * rate)]  # nothing comes in any more: the loop
    spectrum = np.abs(np.fft.rfft(after * np.hanning(len(after))))
    assert np.argmax(spectrum) * rate / len(after) == pytest.approx(440, rel=0.02)
