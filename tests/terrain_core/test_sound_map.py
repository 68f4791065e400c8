"""The sound map: snapping, blending without jumps, bad tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.errors import InputError
from terrain_core.sound_map import TREE_FROM, Blending, BlendingInTime, SoundMap


@pytest.fixture
def scatter(rng: np.random.Generator) -> SoundMap:
    return SoundMap(rng.uniform(size=(200, 2)), rng.normal(size=(200, 4)))


def counts(n: int, count: int) -> np.ndarray:
    return np.full(n, count, np.int64)


def test_snap_takes_the_nearest(scatter: SoundMap, rng: np.random.Generator) -> None:
    points = rng.uniform(size=(50, 2))
    for point, latent in zip(points, scatter.snap(points), strict=True):
        nearest = min(range(200), key=lambda n: np.linalg.norm(scatter.positions[n] - point))
        np.testing.assert_array_equal(latent, scatter.latents[nearest])


@pytest.mark.parametrize("neighbours", [1, 2, 8, 199, 200, 500])
def test_on_a_sound_the_blend_is_that_sound(scatter: SoundMap, neighbours: int) -> None:
    blended = scatter.blend(scatter.positions, counts(200, neighbours))
    np.testing.assert_allclose(blended, scatter.latents, atol=1e-6)


def test_one_neighbour_is_a_snap(scatter: SoundMap, rng: np.random.Generator) -> None:
    points = rng.uniform(size=(50, 2))
    np.testing.assert_array_equal(scatter.blend(points, counts(50, 1)), scatter.snap(points))


def test_blend_is_the_weighted_mean_it_says(scatter: SoundMap) -> None:
    point = np.array([0.4, 0.6])
    distances = np.linalg.norm(scatter.positions - point, axis=1)
    order = np.argsort(distances)
    weights = (1 / distances[order[:5]] - 1 / distances[order[5]]) ** 2
    expected = weights @ scatter.latents[order[:5]] / weights.sum()
    np.testing.assert_allclose(scatter.blend(point[np.newaxis], counts(1, 5))[0], expected, rtol=1e-5)


def test_halfway_between_two_sounds() -> None:
    blended = SoundMap([[0, 0], [1, 0]], [[2.0], [4.0]]).blend(np.array([[0.5, 0.0], [0.5, 0.7]]), counts(2, 8))
    np.testing.assert_allclose(blended, 3.0)


@pytest.mark.parametrize("neighbours", [2, 3, 8])
def test_moving_over_the_map_never_jumps(scatter: SoundMap, neighbours: int) -> None:
    """Twice as many steps, steps half as large."""
    leaps = []
    for steps in (20_000, 40_000):
        line = np.linspace([0.05, 0.1], [0.95, 0.8], steps)
        leaps.append(np.abs(np.diff(scatter.blend(line, counts(steps, neighbours)), axis=0)).max())
    assert leaps[1] / leaps[0] == pytest.approx(0.5, abs=0.1)  # a jump would stay as large: 1


@given(st.lists(st.integers(1, 300), min_size=1, max_size=20))
@settings(deadline=None)
def test_each_point_has_its_own_number_of_neighbours(neighbours: list[int]) -> None:
    rng = np.random.default_rng(1)
    scatter = SoundMap(rng.uniform(size=(30, 2)), rng.normal(size=(30, 2)))
    points = rng.uniform(size=(len(neighbours), 2))
    together = scatter.blend(points, np.array(neighbours))
    alone = [scatter.blend(point[np.newaxis], counts(1, n))[0] for point, n in zip(points, neighbours, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 4.0])
def test_blend_with_power_and_radius_is_the_weighted_mean_it_says(power: float, rng: np.random.Generator) -> None:
    positions, latents = rng.uniform(size=(200, 2)), rng.normal(size=(200, 4))
    point = np.array([0.4, 0.6])
    distances = np.linalg.norm(positions - point, axis=1)
    order = np.argsort(distances)
    radius = (distances[order[3]] + distances[order[4]]) / 2  # cuts the eight neighbours down to four
    weights = (1 / distances[order[:4]] - 1 / radius) ** power
    expected = weights @ latents[order[:4]] / weights.sum()
    found = SoundMap(positions, latents, blending=Blending(power=power, radius=radius)).blend(point[None], counts(1, 8))
    np.testing.assert_allclose(found[0], expected, rtol=1e-4)


def test_moving_never_jumps_with_a_radius_that_is_often_empty(rng: np.random.Generator) -> None:
    sounds = SoundMap(rng.uniform(size=(40, 2)), rng.normal(size=(40, 4)), blending=Blending(radius=0.05))
    leaps = []
    for steps in (20_000, 40_000):
        line = np.linspace([0.05, 0.1], [0.95, 0.8], steps)
        assert (sounds.nearest(line, 1)[1] > 0.05).any(), "somewhere the radius is empty"
        leaps.append(np.abs(np.diff(sounds.blend(line, counts(steps, 8)), axis=0)).max())
    assert leaps[1] / leaps[0] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("count", [1, 5, 33])
def test_a_large_map_finds_what_measuring_all_distances_finds(count: int, rng: np.random.Generator) -> None:
    """From `TREE_FROM` sounds on a k-d tree answers; the oracle measures all distances."""
    positions = rng.uniform(size=(TREE_FROM + 500, 2))
    sounds = SoundMap(positions, rng.normal(size=(len(positions), 2)))
    points = np.concatenate([rng.uniform(-0.2, 1.2, size=(200, 2)), positions[:50]])
    indices, distances = sounds.nearest(points, count)
    assert sounds._tree is not None
    away = np.linalg.norm(points[:, np.newaxis] - positions, axis=2)
    np.testing.assert_array_equal(indices, np.argsort(away, axis=1)[:, :count])
    np.testing.assert_allclose(distances, np.sort(away, axis=1)[:, :count], atol=1e-15)


@pytest.mark.parametrize("count", [TREE_FROM - 1, TREE_FROM])
@pytest.mark.parametrize("method", ["distance", "natural"])
def test_any_cutting_gives_the_same_bits(count: int, method: str, rng: np.random.Generator) -> None:
    sounds = SoundMap(rng.uniform(size=(count, 2)), rng.normal(size=(count, 4)), blending=Blending(method))
    points = rng.uniform(size=(60, 2))
    whole = sounds.blend(points, counts(60, 8))
    for size in (1, 7):
        parts = [sounds.blend(points[k : k + size], counts(len(points[k : k + size]), 8)) for k in range(0, 60, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def turned(points: int) -> BlendingInTime:
    """Power from 1 to 6 and back, radius from 0.05 to 0.6, over a way."""
    t = np.linspace(0, 1, points)
    return BlendingInTime(np.zeros(points, bool), 1 + 5 * np.sin(np.pi * t) ** 2, 0.05 + 0.55 * t)


def test_moving_while_power_and_radius_are_turned_never_jumps(scatter: SoundMap) -> None:
    """Twice as many steps, steps half as large."""
    leaps = []
    for steps in (20_000, 40_000):
        line = np.linspace([0.05, 0.1], [0.95, 0.8], steps)
        leaps.append(np.abs(np.diff(scatter.blend(line, counts(steps, 8), turned(steps)), axis=0)).max())
    assert leaps[1] / leaps[0] == pytest.approx(0.5, abs=0.1)


def test_on_a_sound_the_blend_is_that_sound_whatever_power_and_radius_are(scatter: SoundMap) -> None:
    for natural in (False, True):
        blending = turned(200)
        blending = BlendingInTime(np.full(200, natural), blending.power, blending.radius)
        np.testing.assert_allclose(
            scatter.blend(scatter.positions, counts(200, 8), blending), scatter.latents, atol=1e-5
        )


def test_each_point_is_blended_as_it_says(scatter: SoundMap, rng: np.random.Generator) -> None:
    """As a map that has this blending of its own, bit for bit; in any cutting."""
    points = rng.uniform(size=(90, 2))
    natural, power = rng.uniform(size=90) < 0.3, rng.choice([1.0, 2.0, 3.7], 90)
    radius = rng.choice([0.1, 0.3, np.inf], 90)
    whole = scatter.blend(points, counts(90, 8), BlendingInTime(natural, power, radius))
    for size in (1, 7):
        for k in range(0, 90, size):
            part = slice(k, k + size)
            blending = BlendingInTime(natural[part], power[part], radius[part])
            np.testing.assert_array_equal(scatter.blend(points[part], counts(90, 8)[part], blending), whole[part])
    for row in range(90):
        own = Blending("natural" if natural[row] else "distance", power[row], None if radius[row] > 2 else radius[row])
        alone = SoundMap(scatter.positions, scatter.latents, blending=own)
        np.testing.assert_array_equal(alone.blend(points[row : row + 1], counts(1, 8))[0], whole[row])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "cubic"}, "expected distance or natural"),
        ({"power": 0.0}, "power is 0.0: expected above 0"),
        ({"radius": float("nan")}, "radius is nan"),
        ({"radius": True}, "radius is True"),
    ],
)
def test_bad_blending_is_refused(settings: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Blending(**settings)


def test_blending_survives_as_settings() -> None:
    for blending in (Blending(), Blending("natural", 3.0, 0.25)):
        assert Blending.from_settings(blending.settings() | {"of a later version": 1}) == blending


def test_sounds_in_one_place_are_mixed_equally() -> None:
    scatter = SoundMap([[0.5, 0.5]] * 4, [[1.0], [2.0], [3.0], [6.0]])
    for point in ([0.5, 0.5], [0.1, 0.2]):
        np.testing.assert_allclose(scatter.blend(np.array([point]), counts(1, 4)), 3.0)


@pytest.mark.parametrize(
    ("positions", "latents", "names", "said"),
    [
        ([], [], [], "expected two dimensions"),
        ([[0, 0, 0]], [[1]], [], r"\(1, 3\): expected \(n, 2\)"),
        ([[0, 0]], [[1], [2]], [], "1 positions, 2 latents and 0 names"),
        ([[0, 0]], [[1]], ["a", "b"], "1 positions, 1 latents and 2 names"),
        ([[0, np.nan]], [[1]], [], "positions hold NaN"),
        ([[0, 0]], [[np.inf]], [], "latents hold NaN or infinity"),
        ([["a", "b"]], [[1]], [], "not a table of numbers"),
    ],
)
def test_bad_tables_are_refused(positions: list, latents: list, names: list, said: str) -> None:
    with pytest.raises(InputError, match=said):
        SoundMap(positions, latents, names)
