"""The whole way in a few minutes: clips, features, two models, their scores, and pictures of where one of them looks.

    python -m experiments.quickstart --workdir=quickstart

Needs no download: it draws its own clips. It uses GoogLeNet where its weights can be had (see `--googlenet`), and a
random network otherwise, which it says. Start reading at `summary.md` in the work folder.
"""

from pathlib import Path

from absl import flags

from data_prep.common.command_line import run
from data_prep.networks import network_flags


def define_flags():
    flags.DEFINE_string("workdir", "quickstart", "Folder for everything that is made.")
    network_flags.define()


def main():
    from experiments.runs.quickstart import quickstart
    from experiments.runs.work_folder import work_folder

    with work_folder(flags.FLAGS.workdir):
        quickstart(Path(flags.FLAGS.workdir), flags.FLAGS.googlenet)


if __name__ == "__main__":
    run(main, define_flags)
