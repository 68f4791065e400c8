"""A real DAW: Ardour scans the VST3; an exported session with X, Y and loop automation equals the batch render."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from terrain_core.engine import render_batch
from terrain_core.instrument import Instrument
from terrain_core.lanes import Lane
from terrain_core.looper import LooperChain, State
from terrain_core.parameters import PARAMETERS, Run
from terrain_core.tempo import TempoMap
from terrain_plugin import binaries
from terrain_plugin.shipped import DEFAULT_INSTRUMENT
from tests.hosts.ardour import BEFORE_START, Ardour, ArdoursBeats, ByArdour, set_session_range
from tests.hosts.doors import Caller, doors

RATE, SECONDS = 44100, 6.0
TEMPO = TempoMap.constant(120)

LANES = {
    "x": Lane([0, 2, 4, 6, 8, 12], [0.0, 0.5, 1.0, 0.2, 0.3, 0.9]),
    "y": Lane([0, 3, 12], [0.2, 0.8, 0.4]),
    # A loop of two beats is recorded, and played while the hand goes on; then overdubbed, at half its speed.
    "loop_record": Lane([0, 1.5, 1.501, 3.5, 3.501], [0, 0, 1, 1, 0]),
    "loop_quantise": Lane([0], [2]),
    "loop_length": Lane([0], [2.0]),
    "loop_overdub": Lane([0, 5.5, 5.501, 7.5, 7.501], [0, 0, 1, 1, 0]),
    "loop_speed": Lane([0, 8.6, 8.601], [1.0, 1.0, 0.5]),
}

SCRIPT = """
local s = create_session("{folder}", "terrain", {rate})
local track = s:new_audio_track(2, 2, nil, 1, "Terrain", 0, ARDOUR.TrackMode.Normal, true):front()
local p = ARDOUR.LuaAPI.new_plugin(s, "Latent Terrain", ARDOUR.PluginType.VST3, "")
assert(not p:isnil(), "Ardour does not know the plugin")
track:add_processor_by_index(p, 0, nil, true)
local insert = p:to_insert()
print("parameters", insert:plugin(0):parameter_count())
for n = 0, insert:plugin(0):parameter_count() - 1 do print("parameter", n, insert:plugin(0):parameter_label(n)) end
ARDOUR.LuaAPI.set_processor_param(p, {run}, {transport})
{lanes}
s:save_state("")
close_session()
"""

LANE = """
do
  local list = ARDOUR.LuaAPI.plugin_automation(p, {index})
  {points}
  local what = Evoral.Parameter(ARDOUR.AutomationType.PluginAutomation, 0, {index})
  insert:to_automatable():automation_control(what, false):set_automation_state(ARDOUR.AutoState.Play)
end
"""


def lane_script(key: str, lane: Lane) -> str:
    points = "\n  ".join(
        f"list:add(Temporal.timepos_t({round(float(TEMPO.seconds_at(point.time)) * RATE)}), {point.value}, false, true)"
        for point in lane.points
    )
    return LANE.format(index=index_of(key), points=points)


def index_of(key: str) -> int:
    return next(index for index, parameter in enumerate(PARAMETERS) if parameter.key == key)


LIVE = """
local s = create_session("{folder}", "terrain", {rate})
local track = s:new_audio_track(2, 2, nil, 1, "Länge", 0, ARDOUR.TrackMode.Normal, true):front()
local p = ARDOUR.LuaAPI.new_plugin(s, "Latent Terrain", ARDOUR.PluginType.VST3, "")
track:add_processor_by_index(p, 0, nil, true)
s:request_roll(ARDOUR.TransportRequestSource.TRS_UI)
while not io.open("{done}") do ARDOUR.LuaAPI.usleep(50000) end
close_session()
"""


@pytest.mark.slow
def test_a_live_session_is_named_by_its_track_and_plays_what_is_drawn(tmp_path: Path) -> None:
    ardour = Ardour(tmp_path)
    ardour.install_vst3(binaries.vst3_path())
    done = tmp_path / "done"
    script = LIVE.format(folder=tmp_path / "session", rate=RATE, done=done)
    session = threading.Thread(target=ardour.lua, args=(script,))
    session.start()
    try:
        with Caller(doors(1)[0]) as caller:
            assert caller.hear("hello", lambda hello: hello["track"] != "")["track"] == "Länge"
            assert caller.hello["host"] == "Ardour"
            caller.say(type="watch", on=True)
            caller.hear("frame", lambda frame: frame.get("transport", {}).get("playing") is True)
            caller.touch(("begin", "x"), ("value", "x", 0.25), ("value", "x", 0.75), ("end", "x"))
            caller.hear("frame", lambda frame: frame["x"] == 0.75)
    finally:
        done.touch()
        session.join()


def test_an_exported_session_is_the_batch_render(tmp_path: Path) -> None:
    ardour = Ardour(tmp_path)
    ardour.install_vst3(binaries.vst3_path())
    session, out = tmp_path / "session", tmp_path / "out.wav"
    lanes = "\n".join(lane_script(key, lane) for key, lane in LANES.items())
    printed = ardour.lua(
        SCRIPT.format(folder=session, rate=RATE, run=index_of("run"), transport=int(Run.TRANSPORT), lanes=lanes)
    )

    listed = [line.split(" ", 2)[2] for line in printed.splitlines() if line.startswith("parameter ")]
    assert listed == [parameter.name for parameter in PARAMETERS], "exactly ours, in order"

    set_session_range(session / "terrain.ardour", SECONDS)
    ardour.export(session, "terrain", out)
    heard, rate = soundfile.read(out, dtype="float32")
    assert rate == RATE
    assert len(heard) == RATE * SECONDS
    assert np.abs(heard).max() > 0.05

    instrument = Instrument.load(DEFAULT_INSTRUMENT)
    played = {key: ByArdour(lane, RATE, times=TEMPO) for key, lane in LANES.items()}
    chunks = render_batch(
        instrument, played, ArdoursBeats(TEMPO, RATE), RATE, -BEFORE_START / RATE, SECONDS,
        constants={"run": Run.TRANSPORT}, effects=[looped := LooperChain.empty().effect(instrument)],
    )  # fmt: skip
    expected = np.concatenate(list(chunks), axis=1)[0, BEFORE_START:]
    assert looped.states["1"] is State.PLAYING
    for channel in heard.T:
        assert np.abs(channel - expected).max() < 1e-5
