"""Training of one model, from top to bottom: data, model, checkpoint to go on from, epochs, export."""

import dataclasses
import functools
import os
import time
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from attention_ar.checkpoints import Checkpoints, export_params
from attention_ar.errors import InputError
from attention_ar.steps import create_train_state, eval_step, train_step
from data_prep.batches import Blocks, batches, epoch_order, prefetch
from data_prep.features_file import open_features, require_same_recipe
from data_prep.splits import check_disjoint_groups, hold_out_validation
from experiments.config import (
    RunConfig,
    as_flags,
    build_model,
    build_objective,
    build_optimizer,
    read_config,
    write_json,
)
from experiments.evaluation import NotFiniteError, predict_videos
from experiments.run_log import MetricsLog, describe_epoch
from experiments.trained import about_features

WATCHED = 256  # Blocks of the training part whose attention is watched when nothing is held out.


def train(config: RunConfig, workdir) -> dict:
    """Trains a model, or goes on where the last call with the same arguments was stopped.

    Leaves in `workdir`: `config.json`, `metrics.jsonl`, `checkpoints/` (latest and best) and `params.npz` (the best).

    Returns:
      The line of `metrics.jsonl` about the best epoch.

    Raises:
      InputError: for bad configurations and files, and where the loss is no longer a finite number.
    """
    workdir = Path(workdir)

    # Data.
    file = open_features(config.data.features)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, features=os.path.abspath(config.data.features))
    )
    if file.recipe["random"]:
        print("NOTE: these features are of the RANDOM network; what is learnt from them is for trying things only")
    training_videos, held_out_videos = choose_videos(file, config)
    blocks, held_out = (config.data.cut(file, videos) for videos in (training_videos, held_out_videos))
    print(
        f"{len(training_videos)} videos to train on ({len(blocks)} blocks of {config.data.num_steps} frames), "
        f"{len(held_out_videos)} held out ({len(held_out)} blocks), {len(file.class_names)} classes"
    )
    short = blocks.num_padded()
    if short:
        print(f"{short} of these {len(training_videos)} videos are shorter than a block: their last frame is repeated")

    # Whatever was not held out for it, the attention's health is watched on some of the training part.
    some = Blocks(blocks.video[:WATCHED], blocks.rows[:WATCHED])

    # Model.
    model = build_model(config, len(file.class_names), file.multi_label)
    objective = build_objective(config, file.multi_label)
    optimizer = build_optimizer(config.training)
    num_cells = int(np.prod(file.features.shape[1:3]))
    shape = (1, config.data.num_steps, num_cells, file.features.shape[-1])
    example = jax.ShapeDtypeStruct(shape, np.float32)
    init = functools.partial(create_train_state, model, optimizer)
    about = about_features(file)
    require_same_flags(workdir, config)
    compiled_train_step = jax.jit(
        functools.partial(train_step, model=model, objective=objective, optimizer=optimizer, seed=config.training.seed),
        donate_argnums=0,
    )
    compiled_eval_step = jax.jit(functools.partial(eval_step, model=model, objective=objective))

    with Checkpoints(workdir / "checkpoints") as checkpoints:
        # Where to go on.
        first_epoch = 1
        if checkpoints.step() is None:
            zeros = np.zeros(shape, np.float32)
            state = jax.jit(init)(jax.random.key(config.training.seed), zeros)
        else:
            saved = checkpoints.about()
            require_same_run(saved, about, checkpoints.directory)
            state = checkpoints.state(jax.eval_shape(init, jax.random.key(0), example))
            first_epoch = saved["epoch"] + 1
            done = first_epoch > config.training.epochs
            print(f"{workdir}: {'already complete' if done else 'going on'} after epoch {saved['epoch']}")
        write_json(workdir / "config.json", dataclasses.asdict(config))
        log = MetricsLog(workdir / "metrics.jsonl", resume_after=first_epoch - 1)

        # Epochs.
        for epoch in range(first_epoch, config.training.epochs + 1):
            order = epoch_order(blocks.video, config.training.seed, epoch)
            state, line = train_epoch(
                compiled_train_step, state, file, blocks, order, config, epoch, checkpoints, model.per_frame
            )
            try:
                watched = predict_videos(
                    compiled_eval_step,
                    state.params,
                    file,
                    held_out or some,
                    config.training.batch_size,
                    per_frame=model.per_frame,
                )
            except NotFiniteError as error:
                raise not_finite(line["step"], error.cause, checkpoints) from None
            scores = watched.scores(file.labels[watched.video], file.multi_label)
            line["held_out" if held_out else "training_part"] = scores
            score = scores[scores["score_name"]] if held_out else -line["loss"]
            log.write(line)  # Before the checkpoint: what is in the log alone is dropped when a killed run goes on.
            score = score if np.isfinite(score) else -np.inf
            checkpoints.save(state, {**about, "epoch": epoch, "metrics": line}, score, scores["cross_entropy"])
            print(describe_epoch(line, config.training.epochs, num_cells), flush=True)

        # What is left for users.
        best = checkpoints.about("best")
        export_params(workdir / "params.npz", checkpoints.params(state.params, "best"))
    print(f"best epoch: {best['epoch']}; the run is in {workdir}")
    return best["metrics"]


