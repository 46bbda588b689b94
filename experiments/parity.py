"""Holds this program against recordings of the authors' own code and prints a table of the differences.

    python -m experiments.parity --golden_dir=DIR

Every case in DIR is computed anew and compared: initial parameters, attention, probabilities, cost and
gradients of the released model; its optimisers; blocks and batches of its data handler; votes and average
precision; attention pictures; whole training runs. One line for each case and quantity, the worst of several
arrays. Where the authors' code crashes or is wrong, the line says so, and what ours does instead. The status
is 1 if any line is outside its tolerance. Takes a minute or two.
"""

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from attention_ar.errors import InputError
from data_prep.command_line import run
from experiments.parity_table import Case, Row, grouped, load_arrays, render, same, stated, summarize

GOLDEN_DIR = flags.DEFINE_string("golden_dir", None, "Folder of recorded cases.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "JSON file for all comparisons, array by array.")


def find_cases(folder) -> list[Case]:
    """Returns the recorded cases in a folder: NAME.json beside NAME.npz, and folders with such a pair named `trace`."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; must hold recorded cases")
    single = [Case(path.stem, path) for path in folder.glob("*.json") if not path.stem.endswith("_f64")]
    runs = [Case(path.parent.name, path) for path in folder.glob("*/trace.json")]
    cases = sorted((case for case in single + runs if case.path.with_suffix(".npz").exists()), key=lambda c: c.name)
    if not cases:
        raise InputError(f"{folder}: no recorded cases here; must hold pairs of NAME.json and NAME.npz")
    return cases


def comparison_of(case: Case):
    """Returns the function that yields a case's rows, which the fields of its JSON file tell."""
    # These import JAX, which --help need not wait for.
    from experiments.parity_data import data_case, evaluation_case
    from experiments.parity_model import model_case, optimizer_case
    from experiments.parity_pictures import picture_case
    from experiments.parity_run import run_case

    told_by = {
        "evals": run_case,
        "proto": data_case,
        "files_written": evaluation_case,
        "n_updates": optimizer_case,
        "param_order": model_case,
        "raw_map_dtype": picture_case,
    }
    for field, function in told_by.items():
        if field in case.about:
            return function
    raise InputError(f"{case.path}: of no known kind; must have one of the fields {', '.join(told_by)}")


def rows_of(case: Case) -> list[Row]:
    """Compares one case. What is wrong with its files becomes a row that is not ok."""
    rows = []
    try:
        rows.extend(complete(case))
        rows.extend(comparison_of(case)(case))
    except InputError as error:
        rows.append(stated(case.name, f"cannot be compared: {error}", False))
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        what = f"not in the format of a recorded case ({type(error).__name__}: {error})"
        rows.append(stated(case.name, what, False))
    return rows


def complete(case: Case):
    """Yields the row on whether a case has the arrays that its JSON files list."""
    for path in (case.path, case.path.with_name(f"{case.path.stem}_f64.json")):
        if path.exists():
            listed = Case(case.name, path).about["arrays"]
            arrays = load_arrays(path.with_suffix(".npz"))
            shapes = {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}
            wrong = sorted(name for name in listed.keys() | shapes.keys() if listed.get(name) != shapes.get(name))
            yield same(case.name, "recorded arrays as listed", len(wrong), 0, ", ".join(wrong))


def write_json(path, rows):
    """Writes all rows, atomically. Infinite numbers become null."""

    def finite(row):
        fields = dataclasses.asdict(row).items()
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields}

    report = {"ok": all(row.ok for row in rows), "rows": [finite(row) for row in rows]}
    beside = f"{path}.partial"
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    os.replace(beside, path)


def main(argv):
    if argv[1:]:
        raise InputError(f"{' '.join(argv[1:])}: not a flag; see --help")
    cases = find_cases(GOLDEN_DIR.value)
    with np.errstate(over="ignore"):
        rows = [row for case in tqdm(cases, unit="case", disable=None, leave=False) for row in rows_of(case)]
    print(render(grouped(rows)))
    print(f"\n{summarize(rows)}")
    outside = sum(not row.ok for row in rows)
    verdict = f"{outside} OUTSIDE their tolerance" if outside else "all ok"
    print(f"\n{sum(not row.is_note for row in rows)} comparisons in {len(cases)} cases: {verdict}")
    if OUTPUT.value:
        write_json(OUTPUT.value, rows)
        print(f"all comparisons: {OUTPUT.value}")
    return 1 if outside else 0


if __name__ == "__main__":
    run(main)
