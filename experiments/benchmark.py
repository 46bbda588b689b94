"""Measures speed and memory side by side, each contender in a process of its own, and writes tables.

    python -m experiments.benchmark --output=benchmark

Contenders that are not installed (torch, onnxruntime) are skipped by name. `--only=train_step` runs one of the
benchmarks; on a CPU `--cores=1` pins every contender to that core. `--profile=DIR` also writes a trace of each JAX
contender for TensorBoard, xprof or perfetto.
"""

import dataclasses

from absl import flags

from data_prep.common.command_line import refuse_flags, run
from data_prep.networks import network_flags
from data_prep.networks.registry import KINDS
from experiments.benchmarks import BENCHMARKS
from experiments.benchmarks.settings import Settings
from experiments.runs import flags as option_flags
from experiments.runs.config import from_flags

_OF_ONE = {
    "extraction": ["clips", "frame_batch", "network", *(option for kind in KINDS.values() for option in kind.options)],
    "loading": ["num_videos"],
    "gradient_variance": ["run"],
}
"""Flags of a single benchmark."""


def define_flags():
    flags.DEFINE_string("output", "benchmark", "Folder for benchmark.md and benchmark.json.")
    flags.DEFINE_list("only", list(BENCHMARKS), "Which benchmarks.")
    flags.DEFINE_string("cores", "", "Numbers of the cores to use, such as 0,1; by default all.")
    flags.DEFINE_string("profile", None, "Folder for traces; none by default.")
    option_flags.define_flags(Settings)
    network_flags.define()


def main():
    for benchmark in _OF_ONE.keys() - flags.FLAGS.only:
        refuse_flags(*_OF_ONE[benchmark], because=f"without --only={benchmark}")
    from experiments.benchmarks.suite import run_suite

    network, network_options = network_flags.given()
    settings = dataclasses.replace(from_flags(Settings), network=network, network_options=network_options)
    markdown, data, complete = run_suite(
        flags.FLAGS.only, settings, flags.FLAGS.cores, flags.FLAGS.output, flags.FLAGS.profile
    )
    print(f"tables: {markdown}, {data}")
    if flags.FLAGS.profile:
        print(f"traces: {flags.FLAGS.profile}")
    return 0 if complete else 1


if __name__ == "__main__":
    run(main, define_flags)
