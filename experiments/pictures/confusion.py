"""The confusion matrix as a picture."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw(path, counts, class_names, title: str = ""):
    """Draws a confusion matrix, each row in shares of its class, and writes it as PNG.

    Args:
      path: of the PNG.
      counts: `<int>[C, C]`, videos of the row's class that were taken for the column's.
      class_names: C names.
      title: a line above the picture.
    """
    num_classes = len(class_names)
    side = max(3.5, 1.6 + 0.34 * num_classes)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [name.replace("$", r"\$") for name in class_names]  # Else matplotlib takes them for formulas.
    axes.set_xticks(range(num_classes), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(num_classes), names, fontsize=8)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    if num_classes <= 20:
        for i, j in np.ndindex(counts.shape):
            if counts[i, j]:
                colour = "white" if shares[i, j] > 0.6 else "black"
                axes.text(j, i, counts[i, j], ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axes, label="share of the class", shrink=0.8)
    figure.savefig(path, dpi=120)
