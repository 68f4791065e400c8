"""DAWprojects that we write, against the format's own schema, and those that were read and are written back."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from terrain_core.errors import InputError
from terrain_core.lanes import Lane
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import Marker, Note, PluginInstance, Project, Track, read, write
from tests.terrain_daws.damage import flips, truncations
from tests.terrain_daws.strategies import lanes, tempo_maps

STATE = PluginState({"x": 0.25, "glide": 120.0, "run": 1.0})


@settings(deadline=None, max_examples=60)
@given(lane=lanes, tempo_map=tempo_maps, unit=st.sampled_from(["beats", "seconds"]))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, lane: Lane, tempo_map: TempoMap, unit: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.dawproject"
    lane = lane.labelled(unit=unit)
    notes = [Note(1.5, 0.25, 3, 60, 0.5)]
    made = Project("reaper", path, lanes=[lane], tempo_map=tempo_map, markers=[Marker("A", 2)], notes=notes)
    assert write(made, path) == []
    again = read(path)
    assert again.unknown == again.repairs == []
    beats = np.linspace(-1, 70, 1500)
    np.testing.assert_allclose(again.tempo_map.seconds_at(beats), tempo_map.seconds_at(beats), atol=1e-4)
    assert (again.tempo_map.meters, again.markers, again.notes) == (tempo_map.meters, [Marker("A", 2)], notes)
    (written,) = again.lanes
    assert (written.unit, written.key, written.parameter_id) == (unit, "x", 1)
    np.testing.assert_allclose(written.sample(beats), lane.sample(beats), atol=2e-4)


def everything(tmp_path: Path) -> Project:
    x, y = Lane([0, 4], [0, 1], name="X", key="x"), Lane([0, 4], [1, 0], name="Y", key="y", unit="seconds")
    instances = [
        PluginInstance("One", lanes=[x], state=STATE),
        PluginInstance("Two <&>", "Mine", "clap", lanes=[y], state=PluginState({"y": 1.0})),
    ]
    return Project(
        "reaper",
        tmp_path,
        lanes=[x, y],
        instances=instances,
        tempo_map=TempoMap([TempoPoint(0, 90, "linear-beats"), TempoPoint(8, 120)], [Meter(0, 7, 8), Meter(7, 3, 4)]),
        markers=[Marker("A", 1), Marker("B & C", 4)],
        notes=[Note(0, 1, 0, 60, 1.0), Note(2, 0.5, 15, 127, 0.25)],
    )


def test_states_instances_and_notes_are_written(tmp_path: Path) -> None:
    path = tmp_path / "song.dawproject"
    assert write(everything(tmp_path), path) == []
    again = read(path)
    assert [(i.track, i.name, i.plugin_format, i.state) for i in again.instances] == [
        ("One", "Latent Terrain", "vst3", STATE),
        ("Two <&>", "Mine", "clap", PluginState({"y": 1.0})),
    ]
    assert [[lane.key for lane in i.lanes] for i in again.instances] == [["x"], ["y"]]
    assert again.tracks == [Track("One"), Track("Two <&>"), Track("Master")]
    assert [note.track for note in again.notes] == ["One", "One"]
    first = path.read_bytes()
    write(everything(tmp_path), path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("name", ["Project", "MetaData"])
def test_it_is_valid_by_the_schema(tmp_path: Path, root: Path, name: str) -> None:
    path = tmp_path / "song.dawproject"
    write(everything(tmp_path), path)
    schema = etree.XMLSchema(file=str(root / f"tests/data/dawproject/{name}.xsd"))
    with zipfile.ZipFile(path) as archive:
        schema.assertValid(etree.fromstring(archive.read({"Project": "project.xml", "MetaData": "metadata.xml"}[name])))


def test_only_what_changed_is_written(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "song.dawproject"
    write(everything(tmp_path), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("audio/kick.wav", b"RIFF" * 100)
    original = path.read_bytes()
    project = read(path)
    write(project, path)
    assert path.read_bytes() == original

    project.lanes[0] = Lane([0, 2], [0.5, 0.75], "hold", **project.lanes[0].labels)
    project.lanes.append(Lane([0, 1], [0.0, 1.0], name="Pressure", key="pressure", track="Two <&>"))
    project.instances[1].state = STATE
    project.tempo_map = TempoMap.constant(77, [Meter(0, 5, 4)])
    project.markers = [Marker("New", 3.5)]
    write(project, path)
    again = read(path)
    assert [(lane.track, lane.key, lane.unit, lane.points) for lane in again.lanes] == [
        (lane.track, lane.key, lane.unit, lane.points) for lane in project.lanes
    ]
    assert [i.state for i in again.instances] == [STATE, STATE]
    assert (again.tempo_map, again.markers, again.notes) == (project.tempo_map, project.markers, project.notes)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("audio/kick.wav") == b"RIFF" * 100
        schema = etree.XMLSchema(file=str(root / "tests/data/dawproject/Project.xsd"))
        schema.assertValid(etree.fromstring(archive.read("project.xml")))

    again.lanes = [lane for lane in again.lanes if lane.key != "x"]
    write(again, path)
    assert sorted(lane.key for lane in read(path).lanes) == ["pressure", "y"]


def test_what_cannot_be_patched_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.dawproject"
    write(everything(tmp_path), path)
    project = read(path)
    project.lanes.append(Lane([0], [0.5], name="Cutoff"))
    with pytest.raises(InputError, match="no place for the new lane /Cutoff"):
        write(project, path)
    project = read(path)
    project.notes.pop()
    with pytest.raises(InputError, match="notes were changed"):
        write(project, path)
    project = read(path)
    project.instances.pop()
    with pytest.raises(InputError, match="had 2 instances of Latent Terrain and now has 1"):
        write(project, path)


def test_off_muted_and_soloed(tmp_path: Path) -> None:
    path = tmp_path / "song.dawproject"
    write(everything(tmp_path), path)

    def changed(old: str, new: str) -> Project:
        other = tmp_path / "other.dawproject"
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w") as copy:
            for info in archive.infolist():
                text = archive.read(info)
                if info.filename == "project.xml":
                    assert old in text.decode()
                    text = text.decode().replace(old, new, 1).encode()
                copy.writestr(info, text)
        return read(other)

    off = changed('<Enabled value="true"', '<Enabled value="false"')
    assert [i.silenced_by for i in off.instances] == ["switched off", ""]
    assert [lane.active for lane in off.lanes] == [False, True]
    muted = changed('<Mute value="false"', '<Mute value="true"')
    assert [i.silenced_by for i in muted.instances] == ["the track is muted", ""]
    assert [t.silenced_by for t in changed('solo="false"', 'solo="true"').tracks] == ["", "another track is soloed", ""]
    gone = changed("plugins/1.vstpreset", "plugins/9.vstpreset")
    assert gone.instances[0].state is None
    assert "has 0 files plugins/9.vstpreset" in gone.repairs[0]


@pytest.fixture
def example(tmp_path: Path) -> bytes:
    path = tmp_path / "song.dawproject"
    write(everything(tmp_path), path)
    return path.read_bytes()


def test_every_truncation_is_an_error(example: bytes, read_damaged: Callable[[bytes], str]) -> None:
    assert all(read_damaged(data) for data in truncations(example))


def test_flipped_bytes_of_the_zip_are_errors_or_change_nothing_that_is_read(
    example: bytes, read_damaged: Callable[[bytes], str]
) -> None:
    """Each member has a checksum: what can be flipped unseen is only dates and attributes."""
    outcomes = [read_damaged(data) for data in flips(example)]
    assert len([outcome for outcome in outcomes if outcome]) > 1300


def test_flipped_bytes_of_the_xml_are_errors_with_their_line_or_projects(
    example: bytes, tmp_path: Path, read_damaged: Callable[[bytes], str]
) -> None:
    path = tmp_path / "song.dawproject"
    path.write_bytes(example)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    damaged = tmp_path / "zipped"
    for xml in flips(members["project.xml"]):
        with zipfile.ZipFile(damaged, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, xml if name == "project.xml" else content)
        if problem := read_damaged(damaged.read_bytes()):
            assert re.search(r"project\.xml( line \d+)?: |project\.xml, |damaged", problem), problem
