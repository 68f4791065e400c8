"""Live sets -> lanes: real files' figures, sets of every version by hand, clips, tempo laws, our plugin."""

from __future__ import annotations

import gzip
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrain_core import identity
from terrain_core.errors import FileError, InputError
from terrain_core.lanes import Lane
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import Marker, Note, Project
from terrain_daws.clips import cut, in_sequence
from terrain_daws.live import container, set_xml
from terrain_daws.live.reading import read_live
from terrain_daws.live.tempo import code_of, drawn_points, events_of, meter_of, played_points
from terrain_daws.project import Track

REAL_FILES = Path(__file__).parents[2] / "../shared/data/daw/als"
UID = struct.unpack(">4i", uuid.UUID(identity.VST3_CLASS_UUID).bytes)
INITIAL = "-63072000"


# --- sets by hand ---


def events(kind: str, rows: str, initial: str | None = None) -> str:
    """`rows`: "time value [curve]; ..."; before them the initial event with the first one's value."""
    parts = [row.split(maxsplit=2) for row in rows.split(";")] if rows else []
    first = parts[0][1] if initial is None else initial
    elements = [f'<{kind}Event Id="0" Time="{INITIAL}" Value="{first}" />']
    elements += [
        f'<{kind}Event Id="1" Time="{time}" Value="{value}" {"".join(curve)}/>' for time, value, *curve in parts
    ]
    return f"<Events>{''.join(elements)}</Events>"


def envelope(pointee: int, content: str, tag: str = "AutomationEnvelope", extra: str = "") -> str:
    return (
        f'<{tag} Id="0"><EnvelopeTarget><PointeeId Value="{pointee}" /></EnvelopeTarget>'
        f"<Automation>{content}</Automation>{extra}</{tag}>"
    )


def number(tag: str, target: int, low: object = 0, high: object = 1, manual: object = 0, inside: str = "") -> str:
    return (
        f'<{tag}>{inside}<Manual Value="{manual}" />'
        f'<MidiControllerRange><Min Value="{low}" /><Max Value="{high}" /></MidiControllerRange>'
        f'<AutomationTarget Id="{target}"><LockEnvelope Value="0" /></AutomationTarget>'
        f'<ModulationTarget Id="{target + 500}"><LockEnvelope Value="0" /></ModulationTarget></{tag}>'
    )


def switch(tag: str, target: int, on: bool = True, inside: str = "") -> str:
    return f'<{tag}>{inside}<Manual Value="{str(on).lower()}" /><AutomationTarget Id="{target}" /></{tag}>'


def slot(parameter: int, target: int, name: str = "", kind: str = "Float") -> str:
    tag = f"Plugin{kind}Parameter"
    return (
        f'<{tag} Id="0"><ParameterName Value="{name}" /><ParameterId Value="{parameter}" />'
        f"{number('ParameterValue', target)}</{tag}>"
    )


def vst3(slots: str, *, uid: tuple[int, ...] = UID, on: str = "", state: str = "", name: str = "Latent Terrain") -> str:
    fields = "".join(f'<Fields.{n} Value="{field}" />' for n, field in enumerate(uid))
    return (
        f'<PluginDevice Id="1">{on}<UserName Value="" /><PluginDesc><Vst3PluginInfo Id="0"><Preset><Vst3Preset Id="0">'
        f"<Uid>{fields}</Uid><ProcessorState>{state}</ProcessorState><Name Value='a preset' /></Vst3Preset></Preset>"
        f'<Name Value="{name}" /><Uid>{fields}</Uid></Vst3PluginInfo></PluginDesc>'
        f"<ParameterList>{slots}</ParameterList></PluginDevice>"
    )


def track(
    name: str = "Lead",
    *,
    tag: str = "MidiTrack",
    id: int = 7,
    envelopes: str = "",
    devices: str = "",
    mixer: str = "",
    clips: str = "",
    sequencer: str = "",
    rest: str = "",
    group: int = -1,
) -> str:
    return (
        f'<{tag} Id="{id}"><Name><EffectiveName Value="{name}" /><UserName Value="" /></Name>'
        f"<AutomationEnvelopes><Envelopes>{envelopes}</Envelopes></AutomationEnvelopes>"
        f'<TrackGroupId Value="{group}" />{rest}<DeviceChain><Mixer>{mixer}</Mixer>'
        f"<MainSequencer><ClipTimeable><ArrangerAutomation><Events>{clips}</Events></ArrangerAutomation>"
        f"</ClipTimeable>{sequencer}</MainSequencer>"
        f"<DeviceChain><Devices>{devices}</Devices></DeviceChain></DeviceChain></{tag}>"
    )


