"""Ways through a latent space: morphs, walks, variations, sliders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.errors import InputError
from terrain_core.explorer.morph import EASINGS, Morph, MorphSettings, between, dtw_path, sampled
from terrain_core.explorer.sliders import Sliders
from terrain_core.explorer.space import LatentSpace
from terrain_core.explorer.variations import VariationSettings, farthest_first, vary
from terrain_core.explorer.walk import WalkSettings, in_time, walk


@pytest.fixture
def corpus(rng: np.random.Generator) -> np.ndarray:
    """Correlated, off centre, of very different scales."""
    return rng.normal(size=(2000, 5)) @ rng.normal(size=(5, 5)) * [1, 10, 0.1, 1, 3] + [5, 0, -1, 0, 2]


@pytest.fixture
def space(corpus: np.ndarray) -> LatentSpace:
    return LatentSpace.of(corpus)


# Space


def test_distance_is_mahalanobis(space: LatentSpace, corpus: np.ndarray) -> None:
    inverse = np.linalg.inv(np.cov(corpus.T, bias=True))
    centred = corpus[:50] - corpus.mean(axis=0)
    expected = np.sqrt(np.einsum("nd,de,ne->n", centred, inverse, centred))
    np.testing.assert_allclose(space.distance(corpus[:50]), expected, rtol=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.95, 1.0])
def test_radius_holds_its_share(space: LatentSpace, corpus: np.ndarray, share: float) -> None:
    assert (space.distance(corpus) <= space.radius(share) + 1e-9).mean() == pytest.approx(share, abs=1e-3)


def test_whitening_there_and_back(space: LatentSpace, corpus: np.ndarray) -> None:
    np.testing.assert_allclose(space.latents(space.whitened(corpus)), corpus, atol=1e-9)
    np.testing.assert_allclose(np.cov(space.whitened(corpus).T, bias=True), np.eye(5), atol=1e-9)


def test_draws_have_the_corpus_covariance(space: LatentSpace, corpus: np.ndarray) -> None:
    drawn = space.draw(200_000, seed=3)
    scale = np.sqrt(np.outer(*[np.diag(np.cov(corpus.T))] * 2))
    assert np.abs((np.cov(drawn.T) - np.cov(corpus.T)) / scale).max() < 0.02
    np.testing.assert_allclose(space.draw(3, temperature=0.0), np.tile(space.mean, (3, 1)), rtol=1e-6)


def test_clipped_is_on_the_border_or_untouched(space: LatentSpace, corpus: np.ndarray) -> None:
    moved = space.clipped(corpus, 0.5)
    outside = space.distance(corpus) > space.radius(0.5)
    np.testing.assert_array_equal(moved[~outside], corpus[~outside])
    np.testing.assert_allclose(space.distance(moved[outside]), space.radius(0.5))


def test_a_latent_that_never_changes_is_no_direction(rng: np.random.Generator) -> None:
    rows = np.column_stack([rng.normal(size=(100, 2)), np.full(100, 7.0)])
    flat = LatentSpace.of(rows)
    assert flat.axes.shape == (2, 3)
    np.testing.assert_allclose(walk(flat, None, WalkSettings(steps=50))[:, 2], 7.0)


# Morphs


@pytest.mark.parametrize("mode", ["linear", "spherical"])
@pytest.mark.parametrize("align", ["phase", "dtw"])
def test_a_morph_begins_and_ends_with_its_sounds(mode: str, align: str, rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(13, 4)).astype(np.float32), rng.normal(size=(29, 4)).astype(np.float32)
    way = Morph(a, b, MorphSettings(steps=5, mode=mode, align=align), np.ones(4)).sequence()
    np.testing.assert_array_equal(way[0], a)
    np.testing.assert_array_equal(way[-1], b)
    assert [len(sound) for sound in way] == [13, 17, 21, 25, 29]


@pytest.mark.parametrize("align", ["phase", "dtw"])
@pytest.mark.parametrize("mode", ["linear", "spherical"])
def test_a_morph_moves_evenly_near_its_ends(mode: str, align: str, rng: np.random.Generator) -> None:
    """What is a thousandth away from an end is a thousandth of the way away from it: no jump where it sets off."""
    a, b = rng.normal(size=(20, 4)).astype(np.float32), rng.normal(size=(20, 4)).astype(np.float32)
    way = Morph(a, b, MorphSettings(mode=mode, align=align))
    for end, sound in ((1e-4, a), (1 - 1e-4, b)):
        assert np.abs(way.at(end) - sound).max() < 1e-2


def test_one_shots_are_morphed_too() -> None:
    way = Morph([[1.0, 0.0]], [[0.0, 3.0]], MorphSettings(steps=3)).sequence()
    np.testing.assert_allclose(np.stack(way)[:, 0], [[1, 0], [0.5, 1.5], [0, 3]])


@given(st.floats(0, 1), st.integers(0, 1000))
def test_spherical_is_slerp(t: float, seed: int) -> None:
    """Against the formula with sines, where it holds."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 6))
    ua, ub = a / np.linalg.norm(a), b / np.linalg.norm(b)
    angle = np.arccos(ua @ ub)
    direction = (np.sin((1 - t) * angle) * ua + np.sin(t * angle) * ub) / np.sin(angle)
    length = (1 - t) * np.linalg.norm(a) + t * np.linalg.norm(b)
    np.testing.assert_allclose(between(a, b, t, "spherical"), length * direction, atol=1e-9)


