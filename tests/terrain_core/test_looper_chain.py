"""Chains of loopers in the engine: series, parallel, song order, block and batch, and the sound that comes out."""

from __future__ import annotations

import numpy as np
import pytest

from terrain_core.engine import Block, Engine, Transport, render_batch
from terrain_core.engine.controls import Controls, ControlState
from terrain_core.engine.effects import Frames
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper import Action, Layer, Looper, LooperChain, State
from terrain_core.parameters import Run
from terrain_core.tempo import TempoMap, TempoPoint
from terrain_core.terrain import Terrain
from tests.terrain_core.reference_autoencoder import LinearAutoencoder

D = 3
RAMP = TempoMap([TempoPoint(0.0, 90.0, "linear-beats"), TempoPoint(6.0, 180.0)])


@pytest.fixture
def instrument() -> Instrument:
    return Instrument(LinearAutoencoder(latent_size=D), Terrain.create(2, D, seed=3, width=16, features=16))


def still(value: float, beats: float = 4) -> Looper:
    """A loop of one vector."""
    return Looper(f"at {value:g}").holding(Layer.of(np.zeros(1), np.full((1, D), value)), beats)


def frames_of(beats: np.ndarray, **values: float) -> Frames:
    state = ControlState()
    state.set(values)
    return Frames(0, Controls(np.repeat(state.values[np.newaxis], len(beats), axis=0)), beats)


def through(chain: LooperChain, instrument: Instrument, beats: np.ndarray, incoming: float = 0.0) -> np.ndarray:
    return chain.effect(instrument).process(np.full((len(beats), D), incoming, np.float32), frames_of(beats))


def test_in_parallel_loops_are_mixed_by_weight_and_the_rest_is_what_comes_in(instrument: Instrument) -> None:
    beats = np.arange(10) / 10
    out = through(LooperChain(still(1), still(2), mode="parallel"), instrument, beats, 9.0)
    assert (out == 1.5).all()
    weights = {"at 1": 0.25, "at 2": 0.5}
    out = through(LooperChain(still(1), still(2), mode="parallel", weights=weights), instrument, beats, 8.0)
    assert (out == 0.25 + 1.0 + 2.0).all()
    empty = LooperChain(still(1), Looper("empty"), mode="parallel")
    assert (through(empty, instrument, beats, 9.0) == 1).all()


def test_each_loop_can_drive_its_own_latents(instrument: Instrument) -> None:
    chain = LooperChain(still(1), still(2), mode="parallel", routes={"at 1": (1, 1), "at 2": (3, 3)})
    assert through(chain, instrument, np.arange(4) / 10, 9.0).tolist() == [[1, 9, 2]] * 4
    series = LooperChain(still(1), still(2), routes={"at 2": (2, 3)})
    assert through(series, instrument, np.arange(4) / 10, 9.0).tolist() == [[1, 2, 2]] * 4


def test_solo_mute_and_scenes(instrument: Instrument) -> None:
    beats = np.arange(4) / 10
    assert (through(LooperChain(still(1), still(2), soloed=["at 1"]), instrument, beats) == 1).all()
    chain = LooperChain(still(1), still(2), mode="parallel", scenes={"one": {"at 2": {"muted": True}}})
    assert (through(chain, instrument, beats) == 1.5).all()
    assert (through(chain.with_scene("one"), instrument, beats) == 1).all()
    with pytest.raises(InputError, match="no scene 'two', expected one of one"):
        chain.with_scene("two")


def test_the_order_of_a_song(instrument: Instrument) -> None:
    """A of 2 beats four times, B of 3 beats twice: 14 beats, over and over; each section begins with its loop."""
    ramp = Looper("B").holding(Layer.of(np.arange(30) / 30, np.repeat(np.arange(30.0)[:, None], D, axis=1)), 3)
    chain = LooperChain(still(-1, 2), ramp, mode="song", song=[("at -1", 4), ("B", 2)])
    beats = np.arange(0, 28, 0.1) + 1e-9
    out = through(chain, instrument, beats)[:, 0]
    position = beats % 14
    np.testing.assert_array_equal(out[position < 8], -1)
    in_b = (position - 8) % 3 * 10
    away_from_the_seam = (position >= 8) & (in_b < 28.9)
    np.testing.assert_allclose(out[away_from_the_seam], in_b[away_from_the_seam], atol=1e-4)


def test_coordinates_are_played_on_whatever_terrain_is_there(instrument: Instrument) -> None:
    places = np.stack([np.linspace(0.1, 0.9, 8), np.linspace(0.7, 0.2, 8)], axis=1)
    looper = Looper("walk", kind="coordinates").holding(Layer.of(np.arange(8) / 8, places), 4)
    beats = np.arange(16) / 4
    for seed in (3, 4):
        terrain = Terrain.create(2, D, seed=seed, width=16, features=16)
        other = Instrument(instrument.autoencoder, terrain)
        out = through(LooperChain(looper), other, beats[::2])
        np.testing.assert_allclose(out, terrain.at(places.astype(np.float32).astype(np.float64)), atol=1e-6)


