"""Training step of the authors' released model.

With `attention_ar.ReleasedAttentionLSTM` in its default options, which projects every cell of every frame, and half of
the blocks in a batch. Its products, too, are counted in `experiments/benchmarks/flops.py`.
"""

import functools

from experiments.benchmarks import flops
from experiments.benchmarks.framework import Contender, Workload, matrix_product, product_name
from experiments.benchmarks.settings import Settings


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """Ours for every compute type, at half the batch sizes."""
    found = [matrix_product(settings, platform, dtype) for dtype in settings.dtypes(platform)]
    for dtype in settings.dtypes(platform):
        for size in settings.sizes(platform):
            build = functools.partial(build_ours, settings, max(1, size // 2), dtype)
            name = f"attention_ar, batch {max(1, size // 2)}, {dtype}"
            found.append(Contender(name, build, reference=product_name(dtype)))
    return found


def build_ours(settings: Settings, size: int, dtype: str) -> Workload:
    """Our step, compiled."""
    import attention_ar as ar
    from attention_ar.released import ReleasedObjective
    from experiments.benchmarks.batch import compile_train_step

    model = ar.ReleasedAttentionLSTM(
        settings.num_classes, settings.hidden_dim, settings.hidden_dim, compute_dtype=dtype
    )
    run, temporary = compile_train_step(model, ReleasedObjective(), settings, size, dtype)
    work = size * flops.released_training(settings)
    return Workload(run, size, "block", work, {"temporary memory": f"{temporary / 1e6:.0f} MB"})
