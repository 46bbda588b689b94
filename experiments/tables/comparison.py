"""The rows of the paper's Table 1, each trained with several seeds on one data set, and comparisons of their scores."""

import functools
import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attention_ar import metrics
from attention_ar.errors import InputError
from data_prep.features.opening import absolute_path, open_features
from data_prep.loading.block_table import cut_blocks
from experiments.runs.config import RunConfig, with_flags
from experiments.runs.models import MODELS
from experiments.runs.protocol import PAPER
from experiments.runs.resumption import require_run_to_begin_with
from experiments.runs.split import split_of_run
from experiments.tables.bootstrap import (
    Difference,
    accuracies,
    difference,
    draw_clips,
    holm,
    mean_average_precisions,
    mean_scores,
)
from experiments.tables.fold_trials import pooled
from experiments.tables.mean_feature import MeanFeatureBaseline
from experiments.tables.retraining import retrain_to_cost
from experiments.tables.trials import Trial, run_trial


@dataclass(frozen=True)
class Row:
    """One row of the tables.

    Attributes:
      name: of its folder.
      title: as the paper calls it.
      model: what `--model` names; None of `mean_feature`, which is no model of the registry.
      attention_penalty: λ.
    """

    name: str
    title: str
    model: str | None
    attention_penalty: float = 0.0

    def configure(self, config: RunConfig, seed: int) -> RunConfig:
        """Returns the configuration of this row with this seed. Only rows that look begin with another run."""
        looks = self.model is not None and MODELS[self.model].has_attention
        init_from = config.attention.init_from.replace("{row}", self.name) if looks else ""
        config = with_flags(config, init_from=init_from)
        if self.model is None:
            return with_flags(config, seed=seed)
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
MEAN_FEATURE = "mean_feature"
ROWS[MEAN_FEATURE] = Row(MEAN_FEATURE, "logistic regression on the mean feature", None)
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
    _resampled: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def split_id(self) -> str:
        """Names the split: the file's, or the test folds."""
        folds = self.config.data.test_folds
        return f"folds{folds}-of-{self.file.split_id}" if folds else self.file.split_id

    def test_scores(self, row: str) -> list[float]:
        """Returns the scores on test, one a seed."""
        return [trial.scores[trial.scores["score_name"]] for trial in self.trials.get(row, [])]

    def score_together(self, row: str) -> float | None:
        """Returns the score on test of the mean over the seeds of a clip's probabilities: of all seeds as one model.
        None where a seed is missing, or there is only one."""
        if self.num_seeds < 2 or not self.is_complete(row):
            return None
        (_, labels, _), _ = self._draws
        together = np.mean([trial.predictions()[1] for trial in self.trials[row]], axis=0)
        scores = PAPER.scores(together, labels, self.file.multi_label)
        return scores[scores["score_name"]]

    def held_out_scores(self, row: str) -> list[float]:
        """Returns the best epochs' scores on what was held out of training; none where nothing was."""
        lines = [trial.best.get("held_out") for trial in self.trials.get(row, [])]
        return [line[line["score_name"]] for line in lines if line]

    def class_scores(self, row: str) -> list[dict[str, np.ndarray]]:
        """Returns the `metrics.precision_recall_f1` of every class on test, one entry a seed."""
        if not self.trials.get(row):
            return []
        (_, labels, _), _ = self._draws
        found = [trial.predictions()[1] for trial in self.trials[row]]
        return [metrics.precision_recall_f1(predictions, labels, self.file.multi_label) for predictions in found]

    def is_complete(self, row: str) -> bool:
        """Whether all seeds of a row are done."""
        return len(self.trials.get(row, [])) == self.num_seeds

    def difference(self, row: str, baseline: str) -> Difference | None:
        """Compares two rows on the same test clips; None as long as one of them is not complete."""
        if not (self.is_complete(row) and self.is_complete(baseline)):
            return None
        return difference(self._scores_of_draws(row), self._scores_of_draws(baseline), self._draws[1])

    def pairs(self, rows: Sequence[str]) -> list[tuple[str, str, Difference, float]]:
        """Compares every two of the complete rows.

        Returns:
          Two rows, their difference, and its p value with Holm's correction for all of these comparisons.
        """
        found = [
            (row, other, self.difference(row, other))
            for other, row in itertools.combinations([row for row in rows if self.is_complete(row)], 2)
        ]
        corrected = holm([one.p_value for _, _, one in found])
        return [(*one, p_value) for one, p_value in zip(found, corrected, strict=True)]

    @functools.cached_property
    def num_blocks(self) -> dict[str, tuple[int, int]]:
        """How many blocks each part of the first seed's split has, and how many of them are padded."""
        data, splits = self.config.data, np.array(split_of_run(self.file, self.config))
        counts = {}
        for part in ("train", "validation", "test"):
            blocks = cut_blocks(
                self.file, np.flatnonzero(splits == part), data.num_steps, data.fps, data.stride, data.block_rule
            )
            counts[part] = len(blocks), blocks.num_padded()
        return counts

    @functools.cached_property
    def _draws(self):
        """The test clips' indices, and samples of them; all rows are scored on the same ones."""
        names, _ = next(found[0] for found in self.trials.values() if found).predictions()
        clips = [self.file.names.index(name) for name in names]
        counts, num_groups = draw_clips([self.file.groups[clip] for clip in clips])
        return (names, self.file.labels[clips], counts), num_groups

    def _scores_of_draws(self, row: str) -> np.ndarray:
        if row not in self._resampled:
            (clips, labels, counts), _ = self._draws
            predictions = []
            for trial in self.trials[row]:
                names, found = trial.predictions()
                if names != clips:
                    raise InputError(f"{trial.folder}: was evaluated on other clips; remove cell.json there")
                predictions.append(found)
            scores = mean_average_precisions if self.file.multi_label else accuracies
            self._resampled[row] = mean_scores(scores, predictions, labels, counts)
        return self._resampled[row]


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Returns mean and sample standard deviation; the latter is NaN of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else float("nan")


