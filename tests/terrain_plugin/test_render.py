from __future__ import annotations

import errno
import itertools
import math
import os

import numpy as np
import pytest
import soundfile
from IPython.core.formatters import DisplayFormatter
from pedalboard.io import AudioFile

from terrain_core import parameters
from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane
from terrain_core.tempo import TempoMap
from terrain_daws import Note, Project
from terrain_plugin import render as render_module
from terrain_plugin.effects_chain import parse_effect
from terrain_plugin.render import FORMATS, Levels, PlainLane, RenderSettings, lanes_to_play, render

SHORT = RenderSettings(start=1.0, end=2.5)


def read(path) -> np.ndarray:
    with AudioFile(str(path)) as file:
        return file.read(file.frames)


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_holds_the_render(suffix, project, instrument, tmp_path):
    result = render(project, instrument, tmp_path / f"song{suffix}", SHORT)
    with AudioFile(str(result.out)) as file:
        assert (file.samplerate, file.num_channels) == (44100, instrument.autoencoder.channels)
        # MP3 comes in frames of 1152 samples, with a delay of the encoder before and padding after.
        assert 0 <= file.frames - 66150 <= (3 * 1152 if suffix == ".mp3" else 0)
        sound = file.read(file.frames)
    assert result.seconds == 1.5
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(
        result.peak_dbfs, abs=0.01 if suffix in (".wav", ".flac") else 1.5
    )
    assert result.peak_dbfs > -90  # there is something to hear


def test_lanes_act_at_their_time(project, instrument, tmp_path):
    plain = read(render(project, instrument, tmp_path / "plain.wav", RenderSettings(end=3.0)).out)[0]
    level = Lane([0, 2.0], [0.5, 48 / 72], "hold", unit="seconds")  # of -60..12 dB: -24 dB, then -12 dB
    lanes = lanes_to_play(project) | {"level": level}
    stepped = read(render(project, instrument, tmp_path / "step.wav", RenderSettings(end=3.0), lanes=lanes).out)[0]
    assert len(plain) == len(stepped) == 3 * 44100
    frame = instrument.autoencoder.hop
    before, after = slice(0, 2 * 44100 - frame), slice(2 * 44100 + 2 * frame, None)
    for part, gain_db in ((before, -24), (after, -12)):
        np.testing.assert_allclose(stepped[part], plain[part] * 10 ** (gain_db / 20), atol=2**-22)  # 24 bits
        assert np.abs(stepped[part]).max() > 2**-12


def test_the_end_is_the_last_breakpoint(project, instrument, tmp_path):
    lanes = {"x": Lane([0, 1], [0, 1]), "y": Lane([0, 0.5], [0, 1], unit="seconds")}
    result = render(project, instrument, tmp_path / "song.wav", lanes=lanes)
    assert result.seconds == pytest.approx(60 / 96, abs=1 / 44100)  # beat 1 at the project's 96 bpm