def main_track(version: int, tempo: str = "", meter: str = "", manual: float = 120) -> str:
    """The main track; `tempo`, `meter`: events in the place where the version keeps them."""
    tag = "MainTrack" if version >= 12 else "MasterTrack"
    in_place = version < 10
    envelopes = "".join(envelope(target, content) for target, content in ((8, tempo), (10, meter)) if content)
    held = [f"<ArrangerAutomation>{content}</ArrangerAutomation>" if in_place else "" for content in (tempo, meter)]
    mixer = number("Tempo", 8, 60, 200, manual, held[0]) + (
        f'<TimeSignature>{held[1]}<Manual Value="201" /><AutomationTarget Id="10" /></TimeSignature>'
    )
    return (
        f'<{tag}><Name><EffectiveName Value="Main" /></Name>'
        f"<AutomationEnvelopes><Envelopes>{'' if in_place else envelopes}</Envelopes></AutomationEnvelopes>"
        f"<DeviceChain><Mixer>{mixer}</Mixer></DeviceChain></{tag}>"
    )


def live_set(tracks: str, *, version: int = 11, main: str | None = None, locators: str = "", head: str = "") -> bytes:
    root = f'<Ableton MajorVersion="5" MinorVersion="{version}.0_1">'
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}\n{root}<LiveSet>'
        f"<Tracks>{tracks}</Tracks>{main_track(version) if main is None else main}"
        f"<Locators><Locators>{locators}</Locators></Locators></LiveSet></Ableton>"
    )
    return text.encode()


@pytest.fixture
def project_of(tmp_path: Path) -> Callable[..., Project]:
    """A function: tracks and so on, as for `live_set` -> Project."""

    def build(tracks: str, law: str = "theoretical", **parts: object) -> Project:
        path = tmp_path / "song.als"
        path.write_bytes(gzip.compress(live_set(tracks, **parts)))  # type: ignore[arg-type]
        return read_live(path, law)  # type: ignore[arg-type]

    return build


def rows_of(lane: Lane) -> list[tuple[float, float, str]]:
    return [(point.time, point.value, point.shape.value) for point in lane.points]


# --- real files ---


@pytest.mark.skipif(not REAL_FILES.exists(), reason="the real Live sets are not beside this repository")
@pytest.mark.parametrize("name", ["automation.als", "L12-automation.als"])
def test_real_sets_of_live_10_and_12(name: str) -> None:
    project = read_live(REAL_FILES / name, "theoretical")
    assert [(point.beat, point.bpm) for point in project.tempo_map.points] == [(0, 60), (4, 60), (8, 120), (12, 200)]
    np.testing.assert_allclose(
        project.tempo_map.point_seconds, [0, 4.0, 6.772588722239782, 8.305065593537753], rtol=0, atol=1e-12
    )
    assert [marker.name for marker in project.markers] == list("ABDCZE")
    np.testing.assert_allclose(
        project.tempo_map.seconds_at([marker.beat for marker in project.markers]),
        [0, 4.0, 5.6218604324326575, 6.772588722239782, 7.635634939595124, 8.905065593537753],
        rtol=0,
        atol=1e-12,
    )
    assert project.tempo_map.meters == (Meter(0, 4, 4),)
    assert [entry.name for entry in project.tracks] == ["1-Audio", {"a": "Master", "L": "Main"}[name[0]]]
    assert (project.lanes, project.unknown, project.repairs) == ([], [], [])
    # What Live shows for a ramp from 60 to 120 over four beats is 2.836 s.
    played = read_live(REAL_FILES / name)
    assert played.tempo_map.seconds_at(8.0) == pytest.approx(4 + 2.8360648088301073, abs=1e-12)


@pytest.mark.skipif(not REAL_FILES.exists(), reason="the real Live sets are not beside this repository")
def test_a_real_set_without_anything_in_it() -> None:
    with pytest.raises(FileError, match=r"empty.als, byte 0: is empty, expected an Ableton Live set"):
        read_live(REAL_FILES / "empty.als")


# --- tempo ---


def test_live_plays_the_tempo_in_sixteenths() -> None:
    drawn = [TempoPoint(0, 60, "linear-beats"), TempoPoint(4, 120)]
    played = TempoMap(played_points(drawn)[0])
    steps = np.arange(16) / 4
    assert played.seconds_at(4.0) == pytest.approx(np.sum(15 / (60 + 15 * steps)), abs=1e-12)
    assert played.bpm_at_beats([0.99, 1.0, 1.1]).tolist() == [71.25, 75, 75]
    assert played.bpm_at_beats(4.0) == 120


def test_what_lies_between_sixteenths_waits_for_the_next() -> None:
    # From a set that Live saved: its own times for events off the grid (dawtool's figures).
    beats = [1.8125, 4.0625, 4.093925345487846, 4.1484021187146185, 4.178364343989344, 4.25, 4.457870775058275]
    bpm = [120.760574, 60, 80.6271286, 34.5163536, 95.9973831, 58.0627136, 55.9149513]
    drawn = [TempoPoint(b, v, "linear-beats") for b, v in zip(beats, bpm, strict=True)]
    played = TempoMap(played_points(drawn)[0])
    seconds = [0.9005422581048679, 2.3966117557062345, 2.427177295750691, 2.480163570609616, 2.5093060217820256]
    np.testing.assert_allclose(played.seconds_at(beats[:6]), [*seconds, 2.578981708028704], rtol=0, atol=1e-12)


