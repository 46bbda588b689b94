"""What accuracy to expect of new clips: cross-validation over groups, and what is taken for what in it."""

import csv
import math
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.features.contents import FeaturesFile
from experiments.runs.calibration import Temperature, fit
from experiments.runs.config import RunConfig
from experiments.runs.evaluation import evaluate, read_predictions
from experiments.runs.models import MODELS
from experiments.tables.cross_validation import PointResult, Sweep, cross_validate, t_interval
from experiments.tables.sweep_table import write_sweep

COMPARED = ("soft_attention", "average_pool", "softmax_regression")
FINAL = COMPARED[0]
_Z = 1.959964  # of a normal distribution, 95 %


@dataclass(frozen=True)
class Expectation:
    """What one model reaches on clips that it was not trained on.

    Attributes:
      title: of the model.
      mean: its score, the share of all held-out clips that are right.
      low, high: the 95 % interval.
      epoch: after which the score is best in the mean over the folds.
    """

    title: str
    mean: float
    low: float
    high: float
    epoch: int

    def describe(self) -> str:
        """Returns for example "87 % (75 to 96 %)"."""
        return f"{self.mean:.0%} ({100 * self.low:.0f} to {self.high:.0%})".replace("%", " %")


@dataclass(frozen=True)
class Estimate:
    """The result of cross-validation.

    Attributes:
      score_name: "accuracy", or "mean_average_precision" where clips have several labels.
      models: what to expect of each, by its name.
      num_held_out: clips that were held out, each once.
      classes: class names.
      taken: how often a clip of a class (first) was taken for another (second) by the attention model, by its folds'
        best epochs; empty where clips have several labels.
      tested: clips of each class that were held out.
      folder: of the first fold's attention model, whose held-out clips a report can show.
      temperature: of the attention model, fitted on all clips, each predicted by the fold that held it out.
    """

    score_name: str
    models: dict[str, Expectation]
    num_held_out: int
    classes: list[str]
    taken: Counter
    tested: Counter
    folder: Path
    temperature: Temperature

    @property
    def epochs(self) -> int:
        """For how many epochs to train on all clips."""
        return self.models[FINAL].epoch

    def recall(self, name: str) -> float:
        """The share of a class's clips that were right."""
        return self.taken[name, name] / self.tested[name] if self.tested[name] else math.nan

    def confusions(self) -> list[tuple[str, str, int]]:
        """Returns (class, what it was taken for, how often), the most frequent first."""
        wrong = [(label, said, count) for (label, said), count in self.taken.items() if label != said]
        return sorted(wrong, key=lambda found: (-found[2], found[0], found[1]))


def wilson_interval(right: float, count: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share, given the share and of how many it is.

    Unlike the normal approximation, it has a width where all are right: 24 of 24 give 86 to 100 %.
    """
    middle = (right + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(right * (1 - right) / count + _Z**2 / (4 * count**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def expectation(title: str, scores, sizes, epoch: int, is_share: bool) -> Expectation:
    """Returns a model's expectation from its scores on the folds.

    The interval is the wider one, on each side, of Student's t over the folds and of Wilson's for as many clips: with a
    few folds that happen to agree the first is too narrow, and with clips that succeed and fail together the second is.

    Args:
      title: of the model.
      scores: of the folds, `<float>[folds]`.
      sizes: held-out clips of each fold.
      epoch: after which these are its scores.
      is_share: whether a score is the share of clips that are right.
    """
    scores, sizes = np.asarray(scores, float), np.asarray(sizes)
    mean = float(np.average(scores, weights=sizes)) if is_share else float(scores.mean())
    low, high = t_interval(scores)
    if is_share:
        least, most = wilson_interval(mean, int(sizes.sum()))
        low, high = min(low, least), max(high, most)
    return Expectation(title, mean, float(np.clip(low, 0, mean)), float(np.clip(high, mean, 1)), epoch)


def estimate(workdir: Path, config: RunConfig, folds: int, before_run: Callable[[str], None]) -> Estimate:
    """Cross-validates the models of `COMPARED`; what an earlier call has done is not done again.

    Leaves `sweep.md`, `.csv`, `.json` and the runs behind them in `workdir`, without their checkpoints but those of the
    first fold's attention model.

    Args:
      workdir: for all of it.
      config: of all runs; its model is ignored.
      folds: how many.
      before_run: is called with the name of each run before it begins.
    """
    for found in cross_validate(workdir, config, {"model": list(COMPARED)}, folds, 1, before_run=before_run):
        write_sweep(workdir, found)
        _evaluate(found, found.results[-1])
    final = found.results[COMPARED.index(FINAL)]
    file, is_share = found.file, final.score_name == "accuracy"
    taken = Counter() if file.multi_label else sum((_taken(fold[0].folder) for fold in final.trials), Counter())
    return Estimate(
        score_name=final.score_name,
        models={
            name: expectation(MODELS[name].title, result.scores, found.fold_sizes, result.epoch, is_share)
            for name, result in zip(COMPARED, found.results, strict=True)
        },
        num_held_out=sum(found.fold_sizes),
        classes=list(file.class_names),
        taken=taken,
        tested=Counter(label for (label, _), count in taken.items() for _ in range(count)),
        folder=final.trials[0][0].folder,
        temperature=_temperature(file, [fold[0].folder for fold in final.trials]),
    )


def _evaluate(found: Sweep, result: PointResult):
    """Evaluates each fold of the attention model on its held-out clips, and removes checkpoints that are not needed."""
    is_final = result.point["model"] == FINAL
    for number, (trial,) in enumerate(result.trials):
        if is_final and not _predictions(trial.folder).exists():
            evaluate(trial.folder, features=found.config.data.features, split="validation")
        if not (is_final and number == 0):
            shutil.rmtree(trial.folder / "checkpoints", ignore_errors=True)


def _temperature(file: FeaturesFile, folders: Sequence[Path]) -> Temperature:
    found = [read_predictions(_predictions(folder)) for folder in folders]
    labels = file.labels[[file.names.index(name) for names, _ in found for name in names]]
    return fit(np.concatenate([predictions for _, predictions in found]), labels, file.multi_label)


def _predictions(folder: Path) -> Path:
    return folder / "evaluation" / "validation" / "predictions.csv"


def _taken(folder: Path) -> Counter:
    with open(_predictions(folder), newline="", encoding="utf-8") as file:
        return Counter((row["label"], row["predicted"]) for row in csv.DictReader(file))
