"""Live sets written: new ones read back, changed ones with every other byte as it was."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from terrain_core.errors import InputError
from terrain_core.lanes import SHAPES, Lane, Shape
from terrain_core.parameters import PARAMETERS
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import Marker, Project, read
from terrain_daws.live.reading import read_bytes, read_live
from terrain_daws.live.template import new_set
from terrain_daws.live.writing import write_live
from terrain_daws.project import Note, PluginInstance

ROOT = Path(__file__).parents[2]
REAL_FILES = ROOT / "../shared/data/daw/als"
SEVEN_EIGHT = [Meter(0, 4, 4), Meter(24, 7, 8)]
TEMPI = [TempoPoint(0, 96), TempoPoint(16, 96, "linear-beats"), TempoPoint(24, 132)]
GESTURE = [
    Lane([0, 4, 8, 8, 12], [0.1, 0.9, 0.5, 0.25, 1], name="a", key="x"),
    Lane([0, 2.5], [1 / 3, 0.7], name="b", key="y"),
]


def song(**changes: object) -> Project:
    fields: dict[str, object] = {
        "lanes": list(GESTURE),
        "tempo_map": TempoMap(
            [TempoPoint(0, 96), TempoPoint(16, 96, "linear-beats"), TempoPoint(24, 132)], SEVEN_EIGHT
        ),
        "markers": [Marker("A & <b>", 0), Marker("Ü\tü", 16.5)],
    }
    return Project("midi", Path("song.mid"), **(fields | changes))  # type: ignore[arg-type]


def through(project: Project, law: str = "theoretical") -> Project:
    """A new set of the project, read."""
    return read_bytes(new_set(project), Path("new.als"), law)  # type: ignore[arg-type]


def xml_of(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def lines_without(xml: bytes, tags: Collection[bytes]) -> list[bytes]:
    """A set's lines but those that begin or end one of these elements (or hold a state, which no element does)."""
    line_tags = [(line, re.match(rb"\s*</?([\w.]+)", line)) for line in xml.splitlines()]
    return [line for line, tag in line_tags if tag and tag[1] not in tags]


# --- new sets ---


def test_a_new_set_holds_the_song() -> None:
    project = through(song())
    assert [(lane.key, lane.name, lane.track) for lane in project.lanes] == [
        ("x", "X", "Latent Terrain"),
        ("y", "Y", "Latent Terrain"),
    ]
    for lane, original in zip(project.lanes, GESTURE, strict=True):
        np.testing.assert_array_equal(lane.times, original.times)
        np.testing.assert_array_equal(lane.values, original.values)
    assert project.tempo_map == song().tempo_map
    assert project.markers == song().markers
    assert (project.unknown, project.repairs) == ([], [])
    (instance,) = project.instances
    assert instance.state == PluginState()
    assert instance.lanes == project.lanes


def test_several_instances_with_states_lanes_and_the_same_track_name(tmp_path: Path) -> None:
    glide = Lane([0, 1], [0, 1], "hold", key="glide")
    instances = [
        PluginInstance("Pad", "mine", lanes=[GESTURE[0]], state=PluginState({"level": -6.0}, loops=bytes(range(256)))),
        PluginInstance("Pad", lanes=[GESTURE[1], glide]),
    ]
    write_live(song(lanes=[*GESTURE, glide], instances=instances), tmp_path / "two.als")
    project = read_live(tmp_path / "two.als")
    assert [(one.track, one.name) for one in project.instances] == [("Pad", "mine"), ("Pad 2", "Latent Terrain")]
    assert [[lane.key for lane in one.lanes] for one in project.instances] == [["x"], ["y", "glide"]]
    assert project.instances[0].state == instances[0].state
    assert project.instances[1].lanes[1].sample([0, 0.99, 1]).tolist() == [0, 0, 1]


def test_of_several_lanes_the_first_active_one_is_written() -> None:
    lanes = [Lane([0], [n / 4], key="x", active=n > 0) for n in range(3)]
    assert [lane.values.tolist() for lane in through(song(lanes=lanes)).lanes] == [[0.25]]


