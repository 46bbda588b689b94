"""The paper's Tables 1 and 2, with our numbers beside the published ones. Both are rewritten after every trial."""

import dataclasses
from pathlib import Path

from data_prep.common.files import markdown_table, write_csv, write_table
from experiments.runs.config import RunConfig
from experiments.tables.comparison import ATTENTION, BASELINE, MEAN_FEATURE, ROWS, Comparison, compare
from experiments.tables.comparison_text import (
    CLASS_MEASURES,
    FEW_GROUPS,
    PROTOCOL,
    data_title,
    difference_text,
    epochs_text,
    evaluated_text,
    f1_scores,
    metadata,
    padding_text,
    pairs_data,
    pairs_table,
    protocol,
    row_data,
    score_text,
    score_title,
    seconds_text,
    warnings,
)
from experiments.tables.published import TABLE_1, TABLE_2, dataset_of

RETRAINED = "_retrained"
"""In the names of tables of models that were trained again on everything."""


def table_path(workdir, name: str, config: RunConfig, retrain: bool) -> Path:
    """Returns the path of a table, without an ending."""
    folds = config.data.test_folds
    return Path(workdir) / (name + (f"_test_folds_{folds}" if folds else "") + RETRAINED * retrain)


def table1(workdir, config: RunConfig, num_seeds: int, retrain: bool = False, rows=tuple(ROWS)) -> list[Path]:
    """Makes Table 1 of one data set.

    Args:
      workdir: for `table1.md`, `.csv` and `.json`, `table1_classes.csv`, and the folder `cells`. Finished trials there
        are not repeated.
      config, num_seeds, retrain: see `comparison.compare`.
      rows: names of `comparison.ROWS`.

    Returns:
      The paths of the table's files.
    """
    for comparison in compare(workdir, config, rows, num_seeds, retrain):
        paths = write_table1(table_path(workdir, "table1", config, retrain), comparison, rows, retrain)
    return paths


def write_table1(stem, comparison: Comparison, rows, retrain: bool = False) -> list[Path]:
    """Writes the table as far as its trials are done."""
    published = TABLE_1.get(dataset_of(comparison.split_id))
    several = comparison.num_seeds > 1
    header = ["model", score_title(comparison), *(["seeds together, %"] if several else [])]
    header += [*(["paper"] if published else []), "mean F1, %"]
    header += [f"minus {ROWS[BASELINE].title}", "best epoch", "training", *PROTOCOL]
    texts, data = [], {}
    for row in rows:
        difference = comparison.difference(row, BASELINE) if row != BASELINE else None
        paper = [f"{published[row]:.2f}" if row in published else "–"] if published else []
        together = comparison.score_together(row)
        texts.append([ROWS[row].title, score_text(comparison.test_scores(row))])
        texts[-1] += [*(["" if together is None else f"{100 * together:.2f}"] if several else []), *paper]
        texts[-1] += [score_text(f1_scores(comparison, row), single=False), difference_text(difference)]
        texts[-1] += [epochs_text(comparison, row), seconds_text(comparison, row), *protocol(comparison, row)]
        data[row] = {
            **row_data(comparison, row),
            "together": together,
            "paper": published and published.get(row),
            "difference": difference and dataclasses.asdict(difference),
        }
    notes = [
        "Scores are of the test part, in per cent: mean ± sample standard deviation over the seeds, and in brackets "
        f"each. {evaluated_text(comparison, retrain)} Training is the median time of one seed's epochs on this "
        "machine, compiling included.",
        "Differences are in percentage points, means over the seeds, with the 95 % interval of a paired bootstrap over "
        "the test clips, by whole groups: what other clips might have given, not how seeds scatter. Of fewer than "
        f"{FEW_GROUPS} groups it says little.",
        *padding_text(comparison),
    ]
    if several:
        notes.append("Seeds together: the score of the mean over the seeds of a clip's probabilities, as of one model.")
    if "released" in rows:
        notes.append(
            "`released` is the model and the cost of the authors' public program; blocks, optimiser and evaluation are "
            "those of the other rows."
        )
    notes.append(
        "F1 is 2 · precision · recall / (precision + recall), here the mean over the classes. "
        f"`{Path(stem).name}_classes.csv` has all three of every class."
    )
    if MEAN_FEATURE in rows:
        notes.append(
            "The logistic regression sees the mean of all features of a clip; its C is the one that is best on what is "
            "held out of the training part."
        )
    if comparison.config.data.test_folds:
        notes.append(
            f"All clips, whatever their part in the split, were cut into {comparison.config.data.test_folds} folds by "
            "group. Each is tested once, by a model that never saw its group; the epoch was chosen on a held-out part "
            "of the other folds. A seed's score is that of all clips together."
        )
    classes = [
        [ROWS[row].title, name, *("" if value is None else f"{100 * value:.2f}" for value in scores.values())]
        for row in rows
        for name, scores in data[row]["classes"].items()
    ]
    pairs = comparison.pairs(rows)
    data = {**metadata(comparison), "rows": data, "pairs": pairs_data(pairs)}
    if pairs:
        data["pairs_table"] = pairs_table(pairs)
        notes += [
            "Every row minus every other one, in percentage points. Bold: the paired bootstrap's p value is below "
            f"0.05 with Holm's correction for all {len(pairs)} comparisons, and there are {FEW_GROUPS} groups or more. "
            "The JSON file has intervals and p values.",
            markdown_table(**data["pairs_table"]),
        ]
    title = f"Table 1: {data_title(comparison)}"
    paths = write_table(stem, title, header, texts, notes + warnings(comparison), data, PROTOCOL)
    write_csv(f"{stem}_classes.csv", ["model", "class", *(f"{measure}, %" for measure in CLASS_MEASURES)], classes)
    return paths


