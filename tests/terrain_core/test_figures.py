from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from IPython.core.formatters import DisplayFormatter
from PIL import Image

from terrain_core.errors import FileError
from terrain_core.figures import FLOOR_DB, lane_figure, overview, png, render_figure, save_figure
from terrain_core.lanes import Lane
from terrain_core.notebook import lane_png, render_html, terrain_png
from terrain_core.tempo import TempoMap, TempoPoint
from terrain_core.terrain import Terrain

RATE = 16000


def sine(hz: float, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


@pytest.fixture
def steps(tmp_path):
    """A second of a full-scale 440 Hz, a second of silence, a second of 2 kHz at half scale; the right channel is
    silent throughout.
    """
    sound = np.concatenate([sine(440, 1), np.zeros(RATE), 0.5 * sine(2000, 1)])
    path = tmp_path / "steps.wav"
    soundfile.write(path, np.stack([sound, np.zeros_like(sound)], axis=1), RATE, subtype="FLOAT")
    return path


def test_an_overview_has_the_sounds_extremes_in_their_places(steps):
    found = overview(steps, columns=30)
    assert found.seconds == 3
    assert len(found.lows) == 30
    np.testing.assert_allclose(found.highs[:10], 1, atol=0.02)
    np.testing.assert_array_equal(found.highs[10:20], 0)
    np.testing.assert_allclose(found.lows[20:], -0.5, atol=0.02)


def test_a_spectrogram_shows_level_and_pitch(steps):
    found = overview(steps, columns=30)
    loudest = found.levels_db.argmax(axis=0)
    # One silent channel of two takes 3 dB; the Hann window's scallop between two bins up to 1.4 dB.
    assert found.levels_db[loudest[5], 5] == pytest.approx(-3, abs=1.5)
    assert found.levels_db[loudest[25], 25] == pytest.approx(-9, abs=1.5)
    assert found.levels_db[:, 15].max() < FLOOR_DB
    # Each spectrum is taken around the middle of its piece: the tone begins as it ends.
    assert found.levels_db[:, 0].max() == pytest.approx(found.levels_db[:, 9].max(), abs=0.1)
    assert found.frequencies[loudest[5]] == pytest.approx(440, rel=0.03)
    assert found.frequencies[loudest[25]] == pytest.approx(2000, rel=0.03)


@pytest.mark.parametrize("samples", [0, 1, 1000])
def test_short_sounds_have_an_overview_too(tmp_path, samples):
    soundfile.write(tmp_path / "short.wav", np.full(samples, 0.25), RATE)
    found = overview(tmp_path / "short.wav", columns=30)
    assert found.seconds == samples / RATE
    assert found.highs.max(initial=0) == (0.25 if samples else 0)
    assert png(render_figure(tmp_path / "short.wav")).startswith(b"\x89PNG")


def test_what_is_no_sound_is_named(tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF nonsense")
    for name in ("noise.wav", "missing.wav"):
        with pytest.raises(FileError, match=name):
            overview(tmp_path / name)


def test_a_render_shows_sound_lanes_and_tempo_on_one_axis_of_time(steps):
    tempo = TempoMap([TempoPoint(0, 60), TempoPoint(2, 120)])
    played = {"x": Lane([0, 3], [0, 1]), "pressure": Lane([1], [0.5])}
    figure = render_figure(steps, played, tempo, start=1.0, markers=[("before", 0.5), ("Verse", 2.0)])
    waveform, spectrogram, lanes, bpm = figure.axes[:4]
    assert {axes.get_xlim() for axes in (waveform, spectrogram, lanes, bpm)} == {(1.0, 4.0)}
    assert lanes.get_legend_handles_labels()[1] == ["x", "pressure"]
    assert spectrogram.collections[0].get_coordinates()[0, [0, -1], 0].tolist() == pytest.approx([1, 4], abs=0.01)
    curve = {line.get_label(): line for line in lanes.get_lines()}["x"]
    # beat 2.5 falls on 2.25 s: two beats at 60 bpm, half a beat at 120
    assert np.interp(2.25, *curve.get_data()) == pytest.approx(2.5 / 3, abs=1e-3)
    assert bpm.get_lines()[0].get_ydata()[[0, -1]].tolist() == [60, 120]
    assert [(text.get_text(), text.get_position()[0]) for text in waveform.texts] == [("Verse", 2.0)]
    assert lanes.get_ylabel() == "value"
    assert bpm.get_xlabel() == "time in seconds"


def test_a_figure_is_written_as_png(tmp_path, steps):
    save_figure(render_figure(steps), tmp_path / "render.png")
    with Image.open(tmp_path / "render.png") as picture:
        assert picture.size[0] > 800


@pytest.mark.parametrize(
    "lane", [Lane([3], [0.5], name="still"), Lane([0, 1, 4], [0, 1, 0.2], "bezier", 0.5, unit="seconds", key="x")]
)
def test_a_lane_has_a_figure(lane):
    picture = Image.open(io.BytesIO(lane_png(lane)))
    assert picture.format == "PNG"
    assert len(lane_figure(lane).axes[0].get_lines()[1].get_xdata()) == len(lane)


def test_a_lane_shows_itself():
    data, _ = DisplayFormatter().format(Lane([0, 1], [0, 1]))
    assert data["image/png"].startswith(b"\x89PNG")


def test_a_notebook_gets_a_player_and_a_picture(steps):
    class Shown:
        def _repr_html_(self) -> str:
            return render_html(steps, render_figure(steps))

        def _repr_png_(self) -> bytes:
            return terrain_png(Terrain.create(2, 4, features=16, width=8))

    data, _ = DisplayFormatter().format(Shown())
    assert '<audio controls style="width: 100%" src="data:audio/' in data["text/html"]
    assert 'src="data:image/png;base64,' in data["text/html"]
    assert Image.open(io.BytesIO(data["image/png"])).size == (300, 300)
