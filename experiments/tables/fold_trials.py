"""The trials of a model on each of the test folds as one: every clip is tested once, by a run that never saw its
group."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.common.files import write_csv
from data_prep.features.contents import FeaturesFile
from experiments.runs.protocol import PAPER
from experiments.runs.video_predictions import HEALTH
from experiments.tables.trials import Trial


def pooled(folder, trials: Sequence[Trial], file: FeaturesFile) -> Trial:
    """Puts the test predictions of the folds together, and scores them as one.

    Args:
      folder: where `cell_predictions.csv` of all clips goes.
      trials: of all folds.
      file: the FeaturesFile.

    Returns:
      A trial whose `best` has the `epochs` (or, of `mean_feature`, the `C`) of all folds, and the mean of what they
      had on their held-out clips; and whose scores also have those of every fold, `by_fold`.
    """
    names, predictions = [], []
    for trial in trials:
        of_fold, found = trial.predictions()
        names += of_fold
        predictions.append(found)
    predictions = np.concatenate(predictions)
    columns = [f"p({name})" for name in file.class_names]
    rows = [[name, *(f"{value:.9g}" for value in p)] for name, p in zip(names, predictions, strict=True)]
    write_csv(Path(folder) / "cell_predictions.csv", ["path", *columns], rows)

    labels = file.labels[[file.names.index(name) for name in names]]
    scores = PAPER.scores(predictions, labels, file.multi_label)
    score = scores["score_name"]
    scores["by_fold"] = [trial.scores[score] for trial in trials]
    if "attention" in trials[0].scores:
        scores["attention"] = {n: float(np.mean([trial.scores["attention"][n] for trial in trials])) for n in HEALTH}
    best = {}
    for what, name in (("epochs", "epoch"), ("Cs", "C")):
        if name in trials[0].best:
            best[what] = [trial.best[name] for trial in trials]
    lines = [trial.best["held_out"] for trial in trials if "held_out" in trial.best]
    if lines:
        means = {name: float(np.mean([line[name] for line in lines])) for name in (score, "cross_entropy")}
        best["held_out"] = {"score_name": score, **means}
    return Trial(Path(folder), best, scores, sum(trial.seconds for trial in trials))
