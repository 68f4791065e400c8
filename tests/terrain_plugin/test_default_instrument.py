"""The instrument that plays when none is named: in tune, alive, and without clicks."""

import numpy as np
import pytest

from terrain_core.autoencoders import features
from terrain_core.instrument import Instrument
from terrain_daws import read
from terrain_plugin.render import RenderSettings, render
from terrain_plugin.shipped import DEFAULT_INSTRUMENT, example

COLUMNS = 7
"""Timbres along X; the first is wind, which has no pitch."""
NOTES = [45 + 12 * octave + step for octave in range(3) for step in (0, 3, 5, 7, 10)] + [81]
"""A minor pentatonic from A2, in MIDI notes, along Y."""


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    return Instrument.load(DEFAULT_INSTRUMENT)


def held(instrument: Instrument, x: float, y: float, frames: int = 30) -> np.ndarray:
    """The sound of a hand that rests at a point, (samples,)."""
    latents = instrument.terrain.at(np.full((frames, 2), (x, y)))
    return instrument.autoencoder.decode(latents)[0]


@pytest.mark.parametrize("column", range(1, COLUMNS))
def test_a_hand_that_rests_is_in_tune(instrument: Instrument, column: int) -> None:
    cents = []
    for row, note in enumerate(NOTES):
        latents = instrument.terrain.at(np.array([[(column + 0.5) / COLUMNS, (row + 0.5) / len(NOTES)]]))
        octaves = 1.5 * float(latents[0, 0])
        cents.append(1200 * octaves - 100 * (note - 60))
    # The phrases' own vibrato of up to 8 cents is left in, and between plateaus the fit has slopes to follow.
    assert np.median(np.abs(cents)) < 16.0
    assert np.abs(cents).max() < 60.0


def test_what_the_terrain_says_is_what_is_heard(instrument: Instrument) -> None:
    """String column, D4: the rendered tone, tracked, has the pitch that latent 0 states."""
    sound = held(instrument, 4.5 / COLUMNS, 6.5 / len(NOTES))
    found = features.extract(sound)[8:-4, features.PITCH_COLUMN]
    assert len(found) > 10
    stated = 1.5 * float(instrument.terrain.at(np.array([[4.5 / COLUMNS, 6.5 / len(NOTES)]]))[0, 0])
    assert abs(np.median(found) - stated) * 1200 < 5.0


def test_wind_has_no_pitch_and_strings_have(instrument: Instrument) -> None:
    wind, strings = (held(instrument, (c + 0.5) / COLUMNS, 0.45) for c in (0, 4))
    voicing = [np.median(features.extract(s)[8:-4, features.VOICING_COLUMN]) for s in (wind, strings)]
    assert voicing[0] < 0.6
    assert voicing[1] > 0.9


def test_every_place_sounds(instrument: Instrument) -> None:
    """Nowhere silent, nowhere louder than full scale."""
    grid = (np.arange(8) + 0.5) / 8
    levels = [np.std(held(instrument, x, y, frames=12)[4096:]) for x in grid for y in grid]
    peaks = [np.abs(held(instrument, x, y, frames=12)).max() for x in grid for y in grid]
    assert min(levels) > 10 ** (-45 / 20)
    assert max(peaks) < 1.0


@pytest.fixture(scope="module")
def demo(instrument: Instrument, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """The example gesture as `terrain demo` renders it, (samples,)."""
    import soundfile

    out = tmp_path_factory.mktemp("demo") / "demo.wav"
    render(read(example("gesture.dawproject")), instrument, out, RenderSettings())
    return soundfile.read(out)[0]


def test_demo_has_a_healthy_level(demo: np.ndarray) -> None:
    assert len(demo) > 25 * 44100
    assert 10 ** (-15 / 20) < np.abs(demo).max() < 1.0
    assert 10 ** (-35 / 20) < np.std(demo) < 10 ** (-10 / 20)
    assert abs(demo.mean()) < 1e-3


def test_demo_is_silent_where_the_pressure_is_zero(demo: np.ndarray) -> None:
    """Between the first two phrases the gesture lets go: some 10 ms there are 40 dB under the loudest."""
    pieces = demo[: 10 * 44100].reshape(-1, 441).std(axis=1)
    assert pieces.min() < 0.01 * pieces.max()


def test_demo_has_no_click_at_frame_seams(demo: np.ndarray) -> None:
    """The bend of the waveform at frame seams is no larger than elsewhere in frames."""
    bend = np.abs(np.diff(demo, 2))
    by_phase = np.percentile(bend[: len(bend) // 1024 * 1024].reshape(-1, 1024), 99, axis=0)
    seam = by_phase[[1021, 1022, 1023, 0, 1]]
    assert np.median(by_phase) > 1e-4
    assert seam.max() < 1.5 * np.percentile(by_phase, 90)
