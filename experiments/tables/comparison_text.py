"""The text of a comparison in the tables: scores, differences, and their protocol."""

import dataclasses
import statistics

import numpy as np

from data_prep.features.recipe import recipe_hash
from experiments.runs.config import as_flags, with_flags
from experiments.runs.models import describe_looking
from experiments.runs.provenance import provenance
from experiments.runs.split import choose_videos
from experiments.tables.bootstrap import Difference
from experiments.tables.comparison import MEAN_FEATURE, ROWS, Comparison, mean_and_deviation
from experiments.tables.published import TITLES, dataset_of

FEW_GROUPS = 10
"""Of fewer groups, the bootstrap says little."""
PROTOCOL = ("split", "test clips", "fps", "stride", "T", "epochs", "held out", "seeds")
"""The columns that `protocol` fills."""

CLASS_MEASURES = ("precision", "recall", "f1")


def protocol(comparison: Comparison, row: str) -> list[str]:
    """Returns the protocol of a row, in the columns of `PROTOCOL`."""
    file, config = comparison.file, comparison.config
    training, held_out = choose_videos(file, config)
    done, wanted = len(comparison.trials.get(row, [])), comparison.num_seeds
    data = config.data
    of_blocks = [f"{data.fps:g}", str(data.stride), str(data.num_steps), str(config.training.epochs)]
    return [
        comparison.split_id,
        str(len(file.names) if data.test_folds else file.splits.count("test")),
        *([""] * len(of_blocks) if row == MEAN_FEATURE else of_blocks),
        f"{len(held_out)} of {len(training) + len(held_out)} training clips",
        str(wanted) if done == wanted else f"{done} of {wanted}",
    ]


def score_text(scores: list[float], single: bool = True) -> str:
    """Returns for example "84.96 ± 0.51 (84.2 85.5)", in per cent, from the scores of the seeds."""
    if not scores:
        return "not done"
    mean, deviation = mean_and_deviation([100 * score for score in scores])
    text = f"{mean:.2f}" + (f" ± {deviation:.2f}" if len(scores) > 1 else "")
    return text + (f" ({' '.join(f'{100 * score:.1f}' for score in scores)})" if single and len(scores) > 1 else "")


def difference_text(difference: Difference | None) -> str:
    """Returns for example "+2.40 (−0.31 to +5.02; 10 groups)", in percentage points."""
    if difference is None:
        return ""
    values = difference.mean, difference.low, difference.high
    mean, low, high = (f"{100 * value:+.2f}".replace("-", "−") for value in values)
    interval = f"{low} to {high}; {difference.num_groups} groups" if difference.num_groups > 1 else "1 group"
    return f"{mean} ({interval})"


def evaluated_text(comparison: Comparison, retrain: bool) -> str:
    """Returns which parameters were evaluated."""
    if retrain:
        return (
            "What is evaluated was trained on the whole training part, down to the training cost that the best epoch "
            "on what is held out of it had before."
        )
    if not len(choose_videos(comparison.file, comparison.config)[1]):
        return "What is evaluated is each seed's epoch of the lowest training loss, as nothing is held out."
    return "What is evaluated is each seed's best epoch on what is held out of the training part."


def epochs_text(comparison: Comparison, row: str) -> str:
    """Returns the best epochs of the seeds, as "3" or "2 to 5"; of `mean_feature` the best C, as "C = 0.01"."""
    name = "C" if row == MEAN_FEATURE else "epoch"
    chosen = [f"{value:g}" for value in sorted(chosen_of(comparison, row, name))]
    ends = chosen[:1] if len(set(chosen)) == 1 else [chosen[0], chosen[-1]] if chosen else []
    return ("C = " if chosen and name == "C" else "") + " to ".join(ends)


def chosen_of(comparison: Comparison, row: str, name: str) -> list:
    """Returns what the held-out clips chose with every seed, on every test fold: "epoch" or "C"."""
    return [
        value
        for trial in comparison.trials.get(row, [])
        for value in trial.best.get(f"{name}s", [trial.best[name]] if name in trial.best else [])
    ]


def seconds_text(comparison: Comparison, row: str) -> str:
    """Returns the median over the seeds of the time that training took."""
    seconds = [trial.seconds for trial in comparison.trials.get(row, [])]
    return f"{statistics.median(seconds):.0f} s" if seconds else ""


def data_title(comparison: Comparison) -> str:
    """Returns the data set's name where it is one of the paper's, else its classes."""
    names = comparison.file.class_names
    few = ", ".join(names) if len(names) <= 8 else f"{len(names)} classes"
    return TITLES.get(dataset_of(comparison.split_id), few)


def score_title(comparison: Comparison) -> str:
    """Returns the name of the score."""
    return "mAP, %" if comparison.file.multi_label else "accuracy, %"


def f1_scores(comparison: Comparison, row: str) -> list[float]:
    """Returns the mean F1 over the classes that test has, one a seed."""
    return [float(found["f1"][found["num_videos"] > 0].mean()) for found in comparison.class_scores(row)]