@given(
    st.lists(st.tuples(st.floats(0, 64), st.floats(20, 999)), min_size=1, max_size=12),
    st.integers(0, 256),
)
def test_every_sixteenth_has_the_tempo_that_is_drawn_there(rows: list[tuple[float, float]], step: int) -> None:
    rows.sort()
    drawn = drawn_points(*np.array(rows).T)
    played = TempoMap(played_points(drawn)[0])
    beat = step / 4
    assert played.bpm_at_beats(beat) == pytest.approx(float(TempoMap(drawn).bpm_at_beats(beat)), rel=1e-12)
    assert played.bpm_at_beats(beat + 0.2) == played.bpm_at_beats(beat)


@given(st.integers(1, 99), st.sampled_from([1, 2, 4, 8, 16]))
def test_time_signatures_have_numbers(numerator: int, denominator: int) -> None:
    assert meter_of(code_of(Meter(0, numerator, denominator))) == (numerator, denominator)


def test_a_few_time_signatures_by_their_numbers() -> None:
    assert [meter_of(code) for code in (201, 200, 302, 303, 102)] == [(4, 4), (3, 4), (6, 8), (7, 8), (4, 2)]
    assert [meter_of(code) for code in (-1, 201.5, 99 * 5)] == [None] * 3


@given(st.lists(st.tuples(st.integers(0, 200), st.floats(20, 999)), min_size=1, max_size=8, unique_by=lambda r: r[0]))
def test_a_tempo_map_of_steps_is_drawn_and_read_back(rows: list[tuple[int, float]]) -> None:
    rows.sort()
    before = TempoMap([TempoPoint(step / 4, bpm) for step, bpm in rows])
    beats, bpm = events_of(before)
    drawn = [TempoPoint(b, v, "linear-beats") for b, v in zip(beats.tolist(), bpm.tolist(), strict=True)]
    after = TempoMap(played_points(drawn)[0])
    at = np.linspace(-1, 60, 500)
    np.testing.assert_array_equal(after.bpm_at_beats(at), before.bpm_at_beats(at))


@pytest.mark.parametrize("version", [8, 9, 10, 11, 12])
def test_tempo_and_meter_of_every_version(project_of: Callable[..., Project], version: int) -> None:
    main = main_track(version, events("Float", "4 60; 8 120"), events("Enum", "6 303", initial="200"))
    if version == 8:
        main = main.replace('<Manual Value="120" />', "").replace('<Manual Value="201" />', "")
    locators = '<Locator Id="1"><Time Value="6" /><Name Value="B&amp;C" /></Locator>'
    locators += '<Locator Id="0"><Time Value="0" /><Name Value="A" /></Locator>'
    project = project_of("", version=version, main=main, locators=locators)
    assert project.tempo_map.points == (
        TempoPoint(0, 60),
        TempoPoint(4, 60, "linear-beats"),
        TempoPoint(8, 120),
    )
    assert project.tempo_map.meters == (Meter(0, 3, 4), Meter(6, 7, 8))
    assert project.markers == [Marker("A", 0), Marker("B&C", 6)]
    assert (project.unknown, project.repairs) == ([], [])


def test_a_tempo_that_is_not_automated_is_what_the_field_shows(project_of: Callable[..., Project]) -> None:
    assert project_of("", main=main_track(11, events("Float", "", "60"), manual=93.5)).tempo_map.points[0].bpm == 93.5
    assert project_of("", main=main_track(11, manual=93.5)).tempo_map == TempoMap.constant(93.5)
    eight = main_track(8, events("Float", "", "95.3")).replace('<Manual Value="120" />', "")
    assert project_of("", version=8, main=eight).tempo_map == TempoMap.constant(95.3)
    project = project_of("", main="")
    assert project.tempo_map == TempoMap.constant(120)
    assert project.unknown == [
        "line 1 of the XML: no time signature given, taken as 4/4",
        "line 1 of the XML: no tempo given, taken as 120 bpm",
    ]


def test_tempi_that_live_does_not_have_and_laws_that_nobody_has(
    project_of: Callable[..., Project], tmp_path: Path
) -> None:
    with pytest.raises(FileError, match="the tempo at beat 8 is 1200 bpm, expected 20 to 999"):
        project_of("", main=main_track(11, events("Float", "4 60; 8 1200")))
    with pytest.raises(InputError, match="no tempo law 'drawn', expected daw or theoretical"):
        read_live(tmp_path / "x.als", "drawn")  # type: ignore[arg-type]


def test_a_ramp_of_hours_is_read_as_it_is_drawn(project_of: Callable[..., Project]) -> None:
    project = project_of("", "daw", main=main_track(11, events("Float", "0 60; 1000000 120")))
    assert len(project.tempo_map.points) == 2
    assert "tempo ramps too long for Live's sixteenths" in project.unknown[0]


# --- lanes ---