def test_the_same_seed_gives_the_same_file(project, instrument, tmp_path):
    files = [render(project, instrument, tmp_path / f"{name}.wav", SHORT).out for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_other_sample_rates_keep_the_length(project, instrument, tmp_path):
    result = render(project, instrument, tmp_path / "song.flac", RenderSettings(sample_rate=48000, start=1.0, end=2.5))
    assert soundfile.info(result.out).frames == 72000
    assert soundfile.info(result.out).samplerate == 48000


def test_effects_make_stereo_and_add_their_tail(project, instrument, tmp_path):
    dry = read(render(project, instrument, tmp_path / "dry.wav", SHORT).out)
    settings = RenderSettings(start=1.0, end=2.5, effects=[parse_effect("delay:delay_seconds=0.5,feedback=0,mix=0.5")])
    wet = read(render(project, instrument, tmp_path / "wet.wav", settings).out)
    assert wet.shape[0] == 2
    np.testing.assert_array_equal(wet[0], wet[1])
    assert wet.shape[1] >= dry.shape[1] + 22050 - 1024
    echo = np.zeros(wet.shape[1])
    echo[: dry.shape[1]] += 0.5 * dry[0]
    echo[22050 : 22050 + dry.shape[1]] += 0.5 * dry[0][: wet.shape[1] - 22050]
    np.testing.assert_allclose(wet[0], echo, atol=2**-22)  # both rounded to 24 bits


def test_levels_do_not_depend_on_blocks(rng):
    sound = rng.uniform(-0.5, 0.5, (2, 1000)).astype(np.float32)
    sound[1, 700] = -0.75
    levels = Levels()
    for first, last in itertools.pairwise([0, 0, 1, 400, 1000]):
        levels.add(sound[:, first:last])
    assert levels.frames == 1000
    assert levels.peak_dbfs == pytest.approx(20 * math.log10(0.75))
    assert levels.rms_dbfs == pytest.approx(10 * math.log10(np.mean(np.square(sound, dtype=np.float64))))
    assert Levels().peak_dbfs == -math.inf


def test_lanes_reach_parameters_in_their_own_values():
    tempo = TempoMap.constant(60)
    seconds = np.array([0.0, 0.5, 1.0])
    ramp = Lane([0, 1], [0, 1])
    level = PlainLane(ramp, parameters.by_key("level")).values_at(seconds, tempo)
    np.testing.assert_allclose(level, [-60, -24, 12])
    source = PlainLane(ramp, parameters.by_key("source")).values_at(seconds, tempo)
    np.testing.assert_array_equal(source, [0, 1, 2])


def test_notes_open_the_sound_where_run_is_notes(instrument, tmp_path):
    project = Project(
        "midi", tmp_path / "song.mid", lanes=[Lane([0, 4], [0.2, 0.8], key="x")], notes=[Note(1, 1, 0, 60, 0.5)]
    )
    settings = RenderSettings(
        constants={"run": parameters.Run.NOTES, "level": 6.0, "x": 0.9}
    )  # the lane counts, not x = 0.9
    sound = read(render(project, instrument, tmp_path / "song.wav", settings).out)[0]
    before, during, after = (
        np.abs(sound[part]).max() for part in (slice(22000), slice(22000, 45000), slice(60000, None))
    )
    assert during > 2**-10
    assert before == after == 0


def test_constants_set_what_no_lane_drives(project, instrument, tmp_path):
    plain = read(render(project, instrument, tmp_path / "plain.wav", SHORT).out)
    quiet = RenderSettings(start=1.0, end=2.5, constants={"level": -20.0, "x": 0.0})
    np.testing.assert_allclose(
        read(render(project, instrument, tmp_path / "quiet.wav", quiet).out), plain / 10, atol=2**-22
    )


def test_lanes_are_chosen_by_name(tmp_path):
    cutoff = Lane([0], [0.5], name="Cutoff", track="Bass")
    project = Project("midi", tmp_path / "song.mid", lanes=[Lane([0], [0], name="X", key="x"), cutoff])
    assert lanes_to_play(project, {"y": "Cutoff"})["y"].values == 0.5
    with pytest.raises(InputError, match=r"'wobble'.*expected one of"):
        lanes_to_play(project, {"wobble": "Cutoff"})
    with pytest.raises(FileError, match=r"song\.mid: has no lane .* --map .*'Bass/Cutoff'"):
        lanes_to_play(Project("midi", tmp_path / "song.mid", lanes=[cutoff]))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("song.xyz", SHORT, r"cannot write \.xyz; use one of \.wav"),
        ("song", SHORT, "without a suffix"),
        ("song.mp3", RenderSettings(sample_rate=96000, end=1), "MP3 has no 96000 Hz"),
        ("song.wav", RenderSettings(sample_rate=10, end=1), r"8000\.\.384000"),
        ("song.wav", RenderSettings(start=2, end=1), "nothing to render"),
        ("song.wav", RenderSettings(start=-1, end=1), "nothing to render"),
        ("song.wav", RenderSettings(end=float("nan")), "nothing to render"),
        ("song.wav", RenderSettings(end=1e9), "at most 86400 s"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(name, settings, message, project, instrument, tmp_path):
    with pytest.raises(InputError, match=message):
        render(project, instrument, tmp_path / name, settings)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_full_disk_leaves_no_half_file(suffix, project, instrument, tmp_path, monkeypatch):
    opened = render_module.Path.open

    def open_full(path, *mode):
        file = opened(path, *mode)
        if mode == ("wb",):
            return FullDisk(file)
        return file

    class FullDisk:
        """A file on a disk with room for 10 kB."""

        def __init__(self, file):
            self._file = file

        def write(self, data):
            if self._file.tell() + len(data) > 10_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data)

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

    monkeypatch.setattr(render_module.Path, "open", open_full)
    with pytest.raises(FileError, match="No space left on device"):
        render(project, instrument, tmp_path / f"song{suffix}", SHORT)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_render_leaves_the_old_file(project, instrument, tmp_path):
    out = tmp_path / "song.wav"
    out.write_bytes(b"old")

    def interrupt(done: float, total: float) -> None:
        assert 0 < done < total
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(project, instrument, out, RenderSettings(end=20.0), progress=interrupt)
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_render_knows_its_way_over_the_terrain(project, instrument, tmp_path):
    lanes = {"x": project.lanes_by_key()["x"]}
    done = render(project, instrument, tmp_path / "song.wav", SHORT, lanes=lanes)
    path = done.path(points=4)
    np.testing.assert_allclose(path[:, 0], lanes["x"].values_at([1.0, 1.5, 2.0, 2.5], project.tempo_map))
    np.testing.assert_array_equal(path[:, 1], 0.5)
    assert dict(done.markers)["Gathering"] == 10.0  # beat 16 at 96 bpm


def test_a_render_shows_itself_in_a_notebook(project, instrument, tmp_path):
    data, _ = DisplayFormatter().format(render(project, instrument, tmp_path / "song.ogg", SHORT))
    assert data["text/html"].startswith('<audio controls style="width: 100%" src="data:audio/ogg;base64,')
    assert 'src="data:image/png;base64,' in data["text/html"]
