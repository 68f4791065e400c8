"""The terrain's function: against a plain evaluation in torch, in sizes, in threads, in what it refuses."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from terrain_core.errors import InputError
from terrain_core.terrain import Terrain
from terrain_core.terrain.network import CHUNK, LATENT_LIMIT


def evaluate_in_torch(weights: dict[str, np.ndarray], coordinates: np.ndarray) -> np.ndarray:
    """An independent evaluation, layer by layer, in float64."""
    tensors = {name: torch.tensor(np.array(array), dtype=torch.float64) for name, array in weights.items()}
    units = torch.tensor(coordinates, dtype=torch.float64)
    first = "fc_in_linear"
    if "B_T" in tensors:
        phases = 2 * torch.pi * units @ tensors["B_T"]
        units, first = torch.cat([torch.sin(phases), torch.cos(phases)], 1), "fc_in_gau"
    for number, layer in enumerate((first, "fc2", "fc3", "fc4"), start=1):
        units = torch.nn.functional.linear(units, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"])
        units = torch.nn.functional.prelu(units, tensors[f"prelu{number}.weight"])
    return torch.nn.functional.linear(units, tensors["fc_out.weight"], tensors["fc_out.bias"]).numpy()


@pytest.mark.parametrize(("control_size", "gauss_scale"), [(1, 8.0), (2, 0.12), (6, 1.0), (2, 0.0), (5, 0.0)])
def test_forward_agrees_with_torch(control_size: int, gauss_scale: float, rng: np.random.Generator) -> None:
    bounds = np.stack([rng.uniform(-20, 0, control_size), rng.uniform(1, 20, control_size)], axis=1)
    terrain = Terrain.create(control_size, 7, bounds=bounds, gauss_scale=gauss_scale, width=33, features=40, seed=3)
    coordinates = rng.uniform(-20, 20, (50, control_size))
    latents = terrain(coordinates)
    assert latents.dtype == np.float32
    assert latents.shape == (50, 7)
    # float32 sums over at most 80 terms of order 1
    np.testing.assert_allclose(latents, evaluate_in_torch(terrain.arrays(), coordinates), atol=1e-5)
    assert latents.std(axis=0).min() > 1e-4, "a constant map would agree with anything"


def test_one_at_a_time_equals_all_at_once(rng: np.random.Generator) -> None:
    terrain = Terrain.create(2, 3, width=32, features=16)
    coordinates = rng.uniform(0, 1, (2 * CHUNK + 17, 2))
    together = terrain(coordinates)
    chosen = rng.choice(len(coordinates), 40, replace=False)
    alone = np.concatenate([terrain(coordinates[k : k + 1]) for k in chosen])
    np.testing.assert_allclose(together[chosen], alone, atol=1e-6)
    assert terrain(np.zeros((0, 2))).shape == (0, 3)


def test_unit_positions_span_the_bounds(rng: np.random.Generator) -> None:
    terrain = Terrain.create(2, 3, bounds=[[-16, 16], [-4, 4]])
    unit = rng.uniform(0, 1, (20, 2))
    np.testing.assert_allclose(terrain.at(unit), terrain(unit * [32, 8] - [16, 4]), atol=2e-5)
    np.testing.assert_allclose(terrain.at([[0, 1]]), terrain([[-16, 4]]), atol=2e-5)


def test_phase_is_not_lost_far_from_the_origin() -> None:
    """An hour into a timeline at 10 cycles per second, float32 phases would be off by a thousandth of a cycle."""
    terrain = Terrain.create(1, 4, bounds=[[0, 3600]], gauss_scale=10)
    coordinates = np.linspace(3590, 3600, 200)[:, np.newaxis]
    np.testing.assert_allclose(terrain(coordinates), evaluate_in_torch(terrain.arrays(), coordinates), atol=1e-5)


def test_parameter_count_of_the_published_size() -> None:
    assert Terrain.create(2, 4, gauss_scale=0.12).architecture.parameter_count == 115_720
    summary = Terrain.create(3, 5, gauss_scale=0, width=7).summary()
    assert summary["parameters"] == 3 * 7 + 7 + 3 * (7 * 7 + 7) + 7 * 5 + 5 + 4


def test_latents_are_clamped_as_in_max() -> None:
    terrain = Terrain.create(2, 2, width=8, features=16)
    weights = terrain.arrays()
    terrain.replace_weights({**weights, "fc_out.bias": np.float32([1e6, -1e6])})
    np.testing.assert_array_equal(terrain([[0.5, 0.5]]), [[LATENT_LIMIT, -LATENT_LIMIT]])


def test_not_finite_coordinates_are_the_middle() -> None:
    terrain = Terrain.create(2, 3, bounds=[[-16, 16], [0, 8]])
    bad = [[np.nan, 1.0], [2.0, -np.inf]]
    np.testing.assert_array_equal(terrain(bad), terrain([[0.0, 1.0], [2.0, 4.0]]))


def test_equal_seeds_give_equal_terrains() -> None:
    first, same, other = (Terrain.create(2, 3, seed=seed).arrays() for seed in (5, 5, 6))
    assert all(np.array_equal(first[name], same[name]) for name in first)
    assert not np.array_equal(first["fc2.weight"], other["fc2.weight"])
    assert not np.array_equal(first["B_T"], other["B_T"])


def test_gauss_scale_is_the_deviation_of_the_frequencies() -> None:
    frequencies = Terrain.create(6, 1, gauss_scale=0.3, features=2048).weights["B_T"]
    # the standard error of a standard deviation from 12288 values is 0.64 %
    assert frequencies.std() == pytest.approx(0.3, rel=0.03)


def test_settings_and_arrays_round_trip(rng: np.random.Generator) -> None:
    terrain = Terrain.create(3, 5, bounds=[[0, 1], [-2, 3], [5, 9]], gauss_scale=0.7, width=20, features=30, seed=9)
    again = Terrain.from_arrays({**terrain.settings(), "from a later version": 1}, terrain.arrays())
    coordinates = rng.uniform(0, 5, (10, 3))
    np.testing.assert_array_equal(again(coordinates), terrain(coordinates))
    assert again.settings() == terrain.settings()


def test_the_order_of_tensors_in_memory_does_not_matter(rng: np.random.Generator) -> None:
    """A terrain sounds the same, bit for bit, whether its weights came out of a solver or out of a file."""
    terrain = Terrain.create(2, 5)
    again = Terrain.create(2, 5)
    again.replace_weights({name: np.asfortranarray(array) for name, array in terrain.arrays().items()})
    coordinates = rng.uniform(0, 1, (300, 2))
    np.testing.assert_array_equal(again(coordinates), terrain(coordinates))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fc3.bias": np.full(8, np.nan)}, "'fc3.bias' holds 8 of 8 values that are NaN"),
        ({"prelu2.weight": np.array([np.inf])}, "NaN or infinite"),
        ({"fc2.weight": np.zeros((8, 7))}, r"'fc2.weight' has shape \(8, 7\); expected \(8, 8\)"),
        ({"fc2.weight": None}, "'fc2.weight' is missing"),
        ({"fc2.weight": np.full((8, 8), "x")}, "expected float32"),
        ({"fc9.weight": np.zeros(3)}, "no tensor 'fc9.weight'"),
        ({"fc4.weight": np.full((8, 8), 1e300)}, "infinite"),
    ],
)
def test_bad_tensors_are_refused_and_change_nothing(change: dict[str, np.ndarray], words: str) -> None:
    terrain = Terrain.create(2, 2, width=8, features=16)
    before = terrain([[0.1, 0.2]])
    arrays = {**terrain.arrays(), **change}
    with pytest.raises(InputError, match=words):
        terrain.replace_weights(arrays)
    with pytest.raises(InputError, match=words):
        Terrain.from_arrays(terrain.settings(), arrays)
    np.testing.assert_array_equal(terrain([[0.1, 0.2]]), before)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"control_size": 0}, r"control_size is 0; expected int in 1\.\.6"),
        ({"control_size": 7}, "1..6"),
        ({"latent_size": 1025}, "1..1024"),
        ({"latent_size": 2.5}, "2.5"),
        ({"width": 0}, "1..1024"),
        ({"width": True}, "True"),
        ({"features": 15}, "16..2048"),
        ({"gauss_scale": -0.1}, "0..10"),
        ({"gauss_scale": float("nan")}, "nan"),
        ({"gauss_scale": "high"}, "high"),
        ({"bounds": [[0, 1]]}, r"shape \(1, 2\)"),
        ({"bounds": [[0, 1], [1, 1]]}, "low below its high"),
        ({"bounds": [[0, 1], [0, np.inf]]}, "finite"),
        ({"bounds": "wide"}, "wide"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, object], words: str) -> None:
    good: dict[str, object] = {"control_size": 2, "latent_size": 4}
    with pytest.raises(InputError, match=words):
        Terrain.create(**{**good, **arguments})


@pytest.mark.parametrize("coordinates", [[0.5, 0.5], [[0.5]], [[0.1, 0.2, 0.3]], np.zeros((2, 2, 2))])
def test_coordinates_of_another_shape_are_refused(coordinates: object) -> None:
    with pytest.raises(InputError, match=r"expected \(n, 2\)"):
        Terrain.create(2, 2)(coordinates)


def test_missing_settings_are_named() -> None:
    terrain = Terrain.create(2, 2)
    settings = {name: value for name, value in terrain.settings().items() if name != "width"}
    with pytest.raises(InputError, match="lack width"):
        Terrain.from_arrays(settings, terrain.arrays())


def test_a_call_never_sees_two_sets_of_weights() -> None:
    """While a thread swaps all-zero for all-one output layers, every call gives one of the two results."""
    terrain = Terrain.create(2, 64, width=8, features=16)
    zeros = {**terrain.arrays(), "fc_out.weight": np.zeros((64, 8)), "fc_out.bias": np.zeros(64)}
    ones = {**zeros, "fc_out.bias": np.ones(64)}
    terrain.replace_weights(zeros)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            terrain.replace_weights(ones)
            terrain.replace_weights(zeros)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        sums = {float(terrain([[0.5, 0.5]]).sum()) for _ in range(500)}
    finally:
        done.set()
        thread.join()
    assert sums <= {0.0, 64.0}


@given(rows=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_a_position_has_the_same_bits_whatever_is_asked_with_it(rows: int, seed: int) -> None:
    terrain = Terrain.create(2, 8, gauss_scale=0.1, seed=3)
    unit = np.random.default_rng(seed).random((rows, 2))
    together = terrain.at(unit)
    np.testing.assert_array_equal(together, np.concatenate([terrain.at(row[np.newaxis]) for row in unit]))