def compare(workdir, config: RunConfig, rows: list[str], num_seeds: int, retrain: bool = False) -> Iterator[Comparison]:
    """Trains and evaluates rows, all of them with the first seed, then with the second, and so on.

    With `test_folds`, a trial is one run on each of the folds, whose test predictions are pooled, see `fold_trials`.

    Args:
      workdir: trials are in its folder `cells`, or for five test folds `test_folds_5`; those that are done are not run
        again.
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
    file, folds = open_features(config.data.features), config.data.test_folds
    if not folds and "test" not in file.splits:
        raise InputError(f"{config.data.features}: no video in its test part; a table needs one, see index.csv")
    config = with_flags(config, features=absolute_path(config.data.features))

    def folder_of(row: str, seed: int) -> Path:
        return Path(workdir) / (f"test_folds_{folds}" if folds else "cells") / row / f"seed_{seed}"

    for row, seed, k in itertools.product(rows, range(num_seeds), range(folds or 1)):
        folder = folder_of(row, seed) / (f"fold_{k}" if folds else "")
        require_run_to_begin_with(with_flags(ROWS[row].configure(config, seed), test_fold=k), folder)
    comparison, mean_feature = Comparison(config, file, num_seeds), MeanFeatureBaseline(file)

    def run_row(row: str, run: RunConfig, folder: Path) -> Trial:
        if row == MEAN_FEATURE:
            return mean_feature.trial(folder, run, everything=retrain)
        trial = run_trial(folder, run, file, None if retrain else "test", notes=not comparison.trials)
        if not retrain:
            return trial
        again = retrain_to_cost(run, trial, "test")
        if not again.reached:
            comparison.remarks.append(again.describe())
        return Trial(again.trial.folder, trial.best, again.trial.scores, trial.seconds + again.trial.seconds)

    for seed in range(num_seeds):
        for row in rows:
            folder = folder_of(row, seed)
            print(f"{ROWS[row].title}, seed {seed} ({seed + 1} of {num_seeds}): {folder}", flush=True)
            run = ROWS[row].configure(config, seed)
            if folds:
                parts = [run_row(row, with_flags(run, test_fold=k), folder / f"fold_{k}") for k in range(folds)]
                trial = pooled(folder, parts, file)
            else:
                trial = run_row(row, run, folder)
            comparison.trials.setdefault(row, []).append(trial)
            yield comparison
