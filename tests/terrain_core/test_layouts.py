"""Layouts: no curve crosses another or itself, points are even, similar sounds lie together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.errors import InputError
from terrain_core.layouts import Layout, embed, layout, packed, similarity_map, split, timeline
from terrain_core.trajectories import LatentTrajectory, arc_lengths


def corpus(frames: list[int], rng: np.random.Generator, latent_size: int = 3) -> list[LatentTrajectory]:
    return [
        LatentTrajectory(f"sound {k}", rng.normal(size=(count, latent_size)) + rng.normal(size=latent_size), 43.0)
        for k, count in enumerate(frames)
    ]


def crossings(layout: Layout) -> int:
    """Pairs of segments, of any two curves or of one, that cross; neighbours on a curve touch and do not count."""
    starts, ends, curve, place = [], [], [], []
    for number, path in enumerate(layout.trajectories):
        starts.append(path.points[:-1])
        ends.append(path.points[1:])
        curve += [number] * (len(path) - 1)
        place += range(len(path) - 1)
    a, b = np.concatenate(starts), np.concatenate(ends)
    curves, places = np.array(curve), np.array(place)

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.sign(
            (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        )

    i, j = np.triu_indices(len(a), 1)
    apart = (curves[i] != curves[j]) | (np.abs(places[i] - places[j]) > 1)
    i, j = i[apart], j[apart]
    cross = (side(a[i], b[i], a[j]) != side(a[i], b[i], b[j])) & (side(a[j], b[j], a[i]) != side(a[j], b[j], b[i]))
    return int(cross.sum())


def test_the_crossing_count_counts() -> None:
    rng = np.random.default_rng(0)
    tangle = packed(corpus([20, 20], rng))
    shuffled = Layout(
        tuple(type(path)(path.name, rng.permutation(path.points)) for path in tangle.trajectories), tangle.bounds
    )
    assert crossings(tangle) == 0
    assert crossings(shuffled) > 20


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 150), min_size=1, max_size=10), st.integers(0, 1000), st.booleans())
def test_no_curve_crosses_another_or_itself(frames: list[int], seed: int, by_similarity: bool) -> None:
    sounds = corpus(frames, np.random.default_rng(seed))
    bounds = [[-16, 16], [-4, 4]]
    result = (similarity_map if by_similarity else packed)(sounds, bounds=bounds, seed=seed)
    assert [len(path) for path in result.trajectories] == frames
    points = np.concatenate([path.points for path in result.trajectories])
    assert (points > result.bounds[:, 0]).all()
    assert (points < result.bounds[:, 1]).all()
    if max(frames) > 1:
        assert crossings(result) == 0


def test_points_are_evenly_spaced_and_equally_dense(rng: np.random.Generator) -> None:
    result = packed(corpus([40, 400, 100, 250, 60, 150], rng))
    spacings = []
    for path in result.trajectories:
        steps = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
        assert steps.min() > 0.8 * steps.max(), "chords across a bend are a little shorter"
        spacings.append(np.median(steps))
    assert max(spacings) < 1.6 * min(spacings)
    assert result.spacing == pytest.approx(np.median(spacings), rel=0.3)


def test_curves_are_smooth(rng: np.random.Generator) -> None:
    """Bend per step: finer points on the same curve bend less, as they would not at a corner."""
    result = packed(corpus([3000], rng))
    steps = np.diff(result.trajectories[0].points, axis=0)
    headings = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    assert np.abs(np.diff(headings)).max() < np.radians(75)


@pytest.mark.parametrize("method", ["timeline", "packed", "map"])
def test_equal_seeds_give_equal_layouts(method: str, rng: np.random.Generator) -> None:
    sounds = corpus([5, 30, 12, 1, 70], rng)
    first, same, other = (layout(method, sounds, seed=seed) for seed in (1, 1, 2))
    for before, after in zip(first.trajectories, same.trajectories, strict=True):
        np.testing.assert_array_equal(before.points, after.points)
    different = any(
        not np.array_equal(before.points, after.points)
        for before, after in zip(first.trajectories, other.trajectories, strict=True)
    )
    assert different == (method != "timeline")


def test_timeline_is_in_seconds(rng: np.random.Generator) -> None:
    result = timeline(corpus([43, 86], rng), gap=0.5)
    first, second = (path.points[:, 0] for path in result.trajectories)
    np.testing.assert_allclose(first, np.arange(43) / 43)
    np.testing.assert_allclose(second, 1.5 + np.arange(86) / 43)
    np.testing.assert_allclose(result.bounds, [[0, 3.5]])
    frames = timeline([LatentTrajectory("a", np.zeros((4, 2)))], gap=0)
    np.testing.assert_array_equal(frames.trajectories[0].points[:, 0], [0, 1, 2, 3])


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_similar_sounds_lie_together(method: str, rng: np.random.Generator) -> None:
    """Four families far apart in the latent space, shuffled: the nearest curve is of the same family."""
    families = rng.permutation(np.repeat(np.arange(4), 8))
    centres = np.array([[6, 0, 0], [0, 6, 0], [-6, 0, 1], [0, -6, 0]])
    sounds = [LatentTrajectory(str(k), centres[k] + rng.normal(size=(20, 3))) for k in families]
    places = np.stack([path.points.mean(axis=0) for path in similarity_map(sounds, method=method).trajectories])
    distances = np.linalg.norm(places[:, np.newaxis] - places, axis=2) + 1e9 * np.eye(32)
    assert (families[distances.argmin(axis=1)] == families).mean() > 0.9
    unsorted = np.stack([path.points.mean(axis=0) for path in packed(sounds).trajectories])
    distances = np.linalg.norm(unsorted[:, np.newaxis] - unsorted, axis=2) + 1e9 * np.eye(32)
    assert (families[distances.argmin(axis=1)] == families).mean() < 0.6


def test_pca_is_the_plane_of_greatest_spread(rng: np.random.Generator) -> None:
    plane = rng.normal(size=(30, 2)) * [5, 2]
    basis = np.linalg.qr(rng.normal(size=(6, 2)))[0]
    sounds = [LatentTrajectory("x", [place @ basis.T]) for place in plane]
    places = embed(sounds)
    distances = [np.linalg.norm(rows[:, np.newaxis] - rows, axis=2) for rows in (places, plane)]
    np.testing.assert_allclose(distances[0], distances[1], atol=1e-4)


def test_degenerate_corpora(rng: np.random.Generator) -> None:
    for count in (1, 2, 3, 5):
        same = [LatentTrajectory("a", np.ones((7, 2)))] * count
        for method in ("pca", "tsne"):
            result = similarity_map(same, method=method)
            assert len(result.trajectories) == count
            assert crossings(result) == 0
    dots = packed(corpus([1] * 16, rng))
    assert dots.spacing == pytest.approx(4.0), "16 single points in a square of 16 by 16"
    assert len({tuple(path.points[0]) for path in dots.trajectories}) == 16


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(0, 100))
def test_split_fills_the_area_in_proportion(weights: list[int], seed: int) -> None:
    area = np.array([[-2.0, 2.0], [0.0, 3.0]])
    rectangles = split(area, np.array(weights), np.random.default_rng(seed).normal(size=(len(weights), 2)))
    sizes = np.array([np.prod(np.ptp(rectangle, axis=1)) for rectangle in rectangles])
    np.testing.assert_allclose(sizes, 12 * np.array(weights) / sum(weights), rtol=1e-9)
    for k, one in enumerate(rectangles):
        for other in rectangles[k + 1 :]:
            overlap = np.minimum(one[:, 1], other[:, 1]) - np.maximum(one[:, 0], other[:, 0])
            assert overlap.min() <= 1e-12


def test_suggested_gauss_scale_follows_the_spacing(rng: np.random.Generator) -> None:
    coarse, fine = packed(corpus([50], rng)), packed(corpus([5000], rng))
    ratio = arc_lengths(coarse.trajectories[0].points)[1] / arc_lengths(fine.trajectories[0].points)[1]
    assert fine.gauss_scale / coarse.gauss_scale == pytest.approx(ratio, rel=0.2)
    assert packed(corpus([5000], rng), bounds=[[0, 0.01], [0, 0.01]]).gauss_scale == 10


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda sounds: packed([]), "no sounds"),
        (lambda sounds: layout("spiral", sounds), "'spiral'; expected timeline, packed, map"),
        (lambda sounds: similarity_map(sounds, method="umap"), "'umap'; expected pca or tsne"),
        (lambda sounds: packed(sounds, bounds=[[0, 1]]), "bounds have shape"),
        (lambda sounds: timeline(sounds, gap=-1), "gap is -1"),
        (lambda sounds: packed([*sounds, LatentTrajectory("b", np.zeros((1, 9)))]), r"\[3, 9\] latents"),
    ],
)
def test_bad_arguments(call: object, words: str, rng: np.random.Generator) -> None:
    with pytest.raises(InputError, match=words):
        call(corpus([3, 4], rng))