def class_data(comparison: Comparison, row: str) -> dict[str, dict]:
    """Returns precision, recall and F1 of each class, means over the seeds in which they are defined, else None."""
    of_seeds = comparison.class_scores(row)
    return {
        name: {measure: _mean([found[measure][c] for found in of_seeds]) for measure in CLASS_MEASURES}
        for c, name in enumerate(comparison.file.class_names)
    }


def _mean(values) -> float | None:
    defined = [float(value) for value in values if not np.isnan(value)]
    return statistics.fmean(defined) if defined else None


def padding_text(comparison: Comparison) -> list[str]:
    """Returns a line that says how many blocks are padded; none of rows that take no blocks."""
    if not takes_blocks(comparison):
        return []
    said = {"train": "training", "validation": "held-out", "test": "test"}
    counts = [f"{padded} of {all_} {said[part]} blocks" for part, (all_, padded) in comparison.num_blocks.items()]
    first = " (of the first seed and test fold)" if comparison.config.data.test_folds else ""
    return [f"Padded, as their clip is shorter than a block: {', '.join(counts)}{first}."]


def takes_blocks(comparison: Comparison) -> bool:
    """Whether any of the rows is of a model, which sees blocks."""
    return any(ROWS[row].model for row in comparison.trials)


def pairs_data(pairs) -> list[dict]:
    """Returns the comparisons of `Comparison.pairs`, for JSON."""
    return [
        {"row": row, "minus": other, **dataclasses.asdict(found), "p_value_holm": p_value}
        for row, other, found, p_value in pairs
    ]


def pairs_table(pairs) -> dict[str, list]:
    """Returns `header` and `rows` of a table of `Comparison.pairs`: each line's row minus each column's, in percentage
    points; bold where the corrected p value is below 0.05, and there are ten groups of clips or more."""
    columns = list(dict.fromkeys(other for _, other, _, _ in pairs))
    lines = list(dict.fromkeys(row for row, _, _, _ in pairs))
    texts = {}
    for row, other, found, p_value in pairs:
        text = f"{100 * found.mean:+.2f}".replace("-", "−")
        texts[row, other] = f"**{text}**" if p_value < 0.05 and found.num_groups >= FEW_GROUPS else text
    rows = [[row, *(texts.get((row, other), "") for other in columns)] for row in lines]
    return {"header": ["minus", *columns], "rows": rows}


def warnings(comparison: Comparison) -> list[str]:
    """Returns warnings about the numbers."""
    random = ["**The features are of a RANDOM network.**"] if comparison.file.recipe["random"] else []
    hard = describe_looking(with_flags(comparison.config, model="soft_attention"))
    start = comparison.config.attention.init_from
    about = [f"**The rows with attention have --attention: {hard}.**"] if hard else []
    if start:
        about.append(f"**The rows with attention begin with {start}, whose epochs and seconds are not counted here.**")
    return random + about + comparison.remarks


def row_data(comparison: Comparison, row: str) -> dict:
    """Returns the numbers of a row, for JSON."""
    scores, held_out = comparison.test_scores(row), comparison.held_out_scores(row)
    mean, deviation = mean_and_deviation(scores) if scores else (None, None)
    trials = comparison.trials.get(row, [])
    return {
        "title": ROWS[row].title,
        "scores": scores,
        "mean": mean,
        "standard_deviation": deviation if len(scores) > 1 else None,
        "mean_f1": f1_scores(comparison, row),
        "classes": class_data(comparison, row),
        "held_out_scores": held_out,
        "best_epochs": chosen_of(comparison, row, "epoch"),
        "best_C": chosen_of(comparison, row, "C"),
        "by_fold": [trial.scores.get("by_fold") for trial in trials],
        "seconds": [trial.seconds for trial in trials],
        "attention": [trial.scores.get("attention") for trial in trials],
        "workdirs": [str(trial.folder) for trial in trials],
    }


def metadata(comparison: Comparison) -> dict:
    """Returns the facts that all rows share, for JSON."""
    set_by_row = ("model", "attention_penalty", "seed")
    blocks = comparison.num_blocks if takes_blocks(comparison) else {}
    return {
        "made": provenance(),
        "features": comparison.config.data.features,
        "split_id": comparison.split_id,
        "recipe": recipe_hash(comparison.file.recipe),
        "random_network": comparison.file.recipe["random"],
        "class_names": list(comparison.file.class_names),
        "score": "mean_average_precision" if comparison.file.multi_label else "accuracy",
        "seeds": list(range(comparison.num_seeds)),
        "flags": {name: value for name, value in as_flags(comparison.config).items() if name not in set_by_row},
        "protocol": dict(zip(PROTOCOL[:-1], protocol(comparison, ""), strict=False)),
        "num_blocks": {part: {"all": all_, "padded": padded} for part, (all_, padded) in blocks.items()},
    }
