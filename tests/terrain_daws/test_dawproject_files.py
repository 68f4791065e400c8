"""DAWproject -> lanes: points by hand, time units, clips and loops, units, and the real file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from terrain_core import identity
from terrain_core.errors import FileError
from terrain_core.lanes import Lane, Shape
from terrain_core.tempo import Meter, TempoPoint
from terrain_daws import Marker, Note, Project, read

REAL_FILE = Path(__file__).parents[2] / "../shared/data/daw/dawproject/hifa-canon.dawproject"

STRUCTURE = f"""
<Transport>
  <Tempo max="666" min="20" unit="bpm" value="60" id="tempo" name="Tempo"/>
  <TimeSignature denominator="4" numerator="3" id="meter"/>
</Transport>
<Structure>
  <Track id="folder" name="Folder"><Track id="t" name="Lead"><Channel id="c">
    <Devices>
      <Vst3Plugin deviceID="{identity.VST3_CLASS_UUID.upper()}" deviceName="renamed by the user"
                  deviceRole="instrument" id="ours">
        <Parameters>
          <RealParameter unit="linear" min="0" max="1" value="0" parameterID="1" id="px" name="some name"/>
          <RealParameter unit="decibel" min="-60" max="12" value="0" parameterID="6" id="plevel" name="Level"/>
          <EnumParameter count="4" value="0" parameterID="5" id="pto" name="Pressure To"/>
          <BoolParameter value="false" parameterID="9" id="psnap" name="Snap"/>
          <RealParameter unit="linear" min="0" max="1" parameterID="77" id="pnew" name="From the future"/>
        </Parameters>
      </Vst3Plugin>
      <ClapPlugin deviceID="com.other.synth" deviceName="Other" deviceRole="instrument" id="other">
        <Parameters>
          <RealParameter unit="hertz" min="20" max="220" parameterID="1" id="pcut" name="Cutoff"/>
          <RealParameter unit="semitones" parameterID="2" id="ptune" name="Tune"/>
        </Parameters>
      </ClapPlugin>
    </Devices>
    <Volume max="2" min="0" unit="linear" id="vol" name="Volume"/>
  </Channel></Track></Track>
