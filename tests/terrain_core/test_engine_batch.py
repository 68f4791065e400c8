"""Batch mode: the same audio as block mode, in any chunks, and only the music: latency taken off."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from terrain_core.engine import Block, Engine, MidiEvent, ParameterPoint, TimedMidi, Transport, render_batch
from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane, Shape
from terrain_core.parameters import PARAMETERS, Run, Source, by_key
from terrain_core.sound_map import SoundMap
from terrain_core.tempo import TempoMap, TempoPoint
from terrain_core.terrain import Terrain
from tests.terrain_core.reference_autoencoder import DirectAutoencoder, LinearAutoencoder, XTerrain

RAMP = TempoMap([TempoPoint(0.0, 90.0, "linear-beats"), TempoPoint(1.0, 180.0, "step")])
LANES = {
    "x": Lane([0.0, 0.2, 0.5, 1.2], [0.1, 0.9, 0.3, 0.8], [Shape.SMOOTH, Shape.HOLD, Shape.LINEAR, Shape.LINEAR]),
    "y": Lane([0.05, 0.3], [1.0, 0.0], unit="seconds"),
    "level": Lane([0.0, 0.4, 0.8], [0.0, 6.0, -70.0]),
    "glide": Lane([0.3], [8.0]),
    "noise": Lane([0.0, 1.0], [0.0, 1.0]),
    "intensity": Lane([0.0, 0.6], [0.5, 1.5]),
    "source": Lane([0.0, 0.5, 0.7], [0.0, 1.0, 0.0], [Shape.HOLD] * 3),
    "neighbours": Lane([0.5, 0.7], [1.0, 3.0]),
    "offset_2": Lane([0.0, 0.7], [-3.0, 3.0]),
}


def instrument(**settings: int) -> Instrument:
    autoencoder = LinearAutoencoder(latent_size=3, **settings)
    rng = np.random.default_rng(8)
    sound_map = SoundMap(rng.uniform(size=(9, 2)), rng.normal(size=(9, 3)))
    return Instrument(autoencoder, Terrain.create(2, 3, seed=3, width=16, features=16), sound_map)


def batch(*args: object, **kwargs: object) -> np.ndarray:
    return np.concatenate(list(render_batch(*args, **kwargs)), axis=1)  # type: ignore[arg-type]


def as_points(
    lanes: dict[str, Lane], tempo_map: TempoMap, rate: float, start: float, samples: int
) -> list[list[ParameterPoint]]:
    """A point at every sample for every lane, in plain values: what an infinitely diligent host would send."""
    seconds = start + np.arange(samples) / rate
    values = {by_key(key): lane.values_at(seconds, tempo_map) for key, lane in lanes.items()}
    return [[ParameterPoint(parameter.id, 0, float(v[n])) for parameter, v in values.items()] for n in range(samples)]


@pytest.mark.parametrize("rate", [44100, 48000, 22050])
@pytest.mark.parametrize("start", [0.0, 0.21])
def test_batch_equals_block(rate: int, start: float) -> None:
    played = instrument(delay=70)
    samples = 6000
    midi = [(1000, b"\x90\x3c\x40"), (4000, b"\x80\x3c\x40")]
    run = Lane([start, start + 0.1], [Run.NOTES, Run.FREE], [Shape.HOLD] * 2, unit="seconds")
    lanes = {**LANES, "run": run}
    seconds_midi = [TimedMidi(start + n / rate, data) for n, data in midi]
    rendered = batch(
        played, lanes, RAMP, rate, start, start + samples / rate, seed=5, midi=seconds_midi, chunk_frames=17
    )

    engine = Engine(played, rate, seed=5)
    engine.reset(start)
    total = samples + engine.latency
    per_sample = as_points(lanes, RAMP, rate, start, total)
    out = []
    for at in range(0, total, 100):
        points = [p._replace(offset=n) for n, here in enumerate(per_sample[at : at + 100]) for p in here]
        events = [MidiEvent(n - at, data) for n, data in midi if at <= n < at + 100]
        transport = Transport(True, None, None, start + at / rate)
        out.append(engine.process(Block(min(100, total - at), points, midi=events, transport=transport)))
    block = np.concatenate(out, axis=1)[:, engine.latency :]
    assert rendered.shape == block.shape == (1, samples)
    assert np.abs(rendered).max() > 0.05
    np.testing.assert_allclose(rendered, block, atol=1e-5)


@pytest.mark.parametrize("chunk_frames", [1, 5, 1000])
def test_chunks_change_nothing(chunk_frames: int) -> None:
    whole = batch(instrument(), LANES, RAMP, 48000, 0.0, 0.4)
    np.testing.assert_allclose(
        batch(instrument(), LANES, RAMP, 48000, 0.0, 0.4, chunk_frames=chunk_frames), whole, atol=2e-6
    )


def test_twice_the_same_is_the_same() -> None:
    takes = [batch(instrument(), LANES, RAMP, 48000, 0.0, 0.4, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(takes[0], takes[1])
    assert np.abs(takes[0] - takes[2]).max() > 0.01


@pytest.mark.parametrize("rate", [44100, 48000, 96000, 22050])
@pytest.mark.parametrize("delay", [0, 37, 1000])
def test_latency_is_taken_off(rate: int, delay: int) -> None:
    """A decoder that shows X, and an X that jumps at 0.1 s: the jump is heard at 0.1 s, within one frame."""
    played = Instrument(DirectAutoencoder(delay=delay), XTerrain())  # type: ignore[arg-type]
    lane = Lane([0.0, 0.1], [0.0, 1.0], [Shape.HOLD] * 2, unit="seconds")
    audio = batch(played, {"x": lane}, TempoMap.constant(120), rate, 0.0, 0.2)[0]
    assert audio.size == rate // 5
    jump = int(np.argmax(audio > 0.5)) / rate
    assert 0.1 - 1 / rate <= jump <= 0.1 + 64 / 44100 + 2 / rate


def test_a_constant_drives_what_no_lane_does() -> None:
    played = Instrument(DirectAutoencoder(), XTerrain())  # type: ignore[arg-type]
    audio = batch(played, {}, TempoMap.constant(120), 44100, 0.0, 0.1, constants={"x": 0.75, "level": -6.0})
    np.testing.assert_allclose(audio, 0.75 * 10 ** (-6 / 20), rtol=1e-6)


def test_notes_before_the_start_are_still_held() -> None:
    played = Instrument(DirectAutoencoder(), XTerrain())  # type: ignore[arg-type]
    midi = [TimedMidi(3.0, b"\x80\x3c\x00"), TimedMidi(0.5, b"\x90\x3c\x40"), TimedMidi(0.6, b"\xe0\x7f\x7f")]
    parameters = {"run": float(Run.NOTES)}
    audio = batch(played, {}, TempoMap.constant(120), 44100, 2.5, 3.5, constants=parameters, midi=midi)[0]
    np.testing.assert_allclose(audio[64:22050], 1.0)
    assert not audio[22050 + 441 :].any()


def test_an_hour_is_made_piece_by_piece() -> None:
    played = Instrument(DirectAutoencoder(hop=2048), XTerrain())  # type: ignore[arg-type]
    chunks = render_batch(played, {}, TempoMap.constant(120), 44100, 0.0, 3600.0, chunk_frames=8)
    assert [chunk.shape for chunk in itertools.islice(chunks, 3)] == [(1, 8 * 2048)] * 3


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 1 / 44100, 0.0123])
def test_lengths_are_exact(seconds: float) -> None:
    chunks = list(render_batch(instrument(), {}, TempoMap.constant(120), 48000, 1.0, 1.0 + seconds))
    assert sum(chunk.shape[1] for chunk in chunks) == round(seconds * 48000)


def test_every_parameter_can_have_a_lane() -> None:
    lanes = {p.key: Lane([0.0, 0.1], [p.low - 1, p.high + 1]) for p in PARAMETERS if p.key != "source"}
    assert np.isfinite(batch(instrument(), lanes, RAMP, 48000, 0.0, 0.2)).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": 2.0}, "cannot render from 2.0 s to 1.0 s"),
        ({"end": float("nan")}, "cannot render from 0.0 s to nan s"),
        ({"sample_rate": 0.0}, "is 0.0 Hz"),
        ({"chunk_frames": 0}, "chunk_frames is 0"),
        ({"lanes": {"cutoff": Lane([0.0], [0.0])}}, "no parameter is called 'cutoff'"),
        ({"constants": {"source": float(Source.INPUT)}}, "Source is Input, but there is no incoming audio"),
    ],
)
def test_what_cannot_be_rendered_is_refused_at_once(changes: dict[str, object], said: str) -> None:
    arguments = {"lanes": {}, "sample_rate": 48000, "start": 0.0, "end": 1.0, **changes}
    with pytest.raises(InputError, match=said):
        render_batch(instrument(), tempo_map=RAMP, **arguments)  # type: ignore[arg-type]


def test_a_missing_source_is_refused_where_its_lane_gets_there() -> None:
    lanes = {"source": Lane([0.0, 0.5], [0.0, 1.0], [Shape.HOLD] * 2, unit="seconds")}
    played = Instrument(LinearAutoencoder(), XTerrain())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Source is Map, but this instrument has no sound map"):
        batch(played, lanes, RAMP, 48000, 0.0, 1.0)
