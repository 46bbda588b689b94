"""Makes one HTML file of a run: scores, confusion matrix, curves, and a gallery of clips under moving attention.

    python -m experiments.report --workdir=run

Leaves `run/report.html`, which needs nothing beside it: no network, no other file. Open it in any browser, or send it.
"""

from absl import flags

from attention_ar.errors import printable
from data_prep.common.command_line import run
from experiments.runs import trained_run_flags
from experiments.runs.flags import values_of


def define_flags():
    trained_run_flags.define("workdir", "checkpoint", "features", "data_dir", "split", "explain")
    flags.DEFINE_integer(
        "max_clips",
        60,
        "Clips in the gallery at most: of every class in turn, a right one and a wrong one.",
        lower_bound=0,
    )
    flags.DEFINE_string("output", None, "The HTML file; by default report.html in the run's folder.")


def main():
    from experiments.html_report.contents import report

    path, notes = report(
        **values_of("workdir", "features", "data_dir", "split", "checkpoint", "max_clips", "output", "explain")
    )
    for note in notes:
        print(f"NOTE: {printable(note)}")
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    run(main, define_flags)