def test_the_example_song_comes_through() -> None:
    original = read(ROOT / "daws/examples/gesture.dawproject")
    project = through(original)
    beats = np.linspace(-1, 60, 5000)
    for key, lane in original.lanes_by_key().items():
        np.testing.assert_array_equal(project.lanes_by_key()[key].sample(beats), lane.sample(beats))
    assert project.tempo_map == original.tempo_map
    assert project.markers == original.markers


def test_lanes_in_seconds_become_beats() -> None:
    seconds = Lane([0, 2], [0, 1], key="x", unit="seconds")
    project = through(song(lanes=[seconds], tempo_map=TempoMap.constant(120)))
    assert project.lanes[0].times.tolist() == [0, 4]


def test_a_new_sets_numbers_are_each_used_once_and_none_is_missing() -> None:
    tree = etree.fromstring(xml_of(new_set(song())))
    numbers = [
        int(element.get("Id"))
        for element in tree.iter()
        if "Id" in element.attrib and ("Target" in element.tag) and element.tag != "EnvelopeTarget"
    ]
    assert len(numbers) == len(set(numbers)) > 300
    assert int(tree.find("LiveSet/NextPointeeId").get("Value")) > max(numbers)
    pointees = [int(element.get("Value")) for element in tree.iter("PointeeId")]
    assert len(pointees) == 4  # two lanes, the tempo, the meter
    assert set(pointees) <= set(numbers)


def test_every_parameter_has_a_lane_in_a_set() -> None:
    keys = [parameter.key for parameter in PARAMETERS if not parameter.read_only]
    lanes = [Lane([0, n], [0, 1 / (n + 1)], key=key) for n, key in enumerate(keys, 1)]
    project = through(song(lanes=lanes))
    assert [lane.key for lane in project.lanes] == keys
    for lane, original in zip(project.lanes, lanes, strict=True):
        np.testing.assert_array_equal(lane.values, original.values)


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.floats(0, 1), st.sampled_from(SHAPES), st.floats(-1, 1)),
        min_size=1,
        max_size=10,
    )
)
def test_any_lane_sounds_the_same_after_writing_and_reading(rows: list[tuple[float, float, Shape, float]]) -> None:
    rows.sort(key=lambda row: row[0])
    times, values, shapes, tensions = (list(column) for column in zip(*rows, strict=True))
    lane = Lane(times, values, shapes, tensions, key="x")
    written = through(song(lanes=[lane])).lanes[0]
    at = np.unique(np.concatenate([times, np.linspace(times[0] - 1, times[-1] + 1, 300)]))
    clear_of_jumps = np.min(np.abs(at[:, None] - np.array(times)), axis=1) > 1e-6
    # Shapes that Live lacks are drawn in straight pieces, 1e-4 of their rise off in the middle of each.
    np.testing.assert_allclose(written.sample(at[clear_of_jumps]), lane.sample(at[clear_of_jumps]), rtol=0, atol=1e-3)
    again = through(song(lanes=[written])).lanes[0]
    np.testing.assert_array_equal(again.times, written.times)
    np.testing.assert_array_equal(again.values, written.values)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(20, 999), st.booleans()), min_size=1, max_size=8),
)
def test_any_tempo_map_is_read_as_it_was_written(rows: list[tuple[float, float, bool]]) -> None:
    rows.sort(key=lambda row: row[0])
    shapes = ["linear-beats" if ramp else "step" for _, _, ramp in rows]
    points = [TempoPoint(beat, bpm, shape) for (beat, bpm, _), shape in zip(rows, shapes, strict=True)]  # type: ignore[arg-type]
    try:
        tempo_map = TempoMap(points)
    except RuntimeWarning:
        return  # steeper than numbers go
    written = through(song(tempo_map=tempo_map)).tempo_map
    at = np.linspace(0, 1100, 200)
    np.testing.assert_allclose(written.seconds_at(at), tempo_map.seconds_at(at), rtol=1e-9, atol=1e-6)


