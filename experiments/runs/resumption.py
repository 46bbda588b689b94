"""Where a run begins or resumes, whether it is over, and whether a work folder and a checkpoint are of this run."""

import dataclasses
import os
from pathlib import Path

import jax
import numpy as np

from attention_ar.errors import InputError
from attention_ar.training.checkpoints import Checkpoints
from data_prep.features.recipe import recipe_hash, require_same_recipe
from data_prep.loading.block_table import Blocks
from experiments.runs.config import RunConfig, RuntimeConfig, TrainingConfig, as_flags, read_config
from experiments.runs.flag_effects import without_effect
from experiments.runs.metrics_log import say
from experiments.runs.split import choose_videos, split_of_run
from experiments.runs.train_epoch import Position
from experiments.runs.trained import feature_metadata


@dataclasses.dataclass(frozen=True, order=True)
class Best:
    """The epoch of the best held-out score. Greater is better, as checkpoints are ranked; of equals, the latest is.

    Attributes:
      score: that was held out.
      minus_cross_entropy: of the held-out part, negative.
      epoch: from 1.
    """

    score: float
    minus_cross_entropy: float
    epoch: int

    @classmethod
    def of(cls, line: dict) -> "Best":
        """Returns an epoch as its line of `metrics.jsonl` describes it."""
        scores = line["held_out"]
        score = scores[scores["score_name"]]
        return cls(score if np.isfinite(score) else -np.inf, -scores["cross_entropy"], line["epoch"])


def best_so_far(checkpoints: Checkpoints) -> Best | None:
    """Returns the best epoch of a run that held something out, from its checkpoints; None before the first one ends."""
    line = {} if checkpoints.step() is None else checkpoints.metadata("best").get("metrics", {})
    return Best.of(line) if "held_out" in line else None


def begin_or_resume(
    checkpoints: Checkpoints,
    init,
    features,
    parallel,
    metadata: dict,
    training: TrainingConfig,
    best: Best | None = None,
    begin_with=None,
):
    """Returns the TrainState and the Position from which training continues, and whether it is over.

    Args:
      checkpoints: of the run.
      init: a function of a key and features that makes the first TrainState.
      features: the shapes of those of one block, see `features_of_a_block`.
      parallel: on which devices, see `choose`.
      metadata: see `run_metadata`.
      training: of the run.
      best: see `is_over`.
      begin_with: a function of the initial weights that returns others of the same shapes; None keeps them.

    Raises:
      InputError: where the checkpoint is of another run.
    """
    if checkpoints.step() is None:
        zeros = jax.tree.map(lambda of_level: np.zeros(of_level.shape, of_level.dtype), features)
        state = jax.jit(init)(jax.random.key(training.seed), zeros)
        if begin_with is not None:
            state = state.replace(params=begin_with(state.params))
        return parallel.replicate(state), Position(1), False
    saved = checkpoints.metadata()
    require_same_run(saved, metadata, checkpoints.directory)
    example = jax.eval_shape(init, jax.random.key(0), features)
    state, position = checkpoints.state(parallel.abstract(example)), where_to_resume(saved)
    over = is_over(position.epoch - 1, saved.get("metrics", {}), training, best)
    workdir = os.path.dirname(checkpoints.directory)
    say(f"{workdir}: {'already complete' if over else 'resuming'} after {describe_position(saved)}")
    return state, position, over


def run_to_begin_with(config: RunConfig) -> str:
    """Returns the absolute path of the run that `--init_from` names, "" without one.

    `{seed}`, `{fold}` and `{test_fold}` in it are this run's own, so that each of the many runs of a table or of a
    sweep begins with one that was trained on the same clips.

    Raises:
      InputError: for the number of a fold where there are no folds.
    """
    path, flags = config.attention.init_from, as_flags(config)
    for name in ("fold", "test_fold"):
        if f"{{{name}}}" in path and not flags[f"{name}s"]:
            raise InputError(f"init_from={path}: has {{{name}}}, which a run without --{name}s does not have")
    for name in ("seed", "fold", "test_fold"):
        path = path.replace(f"{{{name}}}", str(flags[name]))
    return path and os.path.abspath(path)


def require_run_to_begin_with(config: RunConfig, folder: Path | None = None):
    """Raises `InputError` where `--init_from` names no run of the same model that is trained to its end.

    A run that has begun, in `folder`, does not need it any more.
    """
    workdir = run_to_begin_with(config)
    if not workdir or (folder and (folder / "config.json").exists()):
        return
    if not ((Path(workdir) / "params.npz").exists() and (Path(workdir) / "checkpoints").is_dir()):
        raise InputError(f"init_from={workdir}: is no run that is trained to its end and has its checkpoints")
    model = read_config(workdir).model.model
    if model != config.model.model:
        raise InputError(f"init_from={workdir}: is a run of {model}, and not of {config.model.model}")


