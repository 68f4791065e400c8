"""`terrain daw new`, and rendering projects with our plugin in them: several instances, states, mutes, laws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane
from terrain_core.plugin_state import InstrumentReference, PluginState
from terrain_core.tempo import Meter, TempoMap
from terrain_daws import PluginInstance, Project, read, write
from terrain_daws.gestures import GESTURES, gesture
from terrain_daws.lane_files import read_lanes
from terrain_plugin.render import RenderSettings, parts_to_play, render_parts
from terrain_plugin.shipped import example

FORMATS = {"reaper": "song.rpp", "ardour": "song", "midi": "song.mid", "live": "song.als", "dawproject": "s.dawproject"}


@pytest.mark.parametrize("format", list(FORMATS))
def test_a_new_project_of_each_format_plays_the_gesture(terrain, tmp_path: Path, format: str) -> None:
    path = tmp_path / FORMATS[format]
    arguments = ("--tempo", "96", "--meter", "7/8", "--beats", "16", "--format", format, "-o", path)
    said = json.loads(terrain("daw", "new", "--lanes", "spiral", *arguments, "--json").out)
    assert said["left_out"] == []
    project = read(said["out"])
    assert project.format == format
    assert (project.tempo_map.points[0].bpm, project.tempo_map.meters) == (pytest.approx(96), (Meter(0, 7, 8),))
    lanes, drawn = project.lanes_by_key(), {lane.key: lane for lane in gesture("spiral", 16)}
    beats = np.arange(0, 16 * 48 + 1) / 48
    seconds = beats * 60 / 96
    for key, lane in drawn.items():
        np.testing.assert_allclose(lanes[key].values_at(seconds, project.tempo_map), lane.sample(beats), atol=2.5e-3)


@pytest.mark.parametrize("name", list(GESTURES))
def test_gestures_stay_on_the_terrain_and_move(name: str) -> None:
    lanes = {lane.key: lane for lane in gesture(name, 24, seed=3)}
    for lane in lanes.values():
        values = lane.sample(np.linspace(0, 24, 5000))
        assert 0 <= values.min() < values.max() <= 1
        assert np.ptp(values) > 0.4
        assert np.abs(np.diff(values)).max() < 0.01
    assert gesture(name, 24, seed=3) == list(lanes.values())


def test_a_table_and_json_are_lanes_too(terrain, tmp_path: Path) -> None:
    table = tmp_path / "moves.csv"
    table.write_text("beat,x,y\n0,0.1,0.9\n2,,0.5\n\n4,0.7,\n")
    assert [(lane.key, lane.times.tolist(), lane.values.tolist()) for lane in read_lanes(table).lanes] == [
        ("x", [0, 4], [0.1, 0.7]),
        ("y", [0, 2], [0.9, 0.5]),
    ]
    song = tmp_path / "song.rpp"
    terrain("daw", "new", "--lanes", table, "--tempo", "90", "-o", song, "--set", "run=Transport")
    project = read(song)
    assert project.instances[0].state == PluginState({"run": 1.0})
    again = tmp_path / "song.json"
    again.write_text(terrain("lanes", song, "--json").out)
    copy = read_lanes(again)
    assert copy.tempo_map == project.tempo_map
    seconds = np.linspace(0, 4, 50)
    for key, lane in project.lanes_by_key().items():
        np.testing.assert_allclose(copy.lanes_by_key()[key].values_at(seconds, copy.tempo_map), lane.sample(seconds))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "expected a first column beat or beats"),
        ("a.csv", "x,y\n1,2", "line 1: begins with 'x,y'"),
        ("a.csv", "beat,cutoff\n1,2", "line 1: has a column 'cutoff'"),
        ("a.csv", "beat,x\n0,1\n1,nan", "line 3: has 'nan', expected a number"),
        ("a.csv", "beat,x\n1,1\n0,1", "before times"),
        ("a.csv", "beat,x\n", "has no values"),
        ("a.json", "{", "is not JSON"),
        ("a.json", "[]", "has no lanes"),
        ("a.json", '{"lanes": [{"points": [{"beat": "x", "value": 1}]}]}', r"points\[0\]: beat is 'x'"),
        (
            "a.json",
            '{"lanes": [{"points": [{"beat": 0, "value": 1, "shape": "odd"}]}]}',
            "the shape 'odd' is not known",
        ),
        ("a.json", '{"lanes": [{"points": []}]}', "at least one point"),
    ],
)
def test_bad_lane_files_are_refused_with_their_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FileError, match=message) as caught:
        read_lanes(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lanes", "triangle", "-o", "a.rpp"), "'triangle' is neither a file nor a gesture; gestures are circle"),
        (("-o", "a.logicx"), "cannot tell the format of a.logicx"),
        (("-o", "a.rpp", "--format", "cubase"), "no format 'cubase', expected one of midi"),
        (("-o", "a.rpp", "--meter", "seven"), "meter 'seven' should read N/D"),
        (("-o", "a.rpp", "--meter", "7/9"), "expected at least 1 over a power of two"),
        (("-o", "a.rpp", "--tempo", "0"), "0 bpm"),
        (("-o", "a.rpp", "--beats", "0"), "a gesture of 0 beats"),
        (("-o", "a.rpp", "--set", "volume=1"), "volume"),
        (("-o", "a.rpp", "-i", "absent.terrain"), "absent.terrain"),
        (("-o", "no/such/a.rpp"), "there is no folder"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(
    terrain, tmp_path: Path, monkeypatch, arguments: tuple, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = terrain("daw", "new", *arguments)
    assert done.code == 2
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


# --- rendering ------------------------------------------------------------------------------------------------------


def lane(key: str, first: float, last: float, track: str) -> Lane:
    return Lane([0, 2], [first, last], name=key.upper(), key=key, track=track)


@pytest.fixture
def duet(tmp_path: Path, instrument_file: Path) -> Path:
    """Two tracks, one with an instrument of its own (embedded) and a level, the other with the built-in one."""
    one = [lane("x", 0.2, 0.8, "One"), lane("y", 0.5, 0.1, "One")]
    two = [lane("x", 0.9, 0.1, "Two")]
    own = PluginState({"level": -6.0}, InstrumentReference.of(instrument_file))
    instances = [PluginInstance("One", lanes=one, state=own), PluginInstance("Two", lanes=two)]
    path = tmp_path / "duet.rpp"
    write(Project("new", path, lanes=one + two, instances=instances, tempo_map=TempoMap.constant(60)), path)
    return path


def test_several_instances_are_mixed_and_written_as_stems(terrain, duet: Path, tmp_path: Path) -> None:
    mix, stems = tmp_path / "mix.wav", tmp_path / "stems"
    said = json.loads(terrain("render", duet, "-o", mix, "--stems", stems, "--json").out)
    assert said["stems"] == [str(stems / "One.wav"), str(stems / "Two.wav")]
    sounds = [soundfile.read(stems / name)[0] for name in ("One.wav", "Two.wav")]
    mixed = soundfile.read(mix)[0]
    assert all(np.abs(sound).max() > 1e-3 for sound in sounds)
    np.testing.assert_allclose(mixed, sum(sounds), atol=2**-22)  # 24 bits each
    alone = tmp_path / "two.wav"
    terrain("render", duet, "-o", alone, "--instance", "2")
    np.testing.assert_array_equal(soundfile.read(alone)[0], sounds[1])


def test_each_instance_has_its_own_state_and_instrument(duet: Path, instrument_file: Path) -> None:
    project = read(duet)
    instrument_file.rename(instrument_file.with_suffix(".moved"))  # the project has a copy
    try:
        one, two = parts_to_play(project)
    finally:
        instrument_file.with_suffix(".moved").rename(instrument_file)
    assert one.constants["level"] == -6
    assert (
        one.instrument.autoencoder.latent_size != two.instrument.autoencoder.latent_size
        or one.instrument != two.instrument
    )
    assert (sorted(one.lanes), sorted(two.lanes)) == (["x", "y"], ["x"])
    assert parts_to_play(project, constants={"level": 3.0})[0].constants["level"] == 3
    (only,) = parts_to_play(project, only="two")
    assert only.name == "Two"
    with pytest.raises(InputError, match=r"0 instances called 'three', expected one of: 1 \(One\), 2 \(Two\)"):
        parts_to_play(project, only="three")


def test_what_is_muted_is_not_played_unless_asked_for(duet: Path, tmp_path: Path) -> None:
    text = duet.read_text().replace("NAME One", "NAME One\n    MUTESOLO 1 0 0")
    duet.write_text(text)
    project = read(duet)
    assert [part.name for part in parts_to_play(project)] == ["Two"]
    assert [part.name for part in parts_to_play(project, only="One")] == ["One"]
    duet.write_text(text.replace("NAME Two", "NAME Two\n    MUTESOLO 1 0 0"))
    with pytest.raises(FileError, match=r"plays none of its 2 instances of the plugin \('One': the track is muted"):
        parts_to_play(read(duet))


def test_the_same_instrument_by_hand_is_the_same_sound(duet: Path, tmp_path: Path, instrument_file: Path) -> None:
    project = read(duet)
    by_state = render_parts(parts_to_play(project, only="One"), project, tmp_path / "a.wav")
    by_hand = render_parts(
        parts_to_play(project, {"x": "One/X", "y": "One/Y"}, instrument=instrument_file, constants={"level": -6.0}),
        project,
        tmp_path / "b.wav",
    )
    assert by_state.seconds == by_hand.seconds
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_an_instrument_that_is_gone_is_said(terrain, duet: Path, tmp_path: Path) -> None:
    project = read(duet)
    gone = InstrumentReference("/nowhere/gone.terrain", "0" * 64, "gone")
    project.instances[1].state = PluginState({}, gone)
    write(project, duet)
    done = terrain("render", duet, "-o", tmp_path / "a.wav")
    assert done.code == 2
    assert "gone.terrain: is not there any more, and the project holds no copy of it" in done.err
    assert terrain("render", duet, "-o", tmp_path / "a.wav", "--instance", "1").code == 0


def test_live_has_two_tempo_laws(terrain, tmp_path: Path) -> None:
    from terrain_core.tempo import TempoPoint

    ramp = TempoMap([TempoPoint(0, 60, "linear-beats"), TempoPoint(8, 180)])
    path = tmp_path / "ramp.als"
    write(Project("new", path, lanes=gesture("circle", 8), tempo_map=ramp), path)
    daw = json.loads(terrain("lanes", path, "--json").out)
    theory = json.loads(terrain("lanes", path, "--law", "theoretical", "--json").out)
    assert len(theory["tempo"]) < 5 < len(daw["tempo"])
    assert theory["tempo"][-1]["seconds"] == pytest.approx(float(ramp.seconds_at(8)), abs=1e-9)
    done = terrain("lanes", path, "--law", "feel")
    assert (done.code, "no tempo law 'feel', expected daw or theoretical" in done.err) == (2, True)


def test_the_examples_sound_the_same_in_every_format(tmp_path: Path) -> None:
    """Before the tempo begins to climb, at 10 s: the formats that hold the gesture as it is to the last bit, MIDI in
    level.
    """
    sounds = {}
    for name in ("gesture.dawproject", "gesture.rpp", "gesture/gesture.ardour", "gesture.als", "gesture.mid"):
        project = read(example(name))
        render_parts(parts_to_play(project), project, tmp_path / "a.wav", RenderSettings(end=6.0))
        sounds[name] = soundfile.read(tmp_path / "a.wav")[0]
    reference = sounds.pop("gesture.dawproject")
    assert np.abs(reference).max() > 0.1
    midi = sounds.pop("gesture.mid")
    for sound in sounds.values():
        np.testing.assert_array_equal(sound, reference)
    levels = [10 * np.log10(np.mean(sound**2)) for sound in (midi, reference)]
    assert levels[0] == pytest.approx(levels[1], abs=0.1)
