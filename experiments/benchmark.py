"""Measures speed and memory side by side, each contender in a process of its own, and writes tables.

    python -m experiments.benchmark --output=benchmark

Contenders that are not installed (torch, onnxruntime) are skipped by name. `--only=train_step` runs one of the
benchmarks; on a CPU `--cores=1` pins every contender to that core. `--profile=DIR` also writes a trace of each JAX
contender for TensorBoard, xprof or perfetto.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import run
from experiments.benchmarks import BENCHMARKS
from experiments.benchmarks.settings import Settings
from experiments.runs.config import from_flags
from experiments.runs.flags import define_flags

OUTPUT = flags.DEFINE_string("output", "benchmark", "Folder for benchmark.md and benchmark.json.")
ONLY = flags.DEFINE_list("only", list(BENCHMARKS), "Which benchmarks.")
CORES = flags.DEFINE_string("cores", "", "Numbers of the cores to use, such as 0,1; by default all.")
PROFILE = flags.DEFINE_string("profile", None, "Folder for traces; none by default.")
define_flags(Settings)


def main(argv):
    if argv[1:]:
        raise InputError(f"{' '.join(argv[1:])}: not a flag; see --help")
    from experiments.benchmarks.suite import run_suite

    markdown, data, complete = run_suite(ONLY.value, from_flags(Settings), CORES.value, OUTPUT.value, PROFILE.value)
    print(f"tables: {markdown}, {data}")
    if PROFILE.value:
        print(f"traces: {PROFILE.value}")
    return 0 if complete else 1


if __name__ == "__main__":
    run(main)
