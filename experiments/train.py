"""Trains a model on a features file.

    python -m experiments.train --features=features.h5 --workdir=run

Interrupted at any moment, the same command goes on from the last checkpoint and ends with the same parameters, to the
bit. Told to stop (SIGTERM), it saves and ends with status 0.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import run
from experiments.runs import multihost
from experiments.runs.config import RunConfig, define_run_flags, from_flags

WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and parameters.", required=True)
define_run_flags()
multihost.define_flags()
flags.mark_flag_as_required("features")


def main(argv):
    if argv[1:]:
        raise InputError(f"{' '.join(argv[1:])}: not a flag; see --help")

    def train_here():
        from experiments.runs.training import train  # Imports JAX, which --help need not wait for.

        train(from_flags(RunConfig), WORKDIR.value)

    return multihost.run_together("experiments.train", WORKDIR.value, train_here)


if __name__ == "__main__":
    run(main)
