"""The editor's player: what is asked is heard, what is recorded renders to the same audio, gaps are counted."""

from __future__ import annotations

import time

import numpy as np
import pytest
import soundfile

from terrain_core.errors import InputError
from terrain_core.instrument import Instrument
from terrain_core.tempo import TempoMap
from terrain_core.terrain import Terrain
from terrain_daws import read
from terrain_plugin.editor import messages
from terrain_plugin.editor.gesture_keeper import GestureKeeper
from terrain_plugin.editor.gestures import FORMATS
from terrain_plugin.editor.library import Library, plain_name
from terrain_plugin.editor.motion import Cursor, Playback, Trajectory, Way
from terrain_plugin.editor.session import BLOCK, Session, WallClock
from terrain_plugin.render import RenderSettings, parts_to_play, render_parts
from terrain_plugin.shipped import DEFAULT_INSTRUMENT


class Steps:
    """A player that plays when it is told to, block by block, on the test's own thread."""

    def __init__(self, instrument: Instrument, path=None):
        self.session = Session(instrument, path)
        self.frames: list[dict] = []
        self.changes: list[str] = []
        self.session.on_frame = self.frames.append
        self.session.on_change = self.changes.append

    def play(self, blocks: int) -> np.ndarray:
        return np.concatenate([self.session._block() for _ in range(blocks)], axis=1)


@pytest.fixture
def steps(instrument, instrument_file):
    return Steps(instrument, instrument_file)


def test_a_pointer_is_heard_at_the_next_frame(steps):
    steps.play(4)
    steps.session.point(0.2, 0.7, 0.4, seq=12)
    steps.play(2)
    frame = steps.frames[-1]
    assert (frame["x"], frame["y"], frame["p"], frame["seq"]) == (0.2, 0.7, 0.4, 12)
    terrain = steps.session.instrument.terrain
    assert np.allclose(frame["z"], terrain.at(np.array([[0.2, 0.7]]))[0], atol=1e-4)


def test_a_locked_latent_stays_and_the_others_follow_the_hand(steps):
    steps.session.hold_latent(2, 1.25)
    steps.session.point(0.1, 0.1, 1.0)
    steps.play(4)
    before = steps.frames[-1]
    steps.session.point(0.9, 0.9, 1.0)
    steps.play(4)
    after = steps.frames[-1]
    assert before["z"][2] == after["z"][2] == 1.25
    assert before["held"] == [2]
    assert np.abs(np.array(before["z"]) - after["z"])[[0, 1, 3]].min() > 1e-3
    steps.session.hold_latent(0, None)
    steps.play(4)
    held = steps.frames[-1]["z"][0]
    assert held == pytest.approx(after["z"][0])
    steps.session.release_latent()
    steps.play(4)
    assert steps.frames[-1]["held"] == []
    with pytest.raises(InputError, match="no latent"):
        steps.session.hold_latent(999, 0.0)


def same_audio(recorded, format, session, folder) -> float:
    """The largest difference between what was heard and what the exported gesture renders to."""
    path = folder / f"gesture{FORMATS[format]}"
    path.write_bytes(recorded.file(format, session.reference(recorded.instrument)))
    project = read(path)
    assert {lane.key for lane in project.lanes if lane.key} == {lane.key for lane in recorded.lanes()}
    out = folder / "out.wav"
    render_parts(parts_to_play(project), project, out, RenderSettings())
    rendered, heard = soundfile.read(out)[0], recorded.audio[0]
    length = min(len(rendered), len(heard))
    assert length > 100 * BLOCK
    assert np.abs(heard[:length]).max() > 0.01
    return float(np.abs(rendered[:length] - heard[:length]).max())


@pytest.mark.parametrize("format", ["dawproject", "reaper", "live"])
def test_a_recorded_gesture_renders_to_the_audio_that_was_heard(steps, format, tmp_path, rng):
    session = steps.session
    session.set({"intensity": 1.2, "noise": 0.1})
    session.transport(bpm=97)
    steps.play(9)
    session.record(True)
    for n in range(60):
        session.point(*rng.uniform(0, 1, 3))
        if n == 30:
            session.set({"level": -6, "snap": 1})
        steps.play(1 + n % 3)
    session.record(False)
    steps.play(1)
    assert session.gestures
    (recorded,) = session.gestures.values()
    assert {lane.key for lane in recorded.lanes()} == {"x", "y", "pressure", "level", "snap"}
    assert same_audio(recorded, format, session, tmp_path) < 1e-4


