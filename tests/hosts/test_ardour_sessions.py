"""Ardour as the judge of sessions: those that we write, as it understands them, and those that it writes, as we do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core.engine import render_batch
from terrain_core.instrument import Instrument
from terrain_core.lanes import SHAPES, Lane, Shape
from terrain_core.parameters import PARAMETERS, Run, by_key
from terrain_core.plugin_state import PluginState
from terrain_core.tempo import Meter, TempoMap, TempoPoint
from terrain_daws import Marker, PluginInstance, Project, read, write
from terrain_plugin import binaries
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.hosts.ardour import BEFORE_START, TICKS_PER_BEAT, Ardour, ByArdour

QUESTIONS = 1000
HARMLESS = ("Reasonable Synth", "direct dispatch of call slot")
"""Parts of warnings that Ardour gives for every session, its own among them."""

TEMPO = TempoMap(
    [
        TempoPoint(0, 96),
        TempoPoint(4, 96, "linear-beats"),
        TempoPoint(12, 168, "linear-seconds"),
        TempoPoint(20, 60),
        TempoPoint(24, 140),
    ],
    [Meter(0, 4, 4), Meter(8, 7, 8), Meter(15, 3, 4)],
)

ASK = """
local s = load_session("{folder}", "{name}")
assert(s, "not loaded")
local function at(ticks) return Temporal.timepos_t.from_ticks(ticks) end
local function say(...) print(table.concat({{...}}, "|")) end
local function exact(number) return string.format("%.17g", number) end
for l in s:locations():list():iter() do say("location", l:name(), l:start():samples()) end
for r in s:get_routes():iter() do
  local p = r:nth_plugin(0)
  if not p:isnil() then
    say("plugin", p:name())
    for _, n in ipairs{{{parameters}}} do
      local list = ARDOUR.LuaAPI.plugin_automation(p, n)
      if list and list:size() > 0 then
        for _, ticks in ipairs{{{ticks}}} do say("value", n, ticks, exact(list:eval(at(ticks)))) end
      end
    end
    local gain = r:gain_control():alist()
    if gain:size() > 0 then for _, ticks in ipairs{{{ticks}}} do say("gain", ticks, exact(gain:eval(at(ticks)))) end end
  end
end
for _, ticks in ipairs{{{ticks}}} do say("time", ticks, at(ticks):samples()) end
close_session()
"""


class Answers:
    """What Ardour says of a session at random times."""

    def __init__(self, ardour: Ardour, session: Path, last_beat: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        ticks = np.unique(rng.integers(0, int(last_beat * TICKS_PER_BEAT), QUESTIONS))
        self.printed = ardour.lua(
            ASK.format(
                folder=session,
                name=session.name,
                parameters=",".join(
                    str(index) for index, parameter in enumerate(PARAMETERS) if not parameter.read_only
                ),
                ticks=",".join(map(str, ticks.tolist())),
            )
        )
        rows = [line.split("|") for line in self.printed.splitlines()]
        self.values = {
            PARAMETERS[index].key: np.array(
                [[float(r[2]), float(r[3])] for r in rows if r[:2] == ["value", str(index)]]
            )
            for index in range(len(PARAMETERS))
        }
        self.gain = np.array([[float(row[1]), float(row[2])] for row in rows if row[0] == "gain"])
        self.times = np.array([[float(row[1]), float(row[2])] for row in rows if row[0] == "time"])
        self.locations = {row[1]: int(row[2]) for row in rows if row[0] == "location"}
        self.plugins = [row[1] for row in rows if row[0] == "plugin"]

    @property
    def warnings(self) -> list[str]:
        return [
            line
            for line in self.printed.splitlines()
            if re.search("WARNING|ERROR|exception", line) and not any(part in line for part in HARMLESS)
        ]

    def check_times(self, tempo_map: TempoMap, rate: int) -> float:
        """The largest difference in seconds between its tempo map and ours."""
        ticks, samples = self.times.T
        return float(np.abs(samples / rate - tempo_map.seconds_at(ticks / TICKS_PER_BEAT)).max())

    def check_values(self, lane: Lane, tempo_map: TempoMap) -> float:
        """The largest difference of a lane's values (0..1)."""
        parameter = by_key(lane.key)
        ticks, plain = self.values[lane.key].T
        ours = lane.values_at(tempo_map.seconds_at(ticks / TICKS_PER_BEAT), tempo_map)
        return float(np.abs((plain - parameter.low) / (parameter.high - parameter.low) - ours).max())


@pytest.fixture
def ardour(tmp_path: Path) -> Ardour:
    home = tmp_path / "home"
    home.mkdir()
    made = Ardour(home)
    made.install_vst3(binaries.vst3_path())
    return made


