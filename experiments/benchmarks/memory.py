"""Memory of the paper's training step.

Temporary memory as XLA's `memory_analysis` states it, beside what backpropagation must keep. That is, for every block
and step, in bytes of a float of the compute type (states and softmax: of float32) unless said otherwise:

    inputs of the layers  D + (L − 1)·d        gates  L·4d        cell and hidden states  2·L·d
    location softmax  K²                       masks  D + (L + 1)·d, one byte each
"""

import dataclasses
import functools

from experiments.benchmarks.framework import Contender, Workload
from experiments.benchmarks.settings import Settings


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """Ours for every batch size and compute type."""
    return [
        Contender(f"attention_ar, batch {size}, {dtype}", functools.partial(build, settings, size, dtype))
        for dtype in settings.dtypes(platform)
        for size in settings.sizes(platform)
    ]


def build(settings: Settings, size: int, dtype: str) -> Workload:
    """States facts only."""
    from experiments.benchmarks.batch import compile_train_step

    _, temporary = compile_train_step(dataclasses.replace(settings, model="soft_attention"), size, dtype)
    kept = size * settings.num_steps * kept_per_step(settings, 2 if dtype == "bfloat16" else 4)
    return Workload(
        None,
        facts={
            "temporary memory": f"{temporary / 1e6:.0f} MB",
            "backpropagation keeps": f"{kept / 1e6:.0f} MB",
            "ratio": f"{temporary / kept:.2f}",
        },
    )


def kept_per_step(s: Settings, float_bytes: int) -> int:
    """Returns the bytes that backpropagation must keep of one step of one block."""
    d, D, L = s.hidden_dim, s.input_dim, s.num_layers
    inputs, gates, states = D + (L - 1) * d, L * 4 * d, 2 * L * d
    masks = D + (L + 1) * d if s.dropout else 0
    return float_bytes * (inputs + gates) + 4 * (states + s.num_cells) + masks