@pytest.mark.parametrize("b", [[-2.0, 0.0, 0.0], [-2.0, 1e-9, 0.0], [3.0, 0.0, 0.0], [3.0, 1e-12, 0.0]])
def test_spherical_between_opposite_and_equal_directions(b: list[float]) -> None:
    """Lengths in proportion all the way, no NaN, and steps of one size: it does not go through the centre."""
    a = np.array([1.0, 0.0, 0.0])
    t = np.linspace(0, 1, 101)
    way = between(a, np.array(b), t, "spherical")
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1 + t * (np.linalg.norm(b) - 1), atol=1e-9)
    assert np.linalg.norm(np.diff(way, axis=0), axis=1).max() < 0.1
    np.testing.assert_allclose(way[[0, -1]], [a, b])


def test_spherical_from_the_centre_is_straight() -> None:
    np.testing.assert_allclose(between([1.0, 1.0], [3.0, 1.0], 0.5, "spherical", [1.0, 1.0]), [2.0, 1.0])


def test_dtw_has_the_least_cost_of_all_paths(rng: np.random.Generator) -> None:
    """The oracle tries every monotone path."""

    def least(cost: np.ndarray, i: int, j: int) -> float:
        if i == j == 0:
            return cost[0, 0]
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        return cost[i, j] + min(least(cost, a, b) for a, b in steps if a >= 0 and b >= 0)

    for n, m in itertools.product((1, 4, 6), (1, 3, 6)):
        a, b = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
        cost = np.linalg.norm(a[:, np.newaxis] - b, axis=2)
        path = dtw_path(a, b)
        assert tuple(path[0]) == (0, 0)
        assert tuple(path[-1]) == (n - 1, m - 1)
        assert set(map(tuple, np.diff(path, axis=0))) <= {(0, 1), (1, 0), (1, 1)}
        assert cost[path[:, 0], path[:, 1]].sum() == pytest.approx(least(cost, n - 1, m - 1))