def test_envelopes_find_what_they_automate_wherever_it_comes(project_of: Callable[..., Project]) -> None:
    devices = vst3(slot(1, 21, "X") + slot(2, 22, "Y") + slot(-1, 23)) + (
        f'<AutoFilter Id="2"><UserName Value="my filter" />{number("Cutoff", 24, 20, 120)}</AutoFilter>'
        f'<AuPluginDevice Id="3"><PluginDesc><AuPluginInfo><Name Value="AU" /></AuPluginInfo></PluginDesc>'
        f"<ParameterList>{slot(-1, 25, 'Drive')}</ParameterList></AuPluginDevice>"
    )
    envelopes = [
        envelope(21, events("Float", "0 0; 4 1; 4 0.25; 8 0.5")),
        envelope(24, events("Float", "0 20; 2 70")),
        envelope(25, events("Float", "1 0.5")),
        envelope(31, events("Float", "0 1")),
        envelope(32, events("Bool", "2 false; 4 true", initial="true")),
        envelope(33, events("Float", "0 0.5")),
    ]
    mixer = (
        number("Volume", 31, 0, 2)
        + switch("Speaker", 32)
        + f'<Sends><TrackSendHolder Id="0">{number("Send", 34)}</TrackSendHolder>'
        + f'<TrackSendHolder Id="1">{number("Send", 33)}</TrackSendHolder></Sends>'
    )
    project = project_of(track(envelopes="".join(envelopes), devices=devices, mixer=mixer))
    places = [(lane.plugin, lane.name, lane.key, lane.track) for lane in project.lanes]
    assert places == [
        ("Latent Terrain", "X", "x", "Lead"),
        ("my filter", "Cutoff", "", "Lead"),
        ("AU", "Drive", "", "Lead"),
        ("", "Track Volume", "", "Lead"),
        ("", "Speaker On", "", "Lead"),
        ("", "Send B", "", "Lead"),
    ]
    x, cutoff, _, volume, speaker, _ = project.lanes
    assert rows_of(x) == [(0, 0, "linear"), (4, 1, "linear"), (4, 0.25, "linear"), (8, 0.5, "linear")]
    assert x.sample([2, 4, 6]).tolist() == [0.5, 0.25, 0.375]
    assert (x.plugin_id, x.parameter_id) == (identity.VST3_CLASS_UUID, 1)
    assert cutoff.values.tolist() == [0, 0.5]
    assert volume.values.tolist() == [0.5]
    assert rows_of(speaker) == [(0, 1, "hold"), (2, 0, "hold"), (4, 1, "hold")]
    assert (project.unknown, project.repairs) == ([], [])
    assert project.tracks[0].silenced_by == ""


@pytest.mark.parametrize("version", [8, 9])
def test_live_8_and_9_keep_events_where_they_belong(project_of: Callable[..., Project], version: int) -> None:
    def held(rows: str, initial: str | None = None, kind: str = "Float") -> str:
        return f"<ArrangerAutomation>{events(kind, rows, initial)}</ArrangerAutomation>"

    cutoff = number("Cutoff", 24, 20, 120, inside=held("0 20; 2 70"))
    resonance = number("Resonance", 25, inside=held("", "0.5"))
    on = switch("On", 26, inside=held("8 false", "true", "Bool"))
    text = track(devices=f'<AutoFilter Id="2">{on}{cutoff}{resonance}</AutoFilter>')
    if version == 8:  # which has no targets
        text = text.replace("AutomationTarget", "Nothing")
    project = project_of(text, version=version)
    assert [(lane.name, rows_of(lane)) for lane in project.lanes] == [
        ("Device On", [(0, 1, "hold"), (8, 0, "hold")]),
        ("Cutoff", [(0, 0, "linear"), (2, 0.5, "linear")]),
    ]


def test_macros_and_max_devices_have_names(project_of: Callable[..., Project]) -> None:
    rack = (
        '<InstrumentGroupDevice Id="5"><UserName Value="Rack" />'
        + number("MacroControls.0", 41, 0, 127)
        + number("MacroControls.1", 42, 0, 127)
        + '<MacroDisplayNames.0 Value="Bright" /><MacroDisplayNames.1 Value="" />'
        + '<Branches><InstrumentBranch Id="0"><DeviceChain><MidiToAudioDeviceChain><Devices>'
        + f'<MxDeviceInstrument Id="1"><ParameterList><ParameterList><MxDFloatParameter Id="9"><Name Value="Colour" />'
        f'<MinValue Value="-10" /><MaxValue Value="10" />{number("Timeable", 43, 0, 1)}</MxDFloatParameter>'
        "</ParameterList></ParameterList></MxDeviceInstrument>"
        f"</Devices></MidiToAudioDeviceChain></DeviceChain><MixerDevice>{number('Volume', 44)}</MixerDevice>"
        "</InstrumentBranch></Branches></InstrumentGroupDevice>"
    )
    envelopes = "".join(envelope(n, events("Float", f"0 {v}")) for n, v in ((41, 127), (42, 0), (43, 5), (44, 1)))
    project = project_of(track(envelopes=envelopes, devices=rack))
    assert [(lane.plugin, lane.name, lane.values[0]) for lane in project.lanes] == [
        ("Rack", "Bright", 1),
        ("Rack", "Macro 2", 0),
        ("MxDeviceInstrument", "Colour", 0.75),
        ("Rack", "MixerDevice Volume", 1),
    ]


