"""Training of one model, from top to bottom: data, model, checkpoint to resume from, epochs, export."""

import contextlib
import dataclasses
import functools
import json
import os
import zlib
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from attention_ar.errors import InputError
from attention_ar.training.checkpoints import Checkpoints
from attention_ar.training.named_params import export_params
from attention_ar.training.parallel import check_batch_size, choose
from attention_ar.training.steps import create_train_state
from data_prep.common.files import write_json
from data_prep.features.opening import absolute_path, open_features
from data_prep.features.statistics import root_mean_square
from data_prep.loading.batches import load_batches
from data_prep.loading.block_table import Blocks, cut_blocks, epoch_order
from data_prep.loading.feature_stores import open_store
from experiments.runs import calibration
from experiments.runs.autosave import Autosave
from experiments.runs.build import (
    build_baseline,
    build_model,
    build_objective,
    build_optimizer,
    build_sampling,
    feature_dtype,
    features_of_a_block,
)
from experiments.runs.config import ModelConfig, RunConfig, read_config, with_flags
from experiments.runs.data_notes import notes_on
from experiments.runs.metrics_log import MetricsLog, describe_epoch, is_main, say
from experiments.runs.models import MODELS, levels_of
from experiments.runs.predictor import Predictor
from experiments.runs.resumption import (
    Best,
    begin_or_resume,
    best_so_far,
    is_over,
    params_of_run,
    require_same_flags,
    run_metadata,
    run_to_begin_with,
)
from experiments.runs.split import choose_videos
from experiments.runs.tensorboard_log import require_tensorboard
from experiments.runs.train_epoch import Position, StepNotFiniteError, train_epoch
from experiments.runs.trained import level_shapes
from experiments.runs.video_predictions import NotFiniteError, predict_videos
from experiments.runs.work_folder import work_folder

WATCHED = 256  # Blocks of the training part whose attention is watched when nothing is held out.


def train(config: RunConfig, workdir, notes: bool = True) -> dict:
    """Trains a model, or resumes where the last call with the same arguments was stopped.

    Leaves in `workdir`: `config.json`, `metrics.jsonl`, `checkpoints/` (latest and best) and `params.npz` (the best).

    Args:
      config: of the run.
      workdir: of the run.
      notes: whether a run that begins prints the `data_notes`.

    Returns:
      The line of `metrics.jsonl` about the best epoch.

    Raises:
      InputError: for bad configurations and files, where the loss is no longer a finite number, and while another
        program writes into `workdir`.
    """
    with work_folder(workdir):
        return _train(config, Path(workdir), notes)