def lanes_of_every_kind(rng: np.random.Generator) -> dict[str, Lane]:
    """A lane over beats with every shape, a held one, a switch, one beyond 0..1, and one over seconds."""

    def times(count: int, end: float) -> np.ndarray:
        return np.unique(np.rint(rng.uniform(0, end, count) * TICKS_PER_BEAT / 4) * 4) / TICKS_PER_BEAT

    beats, seconds = times(30, 27), times(20, 12)
    shapes = [SHAPES[index] for index in rng.integers(0, len(SHAPES), len(beats))]
    return {
        "x": Lane(beats, rng.uniform(0.1, 1, len(beats)), shapes, rng.uniform(-1, 1, len(beats)), name="X", key="x"),
        "y": Lane(beats, rng.uniform(0, 1, len(beats)), Shape.HOLD, name="Y", key="y"),
        "snap": Lane(beats, rng.integers(0, 2, len(beats)), Shape.HOLD, name="Snap", key="snap"),
        "level": Lane(beats, rng.uniform(0, 1, len(beats)), name="Level", key="level"),
        "pressure": Lane(seconds, rng.uniform(0, 1, len(seconds)), name="Pressure", key="pressure", unit="seconds"),
    }


def test_a_session_that_we_write_is_to_ardour_what_it_is_to_us(ardour: Ardour, tmp_path: Path) -> None:
    lanes = lanes_of_every_kind(np.random.default_rng(4))
    session = tmp_path / "song"
    instance = PluginInstance("Lead & more", lanes=list(lanes.values()), state=PluginState({"glide": 40.0}))
    project = Project(
        "reaper",
        session,
        lanes=list(lanes.values()),
        tempo_map=TEMPO,
        instances=[instance],
        markers=[Marker("Drop", 16)],
    )
    assert write(project, session / "song.ardour") == []
    heard = Answers(ardour, session, 28, seed=9)
    assert heard.warnings == []
    assert heard.plugins == ["Latent Terrain"]
    again = read(session)
    rate = 44100
    # Ardour rounds down to whole samples; the ramp in seconds became one in beats, to 1e-5 s.
    assert heard.check_times(again.tempo_map, rate) < 1.05 / rate
    assert heard.check_times(TEMPO, rate) < 1.05 / rate + 4e-5
    assert heard.locations["Drop"] == pytest.approx(float(TEMPO.seconds_at(16)) * rate, abs=3)
    assert {key for key, rows in heard.values.items() if len(rows)} == set(lanes)
    for key in lanes:
        # A jump takes a tick, in which Ardour is on its way: those ticks are few, and left out on both sides.
        assert heard.check_values(again.lanes_by_key()[key], again.tempo_map) < 2e-6


def test_its_export_of_a_session_that_we_write_is_the_render(ardour: Ardour, tmp_path: Path) -> None:
    """The gesture with its tempo ramp; what differs is Ardour's own rounding of automation, which `ByArdour` has."""
    gesture = read(Path(__file__).parents[2] / "daws/examples/gesture.dawproject")
    lanes = [lane for lane in gesture.lanes if lane.key]
    state = PluginState({"run": float(Run.TRANSPORT)})
    project = Project(
        "ardour",
        tmp_path,
        lanes=lanes,
        tempo_map=gesture.tempo_map,
        instances=[PluginInstance("T", lanes=lanes, state=state)],
    )
    session, out, seconds = tmp_path / "gesture", tmp_path / "out.wav", 12
    write(project, session / "gesture.ardour")
    ardour.export(session, "gesture", out)
    heard, rate = soundfile.read(out, dtype="float32")
    assert rate == 44100
    assert len(heard) > 25 * rate

    again = read(session)
    played = {
        lane.key: ByArdour(lane, rate, by_key(lane.key).low, by_key(lane.key).high) for lane in again.instances[0].lanes
    }
    chunks = render_batch(
        Instrument.load(DEFAULT_INSTRUMENT), played, again.tempo_map, rate, -BEFORE_START / rate, seconds,
        constants={"run": Run.TRANSPORT},
    )  # fmt: skip
    expected = np.concatenate(list(chunks), axis=1)[0, BEFORE_START:]
    assert np.abs(expected).max() > 0.1
    for channel in heard[: len(expected)].T:
        assert np.abs(channel - expected).max() < 1e-5


