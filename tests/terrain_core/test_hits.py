"""Hits: when they come, how loud, how many at once, and that no cutting and no mode of rendering changes a thing."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
import sys
import weakref

import numpy as np
import pytest

from terrain_core.engine import (
    Block,
    Engine,
    MidiEvent,
    NoteExpression,
    ParameterPoint,
    TimedMidi,
    Transport,
    render_batch,
)
from terrain_core.engine.hits import CHOKE_SECONDS, STEAL_SECONDS
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.one_shots.kit import Kit, Pad
from terrain_core.parameters import by_key
from terrain_core.tempo import TempoMap, TempoPoint
from tests.terrain_core.one_shot_bundle import PADS, RATE, SAMPLES, instrument, one_shot, shapes

MAP = {"source": 1.0, "snap": 1.0}
X, PRESSURE, RUN = by_key("x").id, by_key("pressure").id, by_key("run").id


def engine(kit: Kit | None = None, rate: float = RATE, **parameters: float) -> Engine:
    made = Engine(instrument(kit or Kit(PADS)), rate)
    made.set_parameters({**MAP, **parameters})
    return made


def on(offset: int, key: int, velocity: int = 127, channel: int = 0) -> MidiEvent:
    return MidiEvent(offset, bytes((0x90 | channel, key, velocity)))


def off(offset: int, key: int, channel: int = 0) -> MidiEvent:
    return MidiEvent(offset, bytes((0x80 | channel, key, 0)))


def play(made: Engine, samples: int, midi=(), points=(), transport=None) -> np.ndarray:
    return made.process(Block(samples, points, midi=midi, transport=transport))[0]


def sine(row: int, strength: float = 0.5) -> np.ndarray:
    """The hit that is expected: the last 2 ms fade out."""
    hit = shapes()[row] * np.float32(strength)
    tail = round(0.002 * RATE)
    hit[-tail:] *= np.linspace(1, 0, tail, dtype=np.float32)
    return hit


# When and what


def test_an_instrument_of_one_shots_gets_an_engine_of_hits():
    made = engine()
    assert made.latency == made.voices == 0
    made.process(Block(100, midi=[on(10, 36), on(20, 38)]))
    assert made.voices == 2


@pytest.mark.parametrize("offset", [0, 1, 63, 64, 517])
def test_a_hit_begins_on_its_notes_sample(offset):
    audio = play(engine(), offset + SAMPLES + 10, [on(offset, 36)])
    assert not audio[:offset].any()
    np.testing.assert_allclose(audio[offset : offset + SAMPLES], sine(0), atol=2e-6)
    assert not audio[offset + SAMPLES :].any()


@pytest.mark.parametrize("rate", [22050, 48000, 96000])
def test_at_another_rate_it_begins_on_the_same_sample_and_keeps_its_pitch(rate):
    audio = play(engine(rate=rate), round(0.2 * rate), [on(100, 36)])
    assert not audio[:100].any()
    assert abs(audio[100]) > 0.2  # a cosine of strength 0.5, the filter's first sample
    body = audio[100 : 100 + round(0.05 * rate)]
    expected = 0.5 * np.cos(2 * np.pi * 200 * np.arange(len(body)) / rate) * np.exp(-np.arange(len(body)) / rate * 40)
    np.testing.assert_allclose(body[20:], expected[20:], atol=0.02)


def test_velocity_is_squared():
    soft, loud = (play(engine(), SAMPLES, [on(0, 36, velocity)]) for velocity in (32, 127))
    np.testing.assert_allclose(soft, loud * (32 / 127) ** 2, atol=1e-6)


def test_a_key_without_a_pad_plays_what_x_and_y_point_to():
    audio = play(engine(), SAMPLES, [on(0, 60)], [ParameterPoint(X, 0, 0.93)])
    np.testing.assert_allclose(audio, sine(2), atol=2e-6)


def test_x_moves_a_pad_around_its_place_by_its_reach():
    still = play(engine(Kit(PADS, reach=0.0)), SAMPLES, [on(0, 42)], [ParameterPoint(X, 0, 1.0)])
    moved = play(engine(Kit(PADS, reach=1.0)), SAMPLES, [on(0, 42)], [ParameterPoint(X, 0, 1.0)])
    np.testing.assert_allclose(still, sine(1), atol=2e-6)
    np.testing.assert_allclose(moved, sine(2), atol=2e-6)


def test_mpe_gives_two_notes_of_one_sample_a_place_each():
    bends = [MidiEvent(5, bytes((0xE1, 0, 0))), MidiEvent(5, bytes((0xE2, 0x7F, 0x7F)))]
    audio = play(engine(Kit()), SAMPLES + 5, [*bends, on(5, 60, channel=1), on(5, 60, channel=2)])
    np.testing.assert_allclose(audio[5:], sine(0) + sine(2), atol=4e-6)


def test_a_notes_own_expression_counts_even_if_it_follows_at_the_same_sample():
    expression = NoteExpression(7, 0, 60, X, 0.9)
    audio = play(engine(Kit()), SAMPLES + 7, [on(7, 60), expression])
    np.testing.assert_allclose(audio[7:], sine(2), atol=2e-6)


def test_tuning_an_octave_down_doubles_the_length():
    down = Kit((dataclasses.replace(PADS[0], tune=-12.0),))
    audio = play(engine(down), 3 * SAMPLES, [on(0, 36)])
    assert np.flatnonzero(audio)[-1] == pytest.approx(2 * SAMPLES, abs=RATE * 0.001)
    crossings = np.flatnonzero(np.diff(np.sign(audio[:2000])))
    assert np.diff(crossings).mean() == pytest.approx(RATE / 200, rel=0.02)  # half a period of 100 Hz


def test_keys_follow_the_root():
    audio = play(engine(Kit(root=60), x=0.1), 2 * SAMPLES, [on(0, 48)])
    crossings = np.flatnonzero(np.diff(np.sign(audio[:2000])))
    assert np.diff(crossings).mean() == pytest.approx(RATE / 200, rel=0.02)


# Many at once


def test_hits_add_up():
    audio = play(engine(), 1000 + SAMPLES, [on(0, 36), on(1000, 42)])
    expected = np.zeros(1000 + SAMPLES, np.float32)
    expected[:SAMPLES] += sine(0)
    expected[1000:] += sine(1)
    np.testing.assert_allclose(audio, expected, atol=2e-6)


def test_one_voice_too_many_fades_the_oldest():
    made = engine(Kit(PADS, voices=2))
    length = round(STEAL_SECONDS * RATE)
    audio = play(made, 300 + SAMPLES, [on(0, 36), on(100, 36), on(300, 42)])
    second, third = np.zeros(300 + SAMPLES, np.float32), np.zeros(300 + SAMPLES, np.float32)
    second[100 : 100 + SAMPLES] = sine(0)
    third[300:] = sine(1)
    first = audio - second - third
    np.testing.assert_allclose(first[:300], sine(0)[:300], atol=2e-6)
    np.testing.assert_allclose(first[300 + length :], 0, atol=2e-6)
    steps = np.abs(np.diff(first[295 : 305 + length]))
    assert steps.max() < 0.03  # no click: the sine's own steps are 0.014


def test_a_closed_hat_chokes_an_open_one_and_nothing_else():
    length = round(CHOKE_SECONDS * RATE)
    audio = play(engine(), 400 + SAMPLES, [on(0, 36), on(0, 46), on(400, 42)])
    kick, closed = np.zeros(400 + SAMPLES, np.float32), np.zeros(400 + SAMPLES, np.float32)
    kick[:SAMPLES], closed[400:] = sine(0), sine(1)
    rest = audio - kick - closed
    assert np.abs(rest[:400]).max() > 0.4
    np.testing.assert_allclose(rest[400 + length :], 0, atol=2e-6)


def test_notes_end_hits_only_where_the_kit_is_gated():
    rings = play(engine(), SAMPLES, [on(0, 36), off(500, 36)])
    gated = play(engine(Kit(PADS, gated=True, release=0.01)), SAMPLES, [on(0, 36), off(500, 36)])
    np.testing.assert_allclose(rings, sine(0), atol=2e-6)
    np.testing.assert_allclose(gated[:500], sine(0)[:500], atol=2e-6)
    assert not gated[500 + round(0.01 * RATE) :].any()


def test_all_sound_off():
    audio = play(engine(), SAMPLES, [on(0, 36), MidiEvent(700, bytes((0xB0, 120, 0)))])
    assert audio[:700].any()
    assert not audio[700 + round(CHOKE_SECONDS * RATE) :].any()


def test_rounds_vary_and_come_again_and_start_anew_with_a_stream():
    made = engine(Kit(PADS, variation=0.5, rounds=3))
    hits = [play(made, SAMPLES, [on(0, 36)]) for _ in range(4)]
    for a, b in itertools.combinations(hits[:3], 2):
        assert np.abs(a - b).max() > 0.05
    np.testing.assert_array_equal(hits[0], hits[3])
    made.reset()
    np.testing.assert_array_equal(play(made, SAMPLES, [on(0, 36)]), hits[0])
    other_seed = Engine(instrument(Kit(PADS, variation=0.5, rounds=3)), RATE, seed=1)
    other_seed.set_parameters(MAP)
    play(other_seed, SAMPLES, [on(0, 36)])
    assert np.abs(play(other_seed, SAMPLES, [on(0, 36)]) - hits[1]).max() > 0.05


def test_a_pad_that_repeats_is_decoded_once(monkeypatch):
    made = engine(Kit())  # without pads nothing is decoded beforehand
    calls = []
    original = type(made._blocks._hits.autoencoder).hit
    monkeypatch.setattr(
        type(made._blocks._hits.autoencoder), "hit", lambda self, *rest: calls.append(1) or original(self, *rest)
    )
    for _ in range(5):
        play(made, 500, [on(0, 60)])
    assert len(calls) == 1
    play(made, 500, [on(0, 60)], [ParameterPoint(X, 0, 0.93)])
    assert len(calls) == 2


def test_a_pressed_note_follows_its_pressure_and_a_struck_one_keeps_its_level():
    pressed = [MidiEvent(0, bytes((0xD1, 127))), on(0, 36, channel=1), MidiEvent(1000, bytes((0xD1, 0)))]
    audio = play(engine(), SAMPLES, pressed)
    np.testing.assert_allclose(audio[:1000], sine(0)[:1000], atol=2e-6)
    assert not audio[1000 + round(0.005 * RATE) :].any()
    struck = [MidiEvent(0, bytes((0xD1, 0))), on(0, 36, channel=1), MidiEvent(1000, bytes((0xD1, 64)))]
    np.testing.assert_allclose(play(engine(), SAMPLES, struck), sine(0), atol=2e-6)


def test_a_stopped_transport_plays_nothing_in_run_mode_transport():
    made = engine(run=1.0)
    assert not play(made, 2000, [on(0, 36)], transport=Transport(playing=False)).any()
    assert not play(made, 2000, transport=Transport(playing=True, beat=0.0, bpm=120)).any()  # nor does it go on later
    made.reset()
    assert play(made, 2000, [on(0, 36)], transport=Transport(playing=True, beat=0.0, bpm=120)).any()


def test_a_source_that_is_not_there_is_silent_and_says_so():
    made = engine(Kit(), source=0.0)
    assert not play(made, 500, [on(0, 36)]).any()
    assert "no terrain" in made.notice


# The same however it is made


def gesture(samples: int) -> tuple[list[MidiEvent], list[ParameterPoint]]:
    """Everything at once, at offsets that no grid has."""
    rng = np.random.default_rng(5)
    midi = [
        on(int(offset), int(key), int(velocity), int(channel))
        for offset, key, velocity, channel in zip(
            np.sort(rng.integers(0, samples - 1, 60)),
            rng.choice([36, 42, 46, 60], 60),
            rng.integers(1, 128, 60),
            rng.choice([0, 1, 2], 60),
            strict=True,
        )
    ]
    midi += [
        MidiEvent(int(o), bytes((0xD1, int(v))))
        for o, v in zip(range(50, samples, 777), itertools.cycle(range(127, 0, -9)))
    ]
    midi += [off(int(offset), 36) for offset in range(400, samples, 3001)]
    midi.sort(key=lambda event: event.offset)
    level = by_key("level").id
    points = [ParameterPoint(X, o, (o % 997) / 997) for o in range(0, samples, 1313)]
    points += [ParameterPoint(level, o, -float(o % 13)) for o in range(0, samples, 2111)]
    return midi, points


KIT = Kit(PADS, voices=3, variation=0.3, gated=True, release=0.02, attack=0.001)


def in_blocks(sizes: list[int], samples: int, rate: float) -> np.ndarray:
    made = Engine(instrument(KIT, channels=2), rate, seed=3)
    made.set_parameters(MAP)
    midi, points = gesture(samples)
    out, start = [], 0
    for size in itertools.cycle(sizes):
        size = min(size, samples - start)
        now = range(start, start + size)
        block = Block(
            size,
            [point._replace(offset=point.offset - start) for point in points if point.offset in now],
            midi=[event._replace(offset=event.offset - start) for event in midi if event.offset in now],
        )
        out.append(made.process(block))
        start += size
        if start == samples:
            return np.concatenate(out, axis=1)


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("sizes", [[1, 2, 3], [64], [63, 65, 1], [511, 1024, 7]])
def test_any_cutting_gives_the_same_bits(sizes, rate):
    samples = 12000
    whole = in_blocks([samples], samples, rate)
    assert np.abs(whole).max() > 0.3
    np.testing.assert_array_equal(in_blocks(sizes, samples, rate), whole)


class Steps:
    """A lane that steps at known times."""

    def __init__(self, points, rate):
        self.seconds = np.array([point.offset / rate for point in points])
        self.values = np.array([point.value for point in points])

    def values_at(self, seconds, tempo_map):
        return self.values[np.searchsorted(self.seconds, seconds + 1e-9, side="right") - 1]


@pytest.mark.parametrize("rate", [44100, 48000])
def test_batch_equals_block_mode(rate):
    samples = 40000  # more than a chunk
    midi, points = gesture(samples)
    lanes = {key: Steps([p for p in points if p.parameter_id == by_key(key).id], rate) for key in ("x", "level")}
    messages = [TimedMidi(event.offset / rate, event.data) for event in midi]
    made = render_batch(
        instrument(KIT, channels=2),
        lanes,
        TempoMap([TempoPoint(0, 120)]),
        rate,
        0.0,
        samples / rate,
        seed=3,
        constants=MAP,
        midi=messages,
    )
    batch = np.concatenate(list(made), axis=1)
    block = in_blocks([512], samples, rate)
    assert batch.shape == block.shape
    np.testing.assert_allclose(batch, block, atol=1e-5)
    assert np.abs(batch).max() > 0.3


def test_batch_says_which_source_is_missing():
    with pytest.raises(InputError, match="no terrain"):
        render_batch(instrument(), {}, TempoMap([TempoPoint(0, 120)]), RATE, 0, 1)


# The file


def test_a_kit_travels_with_its_instrument(tmp_path):
    made = instrument(Kit(PADS, voices=5, gated=True, root=60, variation=0.25))
    made.save(tmp_path / "kit.terrain", embed_autoencoder=True)
    found = Instrument.load(tmp_path / "kit.terrain")
    assert found.kit == made.kit
    audio = [play(Engine(i, RATE), SAMPLES, [on(0, 36)]) for i in (made, found)]  # a pad needs no Source
    assert audio[0].any()
    np.testing.assert_array_equal(*audio)


@pytest.mark.parametrize(
    ("kit", "what"),
    [
        (lambda: Kit(voices=0), "voices is 0: expected a whole number from 1"),
        (lambda: Kit((Pad(36, 0, 0), Pad(36, 1, 1))), "two pads are on key 36"),
        (lambda: Kit((Pad(128, 0, 0),)), "key is 128"),
        (lambda: Kit((Pad(1, float("nan"), 0),)), "x is nan"),
        (lambda: Kit.from_dict({"pads": [{"key": 3}]}), "lacks its key, x or y"),
        (lambda: Kit.from_dict({"gated": 3}), "gated is 3"),
    ],
)
def test_kits_that_cannot_be_say_why(kit, what):
    with pytest.raises(InputError, match=what):
        kit()


def test_the_autoencoder_keeps_the_protocol():
    made = one_shot()
    latents = np.array([[0.5, 0, 0], [0, 0.25, 0]], np.float32)
    audio = made.decode(latents)
    assert audio.shape == (1, 2 * SAMPLES)
    np.testing.assert_allclose(made.encode(audio), latents, atol=1e-5)
    np.testing.assert_array_equal(made.stream().decode(latents[1:]), audio[:, SAMPLES:])


def test_unloading_gives_the_graphs_back_and_playing_opens_them_again():
    made = one_shot()
    latent = np.array([0.5, 0, 0], np.float32)
    before = made.hit(latent)
    graph = weakref.ref(made.session("decoder.onnx", 1))
    assert graph() is not None
    made.unload()
    assert graph() is None
    np.testing.assert_array_equal(made.hit(latent), before)


def test_hits_play_without_torch():
    code = (
        "import sys, terrain_core.engine.hits, terrain_core.instrument, terrain_core.one_shots.kit; "
        "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