def table2(workdir, config: RunConfig, num_seeds: int, retrain: bool = False) -> list[Path]:
    """Makes Table 2: the attention models of Table 1, beside the published methods. See `table1`.

    Trials that `table1` has made in the same folder are used.
    """
    for comparison in compare(workdir, config, ATTENTION, num_seeds, retrain):
        paths = write_table2(table_path(workdir, "table2", config, retrain), comparison, retrain)
    return paths


def write_table2(stem, comparison: Comparison, retrain: bool = False) -> list[Path]:
    """Writes the table as far as its trials are done."""
    dataset = dataset_of(comparison.split_id)
    columns = {"hmdb51": "HMDB-51, accuracy %", "hollywood2": "Hollywood2, mAP %"}
    other = dataset not in columns
    if other:
        columns[dataset] = f"{data_title(comparison)}: {score_title(comparison)}"
    published = [
        (sees, method, {name: f"{figure:.1f}" for name, figure in figures.items()}, [""] * len(PROTOCOL))
        for sees, method, figures in TABLE_2
    ]
    chosen = best_held_out(comparison)
    ours = [
        (
            "RGB only",
            f"**ours, {ROWS[row].title}**" if row == chosen else f"ours, {ROWS[row].title}",
            {dataset: score_text(comparison.test_scores(row))},
            protocol(comparison, row),
        )
        for row in ATTENTION
    ]
    order = list(dict.fromkeys(sees for sees, *_ in published))
    texts = [
        [sees, method, *(figures.get(name, "–") for name in columns), *how]
        for sees, method, figures, how in sorted(published + ours, key=lambda line: order.index(line[0]))
    ]
    notes = [
        "The published numbers are those of the paper's Table 2. Ours are of the test part: mean ± sample standard "
        f"deviation over the seeds, and in brackets each. {evaluated_text(comparison, retrain)} The λ in bold was best "
        "on what is held out of the training part; test has no say in it.",
    ]
    if other:
        notes.append("These clips are not all of HMDB-51 or Hollywood2: the published numbers are of other clips.")
    data = {**metadata(comparison), "chosen": chosen, "rows": {row: row_data(comparison, row) for row in ATTENTION}}
    data["published"] = [{"sees": sees, "method": method, **figures} for sees, method, figures in TABLE_2]
    header = ["what it sees", "method", *columns.values(), *PROTOCOL]
    title = f"Table 2: {data_title(comparison)}"
    return write_table(stem, title, header, texts, notes + warnings(comparison), data, PROTOCOL)


def best_held_out(comparison: Comparison) -> str | None:
    """Returns the attention row of the highest held-out score, of equals the one of the lowest cross-entropy there.

    Both are means over the seeds. None where nothing was held out, or not all seeds of all rows are done.
    """
    means = {}
    for row in ATTENTION:
        found = [trial.best["held_out"] for trial in comparison.trials.get(row, []) if "held_out" in trial.best]
        if len(found) < comparison.num_seeds:
            return None
        score = sum(line[line["score_name"]] for line in found)
        means[row] = score, -sum(line["cross_entropy"] for line in found)
    return max(means, key=means.get)
