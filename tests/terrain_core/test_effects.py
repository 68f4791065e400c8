"""Latent effects: closed forms, statistics of the noise, and the same result for any cutting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terrain_core.engine.controls import COLUMN, Controls, ControlState
from terrain_core.engine.effects import (
    Frames,
    Glide,
    Intensity,
    Noise,
    OffsetAndScale,
    normal_by_frame,
    standard_effects,
)
from terrain_core.parameters import PressureTarget
from tests.terrain_core.reference_autoencoder import LinearAutoencoder

AUTOENCODER = LinearAutoencoder(latent_size=11, hop=441)  # 100 frames a second
MEAN, STD = AUTOENCODER.latent_mean, AUTOENCODER.latent_std


def frames(count: int, first: int = 0, **values: object) -> Frames:
    """Frames with parameters at their defaults, but for `values` (numbers, or one number per frame)."""
    table = np.repeat(ControlState().values[np.newaxis], count, axis=0)
    for key, value in values.items():
        table[:, COLUMN[key]] = value
    return Frames(first, Controls(table), np.zeros(count))


@pytest.fixture
def latents(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(60, 11)).astype(np.float32)


def test_at_their_defaults_effects_return_what_they_get(latents: np.ndarray) -> None:
    out = latents
    for effect in standard_effects(AUTOENCODER, seed=0):
        out = effect.process(out, frames(60))
    np.testing.assert_array_equal(out, latents)


def test_glide_has_gone_63_percent_after_its_time_constant() -> None:
    glide = Glide(frame_rate=100)
    glide.process(np.zeros((1, 11), np.float32), frames(1, glide=200))
    out = glide.process(np.ones((60, 11), np.float32), frames(60, glide=200))
    np.testing.assert_allclose(out[:, 0], 1 - np.exp(-np.arange(1, 61) / 20), atol=1e-6)


def test_glide_starts_where_the_first_frame_is_and_forgets_on_reset(latents: np.ndarray) -> None:
    glide = Glide(frame_rate=100)
    for _ in range(2):
        np.testing.assert_array_equal(glide.process(latents[:1], frames(1, glide=5000)), latents[:1])
        glide.process(latents, frames(60, glide=5000))
        glide.reset()


def test_glide_that_ends_lets_go_at_once(latents: np.ndarray) -> None:
    out = Glide(frame_rate=100).process(latents, frames(60, glide=np.where(np.arange(60) < 30, 500, 0)))
    np.testing.assert_allclose(out[30:], latents[30:], atol=1e-6)
    assert np.abs(out[10:30] - latents[10:30]).max() > 0.5


def test_offset_and_scale_reach_their_own_latent_only(latents: np.ndarray) -> None:
    out = OffsetAndScale(AUTOENCODER).process(latents, frames(60, offset_2=-1.5, scale_7=0.25))
    expected = latents.copy()
    expected[:, 1] -= 1.5 * STD[1]
    expected[:, 6] = MEAN[6] + 0.25 * (latents[:, 6] - MEAN[6])
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_fewer_latents_than_knobs() -> None:
    out = OffsetAndScale(LinearAutoencoder(latent_size=2)).process(
        np.zeros((3, 2), np.float32), frames(3, offset_1=1, offset_5=3)
    )
    assert out.shape == (3, 2)


@pytest.mark.parametrize(
    ("target", "factor"), [(PressureTarget.INTENSITY, 0.25), (PressureTarget.LEVEL, 1.0), (PressureTarget.OFF, 1.0)]
)
def test_intensity_is_the_distance_from_the_mean(latents: np.ndarray, target: PressureTarget, factor: float) -> None:
    out = Intensity(AUTOENCODER).process(latents, frames(60, intensity=1.5, pressure=0.25, pressure_target=target))
    np.testing.assert_allclose(out, MEAN + 1.5 * factor * (latents - MEAN), atol=1e-5)


def test_noise_has_the_spread_it_says() -> None:
    count = 20_000
    out = Noise(AUTOENCODER, seed=1).process(np.zeros((count, 11), np.float32), frames(count, noise=0.5)) / (0.5 * STD)
    # Standard errors of mean, deviation and correlation are 0.007, 0.005 and 0.007: five of them.
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=0.036)
    np.testing.assert_allclose(out.std(axis=0), 1, atol=0.026)
    np.testing.assert_allclose(np.corrcoef(out.T), np.eye(11), atol=0.036)
    np.testing.assert_allclose((out[1:] * out[:-1]).mean(axis=0), 0, atol=0.036)
    assert np.mean(np.abs(out) < 1) == pytest.approx(0.6827, abs=0.005)


@given(first=st.integers(-(10**6), 10**9), skip=st.integers(0, 50), size=st.integers(1, 40))
@settings(deadline=None)
def test_noise_of_a_frame_depends_on_its_number_only(first: int, skip: int, size: int) -> None:
    run = normal_by_frame(7, first, skip + 3, size)
    np.testing.assert_array_equal(run[skip:], normal_by_frame(7, first + skip, 3, size))
    # Of 2000 draws with float32's 24 bits a pair may be equal by chance (0.3 expected, six once in a million runs); a
    # frame that repeats another makes as many pairs as it has values.
    assert run.size - np.unique(run).size <= 5
    assert len(np.unique(run, axis=0)) == len(run) or size < 3


def test_other_seeds_give_other_noise() -> None:
    assert np.abs(normal_by_frame(1, 0, 10, 4) - normal_by_frame(2, 0, 10, 4)).min() > 0


@given(cuts=st.sets(st.integers(1, 59)))
@settings(deadline=None)
def test_any_cutting_gives_the_same_latents(cuts: set[int]) -> None:
    rng = np.random.default_rng(3)
    latents = rng.normal(size=(60, 11)).astype(np.float32)
    moving = {"glide": rng.uniform(0, 100, 60), "noise": rng.uniform(0, 1, 60), "intensity": rng.uniform(0, 2, 60)}
    moving |= {"offset_1": rng.uniform(-3, 3, 60), "scale_8": rng.uniform(0, 2, 60)}
    whole = latents
    for effect in standard_effects(AUTOENCODER, seed=4):
        whole = effect.process(whole, frames(60, 1000, **moving))
    effects, pieces = standard_effects(AUTOENCODER, seed=4), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 60], strict=True):
        piece = latents[start:end]
        for effect in effects:
            piece = effect.process(
                piece, frames(end - start, 1000 + start, **{k: v[start:end] for k, v in moving.items()})
            )
        pieces.append(piece)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
