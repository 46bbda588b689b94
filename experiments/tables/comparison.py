"""The rows of the paper's Table 1, each trained with several seeds on one data set, and comparisons of their scores."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attention_ar import metrics
from attention_ar.errors import InputError
from data_prep.features.opening import absolute_path, open_features
from experiments.runs.config import RunConfig, with_flags
from experiments.runs.models import MODELS
from experiments.tables.bootstrap import Difference, accuracies, mean_average_precisions, paired_bootstrap
from experiments.tables.retraining import retrain_to_cost
from experiments.tables.trials import Trial, run_trial


@dataclass(frozen=True)
class Row:
    """One row of the tables.

    Attributes:
      name: of its folder.
      title: as the paper calls it.
      model: what `--model` names.
      attention_penalty: λ.
    """

    name: str
    title: str
    model: str
    attention_penalty: float = 0.0

    def configure(self, config: RunConfig, seed: int) -> RunConfig:
        """Returns the configuration of this row with this seed."""
        return with_flags(config, model=self.model, attention_penalty=self.attention_penalty, seed=seed)


ROWS = {
    row.name: row
    for model in MODELS.values()
    for row in (
        [Row(f"attention_{l:g}", f"{model.title}, λ = {l:g}", model.name, l) for l in (0.0, 1.0, 10.0)]
        if model.name == "soft_attention"
        else [Row(model.name, model.title, model.name)]
    )
}
ATTENTION = tuple(name for name, row in ROWS.items() if row.model == "soft_attention")
BASELINE = "average_pool"


@dataclass
class Comparison:
    """The results so far of some rows on one data set.

    Attributes:
      config: the part that all trials share.
      file: the FeaturesFile.
      num_seeds: seeds 0, 1, … of every row.
      trials: of each row, by seed as they are done; of one that was trained again on everything, these scores.
      remarks: on single trials.
    """

    config: RunConfig
    file: object
    num_seeds: int
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    _differences: dict[tuple, Difference] = field(default_factory=dict)

    def test_scores(self, row: str) -> list[float]:
        """Returns the scores on test, one a seed."""
        return [trial.scores[trial.scores["score_name"]] for trial in self.trials.get(row, [])]

    def held_out_scores(self, row: str) -> list[float]:
        """Returns the best epochs' scores on what was held out of training; none where nothing was."""
        lines = [trial.best.get("held_out") for trial in self.trials.get(row, [])]
        return [line[line["score_name"]] for line in lines if line]

    def class_scores(self, row: str) -> list[dict[str, np.ndarray]]:
        """Returns the `metrics.precision_recall_f1` of every class on test, one entry a seed."""
        if not self.trials.get(row):
            return []
        names, of_seeds = self._predictions(row)
        labels = self.file.labels[[self.file.names.index(name) for name in names]]
        return [metrics.precision_recall_f1(found, labels, self.file.multi_label) for found in of_seeds]

    def difference(self, row: str, baseline: str) -> Difference | None:
        """Compares two rows on the same test clips; None as long as one of them is not complete."""
        if any(len(self.trials.get(name, [])) < self.num_seeds for name in (row, baseline)):
            return None
        if (row, baseline) not in self._differences:
            (names, ours), (_, theirs) = self._predictions(row), self._predictions(baseline)
            clips = [self.file.names.index(name) for name in names]
            scores = mean_average_precisions if self.file.multi_label else accuracies
            groups = [self.file.groups[i] for i in clips]
            self._differences[row, baseline] = paired_bootstrap(scores, ours, theirs, self.file.labels[clips], groups)
        return self._differences[row, baseline]

    def _predictions(self, row):
        found = [trial.predictions() for trial in self.trials[row]]
        return found[0][0], np.stack([predictions for _, predictions in found])


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Returns mean and sample standard deviation; the latter is NaN of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else float("nan")


def compare(workdir, config: RunConfig, rows: list[str], num_seeds: int, retrain: bool = False) -> Iterator[Comparison]:
    """Trains and evaluates rows, all of them with the first seed, then with the second, and so on.

    Args:
      workdir: trials are in its folder `cells`; those that are done are not run again.
      config: the part that all trials share; its model, λ and seed are ignored. Each seed draws another held-out
        share, unless `split_seed` fixes it.
      rows: names of `ROWS`.
      num_seeds: how many seeds.
      retrain: whether to evaluate, instead of the best epoch and as the author did, a model that is trained again on
        everything down to that epoch's training cost; see `retrain_to_cost`.

    Yields:
      The results so far, each time a trial is done.

    Raises:
      InputError: where the features file has no test part, and see `run_trial`.
    """
    file = open_features(config.data.features)
    if "test" not in file.splits:
        raise InputError(f"{config.data.features}: no video in its test part; a table needs one, see index.csv")
    config = with_flags(config, features=absolute_path(config.data.features))
    comparison = Comparison(config, file, num_seeds)
    for seed in range(num_seeds):
        for row in rows:
            folder = Path(workdir) / "cells" / row / f"seed_{seed}"
            print(f"{ROWS[row].title}, seed {seed} ({seed + 1} of {num_seeds}): {folder}", flush=True)
            run = ROWS[row].configure(config, seed)
            trial = run_trial(folder, run, file, None if retrain else "test", notes=not comparison.trials)
            if retrain:
                again = retrain_to_cost(run, trial, "test")
                seconds = trial.seconds + again.trial.seconds
                trial = Trial(again.trial.folder, trial.best, again.trial.scores, seconds)
                if not again.reached:
                    comparison.remarks.append(again.describe())
            comparison.trials.setdefault(row, []).append(trial)
            yield comparison
