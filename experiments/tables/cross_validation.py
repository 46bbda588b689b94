"""Cross-validation inside the training part: every point of a grid, trained and scored on every fold; without test."""

import functools
import itertools
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from attention_ar.errors import InputError
from data_prep.features.opening import absolute_path, open_features
from data_prep.loading.block_table import cut_blocks
from experiments.runs.build import build_model
from experiments.runs.config import RunConfig, as_flags, with_flags
from experiments.runs.metrics_log import read_metrics
from experiments.runs.models import levels_of
from experiments.runs.resumption import require_run_to_begin_with
from experiments.runs.split import choose_videos
from experiments.runs.training import require_levels
from experiments.tables.grid import SET_BY_SWEEP, point_name, points
from experiments.tables.trials import Trial, run_trial


@dataclass(frozen=True)
class PointResult:
    """The results of one point of the grid.

    Attributes:
      point: its flags.
      config: its configuration, with the first fold and seed.
      trials: its runs, of each fold with all seeds.
    """

    point: dict
    config: RunConfig
    trials: list[list[Trial]]

    @functools.cached_property
    def _curves(self) -> dict[str, np.ndarray]:
        """Held-out score, held-out cross-entropy and training cost, each `<float64>[folds, epochs]`, seeds averaged."""
        lines = [[read_metrics(trial.folder / "metrics.jsonl") for trial in fold] for fold in self.trials]
        epochs = range(min(len(run) for fold in lines for run in fold))  # Fewer where a run ended at its cost.
        measures = {
            "score": lambda line: line["held_out"][line["held_out"]["score_name"]],
            "cross_entropy": lambda line: line["held_out"]["cross_entropy"],
            "cost": lambda line: line["loss"],
        }
        return {
            name: np.array([[np.mean([measure(run[e]) for run in fold]) for e in epochs] for fold in lines])
            for name, measure in measures.items()
        }

    @functools.cached_property
    def epoch(self) -> int:
        """The epoch, from 1, whose score is best in the mean over the folds; of equals, the lowest cross-entropy's."""
        score, cross_entropy = self._curves["score"].mean(axis=0), self._curves["cross_entropy"].mean(axis=0)
        score = np.where(np.isfinite(score), score.round(9), -np.inf)
        return 1 + int(np.lexsort((cross_entropy, -score))[0])

    @property
    def scores(self) -> np.ndarray:
        """Each fold's score at that epoch, `<float64>[folds]`."""
        return self._curves["score"][:, self.epoch - 1]

    @property
    def cross_entropy(self) -> float:
        """Of the held-out parts at that epoch, mean over the folds."""
        return float(self._curves["cross_entropy"][:, self.epoch - 1].mean())

    @property
    def cost(self) -> float:
        """The training loss per block at that epoch, mean over the folds."""
        return float(self._curves["cost"][:, self.epoch - 1].mean())

    @property
    def score_by_epoch(self) -> list[float]:
        """The mean over the folds after every epoch."""
        return self._curves["score"].mean(axis=0).tolist()

    @property
    def score_name(self) -> str:
        """The name of the score."""
        return self.trials[0][0].best["held_out"]["score_name"]

    @property
    def seconds(self) -> float:
        """Of the training steps of one run, mean over all runs."""
        return float(np.mean([trial.seconds for fold in self.trials for trial in fold]))

    @functools.cached_property
    def num_parameters(self) -> int:
        """Of the model."""
        with np.load(self.trials[0][0].folder / "params.npz", allow_pickle=False) as params:
            return sum(params[name].size for name in params)


@dataclass
class Sweep:
    """A cross-validation, as far as it is done.

    Attributes:
      config: the part that all points share.
      file: the FeaturesFile.
      grid: values of each flag of the grid.
      num_seeds: seeds 0, 1, … on every fold.
      fold_sizes: clips of each fold.
      num_groups: of the training part that was cut; 0 where they are unknown.
      results: of the points that are done, in the order of the grid.
    """

    config: RunConfig
    file: object
    grid: dict[str, list]
    num_seeds: int
    fold_sizes: list[int]
    num_groups: int
    results: list[PointResult]

    def best(self) -> PointResult:
        """Returns the point of the highest mean score, of equals the one of the lowest held-out cross-entropy."""
        return min(self.results, key=lambda result: (-round(result.scores.mean(), 9), result.cross_entropy))