def test_a_plugins_values_are_0_to_1_whatever_remote_control_may_reach(project_of: Callable[..., Project]) -> None:
    narrow = slot(1, 21, "X").replace('<Max Value="1" />', '<Max Value="0.5" />')
    filter_range = number("Cutoff", 22, 20, "no number")
    envelopes = envelope(21, events("Float", "0 0.25; 4 1")) + envelope(22, events("Float", "0 30"))
    devices = vst3(narrow) + f'<AutoFilter Id="2">{filter_range}</AutoFilter>'
    project = project_of(track(envelopes=envelopes, devices=devices))
    assert [lane.values.tolist() for lane in project.lanes] == [[0.25, 1], [30]]
    assert "a range from or to 'no number' not read" in project.unknown[0]
    assert "Cutoff of AutoFilter on track 'Lead' has no range in the set" in project.unknown[1]


def test_a_macro_that_moves_our_parameter_is_reported(project_of: Callable[..., Project]) -> None:
    mapped = slot(1, 21, "X").replace(
        "<Manual", '<KeyMidi><Channel Value="16" /><NoteOrController Value="3" /></KeyMidi><Manual', 1
    )
    remote = slot(2, 22, "Y").replace(
        "<Manual", '<KeyMidi><Channel Value="0" /><NoteOrController Value="3" /></KeyMidi><Manual', 1
    )
    rack = (
        f'<InstrumentGroupDevice Id="5"><UserName Value="Rack" />{number("MacroControls.3", 41, 0, 127)}'
        '<MacroDisplayNames.3 Value="Wander" /><Branches><InstrumentBranch Id="0"><Devices>'
        f"{vst3(mapped + remote)}</Devices></InstrumentBranch></Branches></InstrumentGroupDevice>"
    )
    project = project_of(track(envelopes=envelope(41, events("Float", "0 0; 4 127")), devices=rack))
    (report,) = project.unknown
    assert "X of Latent Terrain on track 'Lead' follows the macro 'Wander' of its rack, from 0 to 1" in report
    assert project.lanes_by_key({"x": "Lead/Wander"})["x"].values.tolist() == [0, 1]


def test_choices_are_scaled_where_their_count_is_known(project_of: Callable[..., Project]) -> None:
    devices = vst3(slot(5, 21, "Pressure To", "Enum")) + (
        '<AutoFilter Id="2"><FilterType><Manual Value="0" /><AutomationTarget Id="22" /></FilterType></AutoFilter>'
    )
    envelopes = envelope(21, events("Enum", "0 0; 4 3; 5 1")) + envelope(22, events("Enum", "0 0; 4 3"))
    project = project_of(track(envelopes=envelopes, devices=devices))
    assert project.lanes[0].values.tolist() == [0, 1, 1 / 3]
    assert project.lanes[0].key == "pressure_target"
    assert project.lanes[1].values.tolist() == [0, 3]
    assert (
        "FilterType of AutoFilter on track 'Lead' has no range in the set; values were not scaled" in project.unknown[0]
    )


def test_curves_are_drawn_as_beziers_and_reported(project_of: Callable[..., Project]) -> None:
    def curve(x1: float, y1: float, x2: float, y2: float) -> str:
        return f'CurveControl1X="{x1}" CurveControl1Y="{y1}" CurveControl2X="{x2}" CurveControl2Y="{y2}"'

    rows = f"0 0 {curve(0.5, 0.5, 0.5, 0.5)}; 4 1 {curve(1, 0, 1, 0)}; 8 0"
    project = project_of(track(envelopes=envelope(21, events("Float", rows)), devices=vst3(slot(1, 21, "X"))))
    lane = project.lanes[0]
    assert lane.sample([1, 2, 3]).tolist() == [0.25, 0.5, 0.75]
    # x(s) = 3s²(1-s)·1 + 3s(1-s)² + s³ and so on: at s = 1/2 both handles give (7/8, 1/8).
    assert lane.sample(4 + 4 * 7 / 8) == pytest.approx(1 - 1 / 8, abs=1e-3)
    assert "1 curved segments of X of Latent Terrain on track 'Lead' drawn as cubic Béziers" in project.unknown[0]


def test_what_points_nowhere_or_twice_is_reported(project_of: Callable[..., Project]) -> None:
    devices = vst3(slot(1, 21, "X") + slot(2, 21, "Y"))
    envelopes = envelope(99, events("Float", "0 1")) + envelope(21, events("Float", "0 1")) * 2
    project = project_of(track(envelopes=envelopes, devices=devices))
    assert "automation on track 'Lead' of number 99, which nothing in the set has (2 events)" in project.unknown[0]
    assert [(lane.key, lane.active) for lane in project.lanes] == [("x", True), ("x", False)]
    assert "Y of Latent Terrain on track 'Lead' has the number 21 of X" in project.repairs[0]
    assert "has a second envelope" in project.repairs[-1]


