"""Does it look where the action is? Compares the attention of trained runs with boxes, run beside run.

    python -m experiments.localise --boxes=boxes.csv --output=localisation run
    python -m experiments.localise --boxes=boxes.csv --output=localisation tables/cells/attention_*/seed_*
    python -m experiments.localise --boxes=boxes.csv --clip=golf/01.mp4 soft hard two_levels  # and its filmstrips
    python -m experiments.localise --boxes=boxes.csv --output=evidence --explain=evidence tables/cells/*/seed_*

Runs that differ in the seed alone are one row (so are those of a seed's --test_folds, and those that began with runs of
their own). A run that looks at drawn places has a row for each glimpse rule. Leaves `localisation.md`,
`.csv`, `.json` and `.png`: the attention in the box, the pointing game and the entropy, overall, by class and over
time, and the correlation of a clip's mass in the box with its being right. With --explain=evidence, the same of what
speaks for the class that a block is taken for, which models without attention have too. Every run is evaluated as by
`experiments.evaluate --boxes=boxes.csv`, which says what a boxes file is.
"""

from absl import flags

from attention_ar.errors import InputError
from data_prep.common.command_line import run
from experiments.runs import trained_run_flags
from experiments.runs.flags import values_of


def define_flags():
    trained_run_flags.define("checkpoint", "features", "data_dir", "split", "explain")
    flags.DEFINE_string("boxes", None, "CSV file of boxes, path,frame,x0,y0,x1,y1.", required=True)
    flags.DEFINE_string("output", "localisation", "Path of the table, without an ending.")
    flags.DEFINE_string("clip", None, "A clip to draw under the first run of every row, as OUTPUT_clip.png.")


def main(workdirs):
    if not workdirs:
        raise InputError("no run; name the work folders of trained runs")
    from experiments.tables.localisation_table import localisation_table

    paths = localisation_table(
        workdirs,
        flags.FLAGS.boxes,
        **values_of("output", "features", "split", "checkpoint", "data_dir", "explain", "clip"),
    )
    print(paths[0].read_text(encoding="utf-8"))
    print(f"table: {', '.join(map(str, paths))}")


if __name__ == "__main__":
    run(main, define_flags, takes_arguments=True)
