"""Precision, recall and F1 of each class, as files and as text; with several labels, the curves over all thresholds."""

from collections.abc import Sequence

import numpy as np

from attention_ar import metrics
from attention_ar.errors import printable
from data_prep.common.files import write_csv

CURVE = ("threshold", "false_positive_rate", "recall", "precision")
_MOST_LINES = 20  # of the text


def by_name(class_names: Sequence[str], class_scores: Sequence[dict]) -> dict[str, dict]:
    """Returns `Protocol.class_scores` by the names of the classes."""
    return dict(zip(class_names, class_scores, strict=True))


def write_classes(path, classes: dict[str, dict]):
    """Writes one line per class, see `by_name`; what is undefined is empty."""
    columns = list(next(iter(classes.values())))
    write_csv(path, ["class", *columns], [[name, *map(_digits, scores.values())] for name, scores in classes.items()])


def write_curves(path, class_names: Sequence[str], predictions, labels):
    """Writes the `metrics.threshold_curves` of every class that has videos with and without it."""
    rows = []
    for name, scores, has in zip(class_names, np.transpose(predictions), np.transpose(labels), strict=True):
        if 0 < has.sum() < len(has):
            curve = metrics.threshold_curves(scores, has)
            rows += [[name, *map(_digits, point)] for point in zip(*(curve[c].tolist() for c in CURVE), strict=True)]
    write_csv(path, ["class", *CURVE], rows)


def describe_classes(classes: dict[str, dict]) -> str:
    """Returns a table of the classes for the console, the worst F1 first if there are too many for all."""
    names = list(classes)
    if len(names) > _MOST_LINES:
        names.sort(key=lambda name: (classes[name]["f1"] is None, classes[name]["f1"] or 0))
    rows = [["class", "clips", "precision", "recall", "F1"]]
    for name in names[:_MOST_LINES]:
        scores = classes[name]
        shares = [_percent(scores[measure]) for measure in ("precision", "recall", "f1")]
        rows.append([printable(name), str(scores["num_videos"]), *shares])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = [str.ljust, *[str.rjust] * (len(widths) - 1)]
    lines = ["  ".join(put(*cell) for put, *cell in zip(sides, row, widths, strict=True)) for row in rows]
    rest = len(names) - _MOST_LINES
    noun = "class" if rest == 1 else "classes"
    return "\n".join(lines + ([f"and {rest} {noun} with a higher F1"] if rest > 0 else []))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _digits(value) -> str:
    return "" if value is None else f"{value:.6g}"
