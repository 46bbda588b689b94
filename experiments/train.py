"""Trains a model on a features file.

    python -m experiments.train --features=features.h5 --workdir=run

Interrupted at any moment, the same command resumes from the last checkpoint and ends with the same parameters, to the
bit. On SIGTERM it saves and ends with status 0.
"""

from absl import flags

from data_prep.common.command_line import run
from experiments.runs import multihost
from experiments.runs.config import define_run_flags
from experiments.runs.flag_effects import checked_run_config


def define_flags():
    flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and parameters.", required=True)
    define_run_flags()
    multihost.define_flags()
    flags.mark_flag_as_required("features")


def main():
    config = checked_run_config()

    def train_here():
        from experiments.runs.training import train

        train(config, flags.FLAGS.workdir)

    return multihost.run_together("experiments.train", flags.FLAGS.workdir, train_here)


if __name__ == "__main__":
    run(main, define_flags)