MAKE = """
local s = create_session("{folder}", "{name}", 192000)
local function at(ticks) return Temporal.timepos_t.from_ticks(ticks) end
local tm = Temporal.TempoMap.write_copy()
tm:set_meter(Temporal.Meter(7, 8), at(1920 * 16))
local a = tm:set_tempo(Temporal.Tempo(100, 100, 4), at(1920 * 4))
local b = tm:set_tempo(Temporal.Tempo(140, 140, 4), at(1920 * 12))
tm:set_tempo(Temporal.Tempo(70, 70, 4), at(1920 * 18))
tm:set_ramped(a, true)
tm:set_ramped(b, true)
Temporal.TempoMap.update(tm)
local track = s:new_audio_track(2, 2, nil, 1, "Terrain", 0, ARDOUR.TrackMode.Normal, true):front()
local p = ARDOUR.LuaAPI.new_plugin(s, "Latent Terrain", ARDOUR.PluginType.VST3, "")
track:add_processor_by_index(p, 0, nil, true)
local insert = p:to_insert()
local function fill(list, style, control, values)
  list:set_interpolation(style)
  for i, value in ipairs(values) do list:add(at(1920 * 3 * (i - 1) + 240 * i), value, false, true) end
  control:set_automation_state(ARDOUR.AutoState.Play)
end
local function of(n)
  local what = Evoral.Parameter(ARDOUR.AutomationType.PluginAutomation, 0, n)
  return insert:to_automatable():automation_control(what, false)
end
fill(ARDOUR.LuaAPI.plugin_automation(p, 0), 0, of(0), {{0.25, 0.75, 0.5, 0.9, 0.1, 0.3}})
fill(ARDOUR.LuaAPI.plugin_automation(p, 1), 1, of(1), {{0.1, 1.0, 0.0, 0.4, 0.35, 0.8}})
fill(ARDOUR.LuaAPI.plugin_automation(p, 2), 2, of(2), {{0.2, 0.9, 0.1, 0.5, 0.25, 0.6}})
fill(ARDOUR.LuaAPI.plugin_automation(p, {level}), 1, of({level}), {{-60, 12, -6, 0, -30, 3}})
fill(track:gain_control():alist(), 4, track:gain_control(), {{1.0, 0.25, 2.0, 0.0, 0.5, 1.5}})
of(1):set_automation_state(ARDOUR.AutoState.Touch)
of(2):set_automation_state(ARDOUR.AutoState.Off)
s:save_state("")
close_session()
"""


def test_a_session_that_ardour_writes_is_to_us_what_it_is_to_ardour(ardour: Ardour, tmp_path: Path) -> None:
    session = tmp_path / "theirs"
    level = next(index for index, parameter in enumerate(PARAMETERS) if parameter.key == "level")
    ardour.lua(MAKE.format(folder=session, name="theirs", level=level))
    project = read(session)
    assert project.repairs == []
    assert [p.shape for p in project.tempo_map.points] == ["step", "linear-beats", "linear-beats", "step"]
    heard = Answers(ardour, session, 24, seed=3)
    assert heard.check_times(project.tempo_map, 192000) < 1.05 / 192000
    lanes = {lane.key: lane for lane in project.lanes if lane.key}
    assert {key: lane.active for key, lane in lanes.items()} == {"x": True, "y": True, "pressure": False, "level": True}
    for lane in lanes.values():
        assert heard.check_values(lane, project.tempo_map) < 1e-6
    ticks, gain = heard.gain.T
    fader = project.find_lane("Terrain/Fader")
    ours = fader.values_at(project.tempo_map.seconds_at(ticks / TICKS_PER_BEAT), project.tempo_map)
    assert np.abs(gain / 2 - ours).max() < 1.5e-4
    assert project.instances[0].state is not None

    # Written back with one lane changed, it is still a session to Ardour, and the rest of it as it was.
    index = project.lanes.index(lanes["x"])
    project.lanes[index] = Lane([0, 8, 20], [0.0, 1.0, 0.5], **lanes["x"].labels)
    write(project, session / "theirs.ardour")
    changed = Answers(ardour, session, 24, seed=3)
    assert changed.check_values(project.lanes[index], project.tempo_map) < 1e-6
    np.testing.assert_array_equal(changed.times, heard.times)
    np.testing.assert_array_equal(changed.values["level"], heard.values["level"])


def test_a_ramp_in_name_only_is_played_as_ardour_plays_it(ardour: Ardour, tmp_path: Path) -> None:
    """Ardour 7.3's Lua writes ramps whose omega is 0, and plays them as constant tempi."""
    session = tmp_path / "named"
    ardour.lua(
        f'local s = create_session("{session}", "named", 192000)\n'
        "local tm = Temporal.TempoMap.write_copy()\n"
        "tm:set_tempo(Temporal.Tempo(100, 140, 4), Temporal.timepos_t.from_ticks(7680))\n"
        "tm:set_tempo(Temporal.Tempo(140, 140, 4), Temporal.timepos_t.from_ticks(23040))\n"
        'Temporal.TempoMap.update(tm)\ns:save_state("")\nclose_session()'
    )
    assert 'type="Tempo::Ramped"' in (session / "named.ardour").read_text()
    project = read(session)
    assert Answers(ardour, session, 24, seed=5).check_times(project.tempo_map, 192000) < 1.05 / 192000
