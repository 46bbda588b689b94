"""Soft attention, hard attention and the window: training and evaluation.

`slices` says how many of a frame's K² feature slices the loop over the steps reads for each sample, and `bytes` what
that is. Eq. 6 reads all of them once more, whatever the attention. Where some blocks of a batch are trained softly
(soft_probability > 0), all slices are read for all of them.
"""

import dataclasses
import functools

from experiments.benchmarks import evaluation, train_step
from experiments.benchmarks.framework import Contender, Workload
from experiments.benchmarks.settings import Settings

_TRAINED = {
    "hard, N = 1": {"attention": "hard", "num_samples": 1},
    "hard, N = 4": {"attention": "hard"},
    "hard, N = 4, soft_probability 0": {"attention": "hard", "soft_probability": 0.0},
    "window, N = 4": {"attention": "window"},
    "window, N = 4, soft_probability 0": {"attention": "window", "soft_probability": 0.0},
}
_EVALUATED = {name: {"attention": name, "soft_probability": 0.0} for name in ("hard", "window")}


def contenders(settings: Settings, platform: str) -> list[Contender]:
    """Each beside soft attention, for every batch size and compute type."""
    found = []
    for dtype in settings.dtypes(platform):
        for size in settings.sizes(platform):
            for what, build, others in (
                ("training", train_step.build_ours, _TRAINED),
                ("evaluation", evaluation.build_evaluation, _EVALUATED),
            ):
                soft = f"{what}, soft, batch {size}, {dtype}"
                for name, changes in {"soft": {}, **others}.items():
                    own = dataclasses.replace(settings, **changes)
                    found.append(
                        Contender(
                            f"{what}, {name}, batch {size}, {dtype}",
                            functools.partial(_with_slices, build, own, size, dtype),
                            compare_to=soft if changes else None,
                        )
                    )
    return found


def _with_slices(build, settings: Settings, size: int, dtype: str) -> Workload:
    workload = build(settings, size, dtype)
    side = round(settings.num_cells**0.5)
    of_window = min(3, side) ** 2  # r = 1
    some = {"hard": 1, "window": of_window}.get(settings.attention, settings.num_cells)
    slices = settings.num_cells if settings.soft_probability else some
    bytes_of_slice = settings.input_dim * (2 if dtype == "bfloat16" else 4)
    facts = {"slices": f"{slices} of {settings.num_cells}", "bytes": f"{slices * bytes_of_slice / 1e3:.1f} kB"}
    return dataclasses.replace(workload, facts=workload.facts | facts)