def _train(config: RunConfig, workdir: Path, notes: bool) -> dict:
    """As `train`, in a folder that no other program writes into."""
    if config.runtime.tensorboard:
        require_tensorboard()

    # Data.
    file = open_features(config.data.features)
    config = with_flags(config, features=absolute_path(config.data.features))
    if config.attention.init_from:
        config = with_flags(config, init_from=run_to_begin_with(config))
    training_videos, held_out_videos = choose_videos(file, config)
    data = config.data
    blocks, held_out = (
        cut_blocks(file, videos, data.num_steps, data.fps, data.stride, data.block_rule)
        for videos in (training_videos, held_out_videos)
    )
    describe_data(file, training_videos, held_out_videos, blocks, held_out)
    config = with_level_scales(config, file, training_videos, workdir)

    if config.training.patience and not held_out:
        say("NOTE: nothing is held out, so patience has no effect")

    # If nothing is held out, the attention's health is measured on some blocks of the training part.
    watched = held_out or Blocks(blocks.video[:WATCHED], blocks.rows[:WATCHED])

    # Model.
    parallel = choose(config.runtime.parallel)
    batch_size = config.training.batch_size
    check_batch_size(batch_size, parallel)
    batch_size = min(batch_size, parallel.round_up(len(blocks)))
    model = build_model(config, len(file.class_names), file.multi_label)
    objective = build_objective(config, file.multi_label, file.labels[blocks.video])
    optimizer = build_optimizer(config.training)
    features = features_of_a_block(config, file.features.shape[1:], level_shapes(file))
    num_cells = int(np.prod(file.features.shape[1:3]))
    sampling = build_sampling(config, len(blocks))
    baseline = build_baseline(model, objective, sampling, config.data.num_steps)
    init = functools.partial(create_train_state, model, optimizer, baseline=baseline)
    dtype = feature_dtype(config.model)
    compiled_train_step = parallel.compile_train_step(
        dtype, model=model, objective=objective, optimizer=optimizer, seed=config.training.seed, sampling=sampling
    )
    predictor = Predictor(model, objective, parallel, dtype)
    metadata = run_metadata(file, blocks, config)
    require_same_flags(workdir, config)

    with Checkpoints(workdir / "checkpoints") as checkpoints:
        # Where to resume.
        require_agreement({**metadata, "flags": None, "checkpoint": checkpoints.step()})
        if notes and is_main() and checkpoints.step() is None:
            for note in notes_on(file, training_videos, held_out_videos):
                say(f"NOTE: {note}")
        best = best_so_far(checkpoints) if held_out else None  # Without anything held out, there is no patience.
        begin_with = config.attention.init_from and functools.partial(params_of_run, config, file)
        state, position, over = begin_or_resume(
            checkpoints, init, features, parallel, metadata, config.training, best, begin_with or None
        )
        if is_main():
            write_json(workdir / "config.json", dataclasses.asdict(config))
        log = MetricsLog(workdir / "metrics.jsonl", position.epoch - 1, config.runtime.tensorboard)
        if not over:
            store = open_store(
                config.runtime.features_on,
                file,
                dtype,
                np.concatenate([training_videos, held_out_videos]),
                parallel,
                batch_bytes=batch_size // jax.process_count() * num_values(features) * dtype.itemsize,
                levels=levels_of(config),
            )
            say(f"features on: {store.name}; {parallel.num_devices} device(s), parallel: {parallel.name}")

        # Epochs.
        with Autosave(checkpoints, metadata, config.runtime.save_seconds) as autosave:
            while not over:
                order = epoch_order(blocks.video, config.training.seed, position.epoch)
                share_frames = getattr(model, "per_frame", False)
                loaded = load_batches(
                    store, blocks, order, batch_size, parallel, first=position.batches, share_frames=share_frames
                )
                try:
                    with contextlib.closing(loaded) as batches:
                        state = train_epoch(
                            compiled_train_step,
                            state,
                            batches,
                            position,
                            autosave,
                            num_blocks=len(blocks),
                            sums_over_batch=MODELS[config.model.model].sums_over_batch,
                        )
                    line = position.line(int(state.step), len(blocks))
                    params = parallel.replicate(state.params)
                    with autosave.between_steps(state, position):
                        found = predict_videos(predictor, params, store, watched, batch_size)
                except StepNotFiniteError as error:
                    cause = NotFiniteError(file, np.unique(blocks.video[error.block])).cause
                    raise not_finite(error.step, cause, checkpoints) from None
                except NotFiniteError as error:
                    raise not_finite(line["step"], error.cause, checkpoints) from None
                scores = found.scores(file.labels[found.video], file.multi_label)
                if held_out:
                    labels = file.labels[found.video]
                    scores["temperature"] = calibration.fit(found.predictions, labels, file.multi_label).value
                line["held_out" if held_out else "training_part"] = scores
                log.write(line)  # Before the checkpoint: lines that only the log has are dropped when a run resumes.
                score = scores[scores["score_name"]] if held_out else -line["loss"]
                score = score if np.isfinite(score) else -np.inf
                saved = {**metadata, "epoch": position.epoch, "metrics": line}
                checkpoints.save(state, saved, score, scores["cross_entropy"])
                say(describe_epoch(line, config.training.epochs, num_cells))
                if held_out:
                    best = Best.of(line) if best is None else max(best, Best.of(line))
                over = is_over(position.epoch, line, config.training, best)
                if over and position.epoch < config.training.epochs and not config.training.stop_at_cost:
                    say(f"no better held-out score for {config.training.patience} epochs: training ends")
                position = Position(position.epoch + 1)

        # Output for users.
        checkpoints.wait()
        best = checkpoints.metadata("best")
        params = checkpoints.params(parallel.abstract(state.params), "best")
        if is_main():
            export_params(workdir / "params.npz", params)
    say(f"best epoch: {best['epoch']}; the run is in {workdir}")
    return best["metrics"]


