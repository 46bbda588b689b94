"""How far the probabilities of evaluated runs can be trusted, before and after the temperature, seeds side by side.

    python tests/experiments/runs/measure_calibration.py --output=calibration.json fights=a/seed_0,a/seed_1 clips=b

Each run must have been evaluated on its test part, as `experiments.table1` and `experiments.evaluate` do.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags

from data_prep.common.files import markdown_table, write_json
from experiments.runs.provenance import provenance

OUTPUT = flags.DEFINE_string("output", "calibration.json", "JSON file of the table.")
REJECT_BELOW = 0.6


def main(argv):
    header = ["runs", "seeds", "accuracy, %", "calibration error before, %", "after, %", "−log p before", "after"]
    header += ["temperature", f"answered with reject_below={REJECT_BELOW}, %", "of these right, %"]
    rows = []
    for argument in argv[1:]:
        name, _, runs = argument.partition("=")
        found = []
        for run in runs.split(","):
            scores = json.loads((Path(run) / "evaluation" / "test" / "scores.json").read_text(encoding="utf-8"))
            own = scores["calibration"]
            found.append(
                [
                    100 * scores["accuracy"],
                    *(100 * own[when]["expected_calibration_error"] for when in ("before", "after")),
                    *(own[when]["negative_log_likelihood"] for when in ("before", "after")),
                    own["temperature"],
                    *(100 * share for share in rejected(own["coverage"])),
                ]
            )
        found = np.array(found)
        digits = [1, 1, 1, 2, 2, 2, 1, 1]
        spread = found.std(axis=0, ddof=1) if len(found) > 1 else np.full(found.shape[1], np.nan)
        cells = [
            f"{mean:.{n}f}" + (f" ± {deviation:.{n}f}" if len(found) > 1 else "")
            for mean, deviation, n in zip(found.mean(axis=0), spread, digits, strict=True)
        ]
        rows.append([name, str(len(found)), *cells])
    table = {"header": header, "rows": rows}
    write_json(Path(OUTPUT.value), {"made": provenance(), "table": table})
    print(markdown_table(**table))


def rejected(coverage: list[dict]) -> tuple[float, float]:
    """Returns the share of the clips that are answered, and the accuracy on these (NaN of none)."""
    (point,) = (point for point in coverage if point["reject_below"] == REJECT_BELOW)
    return point["coverage"], point["accuracy"] if point["num_answered"] else np.nan


if __name__ == "__main__":
    app.run(main)