def test_what_a_flipped_digit_may_do_is_noticed(project_of: Callable[..., Project]) -> None:
    def read_with(rows: str, devices: str, kind: str = "Float") -> Project:
        return project_of(track(envelopes=envelope(21, events(kind, rows)), devices=devices))

    with pytest.raises(FileError, match="line 2 of the XML: an event at beat 3 comes after one at beat 7"):
        read_with("7 0; 3 1", vst3(slot(1, 21, "X")))
    beyond = read_with("0 0.5; 4 7", vst3(slot(1, 21, "X")))
    assert "1 values of X of Latent Terrain on track 'Lead' are beyond 0 to 1; cut off there" in beyond.repairs[0]
    assert beyond.lanes[0].values.tolist() == [0.5, 1]
    renumbered = read_with("0 0.5", vst3(slot(2, 21, "X")))
    assert "the parameter 'X' has the number 2 of y; its number counts" in renumbered.repairs[0]
    assert "is no switch, and has events of type bool" in read_with("0 true", vst3(slot(1, 21, "X")), "Bool").repairs[0]
    half_ours = vst3(slot(1, 21, "X")).replace(str(UID[0]), str(UID[0] + 1), 1)
    project = read_with("0 0.5", half_ours)
    assert project.lanes[0].key == "x"
    assert "the device's class ids differ; taken for our plugin" in project.repairs[0]


# --- our plugin ---


def test_our_plugin_with_its_state(project_of: Callable[..., Project]) -> None:
    state = PluginState({"x": 0.25, "level": -6.0})
    digits = state.to_bytes().hex().upper()
    lines = "\n\t".join(digits[at : at + 96] for at in range(0, len(digits), 96))
    devices = vst3(slot(1, 21, "X"), state=f"\n\t<!-- 00 -->{lines}\n")
    project = project_of(track(envelopes=envelope(21, events("Float", "0 1")), devices=devices))
    (instance,) = project.instances
    assert (instance.track, instance.name, instance.plugin_format) == ("Lead", "Latent Terrain", "vst3")
    assert (instance.silenced_by, instance.position) == ("", "line 2 of the XML")
    assert instance.state == state
    assert instance.lanes[0] is project.lanes[0]


@pytest.mark.parametrize(("text", "problem"), [("00 11", "plugin state begins with"), ("xyz", "is not hexadecimal")])
def test_a_state_that_is_none(project_of: Callable[..., Project], text: str, problem: str) -> None:
    project = project_of(track(devices=vst3("", state=text)))
    assert project.instances[0].state is None
    assert problem in project.repairs[0]


def test_another_plugins_class_id_is_not_ours(project_of: Callable[..., Project]) -> None:
    other = vst3(slot(1, 21, "X"), uid=(410086328, -1563483838, -1247560737, 2011627872), name="nvelope")
    project = project_of(track(envelopes=envelope(21, events("Float", "0 1")), devices=other))
    assert project.instances == []
    assert (project.lanes[0].key, project.lanes[0].plugin) == ("", "nvelope")
    # As Live's browser spells the same id.
    assert project.lanes[0].plugin_id == "18716bb8-a2cf-2142-b5a3-bbdf77e70160"


def test_what_silences_a_track_and_a_device(project_of: Callable[..., Project]) -> None:
    off = switch("Speaker", 50, on=False)
    comes_on = envelope(53, events("Bool", "0 false; 4 true"))
    tracks = [
        track("Group", tag="GroupTrack", id=1, mixer=off),
        track("Inner", tag="GroupTrack", id=2, group=1),
        track("A", id=3, group=2, devices=vst3("")),
        track("B", id=4, devices=vst3("", on=switch("On", 51, on=False))),
        track("C", id=5, mixer=switch("Speaker", 52, on=False), devices=vst3("")),
        track("D", id=6, mixer=switch("Speaker", 53, on=False), envelopes=comes_on),
        track("E", id=8, devices=f'<InstrumentGroupDevice Id="1"><UserName Value="R" />{switch("On", 54, on=False)}'
              f"<Branches><InstrumentBranch Id='0'><Devices>{vst3('')}</Devices></InstrumentBranch></Branches>"
              "</InstrumentGroupDevice>"),
    ]  # fmt: skip
    project = project_of("".join(tracks))
    assert project.tracks[:6] == [
        Track("Group", "", "muted"),
        Track("Inner", "Group", "in the muted folder 'Group'"),
        Track("A", "Inner", "in the muted folder 'Group'"),
        Track("B"),
        Track("C", "", "muted"),
        Track("D"),
    ]
    assert [instance.silenced_by for instance in project.instances] == [
        "the track is in the muted folder 'Group'",
        "the device is off",
        "the track is muted",
        "the rack 'R' is off",
    ]


# --- clips ---