def test_a_gesture_is_recorded_on_the_terrain(instrument: Instrument) -> None:
    lanes = [Lane([0, 4], [0.1, 0.9], name="X", key="x"), Lane([0, 4], [0.8, 0.2], name="Y", key="y")]
    looper = Looper("a", beats=4).record(instrument, lanes, at="2.1", tempo=90)
    frame_rate = instrument.autoencoder.sample_rate / instrument.autoencoder.hop
    assert len(looper.layer) == round(4 * 60 / 90 * frame_rate)
    assert (looper.origin, looper.beats) == (4.0, 4)
    phases = looper.layer.phases
    unit = np.stack([0.1 + 0.8 * phases, 0.8 - 0.6 * phases], axis=1)
    np.testing.assert_allclose(looper.layer.vectors, instrument.terrain.at(unit), atol=1e-6)
    with pytest.raises(InputError, match="needs a length"):
        Looper("b").record(instrument, lanes)
    with pytest.raises(InputError, match=r"'0.1' is no place in a song"):
        Looper("b", beats=1).record(instrument, lanes, at="0.1")


# --- in the engine --------------------------------------------------------------------------------------------------

LANES = {"x": Lane([0, 2, 6, 12], [0.1, 0.9, 0.3, 0.8]), "y": Lane([0.5, 8], [1.0, 0.0])}
ACTIONS = [
    (0.0, "one", Action.RECORD),
    (2.0, "two", Action.RECORD),
    (5.0, "one", Action.OVERDUB),
    (7.0, "two", Action.REVERSE),
]


def chain_to_play() -> LooperChain:
    one = Looper("one", beats=2, quantise="beat", overdub=0.4, feedback=0.9)
    two = Looper("two", beats=1.5, quantise="none", mutate=0.2, kind="coordinates")
    return LooperChain(one, two, mode="parallel", weights={"one": 0.6, "two": 0.3})


def by_batch(instrument: Instrument, tempo_map: TempoMap, seconds: float, chunk: int) -> np.ndarray:
    effect = chain_to_play().effect(instrument)
    for beat, name, action in ACTIONS:
        effect.do(name, action, beat)
    rate = instrument.autoencoder.sample_rate
    chunks = render_batch(instrument, LANES, tempo_map, rate, 0, seconds, effects=[effect], chunk_frames=chunk)
    return np.concatenate(list(chunks), axis=1)


def test_batch_is_the_same_in_any_chunks(instrument: Instrument) -> None:
    whole = by_batch(instrument, RAMP, 4.0, 64)
    assert np.abs(whole).max() > 0.01
    for chunk in (1, 7, 1000):
        np.testing.assert_array_equal(by_batch(instrument, RAMP, 4.0, chunk), whole)


def test_live_in_random_blocks_is_the_batch(instrument: Instrument) -> None:
    """Controls and beats read at the frames' due samples: lanes as points at every sample would be too much, so the
    parameters stand still and only the looper moves.
    """
    rng = np.random.default_rng(5)
    rate = instrument.autoencoder.sample_rate
    seconds, bpm = 4.0, 137.0
    walk = Lane(np.arange(40) / 5, rng.random(40), "hold")
    effects = [chain_to_play().effect(instrument) for _ in range(2)]
    for effect in effects:
        for beat, name, action in ACTIONS:
            effect.do(name, action, beat)
    tempo_map = TempoMap.constant(bpm)
    lanes = {"x": walk}
    batch = np.concatenate(
        list(render_batch(instrument, lanes, tempo_map, rate, 0, seconds, effects=effects[:1])), axis=1
    )
    engine = Engine(instrument, rate, effects=effects[1:])
    total, position, blocks = round(seconds * rate), 0, []
    changes = np.ceil(tempo_map.seconds_at(walk.times) * rate - 1e-9).astype(int)
    from terrain_core.engine import ParameterPoint
    from terrain_core.parameters import by_key

    engine.set_parameters({"x": float(walk.values[0])})
    while position < total:
        size = min(int(rng.integers(1, 700)), total - position)
        inside = np.flatnonzero((changes >= position) & (changes < position + size))
        points = [ParameterPoint(by_key("x").id, int(changes[i] - position), float(walk.values[i])) for i in inside]
        beat = position / rate * bpm / 60
        transport = Transport(True, beat, bpm, position / rate, np.floor(beat / 4) * 4, (4, 4))
        blocks.append(engine.process(Block(size, points, transport=transport)))
        position += size
    live = np.concatenate(blocks, axis=1)
    latency = engine.latency
    assert np.abs(live[:, latency:] - batch[:, : live.shape[1] - latency]).max() < 1e-5
    assert effects[0].states == effects[1].states


