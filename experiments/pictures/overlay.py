"""Attention as the authors' notebook drew it: enlarged to the size of the frame, and white over it.

The K×K cells cover the whole frame, whatever its size and shape: cell i is row i // K, column i % K, so with K = 7 and
a frame of 320×240 pixels, cell 8 is the rectangle of the columns 46–91 and the rows 34–68.
"""

import functools

import numpy as np
from scipy import ndimage

from attention_ar.errors import InputError

_SIGMA = 20 / 32  # of the blur, in cells: the notebook's 20 pixels, where a cell has 32
_WHITE = 0.8  # the share of the attention in the picture, the rest being the frame's


def upsample_attention(attention, size=(224, 224)) -> np.ndarray:
    """Enlarges l_t to the size of a frame, as the notebook does with skimage's `pyramid_expand` (factor 32, sigma 20).

    Linear interpolation between the cells' centres, then a Gaussian blur. On other grids and sizes the blur is as wide
    in cells as there.

    Args:
      attention: l_t, row by row, `<float>[..., K²]`.
      size: (height, width) of the result, in pixels.

    Returns:
      `<float64>[..., height, width]`, in the units of l_t. The notebook then divides by the maximum, which `overlay`
      does.

    Raises:
      InputError: where the last axis is no square of cells.
    """
    attention = np.asarray(attention, np.float64)
    num_cells = attention.shape[-1] if attention.ndim else 0
    side = round(num_cells**0.5)
    if side == 0 or side**2 != num_cells:
        raise InputError(f"attention of shape {attention.shape}: must be [..., K²], the cells of a square grid")
    cells = attention.reshape(*attention.shape[:-1], side, side)
    height, width = size
    return spread(side, height) @ cells @ spread(side, width).T


@functools.lru_cache(16)
def spread(num_cells: int, num_pixels: int) -> np.ndarray:
    """How each of K cells in a row colours the pixels, `<float64>[num_pixels, num_cells]`.

    Both interpolation and blur are linear and treat the axes apart, so this matrix, once for each axis, is all of it.
    """
    pixels_per_cell = num_pixels / num_cells
    linear = ndimage.zoom(np.eye(num_cells), (pixels_per_cell, 1), order=1, mode="mirror", grid_mode=True)
    return ndimage.gaussian_filter1d(linear, _SIGMA * pixels_per_cell, axis=0, mode="reflect")


def overlay(frame, enlarged) -> np.ndarray:
    """Overlays attention on a frame as the notebook does: 0.2 of the frame and 0.8 of white where the model looks most.

    Args:
      frame: `<uint8>[..., height, width, 3]`, RGB.
      enlarged: `upsample_attention` of l_t, `<float>[..., height, width]`. Each map is divided by its
        maximum: the most attended place is always white, so uniform attention veils the whole frame. A map of zeros
        leaves no white.

    Returns:
      `<uint8>[..., height, width, 3]`.
    """
    enlarged = np.asarray(enlarged)
    white = enlarged / np.maximum(enlarged.max(axis=(-2, -1), keepdims=True), np.finfo(enlarged.dtype).tiny)
    return np.round((1 - _WHITE) * np.asarray(frame) + _WHITE * 255 * white[..., None]).astype(np.uint8)