def describe_data(file, training_videos, held_out_videos, blocks: Blocks, held_out: Blocks):
    """Prints what is trained on, and what is special about it."""
    if file.recipe["random"]:
        say("NOTE: these features are of the RANDOM network; the run is only a trial")
    say(
        f"{len(training_videos)} videos to train on ({len(blocks)} blocks of {blocks.rows.shape[1]} frames), "
        f"{len(held_out_videos)} held out ({len(held_out)} blocks), {len(file.class_names)} classes"
    )
    if mirrored := int(file.mirrored[training_videos].sum()):
        say(f"{mirrored} of the videos to train on are mirror images of others")
    if short := blocks.num_padded():
        say(f"{short} of these {len(training_videos)} videos are shorter than a block: their last frame is repeated")


def with_level_scales(config: RunConfig, file, training_videos, workdir: Path) -> RunConfig:
    """Returns the configuration with σ of each further level, where the model reads several and the user gave none.

    A run that was begun has them already, and so has one to begin with.

    Raises:
      InputError: where the features file has not these levels.
    """
    levels = levels_of(config)
    require_levels(config, file)
    if not levels or config.model.level_scales:
        return config
    for folder in filter(None, (workdir, config.attention.init_from)):
        if (Path(folder) / "config.json").exists() and read_config(folder).model.levels == config.model.levels:
            return with_flags(config, level_scales=read_config(folder).model.level_scales)
    scales = {level: root_mean_square(file.at_level(level), training_videos) for level in levels[1:]}
    say("root mean square of " + ", ".join(f"{level}: {scale:.4g}" for level, scale in scales.items()))
    if not all(0 < scale < np.inf for scale in scales.values()):
        raise InputError(f"{config.data.features}: the features of a level are all 0 or not finite; extract them again")
    return with_flags(config, level_scales=",".join(f"{scale:.9g}" for scale in scales.values()))


def require_levels(config: RunConfig, file):
    """Raises `InputError` where a features file has not the levels that the model is to read."""
    if not MODELS[config.model.model].multi_level:
        return
    levels_of(config)  # Refuses names that are empty or twice there.
    text, names = config.model.levels, config.model.levels.split(",")
    known = file.level_names or [ModelConfig().levels]  # The only level of a file needs no name.
    for name in names:
        if name not in known:
            raise InputError(
                f"levels={text}: {config.data.features} has {', '.join(known)}, and not {name}; "
                f"data_prep.extract_features --levels={text} makes a file that does"
            )
    if names[0] != known[0]:
        raise InputError(f"levels={text}: must begin with {known[0]}, which gives the first state (Eq. 6)")


def num_values(features) -> int:
    """Returns how many numbers the features of a block are, of all levels."""
    return sum(int(np.prod(of_level.shape)) for of_level in jax.tree.leaves(features))


def require_agreement(facts: dict):
    """Refuses to train where the processes see different files: they would wait for each other forever.

    Raises:
      InputError: on all processes, with the names of the facts that differ.
    """
    if jax.process_count() == 1:
        return
    names = sorted(facts)
    hashes = [zlib.crc32(json.dumps(facts[name], sort_keys=True).encode()) for name in names]
    of_all = multihost_utils.process_allgather(np.array(hashes, np.uint32))
    differing = [name for name, column in zip(names, of_all.T, strict=True) if len(set(column.tolist())) > 1]
    if differing:
        raise InputError(
            f"the processes disagree about {', '.join(differing)}; --workdir must be one folder that all share, and "
            "--features the same file"
        )


def not_finite(step: int, cause: str, checkpoints) -> InputError:
    """The error line: why training stopped, and from where it can resume."""
    checkpoints.wait()
    last = checkpoints.step()
    saved = "none was saved" if last is None else os.path.join(checkpoints.directory, str(last))
    return InputError(
        f"step {step}: loss, gradient or prediction is not a finite number; {cause}; last good checkpoint: {saved}"
    )