def kept(folder) -> Session:
    """A later session's, with what earlier ones left."""
    session = Session(Instrument.load(DEFAULT_INSTRUMENT), None)
    session.keep_gestures(GestureKeeper(folder, session.reference))
    return session


def recorded_by_hand(steps, folder, rng, *, end: bool) -> None:
    session = steps.session
    session.keep_gestures(GestureKeeper(folder, session.reference))
    session.transport(bpm=97)
    steps.play(3)
    session.record(True)
    for n in range(60):
        session.point(*rng.uniform(0, 1, 3))
        steps.play(1 + n % 3)
    if end:
        session.record(False)
        steps.play(1)
        session.stop()
    else:  # as somebody who is killed: nothing is ended, but what was handed over is on the disk by now
        session.keeper.close()


@pytest.mark.parametrize("end", [True, False])
def test_a_recording_outlives_its_session(steps, end, tmp_path, rng):
    recorded_by_hand(steps, tmp_path, rng, end=end)
    again = kept(tmp_path)
    (gesture,) = again.gestures.values()
    assert gesture.name == ("Gesture 1" if end else "Gesture 1 (cut short)")
    assert gesture.bpm == 97
    if end:
        (first,) = steps.session.gestures.values()
        for was, now in (
            (first.beats, gesture.beats),
            (first.controls, gesture.controls),
            (first.audio, gesture.audio),
        ):
            np.testing.assert_array_equal(was, now)
    assert same_audio(gesture, "dawproject", again, tmp_path) < 1e-4
    again.keeper.rename(gesture.id, "Breeze")
    again.stop()
    third = kept(tmp_path)
    assert [g.name.removesuffix(" (cut short)") for g in third.gestures.values()] == ["Breeze"]
    third.keeper.delete(next(iter(third.gestures)))
    third.stop()
    assert not kept(tmp_path).gestures


