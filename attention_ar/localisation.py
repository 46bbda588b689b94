"""Whether the attention lies where something is known to be.

A region is given by how much of each cell it covers, `<float>[..., K²]` between 0 and 1; see `data_prep.boxes`.
"""

import numpy as np


def attention_mass_in_box(attention, cells) -> float:
    """Σ_i l_{t,i} · coverage_i, mean over the steps: the share of the attention that lies in the region.

    Uniform attention has the region's area, see `box_area`.

    Args:
      attention: l, `<float>[T, K²]`.
      cells: the region's coverage of each cell at each step, `<float>[T, K²]`.
    """
    return float(np.mean(np.sum(attention * cells, axis=-1)))


def box_area(cells) -> float:
    """The region's share of the frame, mean over the steps."""
    return float(np.mean(cells))


def pointing_game(attention, cells) -> float:
    """Share of the steps at which the region covers at least half of the most attended cell."""
    strongest = np.argmax(attention, axis=-1)[..., None]
    return float(np.mean(np.take_along_axis(np.asarray(cells), strongest, axis=-1) >= 0.5))
