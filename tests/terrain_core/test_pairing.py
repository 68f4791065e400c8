"""Which latent belongs to which coordinate."""

from __future__ import annotations

import json

import numpy as np
import pytest

from terrain_core.errors import InputError
from terrain_core.pairing import pair
from terrain_core.trajectories import LatentTrajectory, SpatialTrajectory


def sound(name: str, frames: int, size: int = 2) -> LatentTrajectory:
    return LatentTrajectory(name, np.arange(frames * size, dtype=np.float32).reshape(frames, size) + 100 * frames)


LINE = SpatialTrajectory("line", np.array([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0]]))


def test_resample_lays_the_frames_on_the_whole_path() -> None:
    pairing = pair([LINE], [sound("a", 7)])
    np.testing.assert_allclose(pairing.coordinates[:, 0], np.linspace(0, 3, 7))
    np.testing.assert_array_equal(pairing.latents, sound("a", 7).latents)
    np.testing.assert_array_equal(pair([LINE], [sound("a", 1)]).coordinates, [[0, 0]])


@pytest.mark.parametrize(("frames", "rows"), [(2, 2), (3, 3), (9, 3)])
def test_truncate_cuts_the_longer(frames: int, rows: int) -> None:
    pairing = pair([LINE], [sound("a", frames)], "truncate")
    np.testing.assert_array_equal(pairing.coordinates, LINE.points[:rows])
    np.testing.assert_array_equal(pairing.latents, sound("a", frames).latents[:rows])


def test_several_in_order_with_nothing_lost_in_silence() -> None:
    up = SpatialTrajectory("up", np.array([[5.0, 0.0], [5.0, 1.0]]))
    pairing = pair([LINE, up], [sound("a", 4), sound("b", 2), sound("c", 6)])
    assert pairing.lengths == (4, 2)
    assert pairing.names == ("a", "b")
    assert pairing.dropped == ("latent 'c'",)
    np.testing.assert_array_equal(pairing.coordinates[4:], up.points)
    np.testing.assert_array_equal(pairing.latents[4:], sound("b", 2).latents)
    assert pair([LINE, up], [sound("a", 4)], "truncate").dropped == ("spatial 'up'",)


def test_summary_has_the_ranges() -> None:
    summary = json.loads(json.dumps(pair([LINE], [sound("a", 3)]).summary()))
    assert summary == {
        "length": 3,
        "trajectories": 1,
        "dropped": [],
        "coordinates": {"shape": [3, 2], "low": [0, 0], "high": [3, 0]},
        "latents": {"shape": [3, 2], "low": [300, 301], "high": [304, 305]},
    }


@pytest.mark.parametrize(
    ("spatial", "latent", "method", "words"),
    [
        ([], [sound("a", 3)], "resample", "0 spatial and 1 latent"),
        ([LINE], [], "resample", "1 spatial and 0 latent"),
        ([LINE], [sound("a", 3)], "stretch", "'stretch'; expected resample or truncate"),
        ([LINE], [sound("a", 3), sound("b", 3, 4)], "resample", r"latent trajectories have \[2, 4\]"),
        (
            [LINE, SpatialTrajectory("x", np.zeros((2, 3)))],
            [sound("a", 3)],
            "resample",
            r"spatial trajectories have \[2, 3\]",
        ),
    ],
)
def test_what_cannot_be_paired(spatial: list, latent: list, method: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        pair(spatial, latent, method)
