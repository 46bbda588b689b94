"""A batch of random features of the size in the settings, and a training state."""

import functools

import numpy as np

from experiments.benchmarks.settings import Settings


def random_batch(settings: Settings, batch_size: int) -> dict[str, np.ndarray]:
    """Returns `features` `<float32>[B, T, K², D]`, about half of them 0 as after a ReLU, the rest as
    `train_step` wants it."""
    random = np.random.default_rng(0)
    shape = (batch_size, settings.num_steps, settings.num_cells, settings.input_dim)
    labels = random.integers(settings.num_classes, size=batch_size)
    return {
        "features": np.maximum(random.standard_normal(shape, np.float32), 0),
        "labels": np.eye(settings.num_classes, dtype=np.float32)[labels],
        "weight": np.ones(batch_size, np.float32),
        "index": np.arange(batch_size, dtype=np.int32),
    }


def device_batch(settings: Settings, batch_size: int, dtype: str):
    """Returns `random_batch` on the device, the features in the given type."""
    import jax

    batch = random_batch(settings, batch_size)
    return jax.device_put(batch | {"features": batch["features"].astype(jax.numpy.dtype(dtype))})


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
    state = [init(jax.random.key(0), batch["features"][:1])]
    step = functools.partial(
        train_step, model=model, objective=objective, optimizer=optimizer, seed=0, sampling=sampling
    )
    compiled = jax.jit(step, donate_argnums=0).lower(state[0], batch).compile()

    def run():
        state[0], metrics = compiled(state[0], batch)
        jax.block_until_ready(metrics)

    return run, compiled.memory_analysis().temp_size_in_bytes
