"""A batch of random features of the size in the settings, and a training state."""

import functools
import math

import numpy as np

from experiments.benchmarks.settings import Settings

TWO_LEVELS = {"levels": "inception_5b,inception_4e", "level_scales": "1"}
"""Settings of attention over two levels, of these at the paper's size."""


def frame_shapes(settings: Settings) -> dict[str, tuple[int, int]]:
    """Returns (K², D) of each level that the model reads.

    The second level has the proportions of inception_4e: 4·K² cells of 832/1024·D channels.
    """
    first = settings.num_cells, settings.input_dim
    if not settings.levels:
        return {"": first}
    fine = 4 * settings.num_cells, max(1, settings.input_dim * 832 // 1024)
    return dict(zip(settings.levels.split(","), (first, fine), strict=True))


def bytes_per_frame(settings: Settings, dtype: str) -> int:
    """Returns how many bytes of features a model is given for a frame."""
    return sum(map(math.prod, frame_shapes(settings).values())) * {"float32": 4, "bfloat16": 2}[dtype]


DISTINCT = 64
"""How many blocks of a batch are drawn; a larger batch repeats them, since 12 GB take long to draw."""


def random_batch(settings: Settings, batch_size: int) -> dict[str, np.ndarray]:
    """Returns `features` `<float32>[n, T, K², D]`, of several levels a dict of them, about half of them 0 as after a
    ReLU, the rest as `train_step` wants it. n is B, but at most `DISTINCT`: `repeat` makes them B on the device."""
    random = np.random.default_rng(0)
    labels = random.integers(settings.num_classes, size=batch_size)
    drawn = min(batch_size, DISTINCT)
    features = {
        level: np.maximum(random.standard_normal((drawn, settings.num_steps, *shape), np.float32), 0)
        for level, shape in frame_shapes(settings).items()
    }
    return {
        "features": features if settings.levels else features[""],
        "labels": np.eye(settings.num_classes, dtype=np.float32)[labels],
        "weight": np.ones(batch_size, np.float32),
        "index": np.arange(batch_size, dtype=np.int32),
    }


def repeat(blocks, batch_size: int):
    """Returns the blocks of an array of JAX or torch over and over, B of them."""
    return blocks if len(blocks) == batch_size else blocks[np.arange(batch_size) % len(blocks)]


def device_batch(settings: Settings, batch_size: int, dtype: str):
    """Returns `random_batch` on the device, the features in the given type."""
    import jax

    batch = random_batch(settings, batch_size)
    features = jax.tree.map(lambda array: array.astype(jax.numpy.dtype(dtype)), batch["features"])
    batch = jax.device_put(batch | {"features": features})
    return batch | {"features": jax.tree.map(lambda blocks: repeat(blocks, batch_size), batch["features"])}


def first_block(batch) -> dict:
    """Returns the features of a batch's first block, for `init`."""
    import jax

    return jax.tree.map(lambda array: array[:1], batch["features"])


def compile_train_step(settings: Settings, batch_size: int, dtype: str):
    """Compiles the training step as `experiments.train` runs it, for features of the given type on the device.

    Returns:
      A function of nothing that does one step, and the bytes of temporary memory that a step needs.
    """
    import jax

    from attention_ar.training.optimizers import adam
    from attention_ar.training.steps import create_train_state, train_step
    from experiments.runs.build import build_baseline, build_model, build_objective, build_sampling

    config = settings.run_config(dtype)
    model = build_model(config, settings.num_classes, multi_label=False)
    objective = build_objective(config, multi_label=False)
    batch = device_batch(settings, batch_size, dtype)
    optimizer, sampling = adam(1e-4), build_sampling(config, batch_size)
    baseline = build_baseline(model, objective, sampling, settings.num_steps)
    init = jax.jit(functools.partial(create_train_state, model, optimizer, baseline=baseline))
    state = [init(jax.random.key(0), first_block(batch))]
    step = functools.partial(
        train_step, model=model, objective=objective, optimizer=optimizer, seed=0, sampling=sampling
    )
    compiled = jax.jit(step, donate_argnums=0).lower(state[0], batch).compile()

    def run():
        state[0], metrics = compiled(state[0], batch)
        jax.block_until_ready(metrics)

    return run, compiled.memory_analysis().temp_size_in_bytes
