"""Fitting: the closed form against its equation, Adam against torch's own loop, stopping, going on, diverging."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import pytest
import torch

from terrain_core.errors import DivergedError, InputError
from terrain_core.terrain import Terrain
from terrain_core.terrain.adam_torch import FourierNetwork
from terrain_core.terrain.fit import FitProgress, FitSettings, FitState, FitThread, Normalisation, fit
from terrain_core.terrain.quality import psnr
from terrain_core.terrain.ridge import last_layer

SMALL = {"width": 24, "features": 32}


def smooth_pairs(rng: np.random.Generator, count: int = 200, latent_size: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A smooth function of two coordinates, far from zero and from unit scale."""
    coordinates = rng.uniform(0, 1, (count, 2))
    waves = np.sin(3 * coordinates @ rng.normal(size=(2, latent_size)) + rng.uniform(0, 6, latent_size))
    return coordinates, 4.0 + 2.5 * waves


def test_ridge_solves_its_normal_equations(rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng, 5000)
    terrain = Terrain.create(2, 3, **SMALL)
    weight, bias = last_layer(terrain.network, coordinates, latents, ridge=1e-3)
    units = terrain.network.hidden(coordinates).astype(np.float64)
    penalty = 1e-3 * units.var(axis=0).mean()

    def objective(weight: np.ndarray, bias: np.ndarray) -> float:
        error = np.square(units @ weight.T + bias - latents).sum(axis=1).mean()
        return float(error + penalty * np.square(weight).sum())

    best = objective(weight, bias)
    for _ in range(20):
        step = 1e-3 * rng.normal(size=weight.shape)
        assert objective(weight + step, bias) > best
        assert objective(weight, bias + 1e-3 * rng.normal(size=bias.shape)) > best
    # least squares by another road: centred, with the penalty as extra rows
    centred = np.vstack([units - units.mean(axis=0), math.sqrt(penalty * len(units)) * np.eye(24)])
    targets = np.vstack([latents - latents.mean(axis=0), np.zeros((24, 3))])
    expected = np.linalg.lstsq(centred, targets, rcond=None)[0].T
    np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-4)


def test_ridge_of_a_single_point_is_that_point() -> None:
    terrain = Terrain.create(2, 3, **SMALL)
    fit(terrain, [[0.2, 0.3]], [[1.0, -2.0, 50.0]], FitSettings(epochs=0))
    np.testing.assert_allclose(terrain([[0.2, 0.3]]), [[1.0, -2.0, 50.0]], rtol=1e-5)


@pytest.mark.parametrize("gauss_scale", [0.0, 1.5])
def test_normalisation_is_undone_exactly(gauss_scale: float, rng: np.random.Generator) -> None:
    """The network that Adam sees, on normalised values, is the terrain itself; there and back changes nothing."""
    terrain = Terrain.create(2, 3, bounds=[[-16, 16], [100, 104]], gauss_scale=gauss_scale, **SMALL)
    coordinates = rng.uniform([-16, 100], [16, 104], (40, 2))
    normal = Normalisation.of(terrain, rng.normal(5.0, 3.0, (40, 3)))
    inside = normal.to_inside(terrain.weights)
    network = FourierNetwork(terrain.architecture)
    network.load_state_dict({name: torch.tensor(array) for name, array in inside.items()})
    scaled = (coordinates - normal.coordinate_centre) / normal.coordinate_scale
    if gauss_scale == 0:
        assert np.abs(scaled).max() <= 1
    with torch.no_grad():
        latents = network(torch.tensor(scaled, dtype=torch.float32)).numpy()
    expected = terrain(coordinates)
    # torch's phases are float32 here: 104 units at up to 5 cycles lose 1e-4 of a radian
    np.testing.assert_allclose(latents * normal.latent_scale + normal.latent_mean, expected, atol=2e-4)
    for name, array in normal.to_outside(inside).items():
        np.testing.assert_allclose(array, terrain.weights[name], rtol=1e-5, atol=1e-6)


def test_plain_settings_are_plain_adam(rng: np.random.Generator) -> None:
    """One full batch per epoch, constant rate, no closed form: the same weights as torch's Adam in the usual loop."""
    coordinates, latents = smooth_pairs(rng, 50)
    latents = (latents - latents.mean(axis=0)) / latents.std(axis=0)  # then the fit's normalisation is the identity
    terrain = Terrain.create(2, 3, **SMALL)
    network = FourierNetwork(terrain.architecture)
    network.load_state_dict({name: torch.tensor(array) for name, array in terrain.weights.items()})
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    inputs, targets = (torch.tensor(rows, dtype=torch.float32) for rows in (coordinates, latents))
    for _ in range(30):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(network(inputs), targets).backward()
        optimiser.step()
    settings = FitSettings(
        epochs=30,
        learning_rate=1e-3,
        betas=(0.9, 0.999),
        schedule="constant",
        batch_size=50,
        ridge_start=None,
        ridge_end=None,
    )
    fit(terrain, coordinates, latents, settings)
    for name, tensor in network.state_dict().items():
        # Adam divides by the root of its second moment: rounding differences grow where gradients are tiny
        np.testing.assert_allclose(terrain.weights[name], tensor.numpy(), atol=2e-4, err_msg=name)