def test_what_is_left_of_a_recording_is_read_and_what_is_none_is_left(steps, tmp_path, rng):
    recorded_by_hand(steps, tmp_path, rng, end=False)
    (place,) = tmp_path.glob("*/")
    whole = kept(tmp_path).gestures.popitem()[1]
    for name in ("frames.f64", "audio.f32"):
        data = (place / name).read_bytes()
        (place / name).write_bytes(data[: len(data) * 2 // 3 + 3])
    part = kept(tmp_path).gestures.popitem()[1]
    assert 0.6 < len(part.beats) / len(whole.beats) < 0.7
    np.testing.assert_array_equal(part.controls, whole.controls[: len(part.controls)])
    np.testing.assert_array_equal(part.audio, whole.audio[:, : part.audio.shape[1]])
    for name, data in (("frames.f64", b""), ("head.json", b"[]"), ("state.bin", b"nonsense"), ("head.json", b"{}")):
        before = (place / name).read_bytes()
        (place / name).write_bytes(data)
        assert not kept(tmp_path).gestures
        (place / name).write_bytes(before)
    assert len(kept(tmp_path).gestures) == 1
    # The next recording has a folder and a name of its own.
    session = kept(tmp_path)
    again = Steps.__new__(Steps)
    again.session = session
    session.record(True)
    again.play(5)
    session.stop()
    names = sorted(g.name for g in kept(tmp_path).gestures.values())
    assert names == ["Gesture 1 (cut short)", "Gesture 2"]


def test_a_gesture_as_midi_has_the_same_lanes_to_fourteen_bits(steps, tmp_path):
    steps.session.record(True)
    for n in range(50):
        steps.session.point(n / 49, 1 - n / 49, 0.5)
        steps.play(2)
    steps.session.record(False)
    steps.play(1)
    (recorded,) = steps.session.gestures.values()
    path = tmp_path / "gesture.mid"
    path.write_bytes(recorded.file("midi", None))
    lanes = read(path).lanes_by_key()
    # A value every 1/48 beat, and here X moves by 1/49 in 1/43 s, 2.2 of those.
    found = lanes["x"].values_at(recorded.beats / 2, TempoMap.constant(120))
    assert np.abs(found - recorded.controls[:, 0]).max() < 1 / 49


def test_a_loop_is_worked_by_its_actions_and_they_are_recorded(steps, tmp_path):
    session = steps.session

    def rows():
        return [loop for frame in steps.frames for loop in frame.get("loops", []) if loop["name"] == "2"]

    session.set({"loop_slot": 2, "loop_quantise": 1})
    steps.play(4)
    session.record(True)
    session.loop(2, "record")
    steps.play(100)
    assert rows()[-1]["state"] == "recording"
    for n in range(20):
        session.point(n / 20, 0.5, 1)
        steps.play(2)
    session.loop(2, "play")
    steps.play(60)  # half a second: its length is rounded to a beat
    assert rows()[-1]["state"] == "playing"
    assert rows()[-1]["beats"] > 0
    session.record(False)
    steps.play(1)
    (recorded,) = session.gestures.values()
    assert "loop_action" in {lane.key for lane in recorded.lanes()}
    assert same_audio(recorded, "dawproject", session, tmp_path) < 1e-4
    with pytest.raises(InputError, match="no loop 60"):
        session.loop(60, "record")


def test_another_instrument_comes_in_without_a_gap_and_without_a_step(instrument, instrument_file):
    changed, unchanged = (Steps(instrument, instrument_file) for _ in range(2))
    for steps in (changed, unchanged):
        steps.session.point(0.8, 0.2, 1.0)
        steps.play(20)
    changed.session.play(Instrument(instrument.autoencoder, Terrain.create(2, instrument.autoencoder.latent_size)))
    sound, before = changed.play(4)[0], unchanged.play(4)[0]
    assert "instrument" in changed.changes
    # It begins with what would have come, and ends as something else.
    assert np.abs(sound[:4] - before[:4]).max() < 0.02 * np.abs(before).max()
    assert np.abs(sound - before)[-BLOCK:].max() > 0.1 * np.abs(before).max()
    assert np.abs(before[:4]).min() > 0.05 * np.abs(before).max(), "silence would prove nothing"
    loud = np.abs(sound).reshape(-1, BLOCK).max(axis=1)
    assert loud.min() > 0


def test_parameters_stay_when_the_instrument_changes(steps, instrument):
    steps.session.set({"level": -12})
    steps.play(2)
    steps.session.play(Instrument(instrument.autoencoder, instrument.terrain))
    steps.play(2)
    assert steps.session.state()["parameters"]["level"] == -12


def test_a_clock_makes_as_much_sound_as_there_is_time_and_tells_when_it_was_late():
    clock = WallClock(44100)
    began, made = time.perf_counter(), 0
    while time.perf_counter() - began < 0.5:
        clock.wait(made)
        made += BLOCK
    passed = time.perf_counter() - began
    assert made / 44100 == pytest.approx(passed, abs=0.2)
    time.sleep(0.5)
    assert not clock.wait(made)
    assert clock.wait(made)


def test_a_gesture_knows_the_instrument_that_it_was_played_on(steps, instrument, tmp_path):
    """Also when another one plays by then, and when it was never saved."""
    session = steps.session
    unsaved = Instrument(instrument.autoencoder, Terrain.create(2, instrument.autoencoder.latent_size, seed=5))
    session.play(unsaved)
    steps.play(2)
    assert session.name == "unsaved"
    session.record(True)
    for n in range(60):
        session.point(n / 60, 0.3, 1.0)
        steps.play(2)
    session.record(False)
    session.play(instrument)
    steps.play(2)
    assert session.name == "small"
    (recorded,) = session.gestures.values()
    assert same_audio(recorded, "dawproject", session, tmp_path) < 1e-4


# Trajectories


SQUARE = Trajectory(1, "square", np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))


@pytest.mark.parametrize(
    ("way", "seconds", "place"),
    [
        (Way("loop", 4.0), 1.0, (0.5, 0.0)),
        (Way("loop", 4.0), 3.0, (1.0, 0.5)),
        (Way("loop", 4.0), 5.0, (0.5, 0.0)),
        (Way("loop", 4.0, speed=2.0), 1.5, (1.0, 0.5)),
        (Way("loop", 4.0, reverse=True), 1.0, (1.0, 0.5)),
        (Way("ping-pong", 4.0), 5.0, (1.0, 0.5)),
        (Way("once", 4.0), 9.0, (1.0, 1.0)),
        (Way("once", 4.0, reverse=True), 9.0, (0.0, 0.0)),
        (Way("loop", 4.0, beats=8.0), 1.0, (0.5, 0.0)),
    ],
)
def test_a_trajectory_is_played_at_constant_speed(way, seconds, place):
    playback = Playback(SQUARE, way, 100.0, 7.0)
    assert playback.at(100.0 + seconds, 7.0 + 2 * seconds) == pytest.approx(place)
    assert playback.ended(100.0 + seconds, 0) == (way.mode == "once")


def test_a_trajectory_goes_on_from_where_it_is_when_its_speed_changes():
    playback = Playback(SQUARE, Way("loop", 4.0), 0.0, 0.0)
    before = playback.at(1.0, 2.0)
    playback.change(Way("loop", 4.0, speed=0.5), 1.0, 2.0)
    assert playback.at(1.0, 2.0) == pytest.approx(before)
    assert playback.at(3.0, 6.0) == pytest.approx((1.0, 0.0))


def test_a_trajectory_in_the_session_moves_the_hand_until_the_hand_moves(steps):
    steps.session.trajectories[1] = SQUARE
    steps.session.play_trajectory(1, Way("loop", 1.0))
    steps.play(86)
    xs = np.array([frame["x"] for frame in steps.frames])
    assert np.ptp(xs) > 0.9
    steps.session.point(0.3, 0.3, 1.0)
    steps.play(20)
    assert {(frame["x"], frame["y"]) for frame in steps.frames[-5:]} == {(0.3, 0.3)}
    with pytest.raises(InputError, match="no such trajectory"):
        steps.session.play_trajectory(5, Way())


def test_the_cursor_glides_by_its_time_constant():
    cursor = Cursor()
    cursor.glide_ms = 100
    cursor.point_at(1.0, 0.5)
    x, y = cursor.go_on(0.1)
    assert x == pytest.approx(1 - 0.5 * np.exp(-1))
    assert y == 0.5
    cursor.glide_ms = 0
    assert cursor.go_on(0.01) == (1.0, 0.5)


# Names and messages


@pytest.mark.parametrize(("given", "kept"), [("a/b/c.wav", "c.wav"), ("  x .wav", "x .wav"), ("a:b?.wav", "a_b_.wav")])
def test_a_plain_name(given, kept):
    assert plain_name(given) == kept


def test_a_sound_that_turns_out_too_large_is_not_kept(tmp_path, monkeypatch):
    import asyncio

    monkeypatch.setattr("terrain_plugin.editor.library.LARGEST_SOUND", 1000)
    library = Library(tmp_path)

    async def pieces():
        for _ in range(10):
            yield b"x" * 150

    with pytest.raises(InputError, match="larger"):
        asyncio.run(library.take_in("a.wav", pieces()))
    assert list(library.sounds.iterdir()) == []


def test_a_full_library_takes_no_more(tmp_path, monkeypatch):
    import asyncio

    monkeypatch.setattr("terrain_plugin.editor.library.MOST_SOUNDS", 1)
    library = Library(tmp_path)

    async def piece():
        yield b"x"

    asyncio.run(library.take_in("a.wav", piece()))
    with pytest.raises(InputError, match="full"):
        asyncio.run(library.take_in("b.wav", piece()))


def test_values_beyond_their_range_are_at_its_end():
    ask = messages.parse('{"type": "pointer", "x": 3, "y": -1, "pressure": 0.5}')
    assert dict(ask.fields) == {"x": 1.0, "y": 0.0, "pressure": 0.5, "seq": 0, "held": False}
    assert messages.parse('{"type": "set", "values": {"level": 99}}')["values"] == {"level": 12.0}
