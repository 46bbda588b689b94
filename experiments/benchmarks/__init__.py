"""Speed and memory, side by side: what `python -m experiments.benchmark` runs.

A benchmark is one module of this package, and its name in `BENCHMARKS`. The module has

* a docstring, whose first line is the title of its table and whose rest says what is counted;
* `contenders(settings, platform)`, which returns a list of `Contender`: a name, and a function that builds the
  `Workload`. The list is cheap to make: the build function is what imports JAX or torch, and it runs in a process of
  its own, which runs only this contender. `settings` is a `Settings`, `platform` "cpu", "gpu" or "tpu".

        def contenders(settings, platform):
            return [
                matrix_product(settings, platform),
                Contender("ours", functools.partial(build_ours, settings), reference=product_name()),
                Contender("torch", functools.partial(build_torch, settings), needs=["torch"], compare_to="ours"),
            ]

        def build_ours(settings) -> Workload:
            ...
            return Workload(run, amount=64, unit="block", flops=..., facts={"temporary memory": "190 MB"})

`run()` does the work once and returns when the result is there. It is called once to warm up, and then in rounds: every
contender in turn, each for about `settings.seconds`, `settings.rounds` times over. What is compared is compared within
each round, and the table shows the medians: with `compare_to`, how many times as fast as this contender that one is;
with `reference`, which part of that contender's arithmetic rate this one reaches. `build` raises `Skip("why")` where
the contender cannot run here; one whose `needs` are not installed is skipped without it. A module may also have
`columns(row)`, which returns further columns of its table by name. Other settings are fields of `Settings`, and so
flags.
"""

BENCHMARKS = (
    "train_step",
    "evaluation",
    "released",
    "attention",
    "gradient_variance",
    "memory",
    "loading",
    "extraction",
)
