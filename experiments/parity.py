"""Compares this program with recordings of the authors' own code and prints a table of the differences.

    python -m experiments.parity --golden_dir=DIR

Every case in DIR is computed anew and compared: initial parameters, attention, probabilities, cost and
gradients of the released model; its optimisers; blocks and batches of its data handler; votes and average
precision; attention pictures; whole training runs. One line for each case and quantity, the worst of several
arrays. Where the authors' code crashes or is wrong, the line says so, and names what ours does instead. The status
is 1 if any line is outside its tolerance. Takes about three minutes on two cores.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import flags, logging
from tqdm import tqdm

from data_prep.common.command_line import run
from experiments.parity_checks.cases import find_cases, rows_of, write_json
from experiments.parity_checks.table import grouped, render, summarize


def define_flags():
    flags.DEFINE_string("golden_dir", None, "Folder of recorded cases.", required=True)
    flags.DEFINE_string("output", None, "JSON file for all comparisons, array by array.")


def main():
    logging.set_verbosity(logging.ERROR)  # The table itself names the classes without a video.
    cases = find_cases(flags.FLAGS.golden_dir)
    # Nearly all of the time goes into compiling, which several threads can do at once.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        compared = threads.map(compare_case, cases)
        bar = tqdm(compared, total=len(cases), unit="case", disable=None, leave=False)
        rows = [row for of_case in bar for row in of_case]
    print(render(grouped(rows)))
    print(f"\n{summarize(rows)}")
    outside = sum(not row.ok for row in rows)
    verdict = f"{outside} OUTSIDE their tolerance" if outside else "all ok"
    print(f"\n{sum(not row.is_note for row in rows)} comparisons in {len(cases)} cases: {verdict}")
    if flags.FLAGS.output:
        write_json(flags.FLAGS.output, rows)
        print(f"all comparisons: {flags.FLAGS.output}")
    return 1 if outside else 0


def compare_case(case) -> list:
    """Compares one case. NumPy's error state is that of a thread."""
    with np.errstate(over="ignore"):
        return rows_of(case)


if __name__ == "__main__":
    run(main, define_flags)
