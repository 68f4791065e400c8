"""REAPER projects: what is in them, by hand-made projects, by real ones, and by what was written before."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core import identity
from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane, Point, Shape
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import Meter, TempoMap
from terrain_daws import Marker, Note, PluginInstance, Project, Track, read
from terrain_daws.reaper.plugins import encoded_state, vst3_number
from terrain_daws.reaper.writing import write_reaper
from tests.terrain_daws.damage import flips, truncations
from tests.terrain_daws.strategies import lanes_of, tempo_maps

REAL = Path(__file__).parents[3] / "shared/data/daw/rpp"
CLASS_ID = identity.VST3_CLASS_UUID.replace("-", "").upper()
STATE = PluginState({"x": 0.25, "glide": 120.0, "run": 1.0})


def vst3(*, own_name: str = "", state: PluginState = STATE) -> str:
    encoded = "\n".join(encoded_state(state, "vst3"))
    return f"""<VST "VST3i: Latent Terrain (Latent Terrain)" "Latent Terrain.vst3" 0 "{own_name}" 1{{{CLASS_ID}}} ""
{encoded}
>"""


def envelope(points: str, header: str = '0:1 0 1 0.5 "X / Latent Terrain"', settings: str = "ACT 1 -1") -> str:
    return f"<PARMENV {header}\n{settings}\n{points}\n>"


def track(chain: str = "", *, name: str = "Lead", settings: str = "", rest: str = "") -> str:
    return f"<TRACK\nNAME {name}\n{settings}\n<FXCHAIN\nBYPASS 0 0 0\n{chain}\n>\n{rest}\n>"


@pytest.fixture
def project_of(tmp_path: Path) -> Callable[..., Project]:
    def make(*parts: str, header: str = "TEMPO 120 4 4") -> Project:
        path = tmp_path / "song.rpp"
        path.write_text('<REAPER_PROJECT 0.1 "7.0/x64" 0\n' + "\n".join([header, *parts]) + "\n>\n")
        return read(path)

    return make


# --- real files -----------------------------------------------------------------------------------------------------


def real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"{name} (CC BY-SA 4.0, exvertus/reaper-projects) is not at hand")
    return REAL / name


@pytest.mark.parametrize("name", ["bwv879.rpp", "test_track.rpp", "lighterfluid.rpp"])
def test_a_real_project_is_written_back_byte_for_byte(name: str) -> None:
    project = read(real(name))
    assert project.document is not None
    assert project.document.rewritten(project) == real(name).read_bytes()
    assert project.repairs == []


def test_a_real_project_with_automation_items_and_a_tempo_that_the_header_denies() -> None:
    project = read(real("lighterfluid.rpp"))
    assert project.tempo_map == TempoMap.constant(79)
    assert [(t.name, t.silenced_by) for t in project.tracks][:2] == [("Guitar", "the track is muted"), ("Harmony", "")]
    lane = project.find_lane("Style")
    assert (lane.track, lane.plugin, lane.plugin_id, lane.parameter_id, lane.unit) == (
        "Guitar",
        "Kontakt",
        "5653544E6924446B6F6E74616B740000",
        2,
        "seconds",
    )
    assert lane.sample([18.57675688, 20, 32, 35]).tolist() == pytest.approx([0.17977, 0.35953, 0.35953, 0], abs=1e-5)
    # Two automation items of 0.0433 s (pools 1 and 2, 0 throughout) lie over each other twice.
    edges = np.array([29.71328781327198, 29.71328781327198 + 0.0433228508773])
    assert np.abs(lane.times[:, None] - edges).min(axis=0).max() < 1e-9
    assert [line for line in project.unknown if "automation item" in line] == []


def test_a_real_projects_regions_and_master_volume() -> None:
    project = read(real("test_track.rpp"))
    assert project.markers[:3] == [Marker("Pickup", 0), Marker("A Loop", 4), Marker("A2 Loop", 48)]
    volume = project.find_lane("Master/Volume")
    assert [(p.time, p.value, p.shape) for p in volume.points] == [
        (0, 0, Shape.FAST_START),
        (3.75, 0.5, Shape.LINEAR),
        (93.75, 0.5, Shape.LINEAR),
        (106.875, 0, Shape.LINEAR),
    ]
    assert len(project.notes) == 114


# --- envelopes ------------------------------------------------------------------------------------------------------


def test_every_shape_and_tension_of_our_plugins_envelope(project_of) -> None:
    points = "PT 0 0 0\nPT 1 1 1\nPT 2 0.5 2\nPT 3 1 3\nPT 4 0 4\nPT 5 1 5 0 0 0 -0.5\nPT 6 0.2 5 1 0 0 0.75\nPT 7 0.9"
    project = project_of(track(vst3() + "\n" + envelope(points)))
    (lane,) = project.lanes
    assert lane == Lane.from_points(
        [
            Point(0, 0, Shape.LINEAR),
            Point(1, 1, Shape.HOLD),
            Point(2, 0.5, Shape.SMOOTH),
            Point(3, 1, Shape.FAST_START),
            Point(4, 0, Shape.FAST_END),
            Point(5, 1, Shape.BEZIER, -0.5),
            Point(6, 0.2, Shape.BEZIER, 0.75),
            Point(7, 0.9, Shape.LINEAR),
        ],
        name="X",
        key="x",
        unit="seconds",
        track="Lead",
        plugin="Latent Terrain",
        plugin_id=CLASS_ID,
        parameter_id=1,
    )
    (instance,) = project.instances
    assert instance.lanes[0] is lane
    assert (instance.track, instance.plugin_format, instance.state, instance.silenced_by) == ("Lead", "vst3", STATE, "")
    assert project.unknown == project.repairs == []


def test_of_stacked_points_the_last_rules(project_of) -> None:
    project = project_of(track(vst3() + "\n" + envelope("PT 1 0.1 0\nPT 2 0.2 0\nPT 2 0.9 0\nPT 2 0.5 0\nPT 3 0.6 0")))
    assert project.lanes[0].sample([0, 2 - 1e-9, 2, 2.5, 9]).tolist() == pytest.approx([0.1, 0.2, 0.5, 0.55, 0.6])


def test_points_out_of_order_are_sorted_and_reported(project_of) -> None:
    project = project_of(track(vst3() + "\n" + envelope("PT 1 0.1 0\nPT 3 0.3 0\nPT 2 0.9 1")))
    assert project.lanes[0].times.tolist() == [1, 2, 3]
    assert "out of order" in project.repairs[0]


def test_inactive_bypassed_and_offline_are_kept_and_not_played(project_of) -> None:
    quiet = envelope("PT 0 1 0", settings="ACT 0 -1")
    project = project_of(
        track(vst3() + "\n" + quiet),
        track(vst3() + "\n" + envelope("PT 0 1 0"), name="Off").replace("BYPASS 0 0", "BYPASS 0 1"),
        track(vst3() + "\n" + envelope("PT 0 1 0"), name="Bypassed").replace("BYPASS 0 0", "BYPASS 1 0"),
        track(vst3() + "\n" + envelope("PT 0 1 0"), name="Muted", settings="MUTESOLO 1 0 0"),
    )
    assert [lane.active for lane in project.lanes] == [False, False, False, True]
    assert [i.silenced_by for i in project.instances] == ["", "offline", "bypassed", "the track is muted"]
    overridden = project_of(track(vst3() + "\n" + envelope("PT 0 1 0")), header="TEMPO 120 4 4\nGLOBAL_AUTO 5")
    assert [lane.active for lane in overridden.lanes] == [False]


def test_values_of_effects_with_a_range_of_their_own(project_of) -> None:
    js = '<JS loser/compressor ""\n0 0 -\n>\n'
    header = '0:_Threshold -60 0 -20 "Threshold (dB) / compressor"'
    project = project_of(track(js + envelope("PT 0 -60 0\nPT 1 -15 0", header)))
    lane = project.find_lane("Lead/Threshold (dB)")
    assert project.find_lane("threshold (db) / loser/compressor") is lane
    assert lane.values.tolist() == [0, 0.75]
    assert (lane.plugin_id, lane.key) == ("loser/compressor", "")


def test_an_older_header_has_the_parameters_place_alone(project_of) -> None:
    project = project_of(track(vst3() + "\n" + envelope("PT 0 0.5 0", "1 0 1 0.5")))
    assert [(lane.key, lane.parameter_id) for lane in project.lanes] == [("y", 2)]


def test_what_reaper_itself_gives_a_plugin_is_none_of_its_parameters(project_of) -> None:
    both = envelope("PT 0 0.5 0", "32:wet 0 1 1") + "\n" + envelope("PT 0 1 1", "31:bypass 0 1 0")
    project = project_of(track(vst3() + "\n" + both))
    assert [(lane.name, lane.key) for lane in project.lanes] == [("wet", ""), ("bypass", "")]
    assert project.unknown == []


def test_a_clap_and_its_state(project_of) -> None:
    encoded = "\n".join(encoded_state(STATE, "clap"))
    clap = f'<CLAP "CLAPi: Latent Terrain (Latent Terrain)" {identity.CLAP_ID} "Deep one"\n<STATE\n{encoded}\n>\n>'
    project = project_of(track(clap + "\n" + envelope("PT 0 0.5 0", '0:2 0 1 0.5 "Y / Latent Terrain"')))
    (instance,) = project.instances
    assert (instance.plugin_format, instance.name, instance.state) == ("clap", "Deep one", STATE)
    assert (project.lanes[0].key, project.lanes[0].name) == ("y", "Y")


def test_a_damaged_state_is_reported_and_the_lanes_stay(project_of) -> None:
    data = base64.b64encode(b"\x01\x02\x03\x04" * 4).decode()
    broken = vst3().split("\n")[0] + f"\n{data}\n>"
    project = project_of(track(broken + "\n" + envelope("PT 0 0.5 0")))
    assert project.instances[0].state is None
    assert "state is damaged" in project.repairs[0]
    assert project.lanes[0].key == "x"


def test_an_instance_in_a_container_and_in_the_chain_for_recording(project_of) -> None:
    inner = f'<CONTAINER Container ""\nBYPASS 0 0 0\n{vst3()}\n{envelope("PT 0 0.5 0")}\n>'
    chain = track(inner).replace("BYPASS 0 0 0\n<CONTAINER", "BYPASS 1 0 0\n<CONTAINER")
    recording = f"<TRACK\nNAME In\n<FXCHAIN_REC\nBYPASS 0 0 0\n{vst3()}\n>\n>"
    project = project_of(chain, recording)
    assert [i.silenced_by for i in project.instances] == ["its container is bypassed", "in the chain for recording"]
    assert [lane.active for lane in project.lanes] == [False]


def test_the_id_number_is_the_hash_that_real_projects_show() -> None:
    """`vst3_number` on the class ids of two real plugins: the number before the brace in real projects."""
    from terrain_daws.reaper import plugins

    ours = plugins.VST3_HEX
    try:
        for class_id, number in (
            ("5653544E6924446B6F6E74616B740000", 821777587),
            ("56535456697461766974616C00000000", 1854596000),
        ):
            plugins.VST3_HEX = class_id  # type: ignore[misc]
            assert vst3_number() == number
    finally:
        plugins.VST3_HEX = ours  # type: ignore[misc]


# --- automation items -----------------------------------------------------------------------------------------------

POOL = "<POOLEDENV\nID 3\nSRCLEN 2\nLFO 0 0 0\nPPT 0 0 0 0\nPPT 1 1 0 0\nPPT 2 0 0 0\n>"


def test_automation_items_loop_stretch_shift_and_cover(project_of) -> None:
    """A triangle of two beats (at 120: one second), in five items."""
    items = """POOLEDENVINST 3 0 2 0 1 0 0.5 1 1
