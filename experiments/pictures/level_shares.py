"""How much of the attention is on each level, over time: m_t of a model that attends to several resolutions."""

import numpy as np

COLOURS = np.array([(31, 95, 191), (255, 174, 102), (35, 128, 106), (199, 165, 255)], np.uint8)
NAMES = ("blue", "orange", "green", "purple")


def level_strip(levels, size) -> np.ndarray:
    """Returns a picture: steps from left to right, and above each other the shares of the levels, the first one below.

    Args:
      levels: m_t, `<float>[n, V]`, each row a distribution.
      size: (height, width), in pixels.

    Returns:
      `<uint8>[height, width, 3]`.
    """
    levels, (height, width) = np.asarray(levels, np.float64), size
    step = np.minimum(np.arange(width) * len(levels) // width, len(levels) - 1)
    share = (np.arange(height)[::-1, None] + 0.5) / height  # from the bottom
    below = np.cumsum(levels, axis=1)[step]
    level = (share[..., None] > below[None, :, :-1]).sum(axis=-1)
    return COLOURS[level % len(COLOURS)]


def legend(names) -> str:
    """Returns for example "inception_5b (blue), inception_4e (orange)"."""
    return ", ".join(f"{name} ({NAMES[n % len(NAMES)]})" for n, name in enumerate(names))


def describe(names, shares) -> str:
    """Returns for example "inception_5b 62 %, inception_4e 38 %", for one step."""
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in zip(names, shares, strict=True))