def test_the_state_of_a_chain_goes_on_elsewhere(instrument: Instrument) -> None:
    effect, other = (chain_to_play().effect(instrument) for _ in range(2))
    for beat, name, action in ACTIONS:
        effect.do(name, action, beat)
    beats = np.arange(200) / 25
    rng = np.random.default_rng(2)
    latents = rng.normal(size=(200, D)).astype(np.float32)
    effect.process(latents[:140], frames_of(beats[:140]))
    assert effect.states["one"] is State.OVERDUBBING
    effect._actions.clear()
    other.restore(effect.to_bytes())
    rest = frames_of(beats[140:])
    np.testing.assert_array_equal(effect.process(latents[140:], rest), other.process(latents[140:], rest))
    with pytest.raises(InputError, match="a state of the loopers one, two, expected at 1"):
        LooperChain(still(1)).effect(instrument).restore(effect.to_bytes())
    with pytest.raises(InputError, match="state is damaged"):
        other.restore(b"rubbish")


def test_a_loop_at_another_tempo_has_the_same_pitch(root) -> None:
    """Two tuned places of the built-in instrument, two beats each, recorded at 120 bpm."""
    instrument = Instrument.load(root / "terrain_core/instruments/default.terrain")
    lanes = [Lane([0], [0.35], key="x"), Lane([0, 2], [0.3, 0.62], "hold", key="y")]
    looper = Looper("tune", beats=4).record(instrument, lanes, tempo=120)
    rate = instrument.autoencoder.sample_rate
    pitches = {}
    for bpm in (120, 60, 90, 173.5):
        effect = LooperChain(looper).effect(instrument)
        seconds = 8 * 60 / bpm
        tempo_map = TempoMap.constant(bpm)
        audio = np.concatenate(
            list(
                render_batch(instrument, {}, tempo_map, rate, 0, seconds, effects=[effect], constants={"run": Run.FREE})
            ),
            axis=1,
        )[0]
        pitches[bpm] = [pitch(audio, float(tempo_map.seconds_at(beat)), rate) for beat in (5.4, 7.4)]
    assert 1200 * abs(np.log2(pitches[120][0] / pitches[120][1])) > 100  # two notes
    for bpm in (60, 90, 173.5):
        for note in (0, 1):
            assert abs(1200 * np.log2(pitches[bpm][note] / pitches[120][note])) < 5


