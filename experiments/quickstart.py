"""The whole way in a few minutes: clips, features, two models, their scores, and pictures of where one of them looks.

    python -m experiments.quickstart --workdir=quickstart

Needs no download: it draws its own clips. It uses GoogLeNet where its weights can be had (see `--googlenet`), and a
random network otherwise, which it says. Start reading at `summary.md` in the work folder.
"""

from pathlib import Path

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import run

WORKDIR = flags.DEFINE_string("workdir", "quickstart", "Folder for everything that is made.")
GOOGLENET = flags.DEFINE_string(
    "googlenet", None, "Path of GoogLeNet's weights, or `random`; by default searched for, then downloaded."
)


def main(argv):
    if argv[1:]:
        raise InputError(f"{' '.join(argv[1:])}: not a flag; see --help")
    from experiments.tour import tour

    tour(Path(WORKDIR.value), GOOGLENET.value)


if __name__ == "__main__":
    run(main)
