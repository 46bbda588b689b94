"""Makes one HTML file of a run: scores, confusion matrix, curves, and a gallery of clips under moving attention.

    python -m experiments.report --workdir=run

Leaves `run/report.html`, which needs nothing beside it: no network, no other file. Open it in any browser, or send it.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import printable, run

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.", required=True)
FEATURES = flags.DEFINE_string("features", None, "Features file; by default the one the run was trained on.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the clips; by default where they were when extracted.")
SPLIT = flags.DEFINE_enum("split", "test", ["train", "validation", "test"], "Part of the features file to report on.")
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "latest"], "Which checkpoint of the run.")
MAX_CLIPS = flags.DEFINE_integer(
    "max_clips", 60, "Clips in the gallery at most: of every class in turn, a right one and a wrong one.", lower_bound=0
)
OUTPUT = flags.DEFINE_string("output", None, "The HTML file; by default report.html in the run's folder.")


def main(argv):
    if argv[1:]:
        raise InputError(f"{' '.join(argv[1:])}: not a flag; see --help")
    from experiments.html_report.contents import report

    path, notes = report(
        WORKDIR.value,
        features=FEATURES.value,
        data_dir=DATA_DIR.value,
        split=SPLIT.value,
        checkpoint=CHECKPOINT.value,
        max_clips=MAX_CLIPS.value,
        output=OUTPUT.value,
    )
    for note in notes:
        print(f"NOTE: {printable(note)}")
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    run(main)
