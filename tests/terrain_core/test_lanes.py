"""Lanes: the curve laws against closed forms, stacked points, units, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrain_core.errors import InputError
from terrain_core.lanes import SHAPES, Lane, Point, Shape
from terrain_core.tempo import TempoMap, TempoPoint

QUARTERS = np.array([0.0, 0.25, 0.5, 0.75])

# A segment from 2 to 6 at its quarters, worked out by hand.
CURVES = {
    Shape.HOLD: [2, 2, 2, 2],
    Shape.LINEAR: [2, 3, 4, 5],
    Shape.SMOOTH: [2, 2 + 4 * 0.15625, 4, 2 + 4 * 0.84375],
    Shape.FAST_START: [2, 2 + 4 * 0.578125, 2 + 4 * 0.875, 2 + 4 * 0.984375],
    Shape.FAST_END: [2, 2 + 4 * 0.015625, 2 + 4 * 0.125, 2 + 4 * 0.421875],
    Shape.EXPONENTIAL: [2, 2 * 3**0.25, 2 * 3**0.5, 2 * 3**0.75],
    Shape.BEZIER: [2, 3, 4, 5],  # without tension and without neighbours it is a straight line
}


@pytest.mark.parametrize("shape", Shape)
def test_each_shape_follows_its_law(shape: Shape) -> None:
    lane = Lane([10.0, 18.0], [2.0, 6.0], shape)
    np.testing.assert_allclose(lane.sample(10 + 8 * QUARTERS), CURVES[shape], rtol=0, atol=1e-12)


@pytest.mark.parametrize("tension", [-1.0, -0.5, 0.5, 1.0, 0.2])
def test_bezier_passes_through_the_point_that_its_handles_give(tension: float) -> None:
    # Cockos' figures for a segment (0, 1)-(1, -1), brought to (0, 0)-(1, 1); linear in the tension between them.
    corners = {-1.0: ((0, 1), (0, 1)), 0.0: ((0.25, 0.25), (0.75, 0.75)), 1.0: ((1, 0), (1, 0))}
    end = np.array(corners[np.sign(tension)], dtype=float)
    handles = np.array(corners[0.0]) * (1 - abs(tension)) + end * abs(tension)
    s = np.linspace(0, 0.999, 50)[:, None]
    curve = 3 * s * (1 - s) ** 2 * handles[0] + 3 * s**2 * (1 - s) * handles[1] + s**3
    sampled = Lane([0, 1], [0, 1], Shape.BEZIER, tension).sample(curve[:, 0])
    # Near a vertical tangent a rounding error of the time is cubed-rooted on its way to the value: 1e-16 -> 5e-6 at
    # the very end.
    np.testing.assert_allclose(sampled, curve[:, 1], atol=1e-8)


def test_half_tension_gives_the_published_handles() -> None:
    # k = 0.5 -> (.625, .75) (.875, .25) on (0, 1)-(1, -1); its middle s = 1/2 by hand: x = 0.6875, y = 0.375.
    assert Lane([0, 1], [1, -1], Shape.BEZIER, 0.5).sample(0.6875) == pytest.approx(0.375, abs=1e-12)


def test_last_of_stacked_points_wins_and_the_segment_before_goes_to_the_first() -> None:
    lane = Lane([0, 1, 1, 1, 2], [0, 1, 7, 3, 3])
    np.testing.assert_allclose(lane.sample([0.5, 1 - 1e-9, 1, 1.5]), [0.5, 1, 3, 3], atol=1e-8)


def test_a_stack_at_the_start_leaves_its_first_value_before() -> None:
    lane = Lane([1, 1], [0.25, 0.75])
    assert lane.sample([0.0, 1.0, 2.0]).tolist() == [0.25, 0.75, 0.75]


def test_ends_hold() -> None:
    lane = Lane([1, 2], [0.2, 0.8], Shape.FAST_END)
    assert lane.sample([-1e6, 0.999, 2, 1e8]).tolist() == [0.2, 0.2, 0.8, 0.8]
    assert Lane([5], [0.3]).sample([0, 5, 9]).tolist() == [0.3] * 3


def test_exponential_at_zero_keeps_its_ends() -> None:
    lane = Lane([0, 1, 2], [0.0, 1.0, 0.0], Shape.EXPONENTIAL)
    np.testing.assert_allclose(lane.sample([0, 1, 2]), [0, 1, 0], atol=1e-15)
    assert lane.sample(0.5) == pytest.approx(1e-7**0.5, rel=1e-3)  # -140 dB at the bottom, so -70 dB half-way
    with pytest.raises(InputError, match="point 1 goes from 1 to -1, across zero"):
        Lane([0, 1, 2], [0.5, 1, -1], Shape.EXPONENTIAL)


def reference_sample(lane: Lane, time: float) -> float:
    """One sample, point by point, by the words of the contract."""
    points = lane.points
    if time < points[0].time:
        return points[0].value
    index = max(i for i, point in enumerate(points) if point.time <= time)
    if index == len(points) - 1:
        return points[-1].value
    here, following = points[index], points[index + 1]
    u = (time - here.time) / (following.time - here.time)
    law = {
        Shape.HOLD: 0.0,
        Shape.LINEAR: u,
        Shape.SMOOTH: u * u * (3 - 2 * u),
        Shape.FAST_START: 1 - (1 - u) ** 3,
        Shape.FAST_END: u**3,
    }[here.shape]
    return here.value + (following.value - here.value) * law


points = st.tuples(
    st.integers(0, 40).map(lambda n: n / 4),  # a coarse grid, so that points stack up
    st.floats(-1, 1),
    st.sampled_from([Shape.HOLD, Shape.LINEAR, Shape.SMOOTH, Shape.FAST_START, Shape.FAST_END]),
)


@given(
    st.lists(points, min_size=1, max_size=12).map(lambda rows: sorted(rows, key=lambda row: row[0])),
    st.lists(st.floats(-1, 11), min_size=1, max_size=30),
    st.booleans(),
)
def test_sampling_equals_the_contract_word_by_word(rows: list, times: list[float], in_order: bool) -> None:
    lane = Lane.from_points(Point(*row) for row in rows)
    times = sorted(times) if in_order else times
    np.testing.assert_allclose(lane.sample(times), [reference_sample(lane, time) for time in times], atol=1e-12)


@given(st.sampled_from(SHAPES), st.floats(-1, 1), st.floats(0.01, 1), st.floats(0.01, 1))
def test_every_shape_is_monotone_from_end_to_end(shape: Shape, tension: float, begin: float, end: float) -> None:
    lane = Lane([0, 1], [begin, end], shape, tension)
    values = lane.sample(np.linspace(0, 1, 201))
    assert values[0] == begin
    assert values[-1] == end
    steps = np.diff(values) * (1 if end >= begin else -1)
    assert steps.min() >= -1e-9  # rounding of the Bézier's root


def test_order_and_shape_of_the_query_do_not_matter() -> None:
    generator = np.random.default_rng(3)
    lane = Lane(
        np.sort(generator.random(300)), generator.random(300), generator.integers(0, 7, 300).astype(np.uint8), 0.4
    )
    ordered = np.linspace(-0.1, 1.1, 40_000)  # longer than one chunk
    shuffle = generator.permutation(len(ordered))
    expected = lane.sample(ordered)
    np.testing.assert_array_equal(lane.sample(ordered[shuffle]), expected[shuffle])
    np.testing.assert_array_equal(lane.sample(ordered.reshape(200, 200)), expected.reshape(200, 200))
    assert lane.sample(0.5).shape == ()
    assert lane.sample([]).shape == (0,)


def test_a_million_points_can_be_sampled() -> None:
    times = np.arange(1_000_000) / 100
    lane = Lane(times, np.sin(times))
    middles = times[:-1] + 0.005
    np.testing.assert_allclose(lane.sample(middles), (lane.values[1:] + lane.values[:-1]) / 2, atol=1e-9)


RITARDANDO = TempoMap([TempoPoint(0, 120, "linear-beats"), TempoPoint(8, 60), TempoPoint(12, 90)])


def test_values_at_reads_beats_through_the_tempo_map() -> None:
    lane = Lane([0, 16], [0, 1])
    seconds = np.linspace(0, 10, 100)
    np.testing.assert_allclose(
        lane.values_at(seconds, RITARDANDO), RITARDANDO.beats_at(seconds).clip(0, 16) / 16, atol=1e-12
    )
    np.testing.assert_array_equal(Lane([0, 16], [0, 1], unit="seconds").values_at(seconds, RITARDANDO), seconds / 16)


@pytest.mark.parametrize("shape", list(Shape))
def test_a_lane_moved_to_seconds_sounds_the_same_and_comes_back(shape: Shape) -> None:
    lane = Lane([0, 4, 8, 20], [0.1, 0.9, 0.2, 0.7], shape, 0.6, name="x", key="x")
    moved = lane.to_seconds(RITARDANDO)
    seconds = np.linspace(0, 15, 2000)
    assert moved.unit == "seconds"
    assert (moved.name, moved.key) == ("x", "x")
    np.testing.assert_allclose(moved.sample(seconds), lane.values_at(seconds, RITARDANDO), atol=2e-4)
    np.testing.assert_allclose(
        moved.to_beats(RITARDANDO).values_at(seconds, RITARDANDO), moved.sample(seconds), atol=2e-4
    )


def test_moving_adds_no_points_where_the_tempo_is_steady() -> None:
    lane = Lane([0, 1, 2], [0, 1, 0], Shape.SMOOTH)
    moved = lane.to_seconds(TempoMap.constant(90))
    np.testing.assert_allclose(moved.times, [0, 2 / 3, 4 / 3])
    assert [point.shape for point in moved.points] == [Shape.SMOOTH] * 3
    assert lane.to_beats(RITARDANDO) is lane


def test_points_round_trip() -> None:
    rows = [Point(float(i), i / 10, shape, i / 10) for i, shape in enumerate(SHAPES, start=1)]
    lane = Lane.from_points(
        rows, name="n", key="y", unit="seconds", track="t", plugin="p", plugin_id="i", parameter_id=2, active=False
    )
    assert lane.points == rows
    assert Lane.from_points(lane.points, **lane.labels) == lane
    assert lane.labelled(key="x").key == "x"
    assert lane.labelled(key="x") != lane


def test_arrays_belong_to_the_lane() -> None:
    times = np.array([0.0, 1.0])
    lane = Lane(times, [0, 1])
    times[0] = 0.5
    assert lane.times[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        lane.times[0] = 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "at least one point"),
        (([0, 1], [0]), r"values have the shape \(1,\), expected \(2,\)"),
        (([0, np.nan], [0, 1]), r"times\[1\] is nan"),
        (([0, 1], [0, np.inf]), r"values\[1\] is inf"),
        (([0, 2, 1], [0, 1, 2]), r"times\[2\] is 1, before times\[1\], 2"),
        (([0, 1e12], [0, 1]), "expected at most 1e"),
        (([0], ["a"]), "values must be numbers"),
        (([[0, 1]], [0, 1]), "expected \\(points,\\)"),
        (([0, 1], [0, 1], ["hold"]), "1 shapes for 2 points"),
        (([0, 1], [0, 1], "wobbly"), "unknown curve shape 'wobbly', expected one of hold, linear"),
        (([0, 1], [0, 1], "bezier", 1.5), "beyond -1..1"),
        (([0, 1], [0, 1], "bezier", [0.1, 0.2, 0.3]), "tensions have the shape"),
        (([0, 1], [0, 1], np.array([0, 99], dtype=np.uint8)), "shape code is 99"),
    ],
)
def test_bad_lanes_are_refused_by_name(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Lane(*arguments)


def test_bad_unit_and_bad_queries_are_refused() -> None:
    with pytest.raises(InputError, match="unit is 'bars'"):
        Lane([0], [0], unit="bars")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"times\[1\] is nan"):
        Lane([0, 1], [0, 1]).sample([0.5, np.nan])


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_a_straightened_lane_has_no_curves_and_stays_close(tolerance: float) -> None:
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.uniform(0, 2, 60).round(1))
    lane = Lane(times, rng.uniform(0.1, 1, 60), rng.choice(list(SHAPES), 60).tolist(), rng.uniform(-1, 1, 60), name="x")
    straight = lane.straightened(tolerance)
    assert {point.shape for point in straight.points} <= {Shape.HOLD, Shape.LINEAR}
    probes = rng.uniform(times[0], times[-1], 20_000)
    assert np.abs(straight.sample(probes) - lane.sample(probes)).max() <= 1.5 * tolerance * np.ptp(lane.values)
    assert (straight.name, set(lane.times) - set(straight.times)) == ("x", set())
    assert len(straight) < 60 * 2 / np.sqrt(tolerance)


def test_a_lane_without_curves_is_straight_already() -> None:
    lane = Lane([0, 1, 2], [0, 1, 0], ["hold", "linear", "linear"])
    assert lane.straightened() is lane
    assert Lane([0, 1, 2], [0, 1, 0], ["hold", "linear", "bezier"]).straightened() == lane


def test_a_mapped_lane_follows_the_function_between_its_points_too() -> None:
    rng = np.random.default_rng(8)
    times = np.cumsum(rng.uniform(0, 2, 40).round(1))
    lane = Lane(times, rng.uniform(0, 1, 40), rng.choice(list(SHAPES), 40).tolist(), rng.uniform(-1, 1, 40), name="x")
    mapped = lane.mapped(lambda values: values**8)
    probes = rng.uniform(times[0], times[-1], 20_000)
    assert np.abs(mapped.sample(probes) - lane.sample(probes) ** 8).max() < 1.5e-4
    assert {point.shape for point in mapped.points} <= {Shape.HOLD, Shape.LINEAR}


def test_an_exponential_between_the_smallest_numbers_is_a_number() -> None:
    lane = Lane([0, 1, 2, 3], [5e-324, 0, 1e-310, 0], "exponential")
    values = lane.sample(np.linspace(0, 3, 100))
    assert (values >= 0).all()
    assert (values <= 1e-310).all()