def choose_videos(file, config: RunConfig):
    """Returns the indices of the videos to train on, and of those held out of train to choose the best epoch."""
    check_disjoint_groups(file)
    fraction, seed = config.data.validation_fraction, config.training.seed
    splits = np.array(hold_out_validation(file.labels, file.groups, file.splits, fraction=fraction, seed=seed))
    training_videos = np.flatnonzero(splits == "train")
    if not len(training_videos):
        raise InputError("the features file has no video in its training part; index.csv must put some in `train`")
    return training_videos, np.flatnonzero(splits == "validation")


def require_same_flags(workdir: Path, config: RunConfig):
    """Refuses a work folder that holds another run; `epochs` and the place of the features may differ."""
    if (workdir / "config.json").exists():
        old, new = as_flags(read_config(workdir)), as_flags(config)
        fixed = [name for name in old if name not in ("features", "epochs")]
        differing = [f"{name}={old[name]} (now {new[name]})" for name in fixed if old[name] != new[name]]
        if differing:
            raise InputError(f"{workdir}: holds a run with {', '.join(differing)}; name another --workdir")


def require_same_run(saved: dict, about: dict, where):
    """Refuses to go on with a checkpoint of other classes, another split or features of another recipe."""
    require_same_recipe(saved["recipe"], about["recipe"])
    for name in ("class_names", "multi_label", "split_id", "feature_shape"):
        if saved[name] != about[name]:
            raise InputError(
                f"{where}: was trained with {name} {saved[name]}, the features file has {about[name]}; "
                "name the features it was trained on, or another --workdir"
            )


def train_epoch(compiled_train_step, state, file, blocks, order, config, epoch, checkpoints, per_frame):
    """Runs one epoch. Returns the new state and the epoch's line of `metrics.jsonl`, whose losses are per block."""
    sums_over_batch = config.model.model == "released"  # Its cost is a sum over the batch, Eq. 7 a mean.
    sums = dict.fromkeys(("loss", "cross_entropy", "attention_penalty", "weight_decay"), 0.0)
    started = time.perf_counter()

    def settle(metrics, block):
        metrics = jax.device_get(metrics)
        if not metrics["finite"]:
            cause = NotFiniteError(file, np.unique(blocks.video[block])).cause
            raise not_finite(int(metrics["step"]), cause, checkpoints)
        share = 1 if sums_over_batch else float(metrics["num_blocks"])
        for name in sums:
            sums[name] += share * float(metrics[name])

    pending, batch_size = None, min(config.training.batch_size, len(blocks))
    with tqdm(total=len(order), unit="block", desc=f"epoch {epoch}", disable=None, leave=False) as progress:
        for batch in prefetch(batches(file, blocks, order, batch_size, per_frame=per_frame)):
            block = batch.pop("block")
            state, metrics = compiled_train_step(state, batch)
            # The result of the step before is read while this one computes.
            if pending is not None:
                settle(*pending)
            pending = metrics, block
            progress.update(int(batch["weight"].sum()))
        settle(*pending)
    seconds = time.perf_counter() - started
    means = {name: value / len(order) for name, value in sums.items()}
    line = {"epoch": epoch, "step": int(state.step), **means}
    return state, {**line, "seconds": seconds, "blocks_per_second": len(order) / seconds}


def not_finite(step: int, cause: str, checkpoints) -> InputError:
    """Says why training stopped, and from where it can go on."""
    last = checkpoints.step()
    saved = "none was saved" if last is None else os.path.join(checkpoints.directory, str(last))
    return InputError(
        f"step {step}: loss, gradient or prediction is not a finite number; {cause}; last good checkpoint: {saved}"
    )
