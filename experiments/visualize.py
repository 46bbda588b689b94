"""Draws where a trained model looks: filmstrips, films and animations of clips.

    python -m experiments.visualize --workdir=run                     # the most confident right and wrong ones
    python -m experiments.visualize --workdir=run biking/clip_07.avi  # these clips

White regions are where the model looks, and the brighter they are the more.
"""

from absl import flags

from data_prep.common.command_line import run

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.", required=True)
FEATURES = flags.DEFINE_string("features", None, "Features file; by default the one the run was trained on.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the clips; by default where they were when extracted.")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Where to look for clips if none is named.")
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint of the run.")
COUNT = flags.DEFINE_integer("count", 3, "How many right ones and how many wrong ones.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "Folder for the pictures; by default the run's figures folder.")


def main(argv):
    from experiments.runs.visualization import visualize

    pictures = visualize(
        WORKDIR.value,
        features=FEATURES.value,
        data_dir=DATA_DIR.value,
        split=SPLIT.value,
        checkpoint=CHECKPOINT.value,
        clips=argv[1:],
        count=COUNT.value,
        output=OUTPUT.value,
    )
    for picture in pictures:
        print(f"{picture} (and .mp4, .gif)")


if __name__ == "__main__":
    run(main)
