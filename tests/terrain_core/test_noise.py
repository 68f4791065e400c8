"""Noise is a function of seed and frame alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from terrain_core.autoencoders import noise


@given(st.integers(0, 2**40), st.integers(-1000, 10**9), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_any_cut_gives_the_same_values(seed: int, first: int, cuts: list[int]) -> None:
    whole = noise.uniform(seed, first, sum(cuts), 37)
    starts = np.cumsum([0, *cuts[:-1]])
    parts = [noise.uniform(seed, first + int(s), n, 37) for s, n in zip(starts, cuts, strict=True)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_is_uniform_and_seeds_and_frames_differ() -> None:
    values = noise.uniform(5, 0, 400, 1028)
    assert values.min() >= 0.0
    assert values.max() < 1.0
    # Standard error of the mean of 411,200 uniform values is 0.00045; of the variance (1/12), 0.00012.
    assert abs(values.mean() - 0.5) < 0.002
    assert abs(values.var() - 1 / 12) < 0.0006
    other = noise.uniform(6, 0, 400, 1028)
    assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.01
