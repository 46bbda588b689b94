"""Batches of blocks from the three feature stores.

The training step of the paper's model, each time on a new batch that a thread has assembled from features on disk,
in the host's memory or on the device, beside the same step on one batch that is cached in memory. The features are
random: `--num_videos` of twice T frames each, and the blocks of an epoch are shuffled as in training. Evaluation is all
of `experiments.evaluate` but its files: every block at stride 1, read from disk, predicted, and fetched.
"""

import dataclasses
import functools
import itertools
import tempfile
from pathlib import Path

import numpy as np

from experiments.benchmarks import train_step
from experiments.benchmarks.framework import Contender, Workload
from experiments.benchmarks.settings import Settings


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """One batch held in memory, and the three feature stores, for every batch size and compute type."""
    found = []
    for dtype in settings.dtypes(platform):
        for size in settings.sizes(platform):
            held = f"one batch held, batch {size}, {dtype}"
            found.append(Contender(held, functools.partial(train_step.build_ours, settings, size, dtype)))
            for store in ("host", "disk", "device"):
                build = functools.partial(build_training, settings, size, dtype, store)
                found.append(Contender(f"{store}, batch {size}, {dtype}", build, compare_to=held))
            build = functools.partial(build_evaluation, settings, size, dtype)
            found.append(Contender(f"evaluation from disk, batch {size}, {dtype}", build, compare_to=held))
    return found


def made_up_features(settings: Settings):
    """Writes a features file of random values, about half of them 0 as after a ReLU, opens it and removes its name."""
    from data_prep.features.contents import FeaturesFile
    from data_prep.features.hdf5_file import write_features
    from data_prep.features.opening import open_features

    count, frames, side = settings.num_videos, 2 * settings.num_steps, round(settings.num_cells**0.5)
    some = np.maximum(np.random.default_rng(0).standard_normal((997, side, side, settings.input_dim)), 0)
    contents = FeaturesFile(
        features=some.astype(np.float16)[np.arange(count * frames) % len(some)],
        names=[f"{number}.avi" for number in range(count)],
        first_row=frames * np.arange(count),
        num_frames=np.full(count, frames),
        native_fps=np.full(count, 30.0),
        fps=np.full(count, 30.0),
        labels=np.eye(settings.num_classes, dtype=np.uint8)[np.arange(count) % settings.num_classes],
        groups=[""] * count,
        splits=["train"] * count,
        truncated=np.zeros(count, bool),
        class_names=[f"{number:03d}" for number in range(settings.num_classes)],
        multi_label=False,
        recipe={"random": True},
        split_id="made up",
        data_dir="",
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-features-") as folder:
        path = Path(folder) / "features.h5"
        write_features(path, contents)
        return open_features(path)


def build_training(settings: Settings, size: int, dtype: str, store_name: str) -> Workload:
    """Training with batches from one feature store."""
    import jax

    from attention_ar.loss import PaperObjective
    from attention_ar.training.optimizers import adam
    from attention_ar.training.parallel import choose
    from attention_ar.training.steps import create_train_state
    from data_prep.loading.batches import load_batches
    from data_prep.loading.block_table import cut_blocks, epoch_order
    from data_prep.loading.feature_stores import open_store
    from experiments.runs.build import build_model

    parallel, optimizer = choose("jit"), adam(1e-4)
    features = jax.numpy.dtype(dtype)
    file = made_up_features(settings)
    videos = np.arange(settings.num_videos)
    blocks = cut_blocks(file, videos, settings.num_steps, 30, 1)
    store = open_store(store_name, file, features, videos, parallel)
    model = build_model(settings.run_config(dtype), settings.num_classes, multi_label=False)
    step = parallel.compile_train_step(features, model=model, objective=PaperObjective(), optimizer=optimizer, seed=0)
    x = np.zeros((1, settings.num_steps, settings.num_cells, settings.input_dim), np.float32)
    state = jax.jit(functools.partial(create_train_state, model, optimizer))(jax.random.key(0), x)

    def epochs():
        for epoch in itertools.count(1):
            yield from load_batches(store, blocks, epoch_order(blocks.video, 0, epoch), size, parallel)

    batches, held = epochs(), [state]

    def run():
        held[0], metrics = step(held[0], next(batches).arrays)
        jax.block_until_ready(metrics)

    return Workload(run, size, "block")


def build_evaluation(settings: Settings, size: int, dtype: str) -> Workload:
    """Evaluation of videos from disk, as many as eight batches need."""
    import jax

    from attention_ar.loss import PaperObjective
    from attention_ar.training.parallel import choose
    from data_prep.loading.block_table import cut_blocks
    from data_prep.loading.feature_stores import OnDisk
    from experiments.runs.build import build_model
    from experiments.runs.predictor import Predictor
    from experiments.runs.video_predictions import predict_blocks

    features = jax.numpy.dtype(dtype)
    num_videos = min(-(-8 * size // (settings.num_steps + 1)), settings.num_videos)
    few = dataclasses.replace(settings, num_videos=num_videos)
    file = made_up_features(few)
    blocks = cut_blocks(file, np.arange(num_videos), settings.num_steps, 30, 1)
    model = build_model(settings.run_config(dtype), settings.num_classes, multi_label=False)
    x = np.zeros((1, settings.num_steps, settings.num_cells, settings.input_dim), np.float32)
    params = jax.jit(model.init)(jax.random.key(0), x)["params"]
    predictor = Predictor(model, PaperObjective(), choose("jit"), features)

    def run():
        predict_blocks(predictor, params, OnDisk(file, features), blocks, size)

    return Workload(run, len(blocks), "block")