</Structure>
"""


def points(target: str, rows: str, attributes: str = "") -> str:
    """`rows`: "time value [interpolation]; ..."."""
    elements = ""
    for row in rows.split(";"):
        time, value, *rest = row.split()
        interpolation = f'interpolation="{rest[0]}"' if rest else ""
        elements += f'<RealPoint time="{time}" value="{value}" {interpolation}/>'
    return f'<Points {attributes}><Target parameter="{target}"/>{elements}</Points>'


def on_track(content: str, attributes: str = 'timeUnit="beats"') -> str:
    return f'<Lanes {attributes}><Lanes track="t">{content}</Lanes></Lanes>'


@pytest.fixture
def project_of(tmp_path: Path):
    """A function: the inside of <Arrangement> -> Project."""

    def build(
        arrangement: str, *, structure: str = STRUCTURE, head: str = "", members: dict[str, str] | None = None
    ) -> Project:
        text = (
            f'{head}<Project version="1.0"><Application name="a" version="1"/>{structure}'
            f"<Arrangement>{arrangement}</Arrangement></Project>"
        )
        path = tmp_path / "song.dawproject"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("project.xml", text)
            for name, content in (members or {}).items():
                archive.writestr(name, content)
        return read(path)

    return build


def rows_of(project: Project, index: int = 0) -> list[tuple[float, float, str]]:
    return [(p.time, p.value, p.shape.value) for p in project.lanes[index].points]


def test_interpolation_belongs_to_the_left_point_and_is_hold_unless_said(project_of) -> None:
    project = project_of(on_track(points("px", "0 0.25; 2 0.5 linear; 4 1 hold")))
    assert rows_of(project) == [(0, 0.25, "hold"), (2, 0.5, "linear"), (4, 1, "hold")]
    lane = project.lanes[0]
    assert lane.sample([1, 3]).tolist() == [0.25, 0.75]
    assert (lane.key, lane.name, lane.track, lane.plugin, lane.parameter_id) == (
        "x",
        "some name",
        "Lead",
        "renamed by the user",
        1,
    )
    assert project.unknown == []
    assert [track.name for track in project.tracks] == ["Folder", "Lead"]


def test_values_are_scaled_to_the_parameters_range(project_of) -> None:
    enum = '<Points><Target parameter="pto"/><EnumPoint time="0" value="3"/><EnumPoint time="1" value="1"/></Points>'
    switch = (
        '<Points><Target parameter="psnap"/><BoolPoint time="0" value="true"/>'
        '<BoolPoint time="1" value="false"/></Points>'
    )
    project = project_of(
        on_track(
            points("plevel", "0 -60; 1 -24; 2 12; 3 -inf; 4 99")
            + enum
            + switch
            + points("pcut", "0 20; 1 70")
            + points("vol", "0 1")
            + points("pcut", "5 0.5", 'unit="normalized"')
        )
    )
    values = {lane.name: lane.values.tolist() for lane in project.lanes}
    assert values["Level"] == [0, 0.5, 1, 0, 1]
    assert values["Pressure To"] == [1, 1 / 3]
    assert values["Snap"] == [1, 0]
    assert values["Cutoff"] == [0, 0.25, 0.5]
    assert values["Volume"] == [0.5]
    keys = {lane.name: lane.key for lane in project.lanes}
    assert keys == {"Level": "level", "Pressure To": "pressure_target", "Snap": "snap", "Cutoff": "", "Volume": ""}


def test_ranges_that_are_not_told_and_parameters_not_known_are_kept_and_reported(project_of) -> None:
    project = project_of(
        on_track(points("ptune", "0 7") + points("pcut", "0 0.3", 'unit="percent"') + points("pnew", "0 1"))
    )
    assert project.lanes[0].values.tolist() == [7]
    assert "Tune of track 'Lead' is in semitones without min and max; values were not scaled" in project.unknown[0]
    assert project.lanes[1].values.tolist() == [0.003]
    assert (project.lanes[2].name, project.lanes[2].key) == ("From the future", "")


def test_our_plugin_is_found_by_name_and_parameters_without_id_by_theirs(project_of) -> None:
    structure = """<Structure><Track id="t" name="T"><Channel><Devices>
      <ClapPlugin deviceName="Latent Terrain" deviceRole="instrument"><Parameters>
        <RealParameter unit="normalized" id="py" name="y"/></Parameters></ClapPlugin>
    </Devices></Channel></Track></Structure>"""
    project = project_of(on_track(points("py", "0 0.5")), structure=structure)
    assert list(project.lanes_by_key()) == ["y"]
    assert project.tempo_map.bpm_at_beats(0) == 120
    assert project.unknown == ["project.xml: no tempo given, taken as 120 bpm"]


def test_seconds_are_inherited_from_the_nearest_ancestor(project_of) -> None:
    tempo = points("tempo", "0 60 linear; 4 120").replace("Points", "TempoAutomation")
    project = project_of(
        '<Lanes><Lanes track="t" timeUnit="seconds">'
        + points("px", "0 0 linear; 3 1")
        + points("plevel", "4 0", 'timeUnit="beats"')
        + "</Lanes></Lanes>"
        + tempo
    )
    assert [lane.unit for lane in project.lanes] == ["seconds", "beats"]
    assert project.lanes[0].values_at(1.5, project.tempo_map) == 0.5
    point = project.as_dict()["lanes"][1]["points"][0]
    # Bpm linear in beats from 60 to 120 over 4 beats: the ramp takes 4 ln 2 seconds.
    assert point["seconds"] == pytest.approx(4 * np.log(2), abs=1e-12)


def test_tempo_is_linear_in_beats_or_in_seconds_by_its_timeline(project_of) -> None:
    project = project_of(points("tempo", "0 60 linear; 4 120; 8 90", 'unit="bpm"').replace("Points", "TempoAutomation"))
    assert project.tempo_map.points == (
        TempoPoint(0, 60, "linear-beats"),
        TempoPoint(4, 120, "step"),
        TempoPoint(8, 90, "step"),
    )
    assert project.tempo_map.meters == (Meter(0, 3, 4),)
    project = project_of(
        points("tempo", "0 60 linear; 4 120", 'timeUnit="seconds"').replace("Points", "TempoAutomation")
    )
    assert project.tempo_map.points == (TempoPoint(0, 60, "linear-seconds"), TempoPoint(6, 120, "step"))


def test_meters_and_markers(project_of) -> None:
    project = project_of(
        """<Markers><Marker time="4" name="B"/><Marker time="0" name="A"/></Markers>
        <TimeSignatureAutomation><Target parameter="meter"/><TimeSignaturePoint time="9" numerator="7" denominator="8"/>
        <TimeSignaturePoint time="16" numerator="4" denominator="3"/></TimeSignatureAutomation>"""
    )
    assert project.markers == [Marker("A", 0), Marker("B", 4)]
    assert project.tempo_map.meters == (Meter(0, 3, 4), Meter(9, 7, 8))
    assert "impossible meter 4/3 at beat 16" in project.unknown[0]


def clip(attributes: str, content: str) -> str:
    return on_track(f"<Clips><Clip {attributes}>{content}</Clip></Clips>")


def test_a_clip_shifts_and_cuts_its_points(project_of) -> None:
    content = points("px", "0 0 linear; 4 1 linear; 8 0 linear")
    project = project_of(clip('time="10" duration="4" playStart="2"', f"<Lanes>{content}</Lanes>"))
    assert rows_of(project) == [(10, 0.5, "linear"), (12, 1, "linear"), (14, 0.5, "hold")]


def test_a_clip_holds_the_value_left_of_a_jump_at_its_end(project_of) -> None:
    project = project_of(clip('time="0" duration="2"', points("px", "0 0.25; 2 1; 3 0")))
    assert rows_of(project) == [(0, 0.25, "hold"), (2, 0.25, "hold")]


def test_a_loop_is_unrolled(project_of) -> None:
    # From 1 to the loop's end at 3, then 2..3 twice and a half.
    content = points("px", "0 0 linear; 4 1 linear")
    project = project_of(clip('time="0" duration="4.5" playStart="1" loopStart="2" loopEnd="3"', content))
    lane = project.lanes[0]
    np.testing.assert_allclose(
        lane.sample([0, 1, 1.999, 2, 2.5, 3, 4, 4.4, 5]), [0.25, 0.5, 0.74975, 0.5, 0.625, 0.5, 0.5, 0.6, 0.625]
    )


@pytest.mark.parametrize("seed", range(20))
def test_any_loop_plays_its_content_as_a_playhead_would(project_of, seed: int) -> None:
    generator = np.random.default_rng(seed)
    times, values = np.sort(generator.uniform(-1, 9, 8)), generator.random(8)
    shapes = generator.choice(["hold", "linear"], 8)
    rows = ";".join(
        f"{time!r} {value!r} {shape}"
        for time, value, shape in zip(times.tolist(), values.tolist(), shapes, strict=True)
    )
    start, loop_start, loop_end = generator.uniform(0, 4), *np.sort(generator.uniform(0, 8, 2)).tolist()
    loop_end = max(loop_end, loop_start + 0.5)
    attributes = f'time="10" duration="20" playStart="{start}" loopStart="{loop_start}" loopEnd="{loop_end}"'
    lane = project_of(clip(attributes, points("px", rows))).lanes[0]
    elapsed = generator.uniform(0, 20, 500)
    playhead = start + elapsed
    beyond = playhead > loop_end
    if start >= loop_end:  # begun behind the loop: straight into it
        playhead, beyond = loop_start + elapsed, np.full(500, True)
    playhead[beyond] = loop_start + (playhead[beyond] - (loop_end if start < loop_end else loop_start)) % (
        loop_end - loop_start
    )
    np.testing.assert_allclose(lane.sample(10 + elapsed), Lane(times, values, list(shapes)).sample(playhead), atol=1e-9)


def test_a_loop_too_short_for_the_clock_ends(project_of) -> None:
    # At beat 1e9 a double cannot tell 1e-8 beats apart: the place no longer advances.
    project = project_of(clip('time="1e9" duration="1e-6" loopEnd="1e-8"', points("px", "0 1")))
    assert project.lanes[0].sample(1e9) == 1


def test_clips_of_one_lane_join_and_the_first_one_holds_until_the_next(project_of) -> None:
    second = f'<Clip time="8" duration="2">{points("px", "0 1 linear; 2 0")}</Clip>'
    content = f'<Clips><Clip time="0" duration="2">{points("px", "0 0 linear; 2 0.5")}</Clip>{second}</Clips>'
    lane = project_of(on_track(content)).lanes[0]
    assert lane.sample([1, 2, 7.9, 8, 9]).tolist() == [0.25, 0.5, 0.5, 1, 0.5]


def test_seconds_within_a_clip_placed_in_beats(project_of) -> None:
    tempo = points("tempo", "0 120; 8 60").replace("Points", "TempoAutomation")
    project = project_of(
        clip('time="8" duration="3" contentTimeUnit="seconds"', points("px", "0 0 linear; 9 0.9")) + tempo
    )
    lane = project.lanes[0]
    assert lane.unit == "seconds"
    assert rows_of(project) == [(4, 0, "linear"), (7, pytest.approx(0.3), "hold")]


def test_a_linked_clip_plays_the_other_ones_content(project_of) -> None:
    first = f'<Clip time="0" duration="1">{points("px", "0 0.5", "id=" + chr(34) + "shared" + chr(34))}</Clip>'
    project = project_of(on_track(f'<Clips>{first}<Clip time="4" duration="1" reference="shared"/></Clips>'))
    assert [time for time, _, _ in rows_of(project)] == [0, 1, 4, 5]
    project = project_of(on_track('<Clips><Clip time="4" duration="1" reference="nowhere"/></Clips>'))
    assert "a clip on track 'Lead' without contents" in project.unknown[0]


def test_notes_in_clips(project_of) -> None:
    notes = (
        '<Notes><Note time="5" duration="1" channel="0" key="62" vel="0.5"/>'
        '<Note time="1" duration="9" channel="1" key="60"/></Notes>'
    )
    project = project_of(clip('time="10" duration="4" playStart="1"', notes))
    assert project.notes == [Note(10, 4, 1, 60, 1)]
    project = project_of(clip('time="10" duration="8"', notes))
    assert project.notes == [Note(11, 7, 1, 60, 1), Note(15, 1, 0, 62, 0.5)]


def test_expression_lanes_map_as_midi_does(project_of) -> None:
    target = (
        '<Points unit="normalized"><Target expression="channelController" channel="0" controller="17"/>'
        '<RealPoint time="0" value="0.3"/></Points>'
    )
    project = project_of(on_track(target))
    assert project.lanes_by_key()["y"].name == "CC 17, channel 1"
    project = project_of(on_track(target.replace("17", "16") + points("px", "0 1")))
    assert [lane.key for lane in project.lanes] == ["", "x"]  # the plugin's own parameter comes first


def test_what_is_not_understood_is_reported_with_its_line(project_of) -> None:
    def clips(content: str, attributes: str = "") -> str:
        return f'<Clips><Clip time="0" duration="1" {attributes}>{content}</Clip></Clips>'

    audio = clips(clips('<Audio channels="1" duration="1" sampleRate="1"><File path="a.wav"/></Audio>'))
    off = clips(points("px", "0 1"), 'enable="false"')
    project = project_of(on_track(audio + off + points("gone", "0 1") + "<Wobble/><Points/>"))
    expected = [
        "media a.wav on track 'Lead' not read",
        "a clip on track 'Lead' is off",
        "without a target that is known",
        "<Wobble> on track 'Lead' not read",
        "<Points> on track 'Lead' without",
    ]
    assert len(project.unknown) == len(expected)
    for found, part in zip(project.unknown, expected, strict=True):
        assert found.startswith("project.xml line ")
        assert part in found


def test_points_out_of_order_are_sorted_and_stacks_keep_theirs(project_of) -> None:
    project = project_of(on_track(points("px", "4 0.4; 0 0; 2 0.1; 2 0.2")))
    assert [row[:2] for row in rows_of(project)] == [(0, 0), (2, 0.1), (2, 0.2), (4, 0.4)]


def test_the_json_form(project_of) -> None:
    project = project_of(on_track(points("px", "0 0; 2 0.5 linear")) + '<Markers><Marker time="2" name="M"/></Markers>')
    said = json.loads(project.to_json())
    assert said.pop("repairs") == []
    assert said.pop("instances") == [
        {
            "track": "Lead",
            "name": "renamed by the user",
            "format": "vst3",
            "instrument": None,
            "silenced_by": "",
            "lanes": [0],
        }
    ]
    assert [track["name"] for track in said.pop("tracks")] == [track.name for track in project.tracks]
    assert said == {
        "format": "dawproject",
        "lanes": [
            {
                "name": "some name",
                "key": "x",
                "track": "Lead",
                "plugin": "renamed by the user",
                "active": True,
                "points": [
                    {"beat": 0.0, "seconds": 0.0, "value": 0.0, "shape": "hold"},
                    {"beat": 2.0, "seconds": 2.0, "value": 0.5, "shape": "linear"},
                ],
            }
        ],
        "tempo": [{"beat": 0.0, "seconds": 0.0, "bpm": 60.0, "shape": "step"}],
        "meters": [{"beat": 0.0, "seconds": 0.0, "numerator": 3, "denominator": 4}],
        "markers": [{"name": "M", "beat": 2.0, "seconds": 2.0}],
        "unknown": [],
    }


@pytest.mark.parametrize(
    ("arrangement", "message"),
    [
        (on_track(points("px", "0 nan")), "line 2[0-9]: <RealPoint> has value='nan', expected a number"),
        (on_track(points("px", "inf 1")), "has time='inf', expected a number"),
        (on_track(points("px", "one 1")), "has time='one', expected a number"),
        (on_track(points("px", "0 1 cubic")), "has the interpolation 'cubic', expected hold or linear"),
        (on_track('<Points><Target parameter="px"/><RealPoint value="1"/></Points>'), "<RealPoint> has no time"),
        (on_track(points("px", "0 1"), 'timeUnit="bars"'), "has timeUnit='bars', expected beats or seconds"),
        (points("tempo", "0 0").replace("Points", "TempoAutomation"), "impossible tempo: .*has 0 bpm"),
        (on_track(points("px", "1e10 1")), "X|some name on track 'Lead': a lane's times go from"),
        (on_track(points("px", "1e300 1")), "has time='1e300', expected a number of sensible size"),
        (clip('time="0" duration="-1"', points("px", "0 1")), "has a duration of -1, expected at least 0"),
        (clip('time="0" duration="1" loopEnd="1e-320"', points("px", "0 1")), "is looped until"),
        (clip('time="0" duration="1e9" loopStart="0" loopEnd="0.001"', points("px", "0 1")), "is looped until"),
    ],
)
def test_bad_numbers_are_refused_with_their_line(project_of, arrangement: str, message: str) -> None:
    with pytest.raises(FileError, match=message) as caught:
        project_of(arrangement)
    assert caught.value.position.startswith("project.xml")


def test_a_hundred_thousand_points(project_of) -> None:
    rows = "".join(f'<RealPoint time="{i}" value="{i % 7 / 7}" interpolation="linear"/>' for i in range(100_000))
    project = project_of(on_track(f'<Points><Target parameter="px"/>{rows}</Points>'))
    assert len(project.lanes[0]) == 100_000
    assert project.lanes[0].points[99_999].shape is Shape.LINEAR


def test_a_real_export_of_bitwig() -> None:
    if not REAL_FILE.exists():
        pytest.skip("hifa-canon.dawproject (MIT, hifa-lang/dawproject) is not at hand")
    project = read(REAL_FILE)
    assert project.tempo_map.points == (TempoPoint(0, 150, "step"),)
    assert [track.name for track in project.tracks] == [
        "Acoustic Piano (Nektar)",
        "canon_guitar_150bpm",
        "FX 1",
        "Master",
    ]
    assert project.lanes == []
    assert len(project.notes) == 27
    assert project.notes[0] == Note(4, 4, 0, 55, 0.787402)
    assert any("audio/canon_guitar_150bpm.wav" in line for line in project.unknown)
    assert any("clip launcher" in line for line in project.unknown)


def test_automation_in_a_clip_within_a_clip_is_where_both_put_it(project_of) -> None:
    """The inner clip is at beat 1 of the outer one's contents, which are played from beat 0.5 on, twice."""
    inner = f'<Clips><Clip time="1" duration="1">{points("px", "0 0 linear; 1 1")}</Clip></Clips>'
    outer = clip('time="10" duration="4" playStart="0.5" loopStart="0" loopEnd="2"', inner)
    lane = project_of(outer).lanes[0]
    assert lane.sample([10.5, 11, 11.4, 12.5, 13, 13.4]).tolist() == pytest.approx([0, 0.5, 0.9, 0, 0.5, 0.9])
    window = clip('time="10" duration="1.5"', inner)  # which cuts the inner clip at its middle
    assert project_of(window).lanes[0].sample([11, 11.25, 11.5, 20]).tolist() == pytest.approx([0, 0.25, 0.5, 0.5])
    seconds = inner.replace("<Clip ", '<Clip contentTimeUnit="seconds" ')
    project = project_of(clip('time="10" duration="1.5"', seconds))
    assert "a clip within a clip on track 'Lead' that counts in another unit; not read" in project.unknown[0]
    assert project.lanes == []


