"""Whether the attention lies where something is known to be.

A region is given by how much of each cell it covers, `<float>[..., K²]` between 0 and 1 (`data_prep.datasets.boxes`).
Everything is said step by step, and not averaged.
"""

import numpy as np

from attention_ar.errors import InputError


def attention_mass_in_box(attention, cells) -> np.ndarray:
    """Σ_i l_{t,i} · coverage_i: the share of the attention that lies in the region, `<float>[...]`.

    Uniform attention has the region's area, see `box_area`. The attention of a cell counts as spread evenly over it, so
    a region smaller than a cell cannot get all of it.

    Args:
      attention: l, `<float>[..., K²]`.
      cells: the region's coverage of each cell at each step, `<float>[..., K²]`.

    Raises:
      InputError: where the two have not the same shape.
    """
    attention, cells = _matching(attention, cells)
    return np.sum(attention * cells, axis=-1)


def box_area(cells) -> np.ndarray:
    """The region's share of the frame, `<float>[...]`."""
    return np.mean(cells, axis=-1)


def pointing_game(attention, cells) -> np.ndarray:
    """Whether the region covers at least half of the most attended cell, `<bool>[...]`.

    Of several equally attended cells, the first counts. The pointing game of Zhang et al. (2016, Top-down Neural
    Attention by Excitation Backprop) asks whether the maximum lies within 15 pixels of the object; on K×K cells, the
    half covered cell is the like of it.

    Args, raises: see `attention_mass_in_box`.
    """
    attention, cells = _matching(attention, cells)
    strongest = np.argmax(attention, axis=-1)[..., None]
    return np.take_along_axis(_hits(cells), strongest, axis=-1)[..., 0]


def pointing_chance(cells) -> np.ndarray:
    """Share of the cells that are hits in the pointing game, `<float>[...]`: the score of a cell drawn at random."""
    return np.mean(_hits(cells), axis=-1)


def _hits(cells):
    return np.asarray(cells) >= 0.5


def _matching(attention, cells):
    attention, cells = np.asarray(attention), np.asarray(cells)
    if attention.shape != cells.shape:
        raise InputError(f"attention of shape {attention.shape}, region of {cells.shape}: must both be [..., K²]")
    return attention, cells
