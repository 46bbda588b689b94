"""Evaluation of the paper's model, or of the one that --model names.

The predictions of a batch of blocks, as `experiments.evaluate` makes them, beside the training step on the same batch.
"""

import functools

from experiments.benchmarks import train_step
from experiments.benchmarks.framework import Contender, Workload, matrix_product, product_name
from experiments.benchmarks.settings import Settings


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """Evaluation and training for every batch size and compute type."""
    found = [matrix_product(settings, platform, dtype) for dtype in settings.dtypes(platform)]
    for dtype in settings.dtypes(platform):
        for size in settings.sizes(platform):
            name = f"evaluation, batch {size}, {dtype}"
            build = functools.partial(build_evaluation, settings, size, dtype)
            found.append(Contender(name, build, reference=product_name(dtype)))
            build = functools.partial(train_step.build_ours, settings, size, dtype)
            found.append(Contender(f"training, batch {size}, {dtype}", build, compare_to=name))
    return found


def build_evaluation(settings: Settings, size: int, dtype: str) -> Workload:
    """Our evaluation step, compiled."""
    import jax

    from attention_ar.training.steps import eval_step
    from experiments.benchmarks.batch import device_batch, first_block
    from experiments.runs.build import build_model, build_objective

    config, batch = settings.run_config(dtype), device_batch(settings, size, dtype)
    model = build_model(config, settings.num_classes, multi_label=False)
    objective = build_objective(config, multi_label=False)
    params = jax.jit(model.init)(jax.random.key(0), first_block(batch))["params"]
    step = functools.partial(eval_step, model=model, objective=objective)
    compiled = jax.jit(step).lower(params, batch).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes

    def run():
        jax.block_until_ready(compiled(params, batch))

    facts = {"temporary memory": f"{temporary / 1e6:.0f} MB"}
    products = settings.products()
    return Workload(run, size, "block", products and size * products.forward, facts)