def test_dtw_brings_the_same_hit_together_phase_does_not() -> None:
    early, late = np.zeros((40, 1)), np.zeros((40, 1))
    early[5:8], late[25:28] = 1.0, 1.0
    peaks = {align: Morph(early, late, MorphSettings(align=align)).at(0.5).max() for align in ("phase", "dtw")}
    assert peaks["dtw"] == pytest.approx(1.0, abs=0.05)
    assert peaks["phase"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("easing", EASINGS)
def test_easings_go_from_0_to_1_and_never_back(easing: str) -> None:
    progress = MorphSettings(steps=50, easing=easing).progress()
    assert progress[0] == 0
    assert progress[-1] == 1
    assert (np.diff(progress) >= 0).all()


def test_a_loop_comes_back_without_repeating() -> None:
    np.testing.assert_allclose(MorphSettings(steps=4, loop=True).progress() * 3, [0, 1, 2, 3, 2, 1])


def test_a_trajectory_sets_out_from_one_sound_and_arrives_at_the_other(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(30, 3)).astype(np.float32)
    way = Morph(a, b).trajectory(400)
    assert way.shape == (400, 3)
    np.testing.assert_allclose(way[0], a[0], atol=1e-6)
    last = min(np.abs(sampled(b, [k / 10]) - way[-1]).max() for k in range(291))
    assert last < 0.5 * np.abs(np.diff(b, axis=0)).max()  # some place within b


def test_bad_morphs_are_refused() -> None:
    for words in ({"steps": 1}, {"mode": "cubic"}, {"easing": "soft"}, {"align": "beat"}):
        with pytest.raises(InputError, match=next(iter(words))):
            MorphSettings(**words)
    with pytest.raises(InputError, match="cannot be morphed"):
        Morph([[1.0]], [[1.0, 2.0]])


# Walks


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.01, 10),
    st.sampled_from([0.5, 0.95, 1.0]),
    st.integers(0, 100),
)
@settings(max_examples=40, deadline=None)
def test_a_walk_never_leaves(momentum: float, pull: float, step: float, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    space = LatentSpace.of(rng.normal(size=(400, 4)) * [1, 2, 3, 4])
    way = walk(space, rng.normal(size=4) * 20, WalkSettings(200, step, momentum, pull, share=share, seed=seed))
    assert (space.distance(way) <= space.radius(share) * (1 + 1e-5)).all()


def test_a_walk_without_a_border_does_leave(space: LatentSpace) -> None:
    """What the border is measured against: the same walk, free."""
    free = walk(space, None, WalkSettings(steps=2000, pull=0, share=None))
    assert (space.distance(free) <= space.radius()).mean() < 0.2


def test_steps_have_one_length_inside(space: LatentSpace) -> None:
    way = space.whitened(walk(space, None, WalkSettings(steps=400, step_size=0.1)))
    lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert np.median(lengths) == pytest.approx(0.1, rel=1e-4)
    assert lengths.max() < 0.1 + 1e-4


def test_momentum_keeps_the_direction_and_full_momentum_moves_from_the_mean(space: LatentSpace) -> None:
    def turning(momentum: float) -> float:
        way = np.diff(space.whitened(walk(space, None, WalkSettings(60, 0.05, momentum, 0))), axis=0)
        return float((way[1:] * way[:-1]).sum(axis=1).mean() / (way**2).sum(axis=1).mean())

    assert turning(1.0) == pytest.approx(1.0, abs=1e-4)
    assert turning(0.0) < 0.3 < turning(0.8)


def test_an_attractor_is_come_by(space: LatentSpace) -> None:
    target = space.latents(np.array([2.0, 0, 0, 0, 0]))

    def mean_distance(attraction: float) -> float:
        way = walk(space, None, WalkSettings(500, 0.2, attraction=attraction), target[np.newaxis])
        return float(np.linalg.norm(space.whitened(way) - space.whitened(target), axis=1).mean())

    assert mean_distance(0.6) < 0.5 * mean_distance(0.0)


def test_a_walk_is_its_seed(space: LatentSpace) -> None:
    one, same, other = (walk(space, None, WalkSettings(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("easing", EASINGS)
def test_steps_fall_on_their_seconds(easing: str, rng: np.random.Generator) -> None:
    points = rng.normal(size=(5, 3)).astype(np.float32)
    frames = in_time(points, [0, 0.5, 1.0, 2.0, 2.5], 40.0, easing)
    assert len(frames) == 100
    np.testing.assert_allclose(frames[[0, 20, 40, 80]], points[:4], atol=1e-5)


# Variations


@pytest.mark.parametrize("order", ["distance", "spread"])
def test_variations_keep_the_course_and_are_in_order(order: str, space: LatentSpace, corpus: np.ndarray) -> None:
    sound = corpus[:10]
    made = vary(sound, space, VariationSettings(12, 0.3, order=order))
    assert len(made) == 12
    for one in made:
        np.testing.assert_allclose(np.diff(one.latents, axis=0), np.diff(sound, axis=0), atol=1e-4)
        moved = one.latents.mean(axis=0) - sound.mean(axis=0)
        assert np.linalg.norm(space.whitened(space.mean + moved)) == pytest.approx(one.distance, rel=1e-3)
    distances = [one.distance for one in made]
    assert order == "spread" or distances == sorted(distances)


def test_spread_differs_more_than_chance(space: LatentSpace) -> None:
    def closest(order: str) -> float:
        rows = space.whitened(
            np.concatenate([v.latents for v in vary(space.mean, space, VariationSettings(16, order=order))])
        )
        away = np.linalg.norm(rows[:, np.newaxis] - rows, axis=2)
        return float(away[np.triu_indices(16, 1)].min())

    assert closest("spread") > 1.5 * closest("distance")


def test_temperature_0_is_one_distance_and_amount_0_is_the_sound(space: LatentSpace) -> None:
    alike = [v.distance for v in vary(space.mean, space, VariationSettings(8, 0.5, temperature=0.0))]
    np.testing.assert_allclose(alike, 0.5 * np.sqrt(5))
    for same in vary(space.mean, space, VariationSettings(3, 0.0)):
        np.testing.assert_allclose(same.latents[0], space.mean, rtol=1e-6)


def test_farthest_first_is_greedy(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(60, 3))
    chosen = farthest_first(rows, 10, np.zeros((1, 3)))
    assert len(set(chosen.tolist())) == 10
    for k in range(1, 10):
        taken = np.vstack([np.zeros((1, 3)), rows[chosen[:k]]])
        away = np.linalg.norm(rows[:, np.newaxis] - taken, axis=2).min(axis=1)
        assert away[chosen[k]] == pytest.approx(away.max())


# Sliders


@pytest.mark.parametrize("principal", [False, True])
def test_sliders_show_and_say_the_same_latent(principal: bool, space: LatentSpace, corpus: np.ndarray) -> None:
    for latent in (corpus[0], corpus[0] * 50):  # far beyond every range: nothing is clipped
        np.testing.assert_allclose(Sliders.of(space, latent, principal=principal).latent, latent, rtol=1e-5)


@pytest.mark.parametrize("principal", [False, True])
def test_locks_hold_whatever_is_done(principal: bool, space: LatentSpace, corpus: np.ndarray) -> None:
    board = Sliders.of(space, corpus[3], principal=principal).lock([1, 4])
    for done in (board.zero(), board.mean(), board.random(1.0, 5)):
        np.testing.assert_array_equal(done.values[[1, 4]], board.values[[1, 4]])
        assert (done.values[[0, 2, 3]] != board.values[[0, 2, 3]]).all()
    with pytest.raises(InputError, match="slider 1 is locked"):
        board.move(1, 0.0)
    assert board.unlock([1]).move(1, 0.25).values[1] == 0.25


def test_moving_one_slider_leaves_the_others_bit_for_bit(space: LatentSpace, corpus: np.ndarray) -> None:
    board = Sliders.of(space, corpus[7])
    moved = board.move(2, 1.0)
    np.testing.assert_array_equal(np.delete(moved.latent, 2), np.delete(board.latent, 2))


def test_ranges_hold_98_per_cent_and_principal_ones_are_the_widest_first(
    space: LatentSpace, corpus: np.ndarray
) -> None:
    low, high = Sliders.of(space).ranges.T
    assert ((corpus >= low) & (corpus <= high)).mean() == pytest.approx(0.98, abs=0.002)
    assert (np.diff(space.deviations) <= 0).all()