POOLEDENVINST 3 2 2 0 0.5 0 0.5 1 1
POOLEDENVINST 3 4 1 0.5 1 0 0.5 1 1
POOLEDENVINST 3 5 1 0 1 0 0.5 0.5 1
POOLEDENVINST 3 7 2 0 1 0 0.5 1 0
POOLEDENVINST 3 9 1 0 1 0 0.5 1 1 0 0 1 1
PT 0 0.25 0"""
    project = project_of(POOL, track(vst3() + "\n" + envelope(items)))
    (lane,) = project.lanes
    seconds = np.array([0.25, 0.5, 1.25, 1.5, 2.5, 3.0, 3.5, 4.0 + 1e-9, 4.25, 5.25, 5.5, 6.5, 7.5, 8.5, 9.5])
    expected = [0.5, 1, 0.5, 1, 0.5, 1, 0.5, 1, 0.5, 0.5, 0.75, 0.25, 1, 0, 0.25]
    np.testing.assert_allclose(lane.sample(seconds), expected, atol=1e-6)
    assert any("baseline and amplitude" in line for line in project.unknown)


def test_items_follow_a_tempo_ramp(project_of) -> None:
    """The pool counts in beats: its top is where the tempo map has the item's first beat."""
    tempo = "<TEMPOENVEX\nACT 1 -1\nPT 0 60 0\nPT 8 240 1\n>"
    project = project_of(
        tempo,
        POOL,
        track(vst3() + "\n" + envelope("POOLEDENVINST 3 2 4 0 1 0 0.5 1 1\nPT 0 0 0")),
        header="TEMPO 99 4 4",
    )
    (lane,) = project.lanes
    start = float(project.tempo_map.beats_at(2))
    tops, ends = (project.tempo_map.seconds_at(start + np.arange(n, 8.0, 2)) for n in (1, 2))
    np.testing.assert_allclose(lane.sample(tops[tops < 6]), 1, atol=1e-6)
    np.testing.assert_allclose(lane.sample(ends[ends < 6]), 0, atol=1e-6)


