"""The models of the paper's Table 1, each trained with several seeds on one data set, and what their scores say."""

import dataclasses
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from attention_ar.errors import InputError
from data_prep.features.opening import absolute_path, open_features
from experiments.runs.config import RunConfig
from experiments.tables.bootstrap import Difference, accuracies, mean_average_precisions, paired_bootstrap
from experiments.tables.retraining import retrain_to_cost
from experiments.tables.trials import Cell, run_cell


@dataclass(frozen=True)
class Row:
    """One model of the tables.

    Attributes:
      title: as the paper calls it.
      model: what `--model` names.
      attention_penalty: λ; None for a model to which it means nothing.
    """

    title: str
    model: str
    attention_penalty: float | None = None

    def configure(self, config: RunConfig, seed: int) -> RunConfig:
        """Returns the configuration of this row with this seed."""
        return dataclasses.replace(
            config,
            model=dataclasses.replace(config.model, model=self.model),
            objective=dataclasses.replace(config.objective, attention_penalty=self.attention_penalty or 0.0),
            training=dataclasses.replace(config.training, seed=seed),
        )


ROWS = {
    "softmax_regression": Row("softmax regression", "softmax_regression"),
    "average_pool": Row("average-pooled LSTM", "average_pool"),
    "max_pool": Row("max-pooled LSTM", "max_pool"),
    "attention_0": Row("soft attention, λ = 0", "soft_attention", 0.0),
    "attention_1": Row("soft attention, λ = 1", "soft_attention", 1.0),
    "attention_10": Row("soft attention, λ = 10", "soft_attention", 10.0),
    "released": Row("released", "released"),
}
ATTENTION = ("attention_0", "attention_1", "attention_10")
BASELINE = "average_pool"


@dataclass
class Comparison:
    """What is known so far of some rows on one data set.

    Attributes:
      config: what all cells have in common.
      file: the FeaturesFile.
      num_seeds: seeds 0, 1, … of every row.
      cells: of each row, by seed as they are done; of one that was trained again on everything, these scores.
      remarks: what a reader should know of single cells.
    """

    config: RunConfig
    file: object
    num_seeds: int
    cells: dict[str, list[Cell]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    _differences: dict[tuple, Difference] = field(default_factory=dict)

    def test_scores(self, row: str) -> list[float]:
        """Returns the scores on test, one a seed."""
        return [cell.scores[cell.scores["score_name"]] for cell in self.cells.get(row, [])]

    def held_out_scores(self, row: str) -> list[float]:
        """Returns the best epochs' scores on what was held out of training; none where nothing was."""
        lines = [cell.best.get("held_out") for cell in self.cells.get(row, [])]
        return [line[line["score_name"]] for line in lines if line]

    def difference(self, row: str, baseline: str) -> Difference | None:
        """Compares two rows on the same test clips; None as long as one of them is not complete."""
        if any(len(self.cells.get(name, [])) < self.num_seeds for name in (row, baseline)):
            return None
        if (row, baseline) not in self._differences:
            (names, ours), (_, theirs) = self._predictions(row), self._predictions(baseline)
            clips = [self.file.names.index(name) for name in names]
            scores = mean_average_precisions if self.file.multi_label else accuracies
            groups = [self.file.groups[i] for i in clips]
            self._differences[row, baseline] = paired_bootstrap(scores, ours, theirs, self.file.labels[clips], groups)
        return self._differences[row, baseline]

    def _predictions(self, row):
        found = [cell.predictions() for cell in self.cells[row]]
        return found[0][0], np.stack([predictions for _, predictions in found])


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Returns mean and sample standard deviation; the latter is NaN of a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else float("nan")


def compare(workdir, config: RunConfig, rows: list[str], num_seeds: int, retrain: bool = False) -> Iterator[Comparison]:
    """Trains and evaluates rows, all of them with the first seed, then with the second, and so on.

    Args:
      workdir: cells are in its folder `cells`; those that are done are not run again.
      config: what all cells have in common; its model, λ and seed are not looked at.
      rows: names of `ROWS`.
      num_seeds: how many seeds.
      retrain: whether what is evaluated is not the best epoch but, as the author did, a model that is trained again on
        everything down to that epoch's training cost; see `retrain_to_cost`.

    Yields:
      What is known, each time a cell is done.

    Raises:
      InputError: where the features file has no test part, and see `run_cell`.
    """
    file = open_features(config.data.features)
    if "test" not in file.splits:
        raise InputError(f"{config.data.features}: no video in its test part; a table needs one, see index.csv")
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, features=absolute_path(config.data.features))
    )
    comparison = Comparison(config, file, num_seeds)
    for seed in range(num_seeds):
        for row in rows:
            folder = Path(workdir) / "cells" / row / f"seed_{seed}"
            print(f"{ROWS[row].title}, seed {seed} ({seed + 1} of {num_seeds}): {folder}", flush=True)
            cell = run_cell(folder, ROWS[row].configure(config, seed), file, None if retrain else "test")
            if retrain:
                again = retrain_to_cost(ROWS[row].configure(config, seed), cell, "test")
                cell = Cell(again.cell.folder, cell.best, again.cell.scores, cell.seconds + again.cell.seconds)
                if not again.reached:
                    comparison.remarks.append(again.describe())
            comparison.cells.setdefault(row, []).append(cell)
            yield comparison