@pytest.mark.parametrize("gauss_scale", [0.0, 1.0])
def test_fit_learns_and_reports_what_it_reached(gauss_scale: float, rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    terrain = Terrain.create(2, 3, gauss_scale=gauss_scale, **SMALL)
    seen: list[FitProgress] = []
    report = fit(terrain, coordinates, latents, FitSettings(epochs=150), callback=seen.append)
    assert [progress.epoch for progress in seen] == list(range(1, 151))
    assert seen[-1].loss < seen[0].loss / 10
    assert report.loss == pytest.approx(np.square(terrain(coordinates) - latents).mean(), rel=1e-6)
    assert report.psnr == psnr(terrain, coordinates, latents)
    assert report.psnr > 25
    assert not report.stopped
    assert report.epochs == 150


def test_closed_form_start_is_better_than_the_mean(rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    terrain = Terrain.create(2, 3, gauss_scale=1.0, **SMALL)
    report = fit(terrain, coordinates, latents, FitSettings(epochs=0))
    assert report.loss < 0.8 * latents.var(axis=0).mean()
    assert report.epochs == 0


def test_equal_seeds_give_equal_fits(rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    results = []
    for seed in (1, 1, 2):
        terrain = Terrain.create(2, 3, **SMALL)
        fit(terrain, coordinates, latents, FitSettings(epochs=5, seed=seed, batch_size=32))
        results.append(terrain(coordinates))
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() > 1e-4


def test_continuing_equals_fitting_at_once(rng: np.random.Generator) -> None:
    """With one batch per epoch and a constant rate, 10 + 10 epochs are 20 epochs, moments and all, even from a file."""
    coordinates, latents = smooth_pairs(rng, 60)
    plain: dict[str, Any] = {"schedule": "constant", "batch_size": 60, "ridge_end": None}
    whole, parts = (Terrain.create(2, 3, **SMALL) for _ in range(2))
    fit(whole, coordinates, latents, FitSettings(epochs=20, **plain))
    first = fit(parts, coordinates, latents, FitSettings(epochs=10, **plain))
    stored = FitState.from_arrays(parts, first.state.settings(), first.state.arrays())
    second = fit(parts, coordinates, latents, FitSettings(epochs=10, **plain), state=stored)
    assert (second.epochs, second.state.steps) == (20, 20)
    np.testing.assert_allclose(parts(coordinates), whole(coordinates), atol=2e-3)
    fresh = Terrain.create(2, 3, **SMALL)
    fit(fresh, coordinates, latents, FitSettings(epochs=10, **plain))
    fit(fresh, coordinates, latents, FitSettings(epochs=10, ridge_start=None, **plain))
    lost = np.abs(fresh(coordinates) - whole(coordinates)).max()
    assert lost > 5 * np.abs(parts(coordinates) - whole(coordinates)).max(), "moments make no difference"


def test_stopping_keeps_what_was_reached(rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    terrain = Terrain.create(2, 3, **SMALL)
    stop = threading.Event()

    def stop_at_30(progress: FitProgress) -> None:
        if progress.epoch == 30:
            stop.set()

    started = fit(Terrain.create(2, 3, **SMALL), coordinates, latents, FitSettings(epochs=0)).loss
    report = fit(terrain, coordinates, latents, FitSettings(epochs=10_000), callback=stop_at_30, stop=stop)
    assert report.stopped
    assert report.epochs == 30
    assert report.loss < started
    assert fit(terrain, coordinates, latents, FitSettings(epochs=5), stop=stop, state=report.state).epochs == 30


def test_divergence_is_told_and_the_weights_stay_good(rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    terrain = Terrain.create(2, 3, **SMALL)
    before = fit(terrain, coordinates, latents, FitSettings(epochs=60))
    with pytest.raises(DivergedError, match=r"diverged.*last good weights"):
        fit(
            terrain, coordinates, latents, FitSettings(epochs=400, learning_rate=1.0, schedule="constant", batch_size=2)
        )
    assert np.isfinite(terrain(coordinates)).all()
    after = np.square(terrain(coordinates) - latents).mean()
    assert after < 20 * max(before.loss, 0.01 * latents.var())


def test_nan_weights_never_reach_the_terrain(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinates, latents = smooth_pairs(rng)
    terrain = Terrain.create(2, 3, **SMALL)
    forward = FourierNetwork.from_inputs
    monkeypatch.setattr(FourierNetwork, "from_inputs", lambda self, x: forward(self, x) * math.nan)
    with pytest.raises(DivergedError, match="epoch 1"):
        fit(terrain, coordinates, latents, FitSettings(epochs=3))
    assert np.isfinite(terrain(coordinates)).all()


def test_thread_plays_while_it_fits(rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    terrain = Terrain.create(2, 3, **SMALL)
    thread = FitThread(terrain, coordinates, latents, FitSettings(epochs=100_000))
    thread.start()
    heard = set()
    while len(heard) < 4:  # untrained, closed form, and at least two states of Adam
        heard.add(terrain(coordinates[:1]).tobytes())
    assert thread.running
    assert thread.join(timeout=0.001) is None
    assert thread.progress is not None
    thread.stop()
    report = thread.join()
    assert report is not None
    assert report.stopped
    assert report.epochs >= thread.progress.epoch > 0
    assert not thread.running


def test_thread_hands_on_errors(rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    terrain = Terrain.create(2, 3, **SMALL)
    with pytest.raises(InputError, match="latents hold NaN or infinity in 1 rows, the first is row 7"):
        FitThread(terrain, coordinates, np.where(np.arange(200)[:, np.newaxis] == 7, np.nan, latents))
    settings = FitSettings(epochs=400, learning_rate=1.0, schedule="constant", batch_size=2)
    thread = FitThread(terrain, coordinates, latents, settings)
    thread.start()
    with pytest.raises(DivergedError):
        thread.join()


@pytest.mark.parametrize(
    ("coordinates", "latents", "words"),
    [
        (np.zeros((0, 2)), np.zeros((0, 3)), "at least one"),
        (np.zeros((4, 2)), np.zeros((5, 3)), "4 coordinates and 5 latents"),
        (np.zeros((4, 3)), np.zeros((4, 3)), r"coordinates have shape \(4, 3\); the terrain expects \(n, 2\)"),
        (np.zeros((4, 2)), np.zeros(4), r"latents have shape \(4,\)"),
        ([[0, 0], [0]], [[0, 0, 0]] * 2, "rows of equal length"),
        (np.full((4, 2), np.inf), np.zeros((4, 3)), "coordinates hold NaN or infinity in 4 rows"),
    ],
)
def test_bad_pairs_are_refused(coordinates: Any, latents: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit(Terrain.create(2, 3, **SMALL), coordinates, latents)


@pytest.mark.parametrize(
    "arguments",
    [
        {"epochs": -1},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"schedule": "warm"},
        {"betas": (0.9, 1.0)},
        {"batch_size": 0},
        {"ridge_start": 0.0},
        {"ridge_end": -1.0},
        {"jitter": 2.0},
        {"threads": 0},
    ],
)
def test_settings_are_checked(arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(InputError, match=f"{name} is .*; expected"):
        FitSettings(**arguments)


def test_unknown_device_is_named(rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    with pytest.raises(InputError, match="device 'abacus' is not available; this machine has cpu"):
        fit(Terrain.create(2, 3, **SMALL), coordinates, latents, FitSettings(epochs=1, device="abacus"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("latent_mean", np.zeros(9)),
        ("fc2.weight.exp_avg", np.zeros((2, 2))),
        ("fc2.bias.exp_avg_sq", np.full(24, np.nan)),
    ],
)
def test_state_of_another_terrain_is_refused(key: str, value: np.ndarray, rng: np.random.Generator) -> None:
    coordinates, latents = smooth_pairs(rng)
    terrain = Terrain.create(2, 3, **SMALL)
    state = fit(terrain, coordinates, latents, FitSettings(epochs=1)).state
    with pytest.raises(InputError, match="fit state"):
        FitState.from_arrays(terrain, state.settings(), {**state.arrays(), key: value})
    with pytest.raises(InputError, match="incomplete"):
        FitState.from_arrays(terrain, {}, state.arrays())
    with pytest.raises(InputError, match="other names or shapes"):
        fit(Terrain.create(2, 3, width=25, features=32), coordinates, latents, FitSettings(epochs=1), state=state)


def test_psnr_of_a_known_error() -> None:
    """A terrain that is constant is off by a constant: PSNR has a closed form."""
    terrain = Terrain.create(2, 2, width=4, features=16)
    weights = terrain.arrays()
    terrain.replace_weights({**weights, "fc_out.weight": np.zeros((2, 4)), "fc_out.bias": np.float32([0.5, 0.5])})
    coordinates = np.linspace(0, 1, 20).reshape(10, 2)
    latents = np.tile([[0.0, 1.0]], (10, 1))
    assert psnr(terrain, coordinates, latents) == pytest.approx(20 * math.log10(1 / 0.5))
    assert psnr(terrain, coordinates, np.full((10, 2), 0.25)) == -math.inf
    assert psnr(terrain, coordinates, np.full((10, 2), 0.5)) == math.inf


def test_psnr_punishes_what_is_wild_between_the_points(rng: np.random.Generator) -> None:
    terrain = Terrain.create(2, 2, gauss_scale=10.0, bounds=[[0, 50], [0, 50]])
    coordinates = rng.uniform(0, 50, (30, 2))
    assert psnr(terrain, coordinates, terrain(coordinates)) < 30
    smooth = terrain.with_bounds([[0, 0.5], [0, 0.5]])
    assert psnr(smooth, coordinates, smooth(coordinates)) > 40