def test_a_pool_that_is_missing_is_reported(project_of) -> None:
    project = project_of(track(vst3() + "\n" + envelope("POOLEDENVINST 8 0 2 0 1 0 0.5 1 1\nPT 0 0.25 0")))
    assert "the pool 8, which is not there" in project.unknown[0]
    assert project.lanes[0].values.tolist() == [0.25]


# --- tempo, meters, markers -----------------------------------------------------------------------------------------


def test_the_tempo_envelope_is_linear_in_seconds_and_wins_over_the_header(project_of) -> None:
    block = f"<TEMPOENVEX\nACT 1 -1\nPT 0 60 0 {4 + (4 << 16)}\nPT 4 120 1\nPT 6 90 1 {7 + (8 << 16)}\n>"
    tempo_map = project_of(block, header="TEMPO 200 3 4").tempo_map
    assert tempo_map.beats_at([2, 4, 6, 8]).tolist() == pytest.approx([2.5, 6, 10, 13])
    assert [(m.beat, m.numerator, m.denominator) for m in tempo_map.meters] == [(0, 4, 4), (10, 7, 8)]


def test_the_header_counts_without_an_envelope(project_of) -> None:
    assert project_of("<TEMPOENVEX\nACT 0 -1\n>", header="TEMPO 87.5 3 4").tempo_map == TempoMap.constant(
        87.5, [Meter(0, 3, 4)]
    )


