"""Draws where a trained model looks: filmstrips, videos and animations of clips.

    python -m experiments.visualize --workdir=run                     # the most confident right and wrong ones
    python -m experiments.visualize --workdir=run biking/clip_07.avi  # these clips
    python -m experiments.visualize --workdir=run --explain=evidence  # what speaks for the class

White regions are where the model looks, and the brighter they are the more; with --explain=evidence, what of it speaks
for the class that the model says.
"""

from absl import flags

from data_prep.common.command_line import refuse_flags, run
from experiments.runs import trained_run_flags
from experiments.runs.flags import values_of


def define_flags():
    trained_run_flags.define("workdir", "checkpoint", "features", "data_dir", "split", "explain", "glimpse_rule")
    flags.DEFINE_integer("count", 3, "How many right ones and how many wrong ones.", lower_bound=1)
    flags.DEFINE_string("output", None, "Folder for the pictures; by default the run's figures folder.")


def main(arguments):
    if arguments:
        refuse_flags("count", "split", because="where clips are named")
    from experiments.runs.visualization import visualize

    pictures = visualize(
        clips=arguments,
        **values_of("workdir", "features", "data_dir", "split", "checkpoint", "count", "output", "explain"),
        **values_of("glimpse_rule"),
    )
    for picture in pictures:
        print(f"{picture} (and .mp4, .gif)")


if __name__ == "__main__":
    run(main, define_flags, takes_arguments=True)