def pitch(audio: np.ndarray, seconds: float, rate: float) -> float:
    """The fundamental around a moment, Hz: the first strong peak of the autocorrelation, by a parabola."""
    size = 8192
    begin = round(seconds * rate) - size // 4
    piece = audio[begin : begin + size // 2] * np.hanning(size // 2)
    spectrum = np.abs(np.fft.rfft(piece, 4 * size)) ** 2
    correlation = np.fft.irfft(spectrum)[: size // 2]
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(size // 2), 4 * size)) ** 2)[: size // 2]
    correlation = correlation / np.maximum(window, window[0] * 0.01)
    low, high = round(rate / 1200), round(rate / 60)
    region = correlation[low:high]
    peaks = np.flatnonzero((region[1:-1] > region[:-2]) & (region[1:-1] >= region[2:])) + 1
    strong = peaks[region[peaks] > 0.9 * region[peaks].max()]
    at = low + int(strong[0])
    a, b, c = correlation[at - 1 : at + 2]
    return rate / (at + 0.5 * (a - c) / (a - 2 * b + c))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LooperChain(still(1), still(1)), "expected a name for each"),
        (lambda: LooperChain(), "a chain of 0 parts"),
        (lambda: LooperChain(still(1), mode="round"), "has mode='round', expected one of series, parallel, song"),
        (lambda: LooperChain(still(1), weights={"x": 1}), "names 'x', expected one of its parts: at 1"),
        (lambda: LooperChain(still(1), weights={"at 1": 2}), "has the weight 2"),
        (lambda: LooperChain(still(1), routes={"at 1": (3, 1)}), "drives latents 3 to 1"),
        (lambda: LooperChain(still(1), mode="song"), "an order of a song if, and only if"),
        (lambda: LooperChain(Looper("a"), mode="song", song=[("a", 1)]), "is played 1 times in a song"),
    ],
)
def test_chains_that_cannot_be_are_refused(build, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def test_an_instrument_keeps_its_chain(instrument: Instrument, tmp_path) -> None:
    """In its file, and from there into a render and a live engine."""
    rng = np.random.default_rng(3)
    loop = Layer.of(np.arange(20) / 20, rng.normal(size=(20, D)))
    chain = LooperChain(
        Looper("a", slices=(1, 0), transpose=(0.5,)).holding(loop, 7 / 3, 4),
        Looper("b", beats=2, kind="coordinates"),
        mode="parallel",
        weights={"a": 0.75},
        routes={"a": (1, 2)},
        scenes={"quiet": {"a": {"muted": True}}},
    )
    facts, arrays = chain.to_parts()
    again = LooperChain.from_parts(facts, arrays)
    assert again.to_parts()[0] == facts
    np.testing.assert_array_equal(again["a"].layer.vectors, loop.vectors)
    assert (again["a"].beats, again["a"].origin, again["b"].layer) == (chain["a"].beats, 4, None)
    with pytest.raises(InputError, match="makes no sense"):
        LooperChain.from_parts({"mode": "series"}, {})
    with pytest.raises(InputError, match="settings make no sense"):
        LooperChain.from_parts({"loopers": [{"name": "a", "colour": "red"}]}, {})


def test_a_loop_under_a_tempo_ramp_has_the_same_pitch_and_its_onsets_on_their_beats(root) -> None:
    """From 60 to 173.5 bpm over sixteen beats: four passes of two notes, two beats each."""
    instrument = Instrument.load(root / "terrain_core/instruments/default.terrain")
    lanes = [
        Lane([0], [0.35], key="x"),
        Lane([0, 2], [0.3, 0.62], "hold", key="y"),
        Lane([0, 0.3, 2, 2.3], [0.0, 1.0, 0.0, 1.0], "hold", key="pressure"),
    ]
    looper = Looper("tune", beats=4).record(instrument, lanes, tempo=120)
    rate = instrument.autoencoder.sample_rate
    tempo_map = TempoMap([TempoPoint(0.0, 60.0, "linear-beats"), TempoPoint(16.0, 173.5)])
    end = float(tempo_map.seconds_at(16.0))
    effect = LooperChain(looper).effect(instrument)
    audio = np.concatenate(list(render_batch(instrument, {}, tempo_map, rate, 0, end, effects=[effect])), axis=1)[0]
    still = LooperChain(looper).effect(instrument)
    steady = np.concatenate(
        list(render_batch(instrument, {}, TempoMap.constant(120), rate, 0, 4.0, effects=[still])), axis=1
    )[0]
    expected = [pitch(steady, beat / 2, rate) for beat in (5.2, 7.2)]
    for passed in (0, 4, 8, 12):
        for note, beat in enumerate((1.2, 3.2)):
            found = pitch(audio, float(tempo_map.seconds_at(passed + beat)), rate)
            assert abs(1200 * np.log2(found / expected[note])) < 5, (passed, note)
    frame = instrument.autoencoder.hop / rate
    loud = np.sqrt(np.convolve(audio**2, np.ones(256) / 256, "same"))
    for onset in np.arange(0, 16, 2) + 0.3:
        at = float(tempo_map.seconds_at(onset))
        around = loud[round((at - 2 * frame) * rate) : round((at + 3 * frame) * rate)]
        rises = (np.argmax(around > 0.25 * around.max()) / rate) + at - 2 * frame
        assert abs(rises - at) < 2 * frame, onset  # a frame, and the frame in which the level rises


def test_a_million_bars_leave_no_trace(instrument: Instrument) -> None:
    """A frame a bar: the phase is what the beat says, and nothing has grown."""
    ramp = Layer.of(np.arange(64) / 64, np.repeat(np.arange(64.0)[:, None], D, axis=1))
    looper = Looper("a", speed=1.0, interpolation="linear").holding(ramp, 7)
    effect = LooperChain(looper).effect(instrument)
    bars, at_once = 1_000_000, 1000
    size = len(effect.to_bytes())
    worst = 0.0
    for first in range(0, bars, at_once):
        beats = (np.arange(first, first + at_once) * 4).astype(np.float64)
        out = effect.process(np.zeros((at_once, D), np.float32), frames_of(beats))[:, 0]
        phase = (np.arange(first, first + at_once) * 4) % 7 / 7 * 64
        inside = phase < 63
        worst = max(worst, float(np.abs(out[inside] - phase[inside]).max()))
    assert worst / 64 * 7 < 1e-5  # beats, as far as float32 latents can tell
    exact = effect.voices["a"].phase_at(np.array([4.0 * (bars - 1)]))[0]
    assert abs(exact - (4 * (bars - 1)) % 7 / 7) * 7 < 1e-8
    assert abs(len(effect.to_bytes()) - size) < 64
    assert effect.voices["a"].nbytes == ramp.nbytes