def test_markers_regions_and_odd_quotes(project_of) -> None:
    markers = 'MARKER 1 1 Verse 0\nMARKER 2 2 "say \'hi\'" 1\nMARKER 2 4 "" 1\nMARKER 3 3 `it\'s "it"` 0'
    assert project_of(markers).markers == [Marker("Verse", 2), Marker("say 'hi'", 4), Marker('it\'s "it"', 6)]


# --- tracks ---------------------------------------------------------------------------------------------------------


def test_folders_mutes_and_solos(project_of) -> None:
    def row(name: str, depth: int = 0, mute: int = 0, solo: int = 0) -> str:
        return track(name=name, settings=f"MUTESOLO {mute} {solo} 0\nISBUS {int(depth > 0)} {depth}")

    project = project_of(row("A", 1, mute=1), row("B", 1), row("C", -2), row("D"))
    assert project.tracks == [
        Track("A", "", "the track is muted"),
        Track("B", "A", "the folder 'A' is muted"),
        Track("C", "B", "the folder 'A' is muted"),
        Track("D"),
    ]
    soloed = project_of(row("A", 1, solo=1), row("B", -1), row("C"))
    assert [t.silenced_by for t in soloed.tracks] == ["", "", "another track is soloed"]


# --- MIDI items -----------------------------------------------------------------------------------------------------


def item(events: str, *, settings: str = "", position: float = 1, length: float = 2, source: str = "") -> str:
    return (
        f"<ITEM\nPOSITION {position}\nLENGTH {length}\n{settings}\n<SOURCE MIDI\nHASDATA 1 480 QN\n{source}\n"
        f"{events}\n>\n>"
    )


def test_notes_and_controllers_of_an_item(project_of) -> None:
    events = "E 0 90 3c 64\nE 240 b0 10 40 1\n<X 240 0\n/wA=\n>\nE 0 b0 10 7f\nE 0 80 3c 00\nE 480 b0 7b 00"
    project = project_of(track(rest=item(events)), header="TEMPO 60 4 4")
    assert project.notes == [Note(1, 1, 0, 60, 100 / 127)]
    (lane,) = project.lanes
    assert (lane.key, lane.name, lane.track, lane.unit) == ("x", "CC 16, channel 1", "Lead", "beats")
    assert [(p.time, round(p.value * 127), p.shape) for p in lane.points] == [
        (1.5, 64, Shape.LINEAR),
        (2, 127, Shape.HOLD),
    ]