def test_what_live_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="the tempo at beat 0 is 10 bpm; Live has 20 to 999"):
        new_set(song(tempo_map=TempoMap.constant(10)))
    with pytest.raises(InputError, match="Live has no time signature 4/32"):
        new_set(song(tempo_map=TempoMap.constant(100, [Meter(0, 4, 32)])))


# --- changed sets ---


@pytest.fixture
def base() -> Project:
    return through(song())


def rewritten(project: Project, law: str = "theoretical") -> Project:
    assert project.document is not None
    return read_bytes(project.document.rewritten(project), project.path, law)  # type: ignore[arg-type]


def test_unchanged_it_is_the_very_same_file(base: Project, tmp_path: Path) -> None:
    data = new_set(song())
    assert base.document is not None
    assert base.document.rewritten(base) == data
    write_live(base, tmp_path / "same.als")
    assert (tmp_path / "same.als").read_bytes() == data


def other_lane(project: Project) -> None:
    project.lanes[0] = project.lanes[0].labelled()
    project.lanes[0] = Lane([1, 3], [0.5, 0.125], **project.lanes[0].labels)


def other_tempo(project: Project) -> None:
    points = [TempoPoint(0, 60), TempoPoint(4, 90, "linear-beats"), TempoPoint(8, 100)]
    project.tempo_map = TempoMap(points, project.tempo_map.meters)


def other_meter(project: Project) -> None:
    project.tempo_map = TempoMap(project.tempo_map.points, [Meter(0, 5, 4), Meter(10, 3, 8)])


def other_markers(project: Project) -> None:
    project.markers = [project.markers[1], Marker("new", 2.25), Marker("new", 2.25)]


def other_state(project: Project) -> None:
    project.instances[0].state = PluginState({"x": 0.75}, loops=b"loop" * 100)


def removed_lane(project: Project) -> None:
    del project.lanes[1]


def lane_for_a_slot_that_is_free(project: Project) -> None:
    project.lanes.append(Lane([0, 8], [0, 1], key="level"))


CHANGES: dict[Callable[[Project], None], Sequence[bytes]] = {
    other_lane: [b"FloatEvent"],
    other_tempo: [b"FloatEvent", b"Manual"],
    other_meter: [b"EnumEvent", b"Manual"],
    other_markers: [b"Locator", b"Time", b"Name", b"Annotation", b"IsSongStart", b"LomId"],
    other_state: [],
    removed_lane: [b"AutomationEnvelope", b"EnvelopeTarget", b"PointeeId", b"Automation", b"FloatEvent", b"Events",
                   b"AutomationTransformViewState", b"IsTransformPending", b"TimeAndValueTransforms"],
    lane_for_a_slot_that_is_free: [b"AutomationEnvelope", b"EnvelopeTarget", b"PointeeId", b"Automation", b"FloatEvent",
                                   b"AutomationTransformViewState", b"IsTransformPending", b"TimeAndValueTransforms",
                                   b"Events", b"ParameterName", b"ParameterId", b"VisualIndex"],
}  # fmt: skip
"""A change -> the elements that may differ afterwards."""


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_change_is_written_and_nothing_else(change: Callable[[Project], None], encoding: str) -> None:
    source = xml_of(new_set(song())).decode().replace("UTF-8", encoding).encode(encoding)
    project = read_bytes(source, Path("song.als"), "theoretical")
    change(project)
    assert project.document is not None
    result = project.document.rewritten(project)
    again = read_bytes(result, Path("song.als"), "theoretical")

    def labels(lanes: Sequence[Lane]) -> list[object]:
        return [(lane.key, lane.points) for lane in sorted(lanes, key=lambda lane: lane.key)]

    assert labels(again.lanes) == labels(project.lanes)
    assert again.tempo_map == project.tempo_map
    assert sorted(again.markers, key=str) == sorted(project.markers, key=str)
    assert again.instances[0].state == project.instances[0].state
    assert (again.unknown, again.repairs) == ([], [])
    old, new = (data.decode(encoding).encode() for data in (source, result))
    assert old != new
    assert not re.search(rb"\n\s*\n", new)
    assert lines_without(old, CHANGES[change]) == lines_without(new, CHANGES[change])
    assert again.document is not None
    assert again.document.rewritten(again) == result


