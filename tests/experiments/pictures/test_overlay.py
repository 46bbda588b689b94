"""Pictures of attention against those that the authors' notebook drew, and on other grids and sizes."""

import numpy as np
import pytest
from scipy import ndimage

from attention_ar.errors import InputError
from experiments.pictures.overlay import overlay, upsample_attention


@pytest.fixture(scope="module")
def recorded(shared):
    with np.load(shared("golden/v181_visualisation.npz"), allow_pickle=False) as arrays:
        return dict(arrays)


def test_enlarged_attention_is_the_notebooks(recorded):
    np.testing.assert_allclose(upsample_attention(recorded["alpha"]), recorded["maps"], rtol=0, atol=1e-12)


def test_overlay_is_the_notebooks_to_the_rounding(recorded):
    picture = overlay(recorded["image"], upsample_attention(recorded["alpha"]))
    assert picture.shape == (5, 224, 224, 3) and picture.dtype == np.uint8
    np.testing.assert_allclose(picture[:, ::4, ::4], recorded["overlay_sub4"][..., :3], rtol=0, atol=0.501)


@pytest.mark.parametrize(
    ("side", "size"), [(7, (240, 320)), (7, (113, 151)), (14, (224, 224)), (3, (100, 36)), (1, (8, 9))]
)
def test_other_grids_and_sizes_are_interpolated_then_blurred(side, size):
    l = np.random.default_rng(0).dirichlet(np.ones(side**2), (2, 3))
    maps = upsample_attention(l, size)
    assert maps.shape == (2, 3, *size)
    scale = np.array(size) / side
    linear = ndimage.zoom(l[1, 2].reshape(side, side), scale, order=1, mode="mirror", grid_mode=True)
    np.testing.assert_allclose(maps[1, 2], ndimage.gaussian_filter(linear, 20 / 32 * scale), rtol=0, atol=1e-14)


def test_uniform_attention_stays_uniform():
    np.testing.assert_allclose(upsample_attention(np.full(49, 1 / 49), (60, 80)), 1 / 49, rtol=1e-12)


@pytest.mark.parametrize("cell", [0, 6, 8, 24, 44])
def test_cells_are_numbered_row_by_row(cell):
    enlarged = upsample_attention(np.eye(49)[cell], (140, 280))
    row, column = np.unravel_index(enlarged.argmax(), enlarged.shape)
    assert (row // 20, column // 40) == divmod(cell, 7)


def test_the_most_attended_place_is_white_and_the_least_is_a_dimmed_frame():
    frame = np.full((2, 2, 3), (200, 100, 0), np.uint8)
    picture = overlay(frame, np.array([[0.02, 0.0], [0.01, 0.0]]))
    np.testing.assert_array_equal(picture[0, 0], [244, 224, 204])  # 0.2·200 + 0.8·255, 0.2·100 + 204, 204
    np.testing.assert_array_equal(picture[0, 1], [40, 20, 0])
    np.testing.assert_array_equal(picture[1, 0], [142, 122, 102])


def test_a_map_of_zeros_leaves_no_white():
    frames = np.full((2, 1, 2, 3), 100, np.uint8)
    pictures = overlay(frames, np.array([[[0.0, 0.0]], [[0.0, 3.0]]]))
    np.testing.assert_array_equal(pictures[..., 0], [[[20, 20]], [[20, 224]]])


def test_float32_attention_gives_the_same_picture():
    l = np.random.default_rng(1).dirichlet(np.ones(49))
    np.testing.assert_allclose(upsample_attention(l.astype(np.float32)), upsample_attention(l), rtol=1e-6)


@pytest.mark.parametrize("shape", [(48,), (3, 7, 8), (0,), ()])
def test_attention_on_no_square_grid_is_refused(shape):
    with pytest.raises(InputError, match="square"):
        upsample_attention(np.ones(shape))
