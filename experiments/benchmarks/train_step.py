"""Training step of the paper's model, or of the one that --model names.

Forward, backward and Adam on one batch in the device's memory, with dropout. `epoch` is the time that 166 000
blocks, UCF-11's, would take at this rate. The product rate is that of one square matrix product of the compute type;
only the model's nominal products count against it, see `experiments/runs/flops.py`. With --time_loop=auto, the
other time loop runs beside the one that training would choose here. The torch contenders are the
same model as a plain torch module, `experiments/benchmarks/torch_model.py`.
"""

import dataclasses
import functools

from attention_ar.loop import loop_for
from experiments.benchmarks.framework import Contender, Row, Skip, Workload, matrix_product, product_name
from experiments.benchmarks.settings import Settings
from experiments.runs.models import MODELS

BLOCKS_OF_UCF11 = 166_000


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """Ours for every batch size and compute type; torch beside it on a GPU, and beside the float32 ones on a CPU."""
    found = [matrix_product(settings, platform, dtype) for dtype in settings.dtypes(platform)]
    for dtype in settings.dtypes(platform):
        for size in settings.sizes(platform):
            ours = f"attention_ar, batch {size}, {dtype}"
            build = functools.partial(build_ours, settings, size, dtype)
            found.append(Contender(ours, build, reference=product_name(dtype)))
            if settings.time_loop == "auto" and "time_loop" in MODELS[settings.model].flags:
                loop = "fast" if loop_for(platform) == "plain" else "plain"
                build = functools.partial(build_ours, dataclasses.replace(settings, time_loop=loop), size, dtype)
                name = f"the {loop} time loop, batch {size}, {dtype}"
                found.append(Contender(name, build, compare_to=ours, reference=product_name(dtype)))
            has_torch = platform == "gpu" or (platform, dtype) == ("cpu", "float32")
            if settings.torch and settings.model == "soft_attention" and has_torch:
                for name, compiled in (("torch eager", False), ("torch.compile", True)):
                    build = functools.partial(build_torch, settings, size, dtype, compiled, platform)
                    name = f"{name}, batch {size}, {dtype}"
                    found.append(Contender(name, build, ["torch"], compare_to=ours, reference=product_name(dtype)))
    return found


def columns(row: Row) -> dict[str, str]:
    """Returns the column of the projected epoch."""
    return {"epoch": f"{BLOCKS_OF_UCF11 / row.rate:.3g} s"} if row.unit == "block" and row.rate else {}


def build_ours(settings: Settings, size: int, dtype: str) -> Workload:
    """Our step, compiled."""
    from experiments.benchmarks.batch import compile_train_step

    run, temporary = compile_train_step(settings, size, dtype)
    facts = {"temporary memory": f"{temporary / 1e6:.0f} MB"}
    products = settings.products()
    return Workload(run, size, "block", products and size * products.training, facts)


def build_torch(settings: Settings, size: int, dtype: str, compiled: bool, platform: str) -> Workload:
    """The same step in torch."""
    import torch

    from experiments.benchmarks.torch_model import make_train_step

    if platform == "gpu" and not torch.cuda.is_available():
        raise Skip("torch finds no GPU")
    run = make_train_step(settings, size, dtype, compiled, "cuda" if platform == "gpu" else "cpu")
    return Workload(run, size, "block", size * settings.products().training)
