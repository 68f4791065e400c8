"""Ardour sessions by hand: what Ardour itself says of sessions is in tests/hosts/test_ardour_sessions.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane
from terrain_core.parameters import PARAMETERS
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import Marker, PluginInstance, Project, Track, read, write
from terrain_daws.ardour.interpolation import fader_position, gain_of
from tests.terrain_daws.damage import flips, truncations
from tests.terrain_daws.strategies import lanes, tempo_maps

STATE = PluginState({"x": 0.25, "glide": 120.0, "run": 1.0})


def automation(name: str, events: str, style: str = "Linear", state: str = "Play") -> str:
    return (
        f'<Automation><AutomationList automation-id="{name}" id="9" interpolation-style="{style}" '
        f'time-domain="BeatTime" state="{state}"><events>{events}</events></AutomationList></Automation>'
    )


def route(inner: str = "", *, name: str = "Lead", mute: int = 0, solo: int = 0, flags: str = "AudioTrack") -> str:
    return (
        f'<Route id="1" name="{name}" active="1"><PresentationInfo order="0" flags="{flags}"/>'
        f'<Controllable name="solo" self-solo="{solo}"/><MuteMaster muted="{mute}"/>{inner}</Route>'
    )


def processor(
    inner: str, kind: str = "vst3", identifier: str = "F2D6E8C45B1A4C379E0D7A41B8C95E26", active: int = 1
) -> str:
    return f'<Processor id="5" name="Mine" active="{active}" type="{kind}" unique-id="{identifier}">{inner}</Processor>'


@pytest.fixture
def project_of(tmp_path: Path) -> Callable[..., Project]:
    def make(*routes: str, rest: str = "", version: str = "7002") -> Project:
        path = tmp_path / "song.ardour"
        path.write_text(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Session version="{version}" name="song" sample-rate="48000" '
            f'id-counter="50">\n<Locations/>\n<Routes>\n' + "\n".join(routes) + f"\n</Routes>\n{rest}\n</Session>\n"
        )
        return read(path)

    return make


def test_times_are_superclocks_ticks_or_samples(project_of) -> None:
    project = project_of(
        route(automation("gain", "a282240000 1 a564480000 0.5")),
        route(automation("gain", "b1920 1\nb3840 0.5\n")),
        route(automation("gain", "48000 1\n96000 0.5")),
        route(automation("gain", "a282240000 1\nb5760 0.5")),
    )
    assert [(lane.unit, lane.times.tolist()) for lane in project.lanes] == [
        ("seconds", [1, 2]),
        ("beats", [1, 2]),
        ("seconds", [1, 2]),
        ("beats", [2, 3]),
    ]
    assert {tuple(lane.values) for lane in project.lanes} == {(0.5, 0.25)}


def test_another_superclock_is_honoured(project_of) -> None:
    tempo = (
        '<TempoMap superclocks-per-second="1000"><Tempos><Tempo npm="60" enpm="60" note-type="4" sclock="0" '
        'quarters="0:0" omega="0"/></Tempos></TempoMap>'
    )
    project = project_of(route(automation("mute", "a1500 1", "Discrete")), rest=tempo)
    assert project.lanes[0].times.tolist() == [1.5]
    assert project.tempo_map == TempoMap.constant(60)


def test_half_notes_as_the_beat_of_a_tempo(project_of) -> None:
    tempo = (
        '<TempoMap><Tempos><Tempo npm="60" enpm="60" note-type="2" sclock="0" quarters="0:0" omega="0"/>'
        '<Tempo npm="90" enpm="90" note-type="8" sclock="1128960000" quarters="8:0" omega="0"/></Tempos><Meters>'
        '<Meter note-value="8" divisions-per-bar="6" quarters="0:0"/></Meters></TempoMap>'
    )
    tempo_map = project_of(rest=tempo).tempo_map
    assert [(p.beat, p.bpm) for p in tempo_map.points] == [(0, 120), (8, 45)]
    assert tempo_map.meters == (Meter(0, 6, 8),)


def test_a_stored_clock_that_the_tempi_deny_is_reported(project_of) -> None:
    tempo = (
        '<TempoMap><Tempos><Tempo npm="60" enpm="60" note-type="4" sclock="0" quarters="0:0" omega="0"/>'
        '<Tempo npm="90" enpm="90" note-type="4" sclock="0" quarters="8:0" omega="0"/></Tempos></TempoMap>'
    )
    assert "kept at 0.000000 s, where the tempi before it give 8.000000 s" in project_of(rest=tempo).unknown[0]


def test_our_parameters_are_found_by_their_place_and_scaled_from_plain_values(project_of) -> None:
    level = next(index for index, parameter in enumerate(PARAMETERS) if parameter.key == "level")
    lists = automation(f"parameter-{level}", "b0 -60 b1920 12") + automation(
        "parameter-0", "b0 0.25", "Discrete", "Off"
    )
    lists = lists.replace("</Automation><Automation>", "")
    project = project_of(
        route(processor(lists)), route(processor(lists, active=0), name="Off"), route(processor(lists), mute=1)
    )
    assert [(lane.key, lane.values.tolist(), lane.active) for lane in project.lanes[:2]] == [
        ("level", [0, 1], True),
        ("x", [0.25], False),
    ]
    assert project.lanes[1].shape_codes.tolist() == [0]
    assert [i.silenced_by for i in project.instances] == ["", "bypassed", "the track is muted"]
    assert project.instances[0].lanes[0] is project.lanes[0]


def test_other_plugins_parameters_keep_their_values(project_of) -> None:
    other = processor(automation("parameter-3", "b0 440 b1920 880"), "lv2", "http://example.org/eq")
    project = project_of(route(other))
    assert (project.lanes[0].name, project.lanes[0].plugin_id) == ("parameter 3", "http://example.org/eq")
    assert project.lanes[0].values.tolist() == [440, 880]
    assert "its range is not in the session" in project.unknown[0]


def test_solo_mute_and_master(project_of) -> None:
    project = project_of(
        route(name="A", solo=1), route(name="B"), route(name="C", mute=1), route(name="M", flags="MasterOut")
    )
    assert project.tracks == [
        Track("A"),
        Track("B", "", "another track is soloed"),
        Track("C", "", "the track is muted"),
        Track("M"),
    ]


def test_marks_and_ranges(project_of) -> None:
    locations = (
        '<Locations><Location name="session" start="a0" end="a9" flags="IsSessionRange"/>'
        '<Location name="Verse" start="a282240000" flags="IsMark"/>'
        '<Location name="Loop" start="b960" flags="IsAutoLoop"/>'
        '<Location name="Part" start="b960" end="b1920" flags="IsRangeMarker"/></Locations>'
    )
    text_of = project_of(rest=locations)
    assert text_of.markers == [] or text_of.markers[0].name  # two <Locations>: the first, empty one is Ardour's
    path = text_of.path
    path.write_text(path.read_text().replace("<Locations/>", ""))
    assert read(path).markers == [Marker("Part", 0.5), Marker("Verse", 2)]


def test_a_fader_is_straight_between_positions() -> None:
    gains = np.linspace(0, 2, 200)
    np.testing.assert_allclose(gain_of(fader_position(gains)), gains, atol=1e-9)
    assert fader_position(np.array([2.0])) == 1.0


def test_an_older_session_and_a_newer_one(project_of) -> None:
    with pytest.raises(FileError, match="version '6000', expected 7000 or later; open it in Ardour 7"):
        project_of(version="6000")
    assert project_of(version="8000").repairs == []


# --- writing --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(lane=lanes, tempo_map=tempo_maps)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, lane: Lane, tempo_map: TempoMap
) -> None:
    path = tmp_path_factory.getbasetemp() / "session/session.ardour"
    assert write(Project("reaper", path, lanes=[lane], tempo_map=tempo_map, markers=[Marker("A", 2)]), path) == []
    again = read(path.parent)
    assert again.unknown == again.repairs == []
    beats = np.linspace(0, 70, 1500)
    np.testing.assert_allclose(again.tempo_map.seconds_at(beats), tempo_map.seconds_at(beats), atol=1e-3)
    assert (again.tempo_map.meters, again.markers) == (tempo_map.meters, [Marker("A", 2)])
    ticks = np.rint(beats * 1920) / 1920
    # What is written was rounded to a tick: it has a value that the lane has within a tick.
    near = lane.sample(ticks[:, None] + np.linspace(-1, 1, 81) / 1920)
    ours = again.lanes[0].sample(ticks)
    assert (near.min(axis=1) - 2e-4 <= ours).all()
    assert (ours <= near.max(axis=1) + 2e-4).all()


def test_states_lanes_and_instances_are_written(tmp_path: Path) -> None:
    x, y = Lane([0, 4], [0, 1], name="X", key="x"), Lane([0, 4], [1, 0], name="Y", key="y", unit="seconds")
    instances = [PluginInstance("One", lanes=[x], state=STATE), PluginInstance("Two <&>", lanes=[y])]
    project = Project("midi", tmp_path, lanes=[x, y], instances=instances)
    path = tmp_path / "two/two.ardour"
    write(project, path)
    again = read(path)
    assert (again.instances[0].track, again.instances[0].state.parameters["x"]) == ("One", 0.25)
    assert [(lane.track, lane.key, lane.points) for lane in again.lanes] == [
        ("One", "x", x.points),
        ("Two <&>", "y", y.points),
    ]
    first = path.read_bytes()
    write(project, path)
    assert path.read_bytes() == first
    with pytest.raises(FileError, match=r"expected FOLDER/NAME\.ardour"):
        write(project, tmp_path / "two", "ardour")


def test_only_the_elements_that_changed_are_written(project_of) -> None:
    project = project_of(
        route(processor(automation("parameter-0", "b0 0.25 b1920 0.5") + "<Strange a='1'>text</Strange>"))
    )
    original = project.path.read_bytes()
    write(project, project.path)
    assert project.path.read_bytes() == original
    project.lanes[0] = Lane([0, 2], [0.5, 0.75], **project.lanes[0].labels)
    project.instances[0].state = STATE
    project.markers.append(Marker("New", 3.5))
    project.tempo_map = TempoMap.constant(90, [Meter(0, 3, 4)])
    write(project, project.path)
    again = read(project.path)
    assert again.lanes == project.lanes
    assert (again.instances[0].state, again.markers, again.tempo_map) == (
        STATE,
        project.markers,
        project.tempo_map,
    ) or (again.instances[0].state is not None and again.instances[0].state.parameters["x"] == 0.25)
    assert '<Strange a="1">text</Strange>' in project.path.read_text()
    again.lanes.append(Lane([0], [0.5], name="Y", key="y"))
    write(again, project.path)
    assert [lane.key for lane in read(project.path).lanes] == ["x", "y"]
    again = read(project.path)
    again.lanes.append(Lane([0], [0.5], name="Other"))
    with pytest.raises(InputError, match="no place for the new lane"):
        write(again, project.path)


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("b0 0.5 b1", "has 3 times and values, expected pairs"),
        ("b0 nan", "has a value that is no finite number"),
        ("b0 1e999", "has a value that is no finite number"),
        ("c0 1", "point 0 is at 'c0', expected a time"),
        ("b999999999999999999 1", "point 0 is at 'b9999"),
        ("b0 x", "no finite number"),
    ],
)
def test_bad_events_are_refused_with_their_line(project_of, events: str, message: str) -> None:
    with pytest.raises(FileError, match=message) as caught:
        project_of(route(automation("gain", events)))
    assert re.fullmatch(r"line \d+", caught.value.position)


def test_points_out_of_order_and_a_broken_state_are_mended(project_of) -> None:
    broken = "<vst3><chunk>AAAA</chunk></vst3>"
    project = project_of(route(processor(automation("parameter-0", "b1920 1 b0 0") + broken)))
    assert project.lanes[0].times.tolist() == [0, 1]
    assert project.instances[0].state is None
    assert len(project.repairs) == 2


@pytest.fixture
def example(tmp_path: Path) -> bytes:
    x = Lane(np.arange(40) / 2, np.linspace(0, 1, 40), name="X", key="x")
    tempo_map = TempoMap([TempoPoint(0, 90, "linear-beats"), TempoPoint(8, 120)], [Meter(0, 7, 8)])
    path = tmp_path / "e/e.ardour"
    write(Project("midi", path, lanes=[x], tempo_map=tempo_map, markers=[Marker("A", 1)]), path)
    return path.read_bytes()


def test_every_truncation_is_an_error(example: bytes, read_damaged: Callable[[bytes], str]) -> None:
    for data in truncations(example.rstrip()):
        assert re.search(r"(line|byte) \d+", read_damaged(data))


def test_flipped_bytes_are_errors_or_sessions(example: bytes, read_damaged: Callable[[bytes], str]) -> None:
    outcomes = [read_damaged(data) for data in flips(example)]
    assert 200 < len([outcome for outcome in outcomes if outcome]) < 1900


SESSION = b'<?xml version="1.0"?><Session version="7002"'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<!DOCTYPE s [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><Session version="7002">&b;</Session>', "document type"),
        (SESSION + b">" + b"<a>" * 3_000_000, "not well-formed XML"),
        (SESSION + b">" + b"<a/>" * 3_000_000 + b"</Session>", "has more than 600,001 elements"),
        (SESSION + b' name="' + b"a" * 30_000_000 + b'"/>', "not well-formed XML"),
    ],
    ids=["entities", "nesting", "elements", "one attribute"],
)
def test_monsters_end_soon(data: bytes, message: str, read_damaged: Callable[[bytes], str]) -> None:
    assert message in read_damaged(data)