def test_notes_own_expressions_follow_the_note_that_began_last(project_of) -> None:
    def note(time: float, duration: float, key: int, curves: str = "") -> str:
        return f'<Note time="{time}" duration="{duration}" channel="0" key="{key}" vel="1">{curves}</Note>'

    def curve(expression: str, rows: str) -> str:
        return points("px", rows).replace('parameter="px"', f'expression="{expression}" channel="0" key="60"')

    first = f"<Lanes>{curve('timbre', '0 0 linear; 4 1')}{curve('transpose', '0 -48; 2 48')}</Lanes>"
    notes = note(1, 4, 60, first) + note(2, 1, 64, curve("timbre", "0 0.9")) + note(7, 1, 66)
    project = project_of(on_track(f"<Notes>{notes}</Notes>"))
    assert [(lane.name, lane.key, lane.track) for lane in project.lanes] == [
        ("timbre, last note", "y", "Lead"),
        ("transpose, last note", "x", "Lead"),
    ]
    timbre, bend = project.lanes
    assert timbre.sample([1, 1.5, 2.5, 3.5, 4.5, 7.5]).tolist() == pytest.approx([0, 0.125, 0.9, 0.625, 0.875, 0.5])
    assert bend.sample([1.5, 2.5, 3.5, 7.5]).tolist() == pytest.approx([0, 0.5, 1, 0.5])
    assert [(n.beat, n.key) for n in project.notes] == [(1, 60), (2, 64), (7, 66)]
    assert project.unknown == []
