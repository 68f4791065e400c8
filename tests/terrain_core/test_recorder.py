"""Recording live, as nn.terrain.record does."""

from __future__ import annotations

import numpy as np
import pytest

from terrain_core.errors import InputError
from terrain_core.recorder import Recorder


def test_each_start_begins_a_trajectory(rng: np.random.Generator) -> None:
    recorder = Recorder(4)
    played = rng.normal(size=(10, 4)).astype(np.float32)
    assert not recorder.push(played), "nothing is recorded before the start"
    recorder.start()
    for frame in played[:3]:
        assert recorder.push([frame])
    assert recorder.recorded == 3
    recorder.start()
    recorder.push(played[3:8])
    recorder.stop()
    recorder.push(played[8:])
    first, second = recorder.latent_trajectories(frame_rate=43.0)
    np.testing.assert_array_equal(first.latents, played[:3])
    np.testing.assert_array_equal(second.latents, played[3:8])
    assert (first.name, second.name, first.frame_rate) == ("1", "2", 43.0)


def test_the_limit_ends_a_trajectory() -> None:
    recorder = Recorder(1, limit=5)
    recorder.start()
    assert recorder.push([[1], [2], [3]])
    assert not recorder.push([[4], [5], [6], [7]])
    assert not recorder.recording
    assert recorder.recorded == 0
    np.testing.assert_array_equal(recorder.latent_trajectories()[0].latents[:, 0], [1, 2, 3, 4, 5])


def test_pokes_are_single_points() -> None:
    recorder = Recorder(3, "coordinates")
    recorder.poke([0.1, 0.2, 0.3])
    recorder.poke([0.4, 0.5, 0.6])
    assert [path.points.tolist() for path in recorder.spatial_trajectories()] == [[[0.1, 0.2, 0.3]], [[0.4, 0.5, 0.6]]]
    recorder.start()
    with pytest.raises(InputError, match="stop it before poking"):
        recorder.poke([0, 0, 0])


def test_clear_forgets_everything() -> None:
    recorder = Recorder(2)
    recorder.poke([1, 2])
    recorder.start()
    recorder.push([[3, 4]])
    recorder.clear()
    assert len(recorder) == 0
    assert not recorder.recording
    recorder.start()
    recorder.stop()
    assert recorder.latent_trajectories() == [], "an empty trajectory leaves nothing behind"


def test_finished_trajectories_are_not_touched_by_later_ones() -> None:
    recorder = Recorder(1, limit=3)
    for value in (1, 2):
        recorder.start()
        recorder.push([[value], [value]])
    recorder.stop()
    assert [sound.latents.tolist() for sound in recorder.latent_trajectories()] == [[[1], [1]], [[2], [2]]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((7, "coordinates"), r"control_size is 7; expected int in 1\.\.6"),
        ((0, "latents"), "latent_size is 0"),
        ((1, "audio"), "'audio'; expected latents or coordinates"),
    ],
)
def test_sizes_are_checked(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recorder(*arguments)


def test_bad_vectors_are_refused() -> None:
    recorder = Recorder(2)
    recorder.start()
    with pytest.raises(InputError, match=r"shape \(1, 3\); expected \(n, 2\)"):
        recorder.push([[1, 2, 3]])
    with pytest.raises(InputError, match="NaN"):
        recorder.push([[1, np.nan]])
    with pytest.raises(InputError, match="limit is 0"):
        Recorder(2, limit=0)
    with pytest.raises(InputError, match="holds latents, not coordinates"):
        recorder.spatial_trajectories()
    assert recorder.recorded == 0
