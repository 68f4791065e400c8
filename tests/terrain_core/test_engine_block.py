"""Block mode: the same for any cutting, late by exactly what it says, quiet where it should be, and never shaken by
bad input.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

import terrain_core.errors
from terrain_core.engine import Block, Engine, Frames, MidiEvent, ParameterPoint, Transport
from terrain_core.engine.player import CEILING, under_ceiling
from terrain_core.engine.resampling import Resampler, latency_samples
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.parameters import PressureTarget, Run, Source, by_key
from terrain_core.sound_map import SoundMap
from tests.terrain_core.reference_autoencoder import (
    ClickAutoencoder,
    DirectAutoencoder,
    HearingAutoencoder,
    LinearAutoencoder,
    LinearStream,
    OneTerrain,
    XTerrain,
)

RATES = [44100, 48000, 96000, 22050]
NOTE_ON, NOTE_OFF = b"\x90\x3c\x40", b"\x80\x3c\x40"


def point(key: str, offset: int, value: float) -> ParameterPoint:
    return ParameterPoint(by_key(key).id, offset, value)


def engine(
    autoencoder: LinearAutoencoder, sample_rate: float = 44100, terrain: XTerrain | None = None, **parameters: float
) -> Engine:
    made = Engine(Instrument(autoencoder, terrain or XTerrain(autoencoder.latent_size)), sample_rate, max_block=256)  # type: ignore[arg-type]
    made.set_parameters(parameters)
    return made


@dataclass
class Score:
    """What a host has to play, over all time; `play` cuts it into blocks."""

    samples: int
    points: tuple[ParameterPoint, ...] = ()
    midi: tuple[MidiEvent, ...] = ()
    starts_at: int | None = None
    """Sample at which the transport starts; None: a host without transport."""
    audio: np.ndarray | None = None

    def block(self, start: int, end: int, rate: float) -> Block:
        points = tuple(p._replace(offset=p.offset - start) for p in self.points if start <= p.offset < end)
        midi = tuple(m._replace(offset=m.offset - start) for m in self.midi if start <= m.offset < end)
        transport = None
        if self.starts_at is not None:
            beat = max(0, start - self.starts_at) / rate * 2
            transport = Transport(start >= self.starts_at, beat, 120.0)
        audio = None if self.audio is None else self.audio[:, start:end]
        return Block(end - start, points, midi=midi, transport=transport, audio=audio)

    def play(self, engine: Engine, cuts: set[int] | range = range(0)) -> np.ndarray:
        cuts = {*cuts, *([self.starts_at] if self.starts_at else [])}
        edges = [0, *sorted(cut for cut in cuts if 0 < cut < self.samples), self.samples]
        rate = engine.sample_rate
        return np.concatenate([engine.process(self.block(a, b, rate)) for a, b in itertools.pairwise(edges)], axis=1)


def gesture(samples: int, rng: np.random.Generator) -> tuple[ParameterPoint, ...]:
    """Many parameters on the move, seeded."""
    keys = {
        "x": (0, 1),
        "y": (0, 1),
        "level": (-70, 12),
        "glide": (0, 20),
        "intensity": (0, 2),
        "noise": (0, 1),
        "offset_1": (-3, 3),
    }
    moves = [(int(rng.integers(samples)), key, rng.uniform(*span)) for key, span in keys.items() for _ in range(12)]
    return tuple(point(key, offset, value) for offset, key, value in sorted(moves))


# Any cutting


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_any_cutting_gives_the_same_samples(rate: int, data: st.DataObject) -> None:
    samples = 3000
    score = Score(samples, gesture(samples, np.random.default_rng(1)), starts_at=700)
    score.midi = (MidiEvent(900, NOTE_ON), MidiEvent(1500, b"\xe0\x00\x70"), MidiEvent(2100, NOTE_OFF))
    score.audio = np.random.default_rng(2).normal(size=(2, samples)).astype(np.float32)
    score.points += (point("source", 2000, Source.INPUT), point("run", 1000, Run.NOTES), point("run", 2500, Run.FREE))
    made = engine(HearingAutoencoder(delay=50), rate, run=data.draw(st.sampled_from(list(Run))))
    before = made.parameters
    whole = score.play(made)
    made.set_parameters(before)
    made.reset()
    cuts = data.draw(st.sets(st.integers(1, samples - 1), max_size=60))
    assert np.abs(whole).max() > 0.1
    np.testing.assert_allclose(score.play(made, cuts), whole, atol=1e-6)


def test_blocks_of_one_sample() -> None:
    score = Score(1500, gesture(1500, np.random.default_rng(1)))
    made = engine(LinearAutoencoder(delay=10), 48000)
    whole = score.play(made)
    again = engine(LinearAutoencoder(delay=10), 48000)
    np.testing.assert_allclose(score.play(again, range(1500)), whole, atol=1e-6)


def test_two_engines_of_one_instrument_do_not_disturb_each_other() -> None:
    instrument = Instrument(LinearAutoencoder(), XTerrain())  # type: ignore[arg-type]
    score = Score(2000, gesture(2000, np.random.default_rng(1)))
    alone = score.play(Engine(instrument, 44100), range(0, 2000, 100))
    first, second = Engine(instrument, 44100), Engine(instrument, 44100)
    pieces = []
    for start in range(0, 2000, 100):
        pieces.append(first.process(score.block(start, start + 100, 44100)))
        second.process(Block(37, [point("x", 0, start / 2000)]))
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), alone)


# Latency


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("delay", [0, 37, 3000])
@pytest.mark.parametrize("hop", [64, 512])
def test_the_first_click_that_a_step_makes_leaves_at_its_frame_plus_latency(rate: int, delay: int, hop: int) -> None:
    """X is 0 and steps to 1 at host time t: the clicks start with the first frame from t on, and peak at its start +
    latency.
    """
    made = engine(ClickAutoencoder(delay=delay, hop=hop), rate, x=0)
    frame = 9
    due = int(made._blocks._clock.due(frame, frame + 1)[0])
    exact = frame * hop * rate / 44100
    audio = Score(due + made.latency + 300, (point("x", due, 1.0),)).play(made, range(0, 9000, 113))[0]
    # One click alone: those that follow are hop / 44100 s later.
    after = round(made.latency + exact)
    click = np.abs(audio[: after + int(hop * rate / 44100 / 2)])
    assert click.max() > 0.3
    assert abs(int(click.argmax()) - (exact + made.latency)) <= 1
    # Nothing before but the resampler's symmetric ringing.
    assert np.abs(audio[: after - 60]).max() < (1e-6 if rate == 44100 else 0.02)


@pytest.mark.parametrize("rate", RATES)
def test_a_step_one_sample_after_the_frame_started_waits_for_the_next(rate: int) -> None:
    made = engine(ClickAutoencoder(hop=512), rate, x=0)
    due = made._blocks._clock.due(9, 11)
    audio = Score(int(due[1]) + made.latency + 100, (point("x", int(due[0]) + 1, 1.0),)).play(made)[0]
    assert abs(int(np.abs(audio).argmax()) - (due[1] + made.latency)) <= 1


def test_without_delay_and_resampling_there_is_no_latency() -> None:
    assert engine(LinearAutoencoder()).latency == 0
    assert engine(LinearAutoencoder(delay=123)).latency == 123


@pytest.mark.parametrize("rate", RATES)
def test_at_the_models_own_rate_the_audio_is_the_decoders(rate: int) -> None:
    autoencoder = LinearAutoencoder(sample_rate=rate, hop=64)
    made = engine(autoencoder, rate, x=0.3, y=0.8)
    latents = np.repeat(np.array([[0.3, 0.8, 0.5]], np.float32), 40, axis=0)
    np.testing.assert_allclose(Score(40 * 64).play(made, range(0, 2560, 99)), autoencoder.decode(latents), atol=1e-6)


# Resampling


@pytest.mark.parametrize(
    ("model", "host"), [(44100, 48000), (44100, 96000), (44100, 22050), (48000, 44100), (44100, 44101)]
)
def test_soxr_is_never_later_than_measured(model: int, host: int) -> None:
    rng = np.random.default_rng(0)
    bound = latency_samples(model, host)
    stream = soxr.ResampleStream(model, host, 1, dtype="float32", quality="HQ")
    fed = given_out = 0
    worst = 0.0
    while fed < 20 * model:
        size = int(rng.integers(1, 3000))
        given_out += len(stream.resample_chunk(np.zeros((size, 1), np.float32)))
        fed += size
        worst = max(worst, fed * host / model - given_out)
    assert bound - 0.1 * host / 10 - 100 < worst <= bound


@pytest.mark.parametrize(("model", "host"), [(44100, 48000), (44100, 96000), (96000, 44100)])
def test_resampled_sines_keep_time_and_shape(model: int, host: int) -> None:
    resampler = Resampler(model, host, 2)
    times = np.arange(2 * model) / model
    tone = np.stack([np.sin(2 * np.pi * 997 * times), np.sin(2 * np.pi * 5003 * times)]).astype(np.float32)
    pieces = [resampler.process(tone[:, start : start + 1000]) for start in range(0, tone.shape[1], 1000)]
    out = np.concatenate(pieces, axis=1)
    middle = slice(host // 2, 3 * host // 2)
    out_times = np.arange(out.shape[1])[middle] / host
    expected = np.stack([np.sin(2 * np.pi * 997 * out_times), np.sin(2 * np.pi * 5003 * out_times)])
    error_db = 20 * np.log10(np.abs(out[:, middle] - expected).max())
    assert error_db < -100


# Level


@pytest.mark.parametrize(("rate", "delay"), [(44100, 0), (44100, 37), (44100, 200), (48000, 37)])
def test_level_and_latents_of_one_moment_are_heard_together(rate: int, delay: int) -> None:
    """A decoder that shows latent 0: it jumps 0.5 -> 1 with X at the frame where the level begins to fall, linearly
    over the frame.
    """
    hop = 512
    made = engine(DirectAutoencoder(delay=delay, hop=hop), rate, x=0.5)
    due = int(made._blocks._clock.due(6, 7)[0])
    score = Score(due + 6000, (point("x", due, 1.0), point("level", due, -20.0)))
    audio = score.play(made, range(0, 9000, 77))[0]
    t = (np.arange(audio.size) - made.latency - 6 * hop * rate / 44100) * 44100 / rate + 1  # samples of the ramp
    expected = np.where(t < 0.5, 0.5, 1 + (0.1 - 1) * np.clip(t / hop, 0, 1))
    settled = (np.abs(t) > 100) & (np.abs(t - hop) > 100) & (np.arange(audio.size) > made.latency + 100)
    assert settled.sum() > 1000
    np.testing.assert_allclose(audio[settled], expected[settled], atol=2e-3 if rate != 44100 else 1e-6)


@pytest.mark.parametrize(
    ("target", "gain"), [(PressureTarget.LEVEL, 0.25), (PressureTarget.INTENSITY, 0.25), (PressureTarget.OFF, 1.0)]
)
def test_what_pressure_does(target: PressureTarget, gain: float) -> None:
    """The mean is zero and the decoder linear: intensity is heard as level, here."""
    made = engine(DirectAutoencoder(), x=0.8, pressure=0.25, pressure_target=target)
    np.testing.assert_allclose(made.process(Block(1000)), 0.8 * gain, atol=1e-6)


def test_pressure_takes_the_place_of_z() -> None:
    autoencoder = LinearAutoencoder()
    as_z = engine(autoencoder, z=0.25).process(Block(1000))
    as_pressure = engine(autoencoder, z=0.9, pressure=0.25, pressure_target=PressureTarget.Z).process(Block(1000))
    np.testing.assert_array_equal(as_z, as_pressure)
    assert np.abs(as_z - engine(autoencoder, z=0.9).process(Block(1000))).max() > 0.01


def test_the_bottom_of_the_fader_is_silence() -> None:
    assert not engine(DirectAutoencoder(), x=1, level=-60).process(Block(1000)).any()


def test_level_is_in_decibels() -> None:
    np.testing.assert_allclose(
        engine(DirectAutoencoder(), x=0.1, level=12).process(Block(500)), 0.1 * 10 ** (12 / 20), rtol=1e-6
    )


# Run modes


FADE = 441


@pytest.mark.parametrize("delay", [0, 300])
def test_notes_open_and_close_the_gate_at_their_own_sample_without_a_click(delay: int) -> None:
    made = engine(DirectAutoencoder(delay=delay), terrain=OneTerrain(), run=Run.NOTES)
    audio = Score(6000, midi=(MidiEvent(2001, NOTE_ON), MidiEvent(4003, NOTE_OFF))).play(made, range(0, 6000, 61))[0]
    start, stop = 2001 + made.latency, 4003 + made.latency
    assert not audio[:start].any()
    np.testing.assert_array_equal(audio[start + FADE - 1 : stop], 1)
    assert audio[start] > 0
    assert audio[stop] < 1
    assert not audio[stop + FADE - 1 :].any()
    # A raised cosine of n samples is never steeper than pi / 2n.
    assert np.abs(np.diff(audio)).max() < np.pi / 2 / FADE * 1.01


def test_a_note_released_during_its_fade_turns_back_smoothly() -> None:
    made = engine(DirectAutoencoder(), terrain=OneTerrain(), run=Run.NOTES)
    midi = (MidiEvent(1000, NOTE_ON), MidiEvent(1200, NOTE_OFF), MidiEvent(1300, NOTE_ON), MidiEvent(1310, NOTE_OFF))
    audio = Score(3000, midi=midi).play(made)[0]
    assert 0.2 < audio.max() < 0.7
    assert np.abs(np.diff(audio)).max() < np.pi / 2 / FADE * 1.01
    assert not audio[2000:].any()


def test_a_reset_forgets_held_notes() -> None:
    made = engine(DirectAutoencoder(), terrain=OneTerrain(), run=Run.NOTES)
    assert made.process(Block(1000, midi=(MidiEvent(0, NOTE_ON),)))[0, -1] == 1
    made.reset()
    assert not made.process(Block(1000)).any()
    assert made.process(Block(1000, midi=(MidiEvent(0, NOTE_ON),)))[0, -1] == 1


def test_transport_mode_sounds_while_the_host_plays() -> None:
    made = engine(DirectAutoencoder(delay=10), terrain=OneTerrain(), run=Run.TRANSPORT)
    stopped, playing = Transport(False, 0.0, 120.0), Transport(True, 0.0, 120.0)
    audio = made.process(Block(1000, transport=stopped))
    assert not audio.any()
    audio = made.process(Block(1000, transport=playing))[0]
    np.testing.assert_array_equal(audio, np.arange(1000) >= 10)  # a stream that begins afresh needs no fade
    audio = made.process(Block(1000, transport=stopped))[0]
    assert audio[10] < 1
    assert not audio[10 + FADE :].any()


def test_playing_from_a_place_gives_the_same_samples_each_time() -> None:
    made = engine(LinearAutoencoder(delay=30), 48000, run=Run.TRANSPORT, noise=1.0, glide=30)
    takes = []
    for pause in (1700, 2311):
        made.process(Block(pause, transport=Transport(False, 3.0, 90.0)))
        takes.append(made.process(Block(4000, [point("x", 500, 0.1)], transport=Transport(True, 4.0, 90.0, 2.5))))
        made.process(Block(5000, [point("x", 0, 0.5)], transport=Transport(False, 3.0, 90.0)))
    assert np.abs(takes[0]).max() > 0.1
    np.testing.assert_array_equal(takes[0], takes[1])


class Recorder:
    """A latent effect that writes down what it is told."""

    def __init__(self) -> None:
        self.beats: list[float] = []
        self.numbers: list[int] = []

    def process(self, latents: np.ndarray, frames: Frames) -> np.ndarray:
        self.beats += frames.beats.tolist()
        self.numbers += range(frames.first, frames.first + len(frames))
        return latents

    def reset(self) -> None:
        self.beats.clear()
        self.numbers.clear()


def recorded(blocks: list[Block], position: float = 0.0, **parameters: float) -> Recorder:
    recorder = Recorder()
    made = Engine(Instrument(LinearAutoencoder(hop=441), XTerrain()), 44100, effects=[recorder])  # type: ignore[arg-type]
    made.set_parameters(parameters)
    made.reset(position)
    for block in blocks:
        made.process(block)
    return recorder


def test_effects_know_the_beat_at_each_frame() -> None:
    blocks = [Block(441 * 10, transport=Transport(True, 8.0 + n * 0.2, 120.0)) for n in range(3)]
    recorder = recorded(blocks)
    np.testing.assert_allclose(recorder.beats, 8 + 0.02 * np.arange(30), atol=1e-12)
    np.testing.assert_array_equal(recorder.numbers, 400 + np.arange(30))


def test_a_song_that_jumps_takes_its_frame_numbers_along_and_goes_on_sounding() -> None:
    made = engine(LinearAutoencoder(hop=441))
    streams = [made._blocks._player._decoder]
    blocks = [Block(441 * 10, transport=Transport(True, beat, 120.0, beat / 2)) for beat in (0.0, 0.2, 6.0, 6.2, 0.0)]
    recorder = recorded(blocks)
    np.testing.assert_array_equal(recorder.numbers, [*range(20), *range(300, 320), *range(10)])
    for block in blocks:
        made.process(block)
    assert isinstance(streams[0], LinearStream)
    assert streams[0].frame_indices[-1] == 0  # never begun anew after the first block


def test_a_tempo_change_is_no_jump() -> None:
    blocks = [
        Block(441 * 10, transport=Transport(True, beat, bpm))
        for beat, bpm in ((0.0, 120.0), (0.3, 180.0), (0.55, 60.0))
    ]
    np.testing.assert_array_equal(recorded(blocks).numbers, range(30))


@pytest.mark.parametrize(("sync_bpm", "bpm"), [(0.0, 120.0), (10.0, 120.0), (90.0, 90.0)])
def test_hosts_without_transport_run_from_the_reset_at_sync_bpm(sync_bpm: float, bpm: float) -> None:
    recorder = recorded([Block(441 * 10), Block(441 * 10)], position=2.0, sync_bpm=sync_bpm)
    np.testing.assert_allclose(recorder.beats, (2 + np.arange(20) / 100) * bpm / 60, atol=1e-9)
    np.testing.assert_array_equal(recorder.numbers, 200 + np.arange(20))


def test_beats_stand_still_while_the_host_does() -> None:
    assert set(recorded([Block(4410, transport=Transport(False, 3.0, 120.0))] * 2).beats) == {3.0}


def test_odd_transports_are_survived() -> None:
    nan = float("nan")
    blocks = [
        Block(441, transport=Transport(True, nan, nan, nan)),
        Block(441, transport=Transport(True, 1.0, -5.0, 0.01)),
    ]
    assert np.isfinite(recorded(blocks).beats).all()


# Sources


def test_the_map_snaps_and_blends() -> None:
    autoencoder = DirectAutoencoder(latent_size=1)
    sound_map = SoundMap([[0.25, 0.5], [0.75, 0.5]], [[0.25], [0.75]])
    made = Engine(Instrument(autoencoder, None, sound_map), 44100)
    made.set_parameters({"source": Source.MAP, "x": 0.5})
    np.testing.assert_allclose(made.process(Block(640))[0, 1:], 0.5, atol=1e-6)
    made.reset()
    made.set_parameters({"snap": 1, "x": 0.49})
    np.testing.assert_allclose(made.process(Block(640)), 0.25)


@pytest.mark.parametrize(("source", "said"), [(Source.MAP, "no sound map"), (Source.INPUT, "no incoming audio")])
def test_a_source_that_is_not_there_is_silent_and_says_so(source: Source, said: str) -> None:
    made = engine(DirectAutoencoder(), x=1)
    assert made.notice == ""
    audio = made.process(Block(6400, [point("source", 640, source)]))[0]
    np.testing.assert_array_equal(audio[:640], 1)
    assert np.abs(np.diff(audio)).max() < 1 / 60
    assert not audio[704:].any()
    assert said in made.notice


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_incoming_audio_is_decoded_its_stated_number_of_frames_later(rate: int) -> None:
    hop = 512
    autoencoder = HearingAutoencoder(hop=hop, latent_size=1)
    autoencoder.basis = np.zeros((1, 1, hop), np.float32)
    autoencoder.basis[0, 0, :] = 1  # each frame is a plateau as high as its first incoming sample
    autoencoder.latent_mean[:] = 0
    made = engine(autoencoder, rate, source=Source.INPUT)
    ramp = np.arange(rate // 2, dtype=np.float32)[np.newaxis] / rate  # incoming: its own time in seconds
    audio = Score(rate // 2, audio=ramp).play(made, range(0, 50000, 271))[0]
    later = made.input_delay_frames
    assert later >= 1
    checked = 0
    for frame in range(later + 3, 15):
        middle = int((frame + 0.5) * hop * rate / 44100) + made.latency
        assert audio[middle] == pytest.approx((frame - later) * hop / 44100, abs=1e-4)
        checked += 1
    assert checked > 3


def test_incoming_audio_may_have_other_channels_and_bad_samples() -> None:
    made = engine(HearingAutoencoder(channels=2, hop=64), source=Source.INPUT)
    audio = np.full((1, 1000), np.nan, np.float32)
    out = made.process(Block(1000, audio=audio))
    assert out.shape == (2, 1000)
    assert np.isfinite(out).all()
    assert np.isfinite(made.process(Block(1000))).all()


# Bad input


class BadTerrain(XTerrain):
    """Good for X below one half."""

    def at(self, unit: np.ndarray) -> np.ndarray:
        return np.where(unit[:, :1] < 0.5, super().at(unit), np.nan).astype(np.float32)


def test_bad_latents_never_reach_the_decoder() -> None:
    made = engine(DirectAutoencoder(), terrain=BadTerrain(), x=0.25, glide=5)
    np.testing.assert_allclose(made.process(Block(640, [point("x", 320, 0.75)])), 0.25)
    np.testing.assert_allclose(made.process(Block(640)), 0.25)
    assert made.faults.latent_frames == 15
    audio = made.process(Block(6400, [point("x", 0, 0.375), point("y", 0, float("nan"))]))
    assert audio[0, -1] == pytest.approx(0.375, abs=1e-4)
    assert made.faults.control_values == 1


class BrokenStream(LinearStream):
    """Gives NaN once its latent 0 has been above one half, until it is reset."""

    def decode(self, latents: np.ndarray) -> np.ndarray:
        audio = super().decode(latents)
        self._tail += np.float32(np.nan) if (latents[:, 0] > 0.5).any() else np.float32(0)
        return audio


class BrokenAutoencoder(LinearAutoencoder):
    def stream(self, *, seed: int = 0, threads: int = 1) -> LinearStream:
        return BrokenStream(self)


def test_a_decoder_that_breaks_down_is_silenced_and_begins_anew() -> None:
    made = engine(BrokenAutoencoder(), x=0.25)
    made.process(Block(640, [point("x", 320, 0.75)]))
    audio = np.concatenate([made.process(Block(64, [point("x", 0, 0.25)])) for _ in range(20)], axis=1)
    assert np.isfinite(audio).all()
    assert np.abs(audio[:, -200:]).max() > 0.01
    assert made.faults.audio_calls >= 1


def test_blocks_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="a block has 0 samples: expected 1 or more"):
        Block(0)
    with pytest.raises(InputError, match=r"shape \(1, 5\): expected \(channels, 6\)"):
        Block(6, audio=np.zeros((1, 5), np.float32))
    with pytest.raises(InputError, match="max_block is 0"):
        Engine(Instrument(LinearAutoencoder(), XTerrain()), 44100, 0)  # type: ignore[arg-type]


@given(
    offsets=st.lists(
        st.tuples(st.sampled_from(["x", "level", "run", "source"]), st.integers(-50, 500), st.floats()), max_size=20
    ),
    lines=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_any_points_are_survived(offsets: list[tuple[str, int, float]], lines: bool) -> None:
    made = engine(LinearAutoencoder(), 48000)
    points = [point(*move) for move in offsets]
    for _ in range(2):
        assert np.isfinite(made.process(Block(333, points, lines))).all()


def test_same_seed_same_noise() -> None:
    instrument = Instrument(LinearAutoencoder(), XTerrain())  # type: ignore[arg-type]
    takes = []
    for seed in (1, 1, 2):
        made = Engine(instrument, 44100, seed=seed)
        made.set_parameters({"noise": 1.0})
        takes.append(made.process(Block(3000)))
    np.testing.assert_array_equal(takes[0], takes[1])
    assert np.abs(takes[0] - takes[2]).max() > 0.1


def test_lines_and_steps_differ_within_a_block() -> None:
    made = engine(DirectAutoencoder(), x=0)
    block = Block(6400, [point("x", 6399, 1.0)])
    stepped = made.process(block)
    made.reset()
    made.set_parameters({"x": 0.0})
    joined = made.process(replace(block, lines=True))
    assert not stepped.any()
    np.testing.assert_allclose(joined[0, ::64], (np.arange(0, 6400, 64) + 1) / 6400, atol=1e-6)


def test_what_is_below_full_scale_is_untouched_and_nothing_comes_over_the_ceiling() -> None:
    quiet = np.linspace(-1, 1, 1001, dtype=np.float32)[np.newaxis]
    loud = np.linspace(-1000, 1000, 200_001, dtype=np.float32)[np.newaxis]
    np.testing.assert_array_equal(under_ceiling(quiet), quiet)
    bent = under_ceiling(loud)
    assert np.abs(bent).max() <= CEILING
    assert (np.diff(bent[0]) >= 0).all()
    around = under_ceiling(np.array([[0.999, 1.0, 1.001]], np.float32))
    np.testing.assert_allclose(np.diff(around[0]), 0.001, rtol=1e-2)  # no corner at full scale


def test_latents_far_away_do_not_become_dangerously_loud() -> None:
    instrument = Instrument.load(Path(terrain_core.errors.__file__).parent / "instruments/default.terrain")
    engine = Engine(instrument, 44100.0)
    engine.set_parameters({f"offset_{n}": 3.0 for n in range(1, 9)} | {"intensity": 2.0})
    far = np.concatenate([engine.process(Block(1024)) for _ in range(40)], axis=1)
    assert 1.0 < np.abs(far).max() <= CEILING