def test_all_changes_at_once(base: Project) -> None:
    for change in CHANGES:
        if change is not removed_lane:
            change(base)
    again = rewritten(base)
    assert sorted(lane.key for lane in again.lanes) == ["level", "x", "y"]
    assert again.tempo_map == base.tempo_map
    assert again.lanes_by_key()["level"].parameter_id == 6


def test_steps_as_live_plays_them_stay_those_steps() -> None:
    project = through(song(), "daw")
    assert len(project.tempo_map.points) > 30
    project.markers.append(Marker("one more", 3))  # the tempo is left alone
    assert b"<FloatEvent" in xml_of(project.document.rewritten(project))  # type: ignore[union-attr]
    assert rewritten(project).tempo_map == song().tempo_map
    project.tempo_map = TempoMap(project.tempo_map.points[:-1], project.tempo_map.meters)
    assert rewritten(project, "daw").tempo_map == project.tempo_map


def test_the_mixer_gets_automation_and_switches_only_steps(base: Project) -> None:
    volume = Lane([0, 4], [0, 0.5], name="Track Volume", track="Latent Terrain")
    speaker = Lane([0, 4, 8], [1, 0, 1], "hold", name="Speaker On", track="Latent Terrain")
    base.lanes += [volume, speaker]
    again = rewritten(base)
    assert {lane.name: lane.sample([0, 2, 4, 6]).round(12).tolist() for lane in again.lanes[2:]} == {
        "Track Volume": [0, 0.25, 0.5, 0.5],
        "Speaker On": [1, 1, 0, 0],
    }
    base.lanes[-1] = Lane([0, 4], [0, 1], name="Speaker On", track="Latent Terrain")
    with pytest.raises(InputError, match="'Speaker On' goes in ramps, and Live only has steps there"):
        rewritten(base)


def test_what_a_patch_cannot_do_is_refused(base: Project) -> None:
    for name, value, problem in [
        ("notes", [Note(0, 1, 0, 60, 1)], "the notes were changed"),
        ("tracks", [], "the tracks were changed"),
        ("instances", [], "a plugin was added or taken away"),
        (
            "lanes",
            [*base.lanes, Lane([0], [0], name="Cutoff", track="T", plugin="P")],
            "no 'Cutoff' of 'P' on track 'T'",
        ),
        ("lanes", [*base.lanes, base.lanes[0]], "no 'X' of 'Latent Terrain'.*or it has a lane already"),
    ]:
        project = through(song())
        setattr(project, name, value)
        with pytest.raises(InputError, match=problem):
            rewritten(project)
    base.instances[0].state = None
    with pytest.raises(InputError, match="the plugin's state on track 'Latent Terrain' cannot be taken away"):
        rewritten(base)


@pytest.mark.skipif(not REAL_FILES.exists(), reason="the real Live sets are not beside this repository")
@pytest.mark.parametrize("name", ["automation.als", "L12-automation.als"])
def test_real_sets_are_patched(name: str) -> None:
    project = read_live(REAL_FILES / name, "theoretical")
    assert project.document is not None
    data = (REAL_FILES / name).read_bytes()
    assert project.document.rewritten(project) == data
    project.tempo_map = TempoMap([TempoPoint(0, 100, "linear-beats"), TempoPoint(32, 50)], [Meter(0, 3, 4)])
    project.lanes.append(Lane([0, 4, 8], [0.5, 0.75, 0], name="Track Volume", track="1-Audio"))
    project.markers.append(Marker("new", 20))
    again = rewritten(project)
    assert again.tempo_map == project.tempo_map
    np.testing.assert_allclose(again.lanes[0].values, [0.5, 0.75, 0], atol=1e-12)
    assert again.markers == project.markers
    tags = {*CHANGES[lane_for_a_slot_that_is_free], *CHANGES[other_markers], b"Envelopes", b"EnumEvent", b"Manual"}
    assert again.document is not None
    old, new = (xml_of(document) for document in (data, again.document.data))  # type: ignore[attr-defined]
    assert lines_without(old, tags) == lines_without(new, tags)