def test_items_loop_shift_and_stretch(project_of) -> None:
    """Two beats of content with a note on each, at 120 bpm from second 1 (beat 2) on."""
    events = "E 0 90 3c 64\nE 240 80 3c 00\nE 240 90 3e 64\nE 240 80 3e 00\nE 240 b0 7b 00"

    def starts(settings: str, **named: float) -> list[tuple[float, int]]:
        return [(n.beat, n.key) for n in project_of(track(rest=item(events, settings=settings, **named))).notes]

    assert starts("LOOP 1", length=2) == [(2, 60), (3, 62), (4, 60), (5, 62)]
    assert starts("LOOP 0", length=2) == [(2, 60), (3, 62)]
    assert starts("LOOP 1\nSOFFS 0.5", length=1) == [(2, 62), (3, 60)]
    assert starts("LOOP 1\nSOFFS 0 1", length=1) == [(2, 62), (3, 60)]
    assert starts("LOOP 1\nPLAYRATE 2 1 0", length=1) == [(2, 60), (2.5, 62), (3, 60), (3.5, 62)]
    assert starts("LOOP 0\nMUTE 1 0") == []


def test_an_item_with_a_tempo_of_its_own_counts_seconds(project_of) -> None:
    events = "E 480 90 3c 64\nE 480 80 3c 00\nE 0 b0 7b 00"
    project = project_of(track(rest=item(events, source="IGNTEMPO 1 60 4 4")))
    assert [(n.beat, n.duration) for n in project.notes] == [(4, 2)]


def test_the_selected_take_plays_and_a_pooled_one_finds_its_events(project_of) -> None:
    takes = """<ITEM
POSITION 0
LENGTH 4
<SOURCE MIDI
HASDATA 1 480 QN
POOLEDEVTS {A}
E 0 90 3c 64
E 240 80 3c 00
>
TAKE SEL
<SOURCE MIDI
HASDATA 1 480 QN
E 0 90 40 64
E 240 80 40 00
>
>"""
    pooled = (
        "<ITEM\nPOSITION 1\nLENGTH 4\n<SOURCE MIDI\nHASDATA 1 480 QN\nPOOLEDEVTS {B}\nE 0 90 41 64\nE 9 80 41 00\n>\n>"
    )
    again = "<ITEM\nPOSITION 2\nLENGTH 4\n<SOURCE MIDI\nPOOLEDEVTS {B}\n>\n>"
    project = project_of(track(rest=f"{takes}\n{pooled}\n{again}"))
    assert [(n.beat, n.key) for n in project.notes] == [(0, 64), (2, 65), (4, 65)]


# --- writing --------------------------------------------------------------------------------------------------------

values = st.floats(0, 1).map(lambda v: round(v, 6))
lanes = lanes_of(values)


@settings(deadline=None, max_examples=60)
@given(lane=lanes, tempo_map=tempo_maps)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, lane: Lane, tempo_map: TempoMap
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.rpp"
    project = Project("reaper", path, lanes=[lane], tempo_map=tempo_map, markers=[Marker("A b", 2)])
    assert write_reaper(project, path) == []
    again = read(path)
    assert again.unknown == again.repairs == []
    beats = np.linspace(-1, 70, 2000)
    np.testing.assert_allclose(again.tempo_map.seconds_at(beats), tempo_map.seconds_at(beats), atol=2e-4)
    assert [(round(m.beat, 6), m.numerator, m.denominator) for m in again.tempo_map.meters] == [
        (m.beat, m.numerator, m.denominator) for m in tempo_map.meters
    ]
    assert [(m.name, round(m.beat, 4)) for m in again.markers] == [("A b", 2)]
    (read_lane,) = again.lanes
    assert read_lane.key == "x"
    seconds = tempo_map.seconds_at(np.setdiff1d(np.round(beats, 3), lane.times))
    difference = np.abs(read_lane.values_at(seconds, again.tempo_map) - lane.values_at(seconds, tempo_map))
    assert difference.max() < 4e-4


