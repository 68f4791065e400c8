from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from terrain_core.errors import FileError, InputError
from terrain_core.pictures import View, draw_trajectories, map_picture, sample_terrain, save_picture, write_latents
from terrain_core.terrain.pt_file import read_pt

NN_TERRAIN_VIEW = View(-16, -4, 16, 4)


class Plane:
    """Latents that are the coordinates themselves, so that a map can be checked pixel by pixel."""

    def __init__(self, control_size: int = 2, latent_size: int | None = None) -> None:
        self.control_size = control_size
        self.latent_size = latent_size or control_size
        self.bounds = np.array([[-2.0, 6.0], [10.0, 14.0], [0.0, 1.0]][:control_size])

    def __call__(self, coordinates: np.ndarray) -> np.ndarray:
        return np.resize(coordinates.T, (self.latent_size, len(coordinates))).T.astype(np.float32)


def test_pixels_are_sampled_where_nn_terrain_samples_them():
    latents = sample_terrain(Plane(), View.whole(Plane()), (8, 4))
    assert latents.shape == (4, 8, 2)
    assert latents.dtype == np.float32
    # x_j = L + j (R - L) / W, the first row at the low y bound; right and bottom edge are left out.
    np.testing.assert_array_equal(latents[2, :, 0], [-2, -1, 0, 1, 2, 3, 4, 5])
    np.testing.assert_array_equal(latents[:, 5, 1], [10, 11, 12, 13])


def test_other_control_dimensions_stand_in_the_middle_and_one_dimension_fills_the_rows():
    latents = sample_terrain(Plane(3), View(0, 0, 1, 1), (3, 2))
    np.testing.assert_array_equal(latents[:, :, 2], 0.5)
    strip = sample_terrain(Plane(1), View.whole(Plane(1)), (4, 3))
    np.testing.assert_array_equal(strip[:, :, 0], [[-2, 0, 2, 4]] * 3)


def test_a_map_agrees_with_the_terrain_it_shows(demo_pt):
    terrain = read_pt(demo_pt)
    latents = sample_terrain(terrain, NN_TERRAIN_VIEW, (60, 15))
    np.testing.assert_allclose(latents[3, 7], terrain(np.array([[-16 + 7 * 32 / 60, -4 + 3 * 8 / 15]]))[0], atol=1e-5)
    assert latents.std(axis=(0, 1)).min() > 0.5  # a landscape, not a plain


def test_grey_is_the_clamped_latent():
    latents = np.array([[[-5.0, 0], [-1, 0], [1.5, 0], [4, 0], [9, 0]]], dtype=np.float32)
    picture = map_picture(latents, dimension=0, span=(-1, 4))
    assert picture.mode == "L"
    np.testing.assert_array_equal(np.asarray(picture), [[0, 0, 128, 255, 255]])


def test_four_latents_are_brightness_and_a_tint():
    # rows: brightness 0, 1/2, 1; columns: all colours at their low, all at their high, only red high
    tints = [[0, 0, 0], [1, 1, 1], [1, 0, 0]]
    latents = np.array([[[level, *tint] for tint in tints] for level in (0, 0.5, 1)], dtype=np.float32)
    pixels = np.asarray(map_picture(latents, span=(0, 1)))
    np.testing.assert_array_equal(pixels[0], 0)
    np.testing.assert_array_equal(
        pixels[2], np.rint([[0.9 * 255, 0.75 * 255, 0.6 * 255], [255] * 3, [255, 0.75 * 255, 0.6 * 255]])
    )
    np.testing.assert_allclose(pixels[1], pixels[2] / 2, atol=1)


def test_three_latents_are_red_green_blue():
    latents = np.array([[[0, 0.5, 1], [1, 0, 0.2]]], dtype=np.float32)
    np.testing.assert_array_equal(np.asarray(map_picture(latents, span=(0, 1))), [[[0, 128, 255], [255, 0, 51]]])


def test_a_range_that_is_not_given_covers_all_but_the_outliers(rng):
    latents = rng.uniform(-3, 5, (100, 100, 1)).astype(np.float32)
    latents[0, 0] = 1000
    pixels = np.asarray(map_picture(latents)).astype(float)
    expected = np.clip((latents[:, :, 0] - -3) / 8, 0, 1) * 255
    assert np.abs(pixels - expected).max() < 0.02 * 255


@pytest.mark.parametrize("dimension", [-1, 2])
def test_a_latent_that_is_not_there_is_refused(dimension):
    with pytest.raises(InputError, match=r"latents 0\.\.1"):
        map_picture(np.zeros((2, 2, 2), np.float32), dimension=dimension)


@pytest.mark.parametrize("edges", [(0, 0, 0, 1), (0, 1, 1, 1), (0, float("nan"), 1, 1), (0, 0, float("inf"), 1)])
def test_views_of_nothing_are_refused(edges):
    with pytest.raises(InputError, match="empty or not finite"):
        View(*edges)


@pytest.mark.parametrize("size", [(0, 4), (4, -1), (10**9, 1)])
def test_maps_without_or_with_too_many_pixels_are_refused(size):
    with pytest.raises(InputError, match=r"1\.\.16384"):
        sample_terrain(Plane(), View(0, 0, 1, 1), size)


def test_a_view_keeps_its_proportions():
    assert NN_TERRAIN_VIEW.size() == (600, 150)


def test_trajectories_are_drawn_where_they_are():
    picture = Image.new("L", (100, 50))
    drawn = np.asarray(
        draw_trajectories(picture, View(0, 0, 10, 5), [[[2, 1], [8, 1]], [[5, 4]], np.empty((0, 2))])
    ).astype(int)
    red = drawn[:, :, 0]
    assert red[10, 30:75].min() > 200  # the line, from (2, 1) to (8, 1)
    assert red[30, :].max() == 0  # nothing between the two
    assert red[36:45, 46:55].max() > 150  # the ring around the point (5, 4) …
    assert red[40, 50] == 0  # … which is hollow
    assert drawn[10, 50, 0] > drawn[10, 50, 1] > drawn[10, 50, 2]  # orange


def test_files_hold_what_was_drawn(tmp_path, rng):
    latents = rng.normal(size=(3, 5, 2)).astype(np.float32)
    write_latents(latents, tmp_path / "map.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy", allow_pickle=False), latents)
    picture = map_picture(latents, dimension=1)
    save_picture(picture, tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as read:
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.npy", "map.png"]


def test_a_picture_for_a_folder_that_is_not_there_names_it(tmp_path):
    with pytest.raises(FileError, match="no folder"):
        save_picture(Image.new("L", (2, 2)), tmp_path / "missing" / "map.png")
