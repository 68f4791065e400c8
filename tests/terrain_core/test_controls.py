"""Controls at frame starts: host events (steps and lines), lanes, MIDI and MPE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.engine.clock import FrameClock
from terrain_core.engine.controls import Controls, ControlState, LaneControls
from terrain_core.engine.events import MidiEvent, ParameterPoint
from terrain_core.engine.midi import MidiState, bend_to_unit
from terrain_core.errors import InputError
from terrain_core.lanes import Lane
from terrain_core.parameters import DEFAULTS, by_key
from terrain_core.tempo import TempoMap

X, Y, Z, PRESSURE, RUN, LEVEL = (by_key(key).id for key in ("x", "y", "z", "pressure", "run", "level"))
EVERY = np.arange(100)


def at_every_sample(points: list[ParameterPoint], *, lines: bool, key: str = "x") -> np.ndarray:
    return ControlState().advance(points, lines, [], EVERY)[key]


# The clock


@pytest.mark.parametrize("host_rate", [44100, 48000, 96000, 22050, 47952.047952])
def test_due_samples_are_the_last_ones_not_after_the_frame_starts(host_rate: float) -> None:
    clock = FrameClock(2048, 44100, host_rate)
    due = clock.due(0, 5000)
    exact = np.arange(5000) * 2048 / 44100 * host_rate
    assert np.all((due <= exact + 1e-6) & (due > exact - 1 - 1e-6))
    assert [clock.frames_due_before(int(n)) for n in due[:50]] == list(range(50))
    assert [clock.frames_due_before(int(n) + 1) for n in due[:50]] == list(range(1, 51))


def test_due_samples_do_not_drift_in_a_day() -> None:
    clock = FrameClock(2048, 44100, 48000)
    day = 147 * 12_656  # frames; 147 of them are exactly 327680 host samples
    assert clock.due(day, day + 1)[0] == 12_656 * 327_680


@pytest.mark.parametrize("rate", [0.0, -48000.0, float("nan"), float("inf"), 2e6])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match="Hz: expected 1000 to 1000000 Hz"):
        FrameClock(64, 44100, rate)


# Host events


def test_steps_hold_from_their_own_sample_on() -> None:
    values = at_every_sample([ParameterPoint(X, 10, 0.2), ParameterPoint(X, 60, 0.9)], lines=False)
    np.testing.assert_array_equal(values, np.select([EVERY < 10, EVERY < 60], [0.5, 0.2], 0.9))


def test_lines_start_at_the_last_sample_of_the_block_before() -> None:
    values = at_every_sample([ParameterPoint(X, 49, 1.0), ParameterPoint(X, 79, 0.4)], lines=True)
    np.testing.assert_allclose(values, np.interp(EVERY, [-1, 49, 79], [0.5, 1.0, 0.4]), atol=1e-15)


def test_two_points_on_one_sample_are_a_jump() -> None:
    points = [ParameterPoint(X, 50, 0.5), ParameterPoint(X, 50, 0.9), ParameterPoint(X, 90, 0.9)]
    np.testing.assert_array_equal(at_every_sample(points, lines=True), np.where(EVERY < 50, 0.5, 0.9))


def test_choices_step_even_where_points_are_joined() -> None:
    values = at_every_sample([ParameterPoint(RUN, 50, 2.0)], lines=True, key="run")
    np.testing.assert_array_equal(values, np.where(EVERY < 50, 0, 2))


def test_bad_points_change_nothing_and_are_counted() -> None:
    state = ControlState()
    points = [ParameterPoint(X, 3, 0.25), ParameterPoint(X, 4, float("nan")), ParameterPoint(9999, 5, 1.0)]
    points += [ParameterPoint(LEVEL, 6, 1e9), ParameterPoint(Y, 7, -float("inf"))]
    controls = state.advance(points, False, [], EVERY)
    assert state.dropped == 2
    assert np.isfinite(controls.values).all()
    assert state.get() == {**DEFAULTS, "x": 0.25, "level": 12.0}


def test_set_takes_all_or_nothing() -> None:
    state = ControlState()
    state.set({"x": 0.1, "level": 99})
    assert (state["x"], state["level"]) == (0.1, 12.0)
    with pytest.raises(InputError, match="no parameter is called 'w'"):
        state.set({"x": 0.7, "w": 1})
    with pytest.raises(InputError, match="y is nan: expected a number"):
        state.set({"x": 0.7, "y": float("nan")})
    assert state["x"] == 0.1


breakpoints = st.lists(st.tuples(st.integers(0, 99), st.floats(0, 1)), max_size=8).map(
    lambda points: sorted(points, key=lambda p: p[0])
)


@given(points=breakpoints, cuts=st.sets(st.integers(1, 99)), lines=st.booleans())
@settings(deadline=None)
def test_cutting_a_block_changes_nothing(points: list[tuple[int, float]], cuts: set[int], lines: bool) -> None:
    """Lines are cut as a host cuts them: with a point on the last sample of each piece."""
    whole = [ParameterPoint(X, offset, value) for offset, value in points]
    expected = at_every_sample(whole, lines=lines)
    state, pieces = ControlState(), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 100], strict=True):
        inside = [
            ParameterPoint(X, point.offset - start, point.value) for point in whole if start <= point.offset < end
        ]
        if lines:
            inside.append(ParameterPoint(X, end - 1 - start, float(expected[end - 1])))
        pieces.append(state.advance(inside, lines, [], np.arange(end - start))["x"])
    np.testing.assert_allclose(np.concatenate(pieces), expected, atol=1e-12)


# Lanes


def test_lanes_are_read_in_seconds_whatever_their_unit_and_clamped() -> None:
    lanes = {"x": Lane([0.0, 4.0], [0.0, 1.0]), "y": Lane([0.0, 1.0], [-1.0, 3.0], unit="seconds")}
    controls = LaneControls(lanes, TempoMap.constant(60), {"glide": 20.0}).at(np.array([0.0, 0.5, 1.0, 2.0]))
    np.testing.assert_allclose(controls["x"], [0, 0.125, 0.25, 0.5])
    np.testing.assert_allclose(controls["y"], [0, 1, 1, 1])
    np.testing.assert_array_equal(controls["glide"], 20.0)


class BrokenLane:
    def values_at(self, seconds: np.ndarray, tempo_map: TempoMap) -> np.ndarray:
        return np.where(seconds % 1 == 0, np.nan, seconds / 10)


def test_where_a_lane_has_no_number_the_last_good_one_goes_on() -> None:
    controls = LaneControls({"x": BrokenLane()}, TempoMap.constant(120), {})
    np.testing.assert_allclose(controls.at(np.array([0.0, 0.5, 1.0, 1.5]))["x"], [0.5, 0.05, 0.05, 0.15])
    np.testing.assert_allclose(controls.at(np.array([2.0, 3.0]))["x"], 0.15)
    assert controls.dropped == 4


def test_steps_are_laid_only_over_what_no_lane_drives() -> None:
    controls = LaneControls({"x": Lane([0.0], [0.3])}, TempoMap.constant(120), {})
    due = np.array([0, 10, 20])
    points = [ParameterPoint(X, 0, 0.9), ParameterPoint(Y, 10, 0.9)]
    first = controls.hold(points, controls.at(due / 100), due)
    np.testing.assert_allclose([first["x"], first["y"]], [[0.3] * 3, [0.5, 0.9, 0.9]])
    np.testing.assert_allclose(controls.at(np.array([1.0]))["y"], 0.9)


def test_an_unknown_lane_is_refused() -> None:
    with pytest.raises(InputError, match="no parameter is called 'cutoff'"):
        LaneControls({"cutoff": Lane([0.0], [0.0])}, TempoMap.constant(120), {})


# MIDI


def said(*messages: bytes) -> tuple[list[tuple[int, float]], MidiState]:
    """(parameter, value) of every change that the messages make, and the state after."""
    state = MidiState()
    points = [point for n, message in enumerate(messages) for point in state.receive(MidiEvent(n, message))]
    return [(point.parameter_id, point.value) for point in points], state


def test_bend_covers_the_whole_range_around_the_middle() -> None:
    assert [bend_to_unit(value) for value in (0, 8192, 16383)] == [0.0, 0.5, 1.0]
    steps = np.diff([bend_to_unit(value) for value in range(16384)])
    assert steps.min() > 0


def test_the_three_dimensions_of_mpe() -> None:
    points, _ = said(b"\x90\x3c\x40", b"\xe0\x7f\x7f", b"\xb0\x4a\x7f", b"\xd0\x00", b"\xa0\x3c\x7f", b"\xa0\x3d\x11")
    assert points == [(X, 1.0), (Y, 1.0), (PRESSURE, 0.0), (PRESSURE, 1.0)]


def test_the_modulation_wheel_moves_z() -> None:
    assert said(b"\xb0\x01\x7f", b"\xb0\x01\x00", b"\xb0\x02\x40")[0] == [(Z, 1.0), (Z, 0.0)]


def test_the_youngest_note_leads_and_hands_back() -> None:
    points, state = said(
        b"\x91\x3c\x40",  # note on channel 2 …
        b"\xb1\x4a\x00",  # … moves Y
        b"\xb2\x4a\x7f",  # a second finger, on channel 3, sets its Y before …
        b"\x92\x3e\x40",  # … its note leads, and then it counts
        b"\xb1\x4a\x40",  # the first finger's Y waits …
        b"\x92\x3e\x00",  # … until its note leads again (note on with velocity 0 is a note off)
    )
    assert points == [(Y, 0.0), (Y, 1.0), (Y, 64 / 127)]
    assert state.sounding


def test_a_new_note_on_the_same_channel_moves_nothing() -> None:
    points, _ = said(b"\xe0\x00\x00", b"\x90\x3c\x40", b"\x90\x3e\x40", b"\x80\x3e\x00")
    assert points == [(X, 0.0)]


def test_the_master_channel_always_counts() -> None:
    points, _ = said(b"\x92\x3c\x40", b"\xd0\x7f", b"\xdf\x00", b"\xd3\x7f")
    assert points == [(PRESSURE, 1.0), (PRESSURE, 0.0)]


@pytest.mark.parametrize(
    ("messages", "sounding"),
    [
        ([b"\x90\x3c\x40"], True),
        ([b"\x90\x3c\x40", b"\x80\x3c\x40"], False),
        ([b"\x90\x3c\x40", b"\x90\x3c\x40", b"\x80\x3c\x40"], False),
        ([b"\x90\x3c\x40", b"\x90\x40\x40", b"\x80\x3c\x40"], True),
        ([b"\x90\x3c\x40", b"\xb0\x40\x7f", b"\x80\x3c\x40"], True),
        ([b"\x90\x3c\x40", b"\xb0\x40\x7f", b"\x80\x3c\x40", b"\xb0\x40\x00"], False),
        ([b"\x90\x3c\x40", b"\xb0\x40\x7f", b"\x80\x3c\x40", b"\x90\x3c\x40", b"\xb0\x40\x00"], True),
        ([b"\x90\x3c\x40", b"\xb0\x7b\x00"], False),
        ([b"\x90\x3c\x40", b"\xb0\x78\x00"], False),
        ([b"\x90\x3c\x40", b"\xb1\x7b\x00"], True),
    ],
)
def test_what_holds_a_note(messages: list[bytes], sounding: bool) -> None:
    assert said(*messages)[1].sounding is sounding


@given(st.lists(st.binary(max_size=4), max_size=30))
@settings(deadline=None)
def test_any_bytes_are_survived(messages: list[bytes]) -> None:
    points, _ = said(*messages)
    assert all(0 <= value <= 1 for _, value in points)


def test_controls_by_key() -> None:
    controls = Controls(np.arange(2 * len(DEFAULTS), dtype=np.float64).reshape(2, -1))
    assert len(controls) == 2
    np.testing.assert_array_equal(controls["y"], [1, 1 + len(DEFAULTS)])
