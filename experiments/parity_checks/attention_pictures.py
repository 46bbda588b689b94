"""Parity of the attention pictures with those that the authors' notebook drew."""

import numpy as np

from experiments.parity_checks.table import Case, compare
from experiments.pictures.overlay import overlay, upsample_attention


def picture_case(case: Case):
    """Yields the rows of recorded pictures: the enlarged attention, the white image of it, and the frame under that."""
    recorded = case.arrays
    maps = upsample_attention(recorded["alpha"].astype(np.float64), recorded["maps"].shape[1:])
    yield compare(case.name, "attention pictures: enlarged attention", maps, recorded["maps"], 1e-9)
    step = recorded["maps"].shape[1] // recorded["overlay_sub4"].shape[1]
    white = 255 * maps / maps.max(axis=(1, 2), keepdims=True)
    theirs = recorded["alpha_rgba_sub4"][..., 0]
    yield compare(case.name, "attention pictures: white image", white[:, ::step, ::step], theirs, 1e-9)
    ours = np.stack([overlay(recorded["image"], enlarged) for enlarged in maps])[:, ::step, ::step]
    theirs = recorded["overlay_sub4"][..., :3]
    # Ours are whole grey levels.
    yield compare(case.name, "attention pictures: frame and attention", ours, theirs, 1.0, against="absolute")