def midi_clip(
    begin: float,
    end: float,
    *,
    loop: tuple[float, float] = (0, 4),
    looped: bool = False,
    start: float = 0,
    notes: str = "",
    envelopes: str = "",
    rest: str = "",
    extra: str = "",
) -> str:
    return (
        f'<MidiClip Id="0" Time="{begin}"><CurrentStart Value="{begin}" /><CurrentEnd Value="{end}" />'
        f'<Loop><LoopStart Value="{loop[0]}" /><LoopEnd Value="{loop[1]}" /><StartRelative Value="{start}" />'
        f'<LoopOn Value="{str(looped).lower()}" /></Loop><Envelopes><Envelopes>{envelopes}</Envelopes></Envelopes>'
        f"<Notes><KeyTracks>{notes}</KeyTracks>{extra}</Notes>{rest}</MidiClip>"
    )


def key_track(key: int, *notes: str) -> str:
    return f'<KeyTrack Id="0"><Notes>{"".join(notes)}</Notes><MidiKey Value="{key}" /></KeyTrack>'


def note(time: float, duration: float, velocity: float = 127, rest: str = "") -> str:
    return f'<MidiNoteEvent Time="{time}" Duration="{duration}" Velocity="{velocity}" {rest}/>'


def controllers() -> str:
    targets = "".join(f'<ControllerTargets.{n} Id="{1000 + n}"><LockEnvelope Value="0" /></ControllerTargets.{n}>'
                      for n in range(131))  # fmt: skip
    return f"<MidiControllers>{targets}</MidiControllers>"


def test_notes_of_looped_clips(project_of: Callable[..., Project]) -> None:
    notes = key_track(60, note(0, 1), note(3.5, 2, 63.5), note(2, 1, rest='IsEnabled="false"')) + key_track(
        64, note(1, 0.5)
    )
    clip = midi_clip(8, 14, looped=True, start=2, notes=notes, extra='<PerNoteEventStore><EventLists><PerNoteEventList '
                     'Id="0" NoteId="1" CC="-2"/></EventLists></PerNoteEventStore>')  # fmt: skip
    project = project_of(track(clips=clip))
    # The clip begins at beat 2 of a loop of 4: beat 8 is 2, 10 is 0, 14 would be 0 again.
    assert project.notes == [
        Note(9.5, 0.5, 0, 60, 0.5),
        Note(10, 1, 0, 60, 1),
        Note(11, 0.5, 0, 64, 1),
        Note(13.5, 0.5, 0, 60, 0.5),
    ]
    assert "1 expression lanes (MPE) of notes in a clip on track 'Lead' not read" in project.unknown[0]


def test_controllers_in_clips_are_lanes_that_may_drive_us(project_of: Callable[..., Project]) -> None:
    bend = envelope(1000, events("Float", "0 -8192; 1 0; 2 8191"), "ClipEnvelope")
    general = envelope(1000 + 16 + 2, events("Float", "0 0; 4 127"), "ClipEnvelope")
    clips = midi_clip(4, 6, loop=(1, 3), envelopes=bend + general) + midi_clip(10, 12, envelopes=general)
    project = project_of(track(clips=clips, sequencer=controllers()))
    lanes = {lane.name: lane for lane in project.lanes}
    assert lanes["pitch bend"].sample([4, 5]).tolist() == [0.5, 1]
    assert lanes["CC 16"].key == "x"
    np.testing.assert_allclose(
        lanes["CC 16"].sample([4, 5, 6, 9, 10, 11]), [0.25, 0.5, 0.75, 0.75, 0, 0.25], atol=1e-12
    )


def test_clip_envelopes_of_parameters_and_modulation(project_of: Callable[..., Project]) -> None:
    content = "".join(envelope(pointee, events("Float", "0 0; 4 1"), "ClipEnvelope") for pointee in (21, 522, 777))
    clip = midi_clip(8, 16, looped=True, envelopes=content)
    own = midi_clip(20, 24, envelopes=envelope(21, events("Float", "0 1"), "ClipEnvelope",
                                               "<LoopSlot><Value><X Id='0' /></Value></LoopSlot>"))  # fmt: skip
    off = midi_clip(30, 34, envelopes=content, rest='<Disabled Value="true" />')
    devices = vst3(slot(1, 21, "X")) + f'<AutoFilter Id="2">{number("Cutoff", 22, 20, 120)}</AutoFilter>'
    project = project_of(track(clips=clip + own + off, devices=devices))
    played, modulation = project.lanes
    assert (played.key, played.active) == ("x", True)
    np.testing.assert_allclose(played.sample([8, 10, 12, 15]), [0, 0.5, 0, 0.75], atol=1e-12)
    assert (modulation.name, modulation.key, modulation.active) == ("Cutoff (modulation)", "", False)
    assert modulation.values.max() == 1  # as it stands in the file
    reports = "\n".join(project.unknown)
    assert "for number 777 (of the clip itself?) not read" in reports
    assert "its envelope in a clip on track 'Lead' loops by itself; not read" in reports
    assert "a clip on track 'Lead' is deactivated" in reports


