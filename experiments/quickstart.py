"""Everything in a few minutes: clips, features, two models, their scores, and pictures of where one of them looks.

    python -m experiments.quickstart --workdir=quickstart

Needs no download: it makes synthetic clips. It uses GoogLeNet if its weights are local or downloaded within seconds,
and otherwise EfficientNet-Lite0, whose weights are installed with this package. Start reading at `summary.md` in the
work folder.
"""

from pathlib import Path

from absl import flags

from data_prep.common.command_line import run
from data_prep.networks import network_flags
from experiments.runs.signs_of_life import signs_of_life


def define_flags():
    flags.DEFINE_string("workdir", "quickstart", "Folder for everything that is made.")
    network_flags.define(
        default="auto",
        others={"auto": "GoogLeNet if it is local or downloaded within seconds, else EfficientNet-Lite0"},
    )


def main():
    with signs_of_life("loading libraries") as now_doing:
        from experiments.runs.quickstart import quickstart
        from experiments.runs.work_folder import work_folder

        with work_folder(flags.FLAGS.workdir):
            quickstart(Path(flags.FLAGS.workdir), *network_flags.given(), now_doing=now_doing)


if __name__ == "__main__":
    run(main, define_flags)
