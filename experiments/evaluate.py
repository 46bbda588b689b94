"""Evaluates a trained model on videos: block by block, video by video (section 4.2).

    python -m experiments.evaluate --workdir=run
    python -m experiments.evaluate --workdir=run --boxes=boxes.csv    # and whether the attention lies in the boxes
    python -m experiments.evaluate --workdir=run --boxes=boxes.csv --explain=evidence    # and what speaks for the class

Leaves in `run/evaluation/`: scores (JSON), one line a video and one a class (CSV), and the confusion matrix (CSV and
PNG); of clips with several labels instead the curves of every class (CSV).

A boxes file has the columns path (as in predictions.csv), frame (of the clip, from 0), x0, y0, x1, y1 (pixels of the
upright frame, from its upper left corner). Frames without a box are left out, and counted.
"""

from absl import flags

from data_prep.common.command_line import refuse_flags, run
from experiments.runs import trained_run_flags
from experiments.runs.flags import values_of


def define_flags():
    trained_run_flags.define("workdir", "checkpoint", "features", "split", "explain")
    flags.DEFINE_enum(
        "protocol", "paper", ["paper", "released"], "From steps to videos: means, or the votes of the authors' program."
    )
    flags.DEFINE_integer("stride", None, "Stored frames from block to block; by default the run's.", lower_bound=1)
    flags.DEFINE_integer("batch_size", None, "Blocks in a batch; by default the run's.", lower_bound=1)
    flags.DEFINE_string("boxes", None, "CSV file of boxes, path,frame,x0,y0,x1,y1, to compare the attention with.")
    flags.DEFINE_string("data_dir", None, "With --boxes, folder of the clips; by default where they were.")
    trained_run_flags.define("reject_below", "glimpse_rule")
    flags.DEFINE_string("output", None, "JSON file for the scores; by default in the run's evaluation folder.")


def main():
    if not flags.FLAGS.boxes:
        refuse_flags("data_dir", "explain", because="without --boxes")
    from experiments.runs.calibration import describe_calibration, describe_rejection
    from experiments.runs.class_scores import describe_classes
    from experiments.runs.evaluation import evaluate
    from experiments.runs.localisation_scores import describe_localisation
    from experiments.runs.metrics_log import describe_health, describe_score

    scores, folder, output = evaluate(
        **values_of("workdir", "features", "split", "protocol", "checkpoint", "stride", "batch_size"),
        **values_of("boxes", "data_dir", "reject_below", "output", "explain", "glimpse_rule"),
    )
    print(
        f"{flags.FLAGS.split}: {scores['num_videos']} videos, {scores['num_blocks']} blocks: {describe_score(scores)}"
    )
    means = [name for name in ("mean_class_accuracy", "mean_f1") if name in scores]
    print(", ".join(f"{name.replace('_', ' ').replace('f1', 'F1')} {100 * scores[name]:.1f} %" for name in means))
    print(describe_classes(scores["classes"]))
    print(describe_calibration(scores["calibration"]))
    if "rejection" in scores:
        print(describe_rejection(scores["rejection"]))
    if "attention" in scores:
        print(describe_health(scores["attention"], scores["num_cells"]))
    if "localisation" in scores:
        print(describe_localisation(scores["localisation"]))
    for rule, found in scores.get("glimpse_rules", {}).items():
        where = f"; {describe_localisation(found['localisation'])}" if "localisation" in found else ""
        print(f"glimpse rule {rule}: {describe_score(found)}{where}")
    print(f"scores: {output}; predictions and confusion matrix: {folder}")


if __name__ == "__main__":
    run(main, define_flags)
