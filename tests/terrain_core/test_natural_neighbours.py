"""Natural neighbours: linear, exact, continuous, and as a count of cells says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import Voronoi

from terrain_core.natural_neighbours import NaturalNeighbours
from terrain_core.sound_map import Blending, SoundMap


@pytest.fixture
def scatter(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(size=(200, 2))


@pytest.fixture
def lattice() -> np.ndarray:
    side = np.linspace(0, 1, 9)
    return np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)


def inside(rng: np.random.Generator, count: int = 300) -> np.ndarray:
    return rng.uniform(0.2, 0.8, size=(count, 2))


@pytest.mark.parametrize("kind", ["scatter", "lattice"])
def test_weights_reproduce_where_the_point_is(
    kind: str, request: pytest.FixtureRequest, rng: np.random.Generator
) -> None:
    """Linear functions are exact, and so is the position itself; on a lattice, too, whose circles go through four."""
    places = request.getfixturevalue(kind)
    known = NaturalNeighbours(places)
    points = np.concatenate([inside(rng), places[(np.abs(places - 0.5) < 0.3).all(axis=1)]])
    for point in points:
        indices, weights = known.weights(point)
        assert weights.sum() == pytest.approx(1)
        assert weights.min() >= 0
        np.testing.assert_allclose(weights @ places[indices], point, atol=1e-12)


def test_weights_are_borders_of_the_cells_that_a_voronoi_diagram_gives(scatter: np.ndarray) -> None:
    """The oracle builds the whole diagram with the point among the sounds."""
    known = NaturalNeighbours(scatter)
    for point in ([0.5, 0.5], [0.31, 0.62], [0.7, 0.4]):
        diagram = Voronoi(np.vstack([scatter, point]))
        expected = np.zeros(len(scatter))
        for (a, b), ridge in zip(diagram.ridge_points, diagram.ridge_vertices, strict=True):
            if len(scatter) in (a, b):
                border = np.linalg.norm(np.diff(diagram.vertices[ridge], axis=0))
                other = min(a, b)
                expected[other] = border / np.linalg.norm(scatter[other] - point)
        indices, weights = known.weights(np.array(point))
        found = np.zeros(len(scatter))
        found[indices] = weights
        np.testing.assert_allclose(found, expected / expected.sum(), atol=1e-9)


def test_on_a_sound_it_is_that_sound(scatter: np.ndarray) -> None:
    known = NaturalNeighbours(scatter)
    for index, place in enumerate(scatter):
        indices, weights = known.weights(place)
        assert weights[indices == index].sum() == pytest.approx(1, abs=1e-6)


def test_moving_never_jumps_not_even_over_the_edge(scatter: np.ndarray, rng: np.random.Generator) -> None:
    """Twice as many steps, steps half as large, from outside the hull through it and out again."""
    sounds = SoundMap(scatter, rng.normal(size=(200, 3)), blending=Blending("natural"))
    leaps = []
    for steps in (4000, 8000):
        line = np.linspace([-0.1, 0.2], [1.1, 0.75], steps)
        blended = sounds.blend(line, np.full(steps, 8))
        leaps.append(np.abs(np.diff(blended, axis=0)).max())
    assert 0 < leaps[1] < 0.65 * leaps[0]  # a jump would stay as large: 1


@pytest.mark.parametrize(
    ("places", "point", "expected"),
    [
        ([[0.5, 0.5]], [0.1, 0.9], [1.0]),
        ([[0.2, 0.5], [0.6, 0.5]], [0.3, 0.9], [0.75, 0.25]),
        ([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]], [0.25, 0.25], [0.5, 0.5, 0.0]),
        ([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], [0.0, 1.0], [0.0, 0.0, 0.5, 0.5]),
    ],
)
def test_few_sounds_sounds_in_a_line_and_sounds_in_one_place(places: list, point: list, expected: list) -> None:
    indices, weights = NaturalNeighbours(np.array(places)).weights(np.array(point))
    found = np.zeros(len(places))
    np.add.at(found, indices, weights)
    np.testing.assert_allclose(found, expected, atol=1e-9)
