"""Attention as the authors' notebook drew it: up-sampled, and white over the frame."""

import numpy as np
from scipy import ndimage

_SIGMA = 20 / 32  # of the blur, in cells: the notebook's 20 pixels, a cell having 32
_WHITE = 0.8  # how much of the picture is attention, the rest being the frame


def upsample_attention(attention, size=(224, 224)) -> np.ndarray:
    """Enlarges l_t to the size of a frame, as skimage's `pyramid_expand` does: linearly, then blurred.

    Args:
      attention: l_t, row by row, `<float>[..., K²]`.
      size: (height, width) of the result; a cell is one K-th of each.

    Returns:
      `<float>[..., height, width]`, not normalised.
    """
    attention = np.asarray(attention)
    side = round(attention.shape[-1] ** 0.5)
    cells = attention.reshape(-1, side, side)
    zoom = (size[0] / side, size[1] / side)
    maps = [
        ndimage.gaussian_filter(
            ndimage.zoom(l, zoom, order=1, mode="mirror", grid_mode=True), [_SIGMA * z for z in zoom], mode="reflect"
        )
        for l in cells
    ]
    return np.stack(maps).reshape(*attention.shape[:-1], *size)


def overlay(frame, enlarged) -> np.ndarray:
    """Lays attention over a frame: the brighter, the more the model looks there.

    Args:
      frame: `<uint8>[height, width, 3]`.
      enlarged: what `upsample_attention` made of l_t, `<float>[height, width]`; it is divided by its maximum.

    Returns:
      `<uint8>[height, width, 3]`.
    """
    white = 255 * enlarged / enlarged.max()
    return np.round((1 - _WHITE) * frame + _WHITE * white[..., None]).astype(np.uint8)
