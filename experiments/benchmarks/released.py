"""Training step of the authors' released model.

With `attention_ar.ReleasedAttentionLSTM` in its default options, which projects every cell of every frame, and half of
the blocks in a batch. Its products, too, are counted in `experiments/runs/flops.py`.
"""

import dataclasses
import functools

from experiments.benchmarks import train_step
from experiments.benchmarks.framework import Contender, matrix_product, product_name
from experiments.benchmarks.settings import Settings


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """Ours for every compute type, at half the batch sizes."""
    found = [matrix_product(settings, platform, dtype) for dtype in settings.dtypes(platform)]
    settings = dataclasses.replace(settings, model="released", dropout=0.5 if settings.dropout else 0.0)
    for dtype in settings.dtypes(platform):
        for size in settings.sizes(platform):
            size = max(1, size // 2)
            build = functools.partial(train_step.build_ours, settings, size, dtype)
            found.append(Contender(f"attention_ar, batch {size}, {dtype}", build, reference=product_name(dtype)))
    return found