@given(st.floats(0, 8), st.floats(0.5, 8), st.floats(-4, 12), st.floats(0.1, 30), st.integers(0, 1000))
def test_any_loop_plays_as_a_playhead_would(
    loop_start: float, length: float, start: float, duration: float, seed: int
) -> None:
    from terrain_daws.live.reading import _Reader
    from terrain_daws.live.set_xml import Clip, SetXml

    place = {"CurrentStart": 10.0, "CurrentEnd": 10 + duration}
    loop = {"LoopStart": loop_start, "LoopEnd": loop_start + length, "StartRelative": start}
    clip = Clip("MidiClip", 1, None, place | loop, {"LoopOn": True})
    pieces = _Reader(Path("x"), b"", SetXml(Path("x")), "daw", [])._pieces(clip, "a clip")
    elapsed = np.random.default_rng(seed).uniform(0, duration, 50)
    playhead = loop_start + start + elapsed
    if start >= length:  # begun behind the loop: straight into it
        playhead = loop_start + elapsed
    past = playhead >= loop_start + length
    playhead[past] = loop_start + (playhead[past] - loop_start) % length
    away_from_the_seam = np.abs(playhead - loop_start) > 1e-6
    content = Lane([-100, 100], [-100, 100])  # its value is its time
    fragments = in_sequence([cut(content, piece) for piece in pieces])
    played = Lane(*(np.concatenate([getattr(f, name) for f in fragments]) for name in ("times", "values", "codes")))
    where = elapsed[away_from_the_seam]
    assert where.size
    np.testing.assert_allclose(played.sample(10 + where), playhead[away_from_the_seam], atol=1e-9)


def test_session_clips_frozen_and_soloed_tracks_are_reported(project_of: Callable[..., Project]) -> None:
    session = (
        "<ClipSlotList><ClipSlot Id='0'><ClipSlot><Value>"
        + midi_clip(
            0, 4, envelopes=envelope(21, events("Float", "0 1"), "ClipEnvelope"), notes=key_track(60, note(0, 1))
        )
        + "</Value></ClipSlot></ClipSlot></ClipSlotList>"
    )
    takes = f"<TakeLanes><TakeLanes><TakeLane><ClipAutomation><Events>{midi_clip(0, 4)}</Events></ClipAutomation>" + (
        "</TakeLane></TakeLanes></TakeLanes>"
    )
    recorded = midi_clip(0, 4, notes=key_track(60, note(0, 1)))
    held = f"<ArrangerAutomation><Events>{recorded}</Events></ArrangerAutomation>"
    frozen = f"<FreezeSequencer><Sample>{held}</Sample></FreezeSequencer>"
    project = project_of(
        track(sequencer=session, rest=f'{takes}{frozen}<Freeze Value="true" />', mixer='<SoloSink Value="true" />')
    )
    assert [line.partition(": ")[2] for line in project.unknown] == [
        "1 session clips with 1 envelopes on track 'Lead' not read",
        "1 clips in take lanes of track 'Lead' not read",
        "track 'Lead' is frozen: Live plays a recording of it",
        "track 'Lead' is soloed; read as if it were not",
    ]
    assert (project.notes, project.lanes) == ([], [])


# --- the file ---


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252"])
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_encodings_and_sets_that_are_not_packed(tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    text = live_set(track("Läufer")).decode().replace("UTF-8", encoding.removesuffix("-sig"))
    path = tmp_path / "song.als"
    path.write_bytes(pack(text.encode(encoding)))
    assert read_live(path).tracks[0].name == "Läufer"


def test_versions_that_are_not_known(project_of: Callable[..., Project]) -> None:
    assert "saved by Live 14; Live 8 to 12 are known" in project_of("", version=14).unknown[0]


def test_the_memory_for_a_large_set_is_that_of_its_lanes(tmp_path: Path) -> None:
    """10 MB of XML, of which the most is of no interest."""
    import tracemalloc

    filler = "".join(f'<Something Id="{n}"><Else Value="{n * 7919}" /></Something>' for n in range(200_000))
    path = tmp_path / "song.als"
    path.write_bytes(gzip.compress(live_set(track(rest=f"<Filler>{filler}</Filler>")), 1))
    del filler
    tracemalloc.start()
    try:
        read_live(path)
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size + (1 << 20)
    finally:
        tracemalloc.stop()


def test_limits_are_where_they_are_said_to_be(
    project_of: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    envelopes = envelope(21, events("Float", ";".join(f"{n} 0" for n in range(50))))
    monkeypatch.setattr(set_xml, "MOST_EVENTS", 50)
    with pytest.raises(FileError, match="has more than 50 automation events and notes"):
        project_of(track(envelopes=envelopes))
    monkeypatch.setattr(set_xml, "MOST_ELEMENTS", 60)
    with pytest.raises(FileError, match="has more than 60 elements"):
        project_of(track(rest="<a />" * 60))
    monkeypatch.setattr(container, "LARGEST_XML", 100)
    with pytest.raises(FileError, match="unpacks to more than the 100 bytes"):
        project_of("")
