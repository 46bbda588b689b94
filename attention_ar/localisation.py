"""Whether the attention lies where something is known to be.

A region is given by how much of each cell it covers, `<float>[..., K²]` between 0 and 1; see `data_prep.boxes`. All
three numbers are means over the steps, so those of several blocks of T steps may be averaged.
"""

import numpy as np

from attention_ar.errors import InputError


def attention_mass_in_box(attention, cells) -> float:
    """Σ_i l_{t,i} · coverage_i, mean over the steps: the share of the attention that lies in the region.

    Uniform attention has the region's area, see `box_area`. The attention of a cell counts as spread evenly over it, so
    a region smaller than a cell cannot get all of it.

    Args:
      attention: l, `<float>[T, K²]`.
      cells: the region's coverage of each cell at each step, `<float>[T, K²]`.

    Raises:
      InputError: where the two have not the same shape.
    """
    attention, cells = _matching(attention, cells)
    return float(np.mean(np.sum(attention * cells, axis=-1)))


def box_area(cells) -> float:
    """The region's share of the frame, mean over the steps."""
    return float(np.mean(cells))


def pointing_game(attention, cells) -> float:
    """Share of the steps at which the region covers at least half of the most attended cell.

    Of several equally attended cells, the first counts. The pointing game of Zhang et al. (2016, Top-down Neural
    Attention by Excitation Backprop) asks whether the maximum lies within 15 pixels of the object; on K×K cells, the
    half covered cell is the like of it.

    Args, raises: see `attention_mass_in_box`.
    """
    attention, cells = _matching(attention, cells)
    strongest = np.argmax(attention, axis=-1)[..., None]
    return float(np.mean(np.take_along_axis(cells, strongest, axis=-1) >= 0.5))


def _matching(attention, cells):
    attention, cells = np.asarray(attention), np.asarray(cells)
    if attention.shape != cells.shape:
        raise InputError(f"attention of shape {attention.shape}, region of {cells.shape}: must both be [T, K²]")
    return attention, cells
