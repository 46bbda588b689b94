"""Draws the figures of the paper from trained runs.

    python -m experiments.figures --figure=1 --workdir=run                    # 4, 6, 8, 10, 11: right and wrong clips
    python -m experiments.figures --figure=3 --workdir=run_0 --workdir=run_1 --workdir=run_10    # λ = 0, 1, 10
    python -m experiments.figures --figure=5 --workdir=run --glimpse=3,2 waving/ben_01.mp4
    python -m experiments.figures --figure=7 --workdir=run_1                  # one clip at 6 and at 30 fps
    python -m experiments.figures --figure=9 --workdir=run_1                  # W optimised until a wrong clip is right

Without a named clip, the figure chooses one of the split. White regions are where the model looks.
"""

from absl import flags

from attention_ar.errors import printable
from data_prep.common.command_line import refuse_flags, run
from experiments.runs import trained_run_flags
from experiments.runs.flags import values_of


def define_flags():
    trained_run_flags.define("checkpoint", "features", "data_dir", "split")
    flags.DEFINE_string("figure", None, "Its number in the paper: 1, 3, 4, 5, 6, 7, 8, 9, 10, 11.", required=True)
    flags.DEFINE_multi_string(
        "workdir",
        None,
        "Folder of a trained run with attention. Figure 3 takes one for each λ; 7 one, or one for each rate; 1, 4, 6, "
        "8, 10 and 11 one, or one for each data set.",
        required=True,
    )
    flags.DEFINE_string("output", None, "Folder for the pictures; by default the first run's figures folder.")
    flags.DEFINE_integer("num_columns", 4, "Frames of a clip.", lower_bound=1, upper_bound=16)
    flags.DEFINE_string(
        "glimpse",
        None,
        "Figure 5: where the model looks. row,col: a cell; row0,col0,row1,col1: the cells of a box, both corners "
        "in it, all alike; x.npy: a distribution over the cells for each step of a block, [T, 49]. Row 0 is at the "
        "top.",
    )
    flags.DEFINE_string("rates", None, "Figure 7, of one run: frames per second; by default 6,30.")
    flags.DEFINE_integer("seed", None, "Figure 9: of the random W; by default 0.", lower_bound=0)
    flags.DEFINE_integer("max_steps", None, "Figure 9: updates of W at most; by default 500.", lower_bound=0)
    flags.DEFINE_float("learning_rate", None, "Figure 9: Adam's; by default 0.001.", lower_bound=0)


def main(arguments):
    if arguments:
        refuse_flags("split", because="where clips are named")
    from experiments.paper_figures.registry import draw_figure

    paths, remarks = draw_figure(
        flags.FLAGS.figure,
        flags.FLAGS.workdir,
        clips=arguments,
        **values_of("features", "data_dir", "split", "checkpoint", "output", "num_columns"),
        **values_of("glimpse", "rates", "seed", "max_steps", "learning_rate"),
    )
    for line in remarks:
        print(printable(line))
    for path in paths:
        print(path)


if __name__ == "__main__":
    run(main, define_flags, takes_arguments=True)
