"""The confusion matrix as a picture."""

import unicodedata

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.pictures.fonts import families, readable

_LONGEST = 28  # letters of a class name
_LETTER, _CELL = 0.075, 0.34  # inches


def draw(path, counts, class_names, title: str = ""):
    """Draws a confusion matrix, each row in shares of its class, and writes it as PNG.

    Args:
      path: of the PNG.
      counts: `<int>[C, C]`, videos of the row's class that were predicted as the column's.
      class_names: C names, in any script; of long ones the middle is left out.
      title: a line above the picture.
    """
    num_classes = len(class_names)
    names = shortened(list(map(readable, class_names)))
    title = readable(title)
    room = _LETTER * max(map(_columns, names), default=0)  # Beside the matrix, which keeps its size.
    side = max(2.5, 0.6 + _CELL * num_classes)
    figure = Figure(figsize=(side + room + 1.8, side + 0.9 * room + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    style = {"fontsize": 8, "fontfamily": families([*names, title])}
    plain = [name.replace("$", r"\$") for name in names]  # Otherwise matplotlib reads them as formulas.
    axes.set_xticks(range(num_classes), plain, rotation=60, ha="right", rotation_mode="anchor", **style)
    axes.set_yticks(range(num_classes), plain, **style)
    axes.set_title(title.replace("$", r"\$"), **{**style, "fontsize": 9})
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    if num_classes <= 20:
        for i, j in np.ndindex(counts.shape):
            if counts[i, j]:
                colour = "white" if shares[i, j] > 0.6 else "black"
                axes.text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)
    figure.savefig(path, dpi=120)


def shortened(names: list[str]) -> list[str]:
    """Returns the names, of long ones beginning and end; those that would then be the same have a number."""
    short = []
    for number, name in enumerate(names):
        if len(name) > _LONGEST:
            name = f"{name[: _LONGEST - 10]}…{name[-9:]}"
            name = f"{name[:-5]}#{number}" if name in short else name
        short.append(name)
    return short


def _columns(text: str) -> int:
    """Width in Latin letters."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