def params_of_run(config: RunConfig, file, like) -> dict:
    """Returns the best parameters of the run that `--init_from` names.

    Args:
      config: of the run that begins with it.
      file: its features.
      like: parameters of its model.

    Raises:
      InputError: where there is no such run, or it has another model or shapes, other features or other classes, or
        was trained on clips that are tested or held out here.
    """
    require_run_to_begin_with(config)
    workdir = config.attention.init_from
    what = f"init_from={workdir}"
    try:
        other = read_config(workdir)
        with Checkpoints(Path(workdir) / "checkpoints", create=False) as checkpoints:
            saved = checkpoints.metadata("best")
            require_same_recipe(saved["recipe"], file.recipe)
            for name in ("class_names", "split_id"):
                if saved[name] != feature_metadata(file)[name]:
                    raise InputError(f"its {name} is {saved[name]}, here it is {feature_metadata(file)[name]}")
            trained_on, parts = choose_videos(file, other)[0], np.array(split_of_run(file, config))
            for part, which in (("validation", "held out"), ("test", "tested")):
                seen = np.count_nonzero(parts[trained_on] == part)
                if seen:
                    raise InputError(
                        f"it was trained on {seen} of the {np.count_nonzero(parts == part)} clips that are {which} "
                        f"here; give both runs the same {different_split(other, config)}"
                    )
            return checkpoints.params(jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), like), "best")
    except InputError as error:
        raise InputError(f"{what}: {error}") from None


def different_split(one: RunConfig, other: RunConfig) -> str:
    """Returns the flags by which two runs divide the clips differently, for example "--folds, --fold"."""
    names = ["validation_fraction", "split_seed", "folds", "fold", "test_folds", "test_fold"]
    if one.data.split_seed < 0:
        names.append("seed")  # It draws what is held out.
    one, other = as_flags(one), as_flags(other)
    return ", ".join(f"--{name}" for name in names if one[name] != other[name])


def run_metadata(file, blocks: Blocks, config: RunConfig) -> dict:
    """Returns the metadata of every checkpoint, without the position in training."""
    return {
        **feature_metadata(file),
        "recipe_sha256": recipe_hash(file.recipe),
        "num_blocks": len(blocks),
        "flags": as_flags(config),
        "random": {"seed": config.training.seed, "generator": str(jax.random.key_impl(jax.random.key(0)))},
    }


def require_same_flags(workdir: Path, config: RunConfig):
    """Refuses a work folder that holds another run.

    `epochs`, `patience`, the path of the features, the runtime and flags without effect may differ.
    """
    if (workdir / "config.json").exists():
        old, new = as_flags(read_config(workdir)), as_flags(config)
        free = {
            "features",
            "epochs",
            "patience",
            *(f.name for f in dataclasses.fields(RuntimeConfig)),
            *without_effect(config),
        }
        fixed = [name for name in old if name not in free]
        differing = [f"{name}={old[name]} (now {new[name]})" for name in fixed if old[name] != new[name]]
        if differing:
            raise InputError(f"{workdir}: holds a run with {', '.join(differing)}; name another --workdir")


def require_same_run(saved: dict, metadata: dict, where):
    """Refuses to resume from a checkpoint of other classes, videos or blocks, or features of another recipe."""
    require_same_recipe(saved["recipe"], metadata["recipe"])
    for name in ("class_names", "multi_label", "split_id", "feature_shape", "videos_sha256", "num_blocks", "random"):
        if name in saved and saved[name] != metadata[name]:
            raise InputError(
                f"{where}: was trained with {name} {saved[name]}, the features file has {metadata[name]}; "
                "name the features it was trained on, or another --workdir"
            )


def is_over(epoch: int, line: dict, training: TrainingConfig, best: Best | None = None) -> bool:
    """Returns whether training ends after an epoch.

    Args:
      epoch: its number.
      line: of `metrics.jsonl` about it, if it is known.
      training: of the run.
      best: the best epoch so far, by the held-out score; None where nothing is held out.
    """
    reached = training.stop_at_cost > 0 and line.get("loss", np.inf) <= training.stop_at_cost
    in_vain = best is not None and training.patience > 0 and epoch - best.epoch >= training.patience
    return epoch >= training.epochs or bool(reached) or in_vain


def where_to_resume(saved: dict) -> Position:
    """Returns the position after a checkpoint: in the middle of its epoch, or where the next one begins."""
    if "metrics" in saved:
        return Position(saved["epoch"] + 1)
    return Position(**{f.name: saved[f.name] for f in dataclasses.fields(Position)})


def describe_position(saved: dict) -> str:
    """Returns for example "epoch 3", or "epoch 3, batch 120"."""
    return f"epoch {saved['epoch']}" + ("" if "metrics" in saved else f", batch {saved['batches']}")
