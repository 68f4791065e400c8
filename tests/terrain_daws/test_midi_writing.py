"""MIDI files that we write, and those that were read and are written back."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane, Point, Shape
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import Marker, Note, PluginInstance, Project, read, write

QUANTUM = 1 / 0x3FFF

lanes = st.lists(
    st.tuples(st.integers(0, 200).map(lambda n: n / 48), st.floats(0, 1), st.sampled_from([Shape.HOLD, Shape.LINEAR])),
    min_size=1,
    max_size=10,
).map(lambda rows: Lane.from_points([Point(*row) for row in sorted(rows, key=lambda row: row[0])], name="Y", key="y"))


@settings(deadline=None, max_examples=50)
@given(lane=lanes)
def test_a_lane_comes_back_at_every_tick_of_the_grid(tmp_path_factory: pytest.TempPathFactory, lane: Lane) -> None:
    path = tmp_path_factory.getbasetemp() / "written.mid"
    assert write(Project("reaper", path, lanes=[lane]), path) == []
    again = read(path).lanes_by_key()["y"]
    beats = np.arange(0, 6 * 48) / 48
    np.testing.assert_allclose(again.sample(beats), lane.sample(beats), atol=QUANTUM / 2 + 1e-9)


def test_tempo_ramps_meters_markers_and_notes_come_back(tmp_path: Path) -> None:
    tempo_map = TempoMap(
        [
            TempoPoint(0, 60, "linear-beats"),
            TempoPoint(8, 120),
            TempoPoint(12, 90, "linear-seconds"),
            TempoPoint(20, 45),
        ],
        [Meter(0, 3, 4), Meter(9, 7, 8)],
    )
    notes = [Note(0.5, 1.0, 3, 60, 1.0), Note(1.5, 0.25, 3, 60, 64 / 127)]
    markers = [Marker("Übergang ♫", 4.0)]
    project = Project("reaper", tmp_path / "a.rpp", tempo_map=tempo_map, notes=notes, markers=markers)
    assert write(project, tmp_path / "a.mid") == []
    again = read(tmp_path / "a.mid")
    assert (again.notes, again.markers, again.tempo_map.meters) == (notes, markers, tempo_map.meters)
    beats = np.linspace(0, 30, 400)
    # A step may be a millisecond off the ramp, and MIDI's tempi are whole microseconds.
    np.testing.assert_allclose(again.tempo_map.seconds_at(beats), tempo_map.seconds_at(beats), atol=1.2e-3)


def test_what_midi_cannot_hold_is_said(tmp_path: Path) -> None:
    glide = Lane([0], [0.5], name="Glide", key="glide", track="T")
    project = Project(
        "reaper",
        tmp_path / "a.rpp",
        lanes=[glide, Lane([0], [0.5], name="Cutoff", track="T")],
        instances=[PluginInstance("T", lanes=[glide], state=PluginState({"x": 0.1}))],
    )
    assert write(project, tmp_path / "a.mid") == [
        "the lane T/Cutoff is not of our plugin",
        "the lane T/glide: no MIDI controller stands for it",
        "the plugin's state on track T: MIDI files hold none",
    ]


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Two tracks: tempo and a marker; a 14-bit and a 7-bit controller, a bend, a note, a program change."""
    path = tmp_path / "song.mid"
    file = mido.MidiFile(type=1, ticks_per_beat=480)
    conductor, player = mido.MidiTrack(), mido.MidiTrack()
    conductor.append(mido.MetaMessage("set_tempo", tempo=600_000))
    conductor.append(mido.MetaMessage("marker", text="A", time=480))
    player.append(mido.Message("program_change", program=7))
    for control, value, time in ((16, 10, 0), (48, 5, 0), (74, 64, 240), (16, 20, 240), (48, 7, 0)):
        player.append(mido.Message("control_change", channel=2, control=control, value=value, time=time))
    player.append(mido.Message("pitchwheel", channel=2, pitch=100, time=10))
    player.append(mido.Message("note_on", channel=2, note=60, velocity=9, time=10))
    player.append(mido.Message("note_off", channel=2, note=60, time=480))
    file.tracks += [conductor, player]
    file.save(path)
    return path


def test_only_the_track_that_changed_is_written_anew(song: Path) -> None:
    original = song.read_bytes()
    project = read(song)
    assert write(project, song) == []
    assert song.read_bytes() == original

    lane = project.lanes_by_key()["x"]
    index = project.lanes.index(lane)
    project.lanes[index] = Lane([0, 1, 2], [0.25, 0.75, 0.5], "hold", **lane.labels)
    write(project, song)
    changed = song.read_bytes()
    second = original.index(b"MTrk", 20)
    assert changed[:second] == original[:second]
    again = read(song)
    assert again.lanes_by_key()["x"].times.tolist() == [0, 1, 2]
    assert [(a.name, a.points) for a in again.lanes if a.key != "x"] == [
        (b.name, b.points) for b in project.lanes if b.key != "x"
    ]
    assert again.notes == project.notes
    assert any("program change" in line for line in again.unknown)

    project = read(song)
    project.tempo_map = TempoMap.constant(60)
    project.markers = [Marker("B", 3.0)]
    write(project, song)
    again = read(song)
    assert (again.tempo_map, again.markers, again.lanes) == (TempoMap.constant(60), [Marker("B", 3.0)], project.lanes)

    project = read(song)
    project.lanes = [lane for lane in project.lanes if lane.key != "x"]
    write(project, song)
    assert "x" not in read(song).lanes_by_key() or read(song).lanes_by_key()["x"].name.startswith("pitch bend")


def test_what_cannot_be_patched_is_refused_and_the_file_stays(song: Path) -> None:
    original = song.read_bytes()
    project = read(song)
    bend = project.find_lane("pitch bend")
    project.lanes[project.lanes.index(bend)] = Lane([0], [0.25], "hold", **bend.labels)
    with pytest.raises(InputError, match="pitch bend, channel 3 is no controller's"):
        write(project, song)
    project = read(song)
    project.lanes.append(Lane([0], [0.5], key="pressure"))
    with pytest.raises(InputError, match="no place for the new lane"):
        write(project, song)
    project = read(song)
    project.notes.clear()
    with pytest.raises(InputError, match="notes were changed"):
        write(project, song)
    assert song.read_bytes() == original


def test_unknown_formats_and_folders_that_are_not_there(song: Path, tmp_path: Path) -> None:
    project = read(song)
    with pytest.raises(InputError, match=r"cannot tell the format of .*song\.logicx"):
        write(project, tmp_path / "song.logicx")
    with pytest.raises(FileError, match="there is no folder"):
        write(project, tmp_path / "absent/song.rpp")