def test_instances_states_and_notes_are_written(tmp_path: Path) -> None:
    path = tmp_path / "two.rpp"
    x, y = Lane([0, 4], [0, 1], name="X", key="x", track="One"), Lane([0, 4], [1, 0], name="Y", key="y", track="Two")
    stray = Lane([0], [0.5], name="Cutoff", track="Two")
    project = Project(
        "midi",
        path,
        lanes=[x, y, stray],
        notes=[Note(1, 0.5, 2, 60, 1.0)],
        instances=[
            PluginInstance("One", lanes=[x], state=STATE),
            PluginInstance("Two 'a' \"b\"", plugin_format="clap", name="Mine", lanes=[y]),
        ],
    )
    assert write_reaper(project, path) == ["the lane Two/Cutoff is not of our plugin"]
    again = read(path)
    assert [(i.track, i.plugin_format, i.name, [lane.key for lane in i.lanes]) for i in again.instances] == [
        ("One", "vst3", "Latent Terrain", ["x"]),
        ("Two 'a' \"b\"", "clap", "Mine", ["y"]),
    ]
    assert [i.state for i in again.instances] == [STATE, PluginState()]
    assert again.notes == [Note(1, 0.5, 2, 60, 1.0)]
    first = path.read_bytes()
    write_reaper(project, path)
    assert path.read_bytes() == first


def test_only_the_lines_that_changed_are_written(project_of, tmp_path: Path) -> None:
    project = project_of(
        'MARKER 1 1 Verse 0\nMARKER 2 2 Chorus 1 0 1 R {5}\nMARKER 2 4 "" 1',
        "<TEMPOENVEX\nACT 1 -1\nPT 0 120 1 262148\n>",
        track("  " + vst3() + "\n" + envelope("  PT 0 0 0\n  PT 1 1 0") + "\nWAK 0 0", settings="STRANGE 1 2 `3`"),
    )
    original = project.path.read_bytes()
    document = project.document
    assert document is not None
    assert document.rewritten(project) == original

    project.lanes[0] = Lane([0, 2], [0.5, 0.75], "smooth", **project.lanes[0].labels)
    changed = document.rewritten(project)
    assert changed == original.replace(b"  PT 0 0 0\n  PT 1 1 0", b"  PT 0 0.5 2\n  PT 2 0.75 2")

    project.lanes.append(Lane([0], [0.25], name="Y", key="y", unit="seconds", track="Lead"))
    project.markers.remove(Marker("Verse", 2))
    project.markers.append(Marker("End", 8))
    project.tempo_map = TempoMap.constant(120, [Meter(0, 3, 4)])
    project.instances[0].state = PluginState({"y": 1.0})
    project.path.write_bytes(document.rewritten(project))
    again = read(project.path)
    assert [(lane.key, lane.points) for lane in again.lanes] == [(lane.key, lane.points) for lane in project.lanes]
    assert again.markers == [Marker("Chorus", 4), Marker("End", 8)]
    assert again.tempo_map.meters == (Meter(0, 3, 4),)
    assert again.instances[0].state == PluginState({"y": 1.0})
    assert b"STRANGE 1 2 `3`" in project.path.read_bytes()

    del project.lanes[0]
    project.path.write_bytes(document.rewritten(project))
    assert [lane.key for lane in read(project.path).lanes] == ["y"]


def test_windows_line_ends_stay(project_of) -> None:
    project = project_of(track(vst3() + "\n" + envelope("PT 0 0 0")))
    project.path.write_bytes(project.path.read_bytes().replace(b"\n", b"\r\n"))
    project = read(project.path)
    project.lanes[0] = Lane([0, 2], [0.5, 0.75], **project.lanes[0].labels)
    assert project.document is not None
    data = project.document.rewritten(project)
    assert data.count(b"\n") == data.count(b"\r\n")