def test_one_of_two_like_markers_goes_and_one_comes_that_the_encoding_lacks() -> None:
    source = xml_of(new_set(song(markers=[Marker("twice", 1), Marker("twice", 1)])))
    project = read_bytes(source.replace(b"UTF-8", b"iso-8859-1"), Path("song.als"))
    project.markers = [Marker("twice", 1), Marker("Ü → →", 2)]
    assert rewritten(project).markers == project.markers


def test_lanes_in_clips_are_not_changed() -> None:
    events = '<Events><FloatEvent Time="-63072000" Value="0" /><FloatEvent Time="1" Value="127" /></Events>'
    clip = (
        '<MidiClip Time="0"><CurrentStart Value="0" /><CurrentEnd Value="4" /><Loop><LoopStart Value="0" />'
        '<LoopEnd Value="4" /><StartRelative Value="0" /><LoopOn Value="false" /></Loop><Envelopes><Envelopes>'
        f'<ClipEnvelope><EnvelopeTarget><PointeeId Value="99" /></EnvelopeTarget><Automation>{events}</Automation>'
        "</ClipEnvelope></Envelopes></Envelopes></MidiClip>"
    )
    text = (
        '<Ableton MinorVersion="11.0"><LiveSet><Tracks><MidiTrack Id="1"><Name><EffectiveName Value="T" /></Name>'
        f"<ClipTimeable><ArrangerAutomation><Events>{clip}</Events></ArrangerAutomation></ClipTimeable>"
        '<MidiControllers><ControllerTargets.18 Id="99" /></MidiControllers></MidiTrack></Tracks></LiveSet></Ableton>'
    )
    for change in (lambda lanes: lanes.pop(), lambda lanes: lanes.append(Lane([0], [0], **lanes.pop().labels))):
        project = read_bytes(text.encode(), Path("clips.als"))
        assert [lane.name for lane in project.lanes] == ["CC 16"]
        change(project.lanes)
        with pytest.raises(InputError, match="'CC 16' on track 'T' lies in clips, which are not changed"):
            rewritten(project)


def test_live_9_keeps_its_events_in_place() -> None:
    def held(content: str) -> str:
        return f"<ArrangerAutomation>\n\t<Events>{content}\n\t</Events>\n</ArrangerAutomation>"

    initial = '\n\t\t<FloatEvent Time="-63072000" Value="0.5" />'
    text = (
        '<Ableton MajorVersion="4" MinorVersion="9.5_327"><LiveSet><Tracks><MidiTrack><Name><EffectiveName Value="T" />'
        "</Name><DeviceChain><DeviceChain><Devices><AutoFilter>"
        f"<Cutoff>{held(initial)}<MidiControllerRange><Min Value='20' /><Max Value='120' /></MidiControllerRange>"
        "</Cutoff>"
        "</AutoFilter></Devices></DeviceChain></DeviceChain></MidiTrack></Tracks></LiveSet></Ableton>"
    )
    project = read_bytes(text.encode(), Path("nine.als"))
    project.lanes.append(Lane([0, 4], [0, 0.5], name="Cutoff", plugin="AutoFilter", track="T"))
    assert project.document is not None
    result = project.document.rewritten(project).decode()
    expected = (
        '\n\t\t<FloatEvent Time="-63072000" Value="20" />\n\t\t<FloatEvent Time="0" Value="20" />'
        '\n\t\t<FloatEvent Time="4" Value="70" />'
    )
    assert result == text.replace(initial, expected)
    again = read_bytes(result.encode(), Path("nine.als"))
    assert again.lanes[0].values.tolist() == [0, 0.5]
    del again.lanes[0]
    assert rewritten(again).lanes == []
