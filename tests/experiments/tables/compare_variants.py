"""Does a flag help? Tables that `experiments.table1` made with and without it, seed by seed.

    python tests/experiments/tables/compare_variants.py --output=variants.json \
        fights/plain=plain/table1.json fights/weights=weights/table1.json clips/plain=… clips/weights=…

Of each data set the first table is the plain one, in per cent, mean ± standard deviation over the seeds. The others are
differences from it, which are paired by seed, with Student's 95 % interval over the seeds.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags
from scipy import stats

from data_prep.common.files import markdown_table, write_json
from experiments.runs.provenance import provenance

OUTPUT = flags.DEFINE_string("output", "variants.json", "JSON file of the table.")
ROW = flags.DEFINE_string("row", "attention_0", "Row of the tables that is compared.")


def text_of(scores: np.ndarray, plain: np.ndarray | None) -> str:
    """Returns for example "65.0 ± 3.1", or of a variant "+1.2 (−0.4 to +2.8)"."""
    if plain is None:
        return f"{scores.mean():.1f} ± {scores.std(ddof=1):.1f}"
    if len(scores) != len(plain):
        raise SystemExit("the tables have different numbers of seeds")
    by_seed = scores - plain
    half = stats.t.ppf(0.975, len(by_seed) - 1) * by_seed.std(ddof=1) / np.sqrt(len(by_seed))
    mean, low, high = (f"{x:+.1f}".replace("-", "−") for x in by_seed.mean() + np.array([0, -half, half]))
    return f"{mean} ({low} to {high})"


def main(argv):
    found: dict[str, dict[str, np.ndarray]] = {}
    commands = {}
    for argument in argv[1:]:
        name, _, path = argument.rpartition("=")
        data_set, _, variant = name.partition("/")
        table = json.loads(Path(path).read_text(encoding="utf-8"))
        found.setdefault(data_set, {})[variant] = 100 * np.array(table["rows"][ROW.value]["scores"])
        commands[name] = table["made"]["command"]
    variants = list(dict.fromkeys(variant for of_set in found.values() for variant in of_set))
    rows = []
    for variant in variants:
        cells = []
        for of_set in found.values():
            plain = next(iter(of_set.values()))
            own = of_set.get(variant)
            cells.append("" if own is None else text_of(own, None if own is plain else plain))
        rows.append([variant, *cells])
    table = {"header": ["", *found], "rows": rows}
    scores = {name: {variant: own.tolist() for variant, own in of_set.items()} for name, of_set in found.items()}
    write_json(Path(OUTPUT.value), {"made": provenance(), "commands": commands, "scores": scores, "table": table})
    print(markdown_table(**table))


if __name__ == "__main__":
    app.run(main)
