"""Finds recorded cases of the authors' code, and compares each by the fields of its JSON file."""

import dataclasses
import math
from pathlib import Path

from attention_ar.errors import InputError
from data_prep.common import files
from experiments.parity_checks.table import Case, Row, load_arrays, same, stated


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
    from experiments.parity_checks.attention_pictures import picture_case
    from experiments.parity_checks.data_handler import data_case, evaluation_case
    from experiments.parity_checks.models import model_case, optimizer_case
    from experiments.parity_checks.whole_runs import run_case

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
    files.write_json(path, report)
