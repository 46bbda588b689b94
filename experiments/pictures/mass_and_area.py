"""The attention, or the evidence, in the box against the box's share of the frame, class by class; and over time."""

from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.pictures.fonts import families, readable

_MARKERS = "os^Dv<>Ph*X"


def draw(
    path,
    by_class: Mapping[str, Mapping[str, tuple[float, float]]],
    over_time: Mapping[str, tuple],
    what: str = "attention",
):
    """Draws both panels, and writes them as PNG.

    Args:
      path: of the PNG.
      by_class: of each model by its title, the area and the mass of every class, shares of 1.
      over_time: of each model, the steps and how many times as dense as uniform attention it is in the box.
      what: is in the box.
    """
    names = list(dict.fromkeys(name for classes in by_class.values() for name in classes))
    shown = {name: readable(name).replace("$", r"\$") for name in names}
    titles = {title: readable(title).replace("$", r"\$") for title in by_class}
    style = {"fontsize": 7, "fontfamily": families([*shown.values(), *titles.values()])}
    figure = Figure(figsize=(13, 6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for n, (title, classes) in enumerate(by_class.items()):
        area, mass = np.transpose(list(classes.values()))
        marker = _MARKERS[n % len(_MARKERS)]
        left.scatter(100 * area, 100 * mass, s=18, marker=marker, label=titles[title], alpha=0.8)
        right.plot(*over_time[title], marker=marker, markersize=3, linewidth=1, label=titles[title])
    for name in names:
        points = [classes[name] for classes in by_class.values() if name in classes]
        area, mass = max(points, key=lambda point: point[1])
        left.annotate(shown[name], (100 * area, 100 * mass), xytext=(3, 3), textcoords="offset points", **style)
    most = max(100 * value for classes in by_class.values() for point in classes.values() for value in point)
    left.plot([0, most], [0, most], color="grey", linewidth=0.8, linestyle="--")
    left.set_xlabel("box, % of the frame (dashed: uniform attention)")
    left.set_ylabel(f"{what} in the box, %")
    right.axhline(1, color="grey", linewidth=0.8, linestyle="--")
    right.set_xlabel("step of a block")
    right.set_ylabel("times as dense in the box as uniform attention")
    left.legend(prop={"size": 8, "family": style["fontfamily"]})
    figure.savefig(path, dpi=110)
