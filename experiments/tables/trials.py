"""Cells of tables and of sweeps: one configuration each, trained and, where it is wanted, evaluated.

A cell is an ordinary work folder, which every other program takes. What is done is not done again: `cell.json`, written
last, says of what.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.common.files import write_json, write_whole
from experiments.runs.config import YOUNGER, RunConfig, RuntimeConfig, as_flags
from experiments.runs.evaluation import evaluate, read_predictions
from experiments.runs.metrics_log import read_metrics
from experiments.runs.trained import about_features
from experiments.runs.training import train


@dataclass(frozen=True)
class Cell:
    """What came of one configuration.

    Attributes:
      folder: its work folder.
      best: the line of `metrics.jsonl` about the best epoch.
      scores: on the split that was asked for, see `evaluation.evaluate`; None where none was.
      seconds: of its epochs' training steps, compiling included.
    """

    folder: Path
    best: dict
    scores: dict | None
    seconds: float

    def predictions(self) -> tuple[list[str], np.ndarray]:
        """Returns the names of the clips that the scores are of, and the predictions, `<float64>[N, C]`."""
        return read_predictions(self.folder / "cell_predictions.csv")


def run_cell(folder, config: RunConfig, file, split: str | None = "test") -> Cell:
    """Trains a configuration and evaluates it, or goes on with that, or finds it done.

    Args:
      folder: the work folder of this cell.
      config: of the run.
      file: the FeaturesFile that `config` names.
      split: on which to evaluate the best epoch; None does not.

    Raises:
      InputError: see `training.train`, which also refuses a folder that holds another configuration.
      Stopped: where the program is told to stop; called again, it goes on.
    """
    folder = Path(folder)
    identity = as_json({"flags": lasting_flags(config), "features": about_features(file)})
    path, predictions = folder / "cell.json", folder / "cell_predictions.csv"
    found = read_cell(path)
    if found.get("identity") == identity:
        print(f"{folder}: trained already", flush=True)
    else:
        best = train(config, folder)
        seconds = sum(line["seconds"] for line in read_metrics(folder / "metrics.jsonl"))
        found = {"identity": identity, "best": best, "seconds": seconds}
        write_json(path, found)
    if split and not (found.get("split") == split and predictions.exists()):
        scores, evaluation, _ = evaluate(folder, features=config.data.features, split=split)
        # A copy: whoever evaluates this run in another way, later, does not change the table.
        write_whole(predictions, (evaluation / "predictions.csv").read_bytes())
        found = {**found, "split": split, "scores": scores}
        write_json(path, found)
    found = as_json(found)
    return Cell(folder, found["best"], found.get("scores"), found["seconds"])


def lasting_flags(config: RunConfig) -> dict:
    """Returns the flags on which a cell's numbers depend: not where the features are, nor on what it runs.

    Nor, so that the cells of older versions are still known, flags that those had not, at their defaults.
    """
    free = {"features", *(field.name for field in dataclasses.fields(RuntimeConfig))}
    default = as_flags(RunConfig())
    free |= {name for name, value in as_flags(config).items() if name in YOUNGER and value == default[name]}
    return {name: value for name, value in as_flags(config).items() if name not in free}


def as_json(value):
    """Returns a value as JSON would give it back."""
    return json.loads(json.dumps(value))


def read_cell(path: Path) -> dict:
    """Returns what `cell.json` says, nothing where there is none that can be read: the cell is then run again."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
