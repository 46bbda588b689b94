"""A sweep as a table, rewritten after every point, and its best point trained again on everything."""

from pathlib import Path

import numpy as np

from data_prep.common.files import write_table
from data_prep.features.recipe import recipe_hash
from experiments.runs.config import RunConfig, as_flags, with_flags
from experiments.runs.provenance import provenance
from experiments.runs.resumption import run_to_begin_with
from experiments.tables.cross_validation import PointResult, Sweep, cross_validate, t_interval
from experiments.tables.grid import SET_BY_SWEEP, point_name, points, value_text
from experiments.tables.retraining import Retraining, retrain


def sweep(
    workdir,
    config: RunConfig,
    grid: dict[str, list],
    folds: int,
    num_seeds: int,
    *,
    retrain_to_cost: bool = False,
    keep_checkpoints: bool = True,
) -> tuple[list[Path], list[Retraining]]:
    """Cross-validates a grid; leaves `sweep.md`, `.csv` and `.json` in the work folder.

    Args:
      workdir, config, grid, folds, num_seeds, keep_checkpoints: see `cross_validate`.
      retrain_to_cost: whether to train the best point on the whole training part in the end, once with each seed, down
        to its training cost at its best epoch (the mean over the folds); into the folder `retrained`.

    Returns:
      The paths of the table's files, and the models that were trained again.
    """
    retrained = []
    if retrain_to_cost:
        run_to_begin_with(with_flags(config, folds=0))  # Refused now, and not when all points are done.
    for found in cross_validate(workdir, config, grid, folds, num_seeds, keep_checkpoints):
        paths = write_sweep(workdir, found, retrained)
    if retrain_to_cost:
        best = found.best()
        name = point_name({**best.point, "stop_at_cost": best.cost})
        for seed in range(num_seeds):
            folder = Path(workdir) / "retrained" / name / f"seed_{seed}"
            print(f"retraining the best point on everything, seed {seed}: {folder}", flush=True)
            retrained.append(retrain(with_flags(best.config, seed=seed), best.cost, folder))
        paths = write_sweep(workdir, found, retrained)
    return paths, retrained


def write_sweep(workdir, found: Sweep, retrained: list[Retraining] = ()) -> list[Path]:
    """Writes the table as far as its points are done."""
    best, name = found.best(), found.results[0].score_name.replace("_", " ")
    header = [*found.grid, f"held-out {name}, %", "95 % interval", "minus the best", "epoch", "training cost"]
    header += ["parameters", "seconds", *(column for column in protocol(found, best) if column not in found.grid)]
    rows = [row(found, result, best) for result in found.results]
    splits = "the training part" if "validation" not in found.file.splits else "the training and validation parts"
    cut = f"by group, {found.num_groups} of them" if found.num_groups else "clip by clip, for no groups are known"
    notes = [
        f"Cross-validation: {splits} of the split `{found.file.split_id}` cut into {len(found.fold_sizes)} folds {cut} "
        f"({' + '.join(map(str, found.fold_sizes))} clips); each is held out once, and all points see the same folds. "
        "Test is neither trained nor evaluated on.",
        "Scores are means over the folds, after the epoch at which this mean is best. It is one epoch for all folds, "
        "but chosen by the score itself, as is the best point: both look a little better than they are. Intervals are "
        "Student's t over the folds, cut off at 0 and 100; folds share training clips, so they are rough. `minus the "
        "best` is the mean, with its interval, of each fold's difference from the best point. The training cost is the "
        "loss per block at that epoch, and seconds are of the training steps of one run, compiling included.",
    ]
    if len(found.results) < len(points(found.grid)):
        notes.append(f"**Not done yet: {len(points(found.grid)) - len(found.results)} of the points.**")
    if found.file.recipe["random"]:
        notes.append("**The features are of a RANDOM network.**")
    notes += [one.describe() for one in retrained]
    return write_table(
        Path(workdir) / "sweep",
        f"Sweep over {', '.join(found.grid) or 'nothing'}",
        header,
        rows,
        notes,
        data(found, retrained),
        protocol=[column for column in protocol(found, best) if column not in found.grid],
    )


def row(found: Sweep, result: PointResult, best: PointResult) -> list[str]:
    """Returns the texts of a point's row."""
    low, high = np.clip(t_interval(result.scores), 0, 1)
    return [
        *(value_text(value) for value in result.point.values()),
        f"{100 * result.scores.mean():.1f}",
        f"{100 * low:.1f} to {100 * high:.1f}",
        "**best**" if result is best else difference_text(result.scores - best.scores),
        str(result.epoch),
        f"{result.cost:.4g}",
        f"{result.num_parameters:,}",
        f"{result.seconds:.1f}",
        *(text for column, text in protocol(found, result).items() if column not in found.grid),
    ]


def difference_text(differences) -> str:
    """Returns for example "−1.2 (−3.0 to +0.6)", in percentage points."""
    mean, low, high = (f"{100 * value:+.1f}" for value in (differences.mean(), *t_interval(differences)))
    return f"{mean} ({low} to {high})".replace("-", "−")


def protocol(found: Sweep, result: PointResult) -> dict[str, str]:
    """Returns the protocol of a point, by column; a column of a flag has its name."""
    data, training = result.config.data, result.config.training
    return {
        "split": found.file.split_id,
        "folds": str(len(found.fold_sizes)),
        "groups": str(found.num_groups) if found.num_groups else "unknown",
        "fps": f"{data.fps:g}",
        "stride": str(data.stride),
        "num_steps": str(data.num_steps),
        "epochs": str(training.epochs),
        "seeds": str(found.num_seeds),
    }


def data(found: Sweep, retrained: list[Retraining]) -> dict:
    """Returns all numbers, for JSON."""
    best = found.best()
    shared = {name: value for name, value in as_flags(found.config).items() if name not in {*SET_BY_SWEEP, *found.grid}}
    return {
        "made": provenance(),
        "features": found.config.data.features,
        "split_id": found.file.split_id,
        "recipe": recipe_hash(found.file.recipe),
        "random_network": found.file.recipe["random"],
        "score": best.score_name,
        "grid": found.grid,
        "folds": len(found.fold_sizes),
        "fold_sizes": found.fold_sizes,
        "num_groups": found.num_groups,
        "seeds": list(range(found.num_seeds)),
        "flags": shared,
        "best": best.point,
        "points": [
            {
                "point": result.point,
                "mean": float(result.scores.mean()),
                "interval": t_interval(result.scores),
                "scores": result.scores.tolist(),
                "epoch": result.epoch,
                "score_by_epoch": result.score_by_epoch,
                "cross_entropy": result.cross_entropy,
                "training_cost": result.cost,
                "num_parameters": result.num_parameters,
                "seconds": result.seconds,
                "workdirs": [[str(trial.folder) for trial in fold] for fold in result.trials],
            }
            for result in found.results
        ],
        "retrained": [
            {
                "workdir": str(one.trial.folder),
                "cost": one.cost,
                "epochs": one.epochs,
                "reached": one.reached,
                "lowest_cost": one.lowest_cost,
            }
            for one in retrained
        ],
    }
