"""Everything in a few minutes, on synthetic clips or on your own: features, models, scores, pictures, a report.

    python -m experiments.quickstart --workdir=quickstart
    python -m experiments.quickstart --data_dir=my_clips --workdir=run

Without --data_dir it needs no download: it makes synthetic clips, compares two models and draws where one of them
looks. Start reading at `summary.md` in the work folder.

With --data_dir, a folder of clips with one folder per class: it looks at the clips, chooses the settings and says why,
extracts features, estimates by cross-validation what accuracy to expect, trains a model on all training clips,
evaluates it on the test clips if there are some, and writes `report.html` and `summary.md`. The work folder is then a
run as experiments.train makes them: experiments.predict --workdir=run CLIP. Killed at any moment, the same command
resumes.

It uses GoogLeNet if its weights are local or downloaded within seconds, and otherwise EfficientNet-Lite0, whose weights
are installed with this package.
"""

from pathlib import Path

from absl import flags

from data_prep.common.command_line import run
from data_prep.networks import network_flags
from experiments.runs.signs_of_life import signs_of_life

OFTEN, SELDOM = 4.0, 20.0  # seconds without other output after which a line says what is running


def define_flags():
    flags.DEFINE_string("workdir", "quickstart", "Folder for everything that is made.")
    flags.DEFINE_string(
        "data_dir", None, "Folder of your own clips, one folder per class; without it, synthetic clips."
    )
    network_flags.define(
        default="auto",
        others={"auto": "GoogLeNet if it is local or downloaded within seconds, else EfficientNet-Lite0"},
    )


def main():
    workdir, data_dir = Path(flags.FLAGS.workdir), flags.FLAGS.data_dir
    with signs_of_life("loading libraries", OFTEN if data_dir is None else SELDOM) as now_doing:
        if data_dir:
            from experiments.first_steps.own_clips import own_clips

            own_clips(workdir, data_dir, *network_flags.given(), now_doing=now_doing)
        else:
            from experiments.first_steps.synthetic_clips import quickstart
            from experiments.runs.work_folder import work_folder

            with work_folder(workdir):
                quickstart(workdir, *network_flags.given(), now_doing=now_doing)


if __name__ == "__main__":
    run(main, define_flags)