def t_interval(values) -> tuple[float, float]:
    """Returns the 95 % interval of a mean by Student's t; from minus to plus infinity for a single value."""
    values = np.asarray(values, float)
    if len(values) < 2:
        return -math.inf, math.inf
    half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def cross_validate(
    workdir,
    config: RunConfig,
    grid: dict[str, list],
    folds: int,
    num_seeds: int,
    keep_checkpoints: bool = True,
    before_run: Callable[[str], None] = lambda name: None,
) -> Iterator[Sweep]:
    """Trains and scores all points of a grid on all folds of the training part.

    Args:
      workdir: runs are in its folder `points`; those that are done are not run again.
      config: the part that all points share; its held-out part and seed are ignored.
      grid: see `grid.parse_grid`.
      folds: into how many folds the training part is cut, see `data_prep.datasets.splits.hold_out_fold`.
      num_seeds: how many seeds on each fold.
      keep_checkpoints: whether the runs of a point that is done keep theirs; the table needs none. Without them, more
        epochs start again at the first one.
      before_run: is called with the name of each run before it begins.

    Yields:
      The results so far, each time a point is done.

    Raises:
      InputError: where the training part cannot be cut into so many folds, and see `run_trial`.
    """
    if folds < 2:
        raise InputError(f"folds={folds}: must be at least 2")
    file = open_features(config.data.features)
    default = as_flags(RunConfig())
    config = with_flags(config, **{name: default[name] for name in SET_BY_SWEEP})
    config = with_flags(config, features=absolute_path(config.data.features), folds=folds)
    configs = [with_flags(config, **point) for point in points(grid)]

    def name_of(point: dict, fold: int, seed: int) -> str:
        return f"{point_name(point)}/fold_{fold}/seed_{seed}"

    for point, each in zip(
        points(grid), configs, strict=True
    ):  # An error in one of them is raised before any training.
        require_levels(each, file)
        scales = each.model.level_scales or ",".join("1" for _ in levels_of(each)[1:])  # Training measures them.
        build_model(with_flags(each, level_scales=scales), len(file.class_names), file.multi_label)
        data = each.data
        for videos in choose_videos(file, each):
            cut_blocks(file, videos, data.num_steps, data.fps, data.stride, data.block_rule)
        for fold, seed in itertools.product(range(folds), range(num_seeds)):
            begun = Path(workdir) / "points" / name_of(point, fold, seed)
            require_run_to_begin_with(with_flags(each, fold=fold, seed=seed), begun)
    sizes = [len(choose_videos(file, with_flags(configs[0], fold=fold))[1]) for fold in range(folds)]
    cut = np.concatenate(choose_videos(file, configs[0]))
    groups = {file.groups[video] for video in cut if file.groups[video]}
    sweep = Sweep(config, file, grid, num_seeds, sizes, len(groups), [])
    for number, (point, each) in enumerate(zip(points(grid), configs, strict=True), 1):
        trials = []
        for fold in range(folds):
            trials.append([])
            for seed in range(num_seeds):
                name = name_of(point, fold, seed)
                before_run(name)
                print(f"point {number} of {len(configs)}: {name}", flush=True)
                run = with_flags(each, fold=fold, seed=seed)
                folder, is_first = Path(workdir) / "points" / name, not (sweep.results or any(trials))
                trials[fold].append(run_trial(folder, run, file, split=None, notes=is_first))
        sweep.results.append(PointResult(point, each, trials))
        if not keep_checkpoints:
            for trial in (trial for of_fold in trials for trial in of_fold):
                shutil.rmtree(trial.folder / "checkpoints", ignore_errors=True)
        yield sweep
