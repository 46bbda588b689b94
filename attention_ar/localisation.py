"""Whether the attention is on a region, such as the box of an actor.

A region is given by how much of each cell it covers, `<float>[..., K²]` between 0 and 1 (`data_prep.datasets.boxes`).
Every function returns one value a step.
"""

import numpy as np

from attention_ar.errors import InputError


def attention_mass_in_box(attention, cells) -> np.ndarray:
    """Σ_i l_{t,i} · coverage_i: the fraction of the attention that is in the region, `<float>[...]`.

    Uniform attention has the region's area, see `box_area`. The attention of a cell counts as spread evenly over it, so
    a region smaller than a cell cannot get all of it.

    Args:
      attention: l, `<float>[..., K²]`.
      cells: the region's coverage of each cell at each step, `<float>[..., K²]`.

    Raises:
      InputError: where the shapes differ.
    """
    attention, cells = _matching(attention, cells)
    return np.sum(attention * cells, axis=-1)


def box_area(cells) -> np.ndarray:
    """The region's fraction of the frame, `<float>[...]`."""
    return np.mean(cells, axis=-1)


def pointing_game(attention, cells) -> np.ndarray:
    """Whether the region covers at least half of the most attended cell, `<bool>[...]`.

    Of several equally attended cells, the first counts. The pointing game of Zhang et al. (2016, Top-down Neural
    Attention by Excitation Backprop) asks whether the maximum lies within 15 pixels of the object; on K×K cells, a
    half-covered cell corresponds to that.

    Args, raises: see `attention_mass_in_box`.
    """
    attention, cells = _matching(attention, cells)
    strongest = np.argmax(attention, axis=-1)[..., None]
    return np.take_along_axis(_hits(cells), strongest, axis=-1)[..., 0]


def pointing_chance(cells) -> np.ndarray:
    """Fraction of the cells that are hits in the pointing game, `<float>[...]`: the score of a cell drawn at random."""
    return np.mean(_hits(cells), axis=-1)


def _hits(cells):
    return np.asarray(cells) >= 0.5


def _matching(attention, cells):
    attention, cells = np.asarray(attention), np.asarray(cells)
    if attention.shape != cells.shape:
        raise InputError(f"attention of shape {attention.shape}, region of {cells.shape}: must both be [..., K²]")
    return attention, cells
