"""The text of a comparison in the tables: scores, differences, and their protocol."""

import statistics

from data_prep.features.recipe import recipe_hash
from experiments.runs.config import as_flags, with_flags
from experiments.runs.models import describe_looking
from experiments.runs.split import choose_videos
from experiments.tables.bootstrap import Difference
from experiments.tables.comparison import ROWS, Comparison, mean_and_deviation
from experiments.tables.published import TITLES, dataset_of

PROTOCOL = ("split", "test clips", "fps", "stride", "T", "epochs", "held out", "seeds")
"""The columns that `protocol` fills."""


def protocol(comparison: Comparison, row: str) -> list[str]:
    """Returns the protocol of a row, in the columns of `PROTOCOL`."""
    file, config = comparison.file, comparison.config
    training, held_out = choose_videos(file, config)
    done, wanted = len(comparison.trials.get(row, [])), comparison.num_seeds
    return [
        file.split_id,
        str(file.splits.count("test")),
        f"{config.data.fps:g}",
        str(config.data.stride),
        str(config.data.num_steps),
        str(config.training.epochs),
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
    """Returns the best epochs of the seeds, as "3" or "2 to 5"."""
    epochs = [trial.best["epoch"] for trial in comparison.trials.get(row, [])]
    return "" if not epochs else str(epochs[0]) if len(set(epochs)) == 1 else f"{min(epochs)} to {max(epochs)}"


def seconds_text(comparison: Comparison, row: str) -> str:
    """Returns the median over the seeds of the time that training took."""
    seconds = [trial.seconds for trial in comparison.trials.get(row, [])]
    return f"{statistics.median(seconds):.0f} s" if seconds else ""


def data_title(comparison: Comparison) -> str:
    """Returns the data set's name where it is one of the paper's, else its classes."""
    names = comparison.file.class_names
    few = ", ".join(names) if len(names) <= 8 else f"{len(names)} classes"
    return TITLES.get(dataset_of(comparison.file.split_id), few)


def score_title(comparison: Comparison) -> str:
    """Returns the name of the score."""
    return "mAP, %" if comparison.file.multi_label else "accuracy, %"


def warnings(comparison: Comparison) -> list[str]:
    """Returns warnings about the numbers."""
    random = ["**The features are of a RANDOM network.**"] if comparison.file.recipe["random"] else []
    hard = describe_looking(with_flags(comparison.config, model="soft_attention"))
    return random + ([f"**The rows with attention have --attention: {hard}.**"] if hard else []) + comparison.remarks


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
        "held_out_scores": held_out,
        "best_epochs": [trial.best["epoch"] for trial in trials],
        "seconds": [trial.seconds for trial in trials],
        "attention": [trial.scores.get("attention") for trial in trials],
        "workdirs": [str(trial.folder) for trial in trials],
    }


def metadata(comparison: Comparison) -> dict:
    """Returns the facts that all rows share, for JSON."""
    set_by_row = ("model", "attention_penalty", "seed")
    return {
        "features": comparison.config.data.features,
        "split_id": comparison.file.split_id,
        "recipe": recipe_hash(comparison.file.recipe),
        "random_network": comparison.file.recipe["random"],
        "class_names": list(comparison.file.class_names),
        "score": "mean_average_precision" if comparison.file.multi_label else "accuracy",
        "seeds": list(range(comparison.num_seeds)),
        "flags": {name: value for name, value in as_flags(comparison.config).items() if name not in set_by_row},
        "protocol": dict(zip(PROTOCOL[:-1], protocol(comparison, ""), strict=False)),
    }
