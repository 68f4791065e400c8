"""Tempo maps: closed forms and published numbers for each law, the inverse, bars, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terrain_core.errors import InputError
from terrain_core.tempo import TEMPO_SHAPES, Meter, TempoMap, TempoPoint


def test_constant_tempo() -> None:
    tempo_map = TempoMap.constant(90)
    assert tempo_map.seconds_at([-3, 0, 3]).tolist() == [-2, 0, 2]
    assert tempo_map.beats_at([-2, 0, 2]).tolist() == [-3, 0, 3]
    assert tempo_map.bpm_at_beats(7.0) == 90


def test_linear_in_beats_gives_the_numbers_published_for_live() -> None:
    # dawtool's expectations under the theoretical law: tempo events at beats 0, 4, 8, 12 and locators between them.
    tempo_map = TempoMap(
        [
            TempoPoint(0, 60, "linear-beats"),
            TempoPoint(4, 60, "linear-beats"),
            TempoPoint(8, 120, "linear-beats"),
            TempoPoint(12, 200),
        ]
    )
    expected = [0, 4.0, 6.772588722239782, 8.305065593537753]
    np.testing.assert_allclose(tempo_map.seconds_at([0, 4, 8, 12]), expected, atol=1e-12)
    np.testing.assert_allclose(tempo_map.point_seconds, expected, atol=1e-12)
    np.testing.assert_allclose(
        tempo_map.seconds_at([6, 10, 14]), [5.6218604324326575, 7.635634939595124, 8.905065593537753], atol=1e-12
    )


def test_ardours_ramp() -> None:
    # 120 -> 140 over the beats 4 to 8: the ramp's own law t(q) = log1p(spq0 * omega * q) / omega, of Ardour's source.
    tempo_map = TempoMap([TempoPoint(0, 120), TempoPoint(4, 120, "linear-beats"), TempoPoint(8, 140)])
    spq0, spq1 = 60 / 120, 60 / 140
    omega = (1 / spq1 - 1 / spq0) / 4
    beats = np.arange(5)
    np.testing.assert_allclose(tempo_map.seconds_at(4 + beats), 2 + np.log1p(spq0 * omega * beats) / omega, atol=1e-12)


def test_linear_in_seconds_gives_reapers_law() -> None:
    # SWS: quarters(t) = t (t (b1 - b0) + 2 T b0) / (120 T), and its inverse.
    b0, b1, duration = 79.0, 151.0, 12.5
    tempo_map = TempoMap.from_seconds([(0, b0, "linear-seconds"), (duration, b1, "step")])
    t = np.linspace(0, duration, 50)
    quarters = t * (t * (b1 - b0) + 2 * duration * b0) / (120 * duration)
    np.testing.assert_allclose(tempo_map.beats_at(t), quarters, atol=1e-11)
    np.testing.assert_allclose(tempo_map.seconds_at(quarters), t, atol=1e-11)
    np.testing.assert_allclose(tempo_map.bpm_at_seconds(t), b0 + (b1 - b0) * t / duration, atol=1e-10)


def test_from_seconds_places_points_by_every_law() -> None:
    rows = [(0.0, 60.0, "linear-beats"), (3.0, 120.0, "linear-seconds"), (5.0, 90.0, "step"), (9.0, 200.0, "step")]
    tempo_map = TempoMap.from_seconds(rows)  # type: ignore[arg-type]
    np.testing.assert_allclose(tempo_map.point_seconds, [0, 3, 5, 9], atol=1e-12)
    with pytest.raises(InputError, match="in order"):
        TempoMap.from_seconds([(1.0, 60.0, "step"), (0.5, 60.0, "step")])


def test_beat_zero_is_second_zero_wherever_the_points_are() -> None:
    late = TempoMap([TempoPoint(4, 60), TempoPoint(8, 120)])
    np.testing.assert_allclose(late.seconds_at([-1, 0, 4, 8, 10]), [-1, 0, 4, 8, 9])
    early = TempoMap([TempoPoint(-2, 60, "linear-beats"), TempoPoint(2, 120)])
    assert early.seconds_at(0) == 0
    assert early.seconds_at(-2) == pytest.approx(-4 * np.log(1.5))


def test_points_on_one_beat_jump() -> None:
    tempo_map = TempoMap([TempoPoint(0, 60, "linear-beats"), TempoPoint(4, 120), TempoPoint(4, 30), TempoPoint(4, 240)])
    ramp = 4 * np.log(2)
    np.testing.assert_allclose(tempo_map.seconds_at([4, 8]), [ramp, ramp + 1])
    assert tempo_map.bpm_at_beats(4) == 240
    assert tempo_map.bpm_at_beats(4 - 1e-9) == pytest.approx(120)


tempo_maps = st.builds(
    lambda beats, bpm, shapes: TempoMap([TempoPoint(*row) for row in zip(sorted(beats), bpm, shapes, strict=False)]),
    st.lists(st.integers(-40, 4000).map(lambda n: n / 4), min_size=6, max_size=6),
    st.lists(st.floats(10, 1000) | st.sampled_from([120.0, 120.0 + 1e-12, 120.0 + 1e-9]), min_size=6, max_size=6),
    st.lists(st.sampled_from(TEMPO_SHAPES), min_size=1, max_size=6),
)


@given(tempo_maps, st.lists(st.floats(-100, 2000), min_size=1, max_size=20))
def test_each_way_undoes_the_other(tempo_map: TempoMap, beats: list[float]) -> None:
    seconds = tempo_map.seconds_at(beats)
    np.testing.assert_allclose(tempo_map.beats_at(seconds), beats, rtol=0, atol=1e-9)
    np.testing.assert_allclose(tempo_map.seconds_at(tempo_map.beats_at(seconds)), seconds, rtol=0, atol=1e-9)


@given(tempo_maps)
def test_time_goes_forward_at_the_stated_tempo(tempo_map: TempoMap) -> None:
    beats = np.linspace(-20, 1020, 4001) + 0.013  # off the grid of the points, where the slope has no jump
    seconds = tempo_map.seconds_at(beats)
    assert (np.diff(seconds) > 0).all()
    step = 1e-4
    slope = (tempo_map.seconds_at(beats + step) - tempo_map.seconds_at(beats - step)) / (2 * step)
    bpm = tempo_map.bpm_at_beats(beats)
    steady = np.abs(tempo_map.bpm_at_beats(beats + step) - tempo_map.bpm_at_beats(beats - step)) < 1e-2 * bpm
    np.testing.assert_allclose(60 / slope[steady], bpm[steady], rtol=1e-2)
    np.testing.assert_allclose(tempo_map.bpm_at_seconds(seconds)[steady], bpm[steady], rtol=1e-6)


def test_slope_is_the_tempo_within_ramps() -> None:
    for shape in ("linear-beats", "linear-seconds"):
        tempo_map = TempoMap([TempoPoint(0, 50, shape), TempoPoint(64, 170)])  # type: ignore[arg-type]
        beats = np.linspace(1, 63, 200)
        slope = (tempo_map.seconds_at(beats + 1e-4) - tempo_map.seconds_at(beats - 1e-4)) / 2e-4
        np.testing.assert_allclose(60 / slope, tempo_map.bpm_at_beats(beats), rtol=1e-8)


def test_bars_by_hand() -> None:
    # Two bars of 4/4, a bar of 4/4 cut short after 2 beats, then 7/8, then 3/4 after two of them.
    tempo_map = TempoMap.constant(120, [Meter(0, 4, 4), Meter(10, 7, 8), Meter(17, 3, 4)])
    bars, beats = tempo_map.bar_at([-1, 0, 3.5, 4, 8, 9.5, 10, 13.25, 13.5, 17, 20, 24.5])
    assert bars.tolist() == [-1, 0, 0, 1, 2, 2, 3, 3, 4, 5, 6, 7]
    assert beats.tolist() == [3, 0, 3.5, 0, 0, 1.5, 0, 3.25, 0, 0, 0, 1.5]


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 13), st.sampled_from([1, 2, 4, 8, 16])), min_size=1, max_size=5
    ),
    st.lists(st.integers(-20, 60), min_size=1, max_size=20),
)
def test_bars_and_beats_agree(rows: list[tuple[int, int, int]], bars: list[int]) -> None:
    tempo_map = TempoMap.constant(100, [Meter(beat / 2, over, under) for beat, over, under in sorted(rows)])
    found, beats = tempo_map.bar_at(tempo_map.beat_of_bar(bars))
    assert found.tolist() == bars
    assert beats.tolist() == [0] * len(bars)


def test_meters_default_to_four_four() -> None:
    assert TempoMap.constant(120, [Meter(8, 3, 4)]).meters == (Meter(0, 4, 4), Meter(8, 3, 4))
    assert TempoMap.constant(120, []).meters == (Meter(0, 4, 4),)
    assert TempoMap.constant(120, [Meter(0, 3, 4), Meter(0, 5, 4)]).meters == (Meter(0, 5, 4),)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "at least one tempo point"),
        ([(0, 0)], "has 0 bpm, expected 0.001 to"),
        ([(0, -120)], "has -120 bpm"),
        ([(0, float("nan"))], r"bpm\[0\] is nan"),
        ([(0, 120), (float("inf"), 120)], r"beats\[1\] is inf"),
        ([(4, 120), (0, 120)], "tempo point 1 is at beat 0, before the one at 4"),
        ([(0, 120, "swing")], "shape 'swing', expected one of step, linear-beats"),
        ([(1e10, 120)], "expected at most 1e"),
    ],
)
def test_bad_tempo_maps_are_refused_by_name(points: list[tuple], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TempoMap([TempoPoint(*row) for row in points])


@pytest.mark.parametrize("meter", [Meter(0, 0, 4), Meter(0, 4, 3), Meter(0, 4, 0), Meter(float("nan"), 4, 4)])
def test_impossible_meters_are_refused(meter: Meter) -> None:
    with pytest.raises(InputError, match="meter 0 is"):
        TempoMap.constant(120, [meter])


def test_nan_positions_are_refused() -> None:
    with pytest.raises(InputError, match=r"beats\[1\] is nan"):
        TempoMap.constant(120).seconds_at([0, np.nan])


@pytest.mark.parametrize(
    ("allowed", "tolerance"),
    [({"step"}, 1e-3), ({"step", "linear-beats"}, 1e-5), ({"step", "linear-seconds"}, 1e-5)],
)
def test_ramps_become_what_a_format_allows(allowed: set, tolerance: float) -> None:
    tempo_map = TempoMap(
        [
            TempoPoint(-4, 100, "linear-seconds"),
            TempoPoint(4, 60, "linear-beats"),
            TempoPoint(8, 180, "linear-seconds"),
            TempoPoint(12, 90),
            TempoPoint(20, 90, "linear-beats"),
        ],
        [Meter(0, 7, 8)],
    )
    changed = tempo_map.with_shapes(allowed, tolerance)
    assert {point.shape for point in changed.points} <= allowed
    assert changed.meters == tempo_map.meters
    beats = np.linspace(-8, 24, 5000)
    assert np.abs(changed.seconds_at(beats) - tempo_map.seconds_at(beats)).max() <= 4 * tolerance
    if allowed == {"step"}:  # each step takes as long as what it stands for
        ends = [point.beat for point in tempo_map.points]
        np.testing.assert_allclose(changed.seconds_at(ends), tempo_map.seconds_at(ends), atol=1e-12)


def test_a_map_that_is_allowed_stays_as_it_is() -> None:
    tempo_map = TempoMap([TempoPoint(0, 60, "linear-beats"), TempoPoint(4, 120)])
    assert tempo_map.with_shapes({"step", "linear-beats"}) == tempo_map
    with pytest.raises(InputError, match="do not have 'step'"):
        tempo_map.with_shapes({"linear-beats"})


def test_a_ramp_too_short_for_its_slope_is_a_jump() -> None:
    tempo_map = TempoMap([TempoPoint(0, 60, "linear-beats"), TempoPoint(5e-324, 1e6), TempoPoint(1, 60)])
    assert tempo_map.seconds_at([0, 1]).tolist() == pytest.approx([0, 60 / 1e6])
    assert tempo_map.beats_at(tempo_map.seconds_at([0.5, 2.0])).tolist() == pytest.approx([0.5, 2.0])