def test_changes_that_the_file_cannot_hold_are_refused(project_of) -> None:
    project = project_of(track(rest=item("E 0 b0 10 40\nE 10 b0 7b 00")))
    document = project.document
    assert document is not None
    project.lanes[0] = Lane([0], [0.5], **project.lanes[0].labels)
    with pytest.raises(InputError, match="Lead/CC 16, channel 1 is played by MIDI items"):
        document.rewritten(project)
    project.lanes[:] = [Lane([0], [0.5], name="Y", key="y")]
    with pytest.raises(InputError):
        document.rewritten(project)


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<REAPER_PROJECT 0.1\n", "line 1: ends within the block <REAPER_PROJECT that begins on line 1"),
        ("<REAPER_PROJECT\n<TRACK\n", "line 2: ends within the block <TRACK that begins on line 2"),
        ("<REAPER_PROJECT\n>\n>\n", "line 3: has a block after the end|line 3: ends a block that did not begin"),
        ("<REAPER_PROJECT\n>\n<TRACK\n>\n", "line 3: has a block after the end"),
        ("<REAPER_PROJECT\n\0>\n", "byte 16: has a NUL byte"),
        ("<REAPER_PROJECT\n" + "<A\n" * 100, "line 65: has blocks more than 64 deep"),
        ("<REAPER_PROJECT\nTEMPO nan 4 4\n>", "line 2: TEMPO has 'nan', expected a number of sensible size"),
        ("<REAPER_PROJECT\nTEMPO 0 4 4\n>", "line 2: impossible tempo"),
        ("<REAPER_PROJECT\nTEMPO\n>", "line 2: TEMPO has 0 values, expected at least 1"),
        ("<REAPER_PROJECT\n<TEMPOENVEX\nPT 0 1e300 0\n>\n>", "line 3: PT has '1e300'"),
        ("<REAPER_PROJECT\n<TEMPOENVEX\nPT 0 120 7\n>\n>", "line 3: a tempo point has the shape 7"),
    ],
)
def test_damage_is_reported_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.rpp"
    path.write_text(text)
    with pytest.raises(FileError, match=message) as caught:
        read(path)
    assert caught.value.position.startswith(("line", "byte"))


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ("PT 0 nan 0", "PT has 'nan'"),
        ("PT 0", "PT has 1 values, expected at least 2"),
        ("PT 0 0 9", "PT has the shape 9, expected 0 to 5"),
        ("PT 0 0 5 0 0 0 2", "PT has the tension 2, expected -1 to 1"),
        ("PT 1e10 0 0", "the envelope <PARMENV: a lane's times go from"),
        ("POOLEDENVINST 3 0 -1 0 1 0 0.5 1 1", "an automation item of -1 s"),
        ("POOLEDENVINST 3 0 1e9 0 1 0 0.5 1 1", "repeats 1e.09 times"),
    ],
)
def test_bad_points_are_refused(project_of, points: str, message: str) -> None:
    with pytest.raises(FileError, match=message):
        project_of(POOL, track(vst3() + "\n" + envelope(points)))


@pytest.fixture
def example(project_of) -> bytes:
    """A project with something of everything."""
    events = "E 0 90 3c 64\nE 240 b0 10 40 1\n<X 240 0\n/wA=\n>\nE 0 b0 10 7f\nE 0 80 3c 00\nE 480 b0 7b 00"
    points = "POOLEDENVINST 3 2 4 0 1 0 0.5 1 1\nPT 0 0.125 0\nPT 1.5 0.75 5 0 0 0 -0.5\nPT 2 0.5 1"
    project = project_of(
        "MARKER 1 1 Verse 0",
        "<TEMPOENVEX\nACT 1 -1\nPT 0 60 0 262148\nPT 8 240 1\n>",
        POOL,
        track(vst3() + "\n" + envelope(points), rest=item(events, settings="LOOP 1")),
    )
    return project.path.read_bytes()


def test_every_truncation_is_an_error(example: bytes, read_damaged: Callable[[bytes], str]) -> None:
    for data in truncations(example):
        if data.rstrip() != example.rstrip():
            assert read_damaged(data)


def test_flipped_bytes_are_errors_or_projects(example: bytes, read_damaged: Callable[[bytes], str]) -> None:
    outcomes = [read_damaged(data) for data in flips(example)]
    refused = [outcome for outcome in outcomes if outcome]
    assert 200 < len(refused) < 1900
    assert all(re.search(r", (line|byte) \d+: ", outcome) for outcome in refused)


@pytest.mark.parametrize(
    "data",
    [
        b"<REAPER_PROJECT\n" + b"<A\n" * 4_000_000,
        b"<REAPER_PROJECT\n" + b"<A\n>\n" * 2_000_000 + b">",
        b"<REAPER_PROJECT " + b"a" * 20_000_000 + b"\n>",
        b"<REAPER_PROJECT\n" + b"\n" * 20_000_000 + b">",
    ],
    ids=["nesting", "blocks", "one line", "empty lines"],
)
def test_monsters_end_soon(data: bytes, read_damaged: Callable[[bytes], str]) -> None:
    read_damaged(data)
