"""Trials of tables and of sweeps: one configuration each, trained and, where it is wanted, evaluated.

A trial is an ordinary work folder, which every other program reads. Finished trials are not repeated: `cell.json`,
which is written last, names what they depend on. Names are kept from older versions so that their folders still resume.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.common.files import write_json, write_whole
from experiments.runs.config import RunConfig, RuntimeConfig, as_flags
from experiments.runs.evaluation import evaluate, read_predictions
from experiments.runs.metrics_log import read_metrics
from experiments.runs.trained import feature_metadata
from experiments.runs.training import train


@dataclass(frozen=True)
class Trial:
    """The result of one configuration.

    Attributes:
      folder: its work folder.
      best: the line of `metrics.jsonl` about the best epoch.
      scores: on the requested split, see `evaluation.evaluate`; None without one.
      seconds: of its epochs' training steps, compiling included.
    """

    folder: Path
    best: dict
    scores: dict | None
    seconds: float

    def predictions(self) -> tuple[list[str], np.ndarray]:
        """Returns the names of the clips that the scores are of, and the predictions, `<float64>[N, C]`."""
        return read_predictions(self.folder / "cell_predictions.csv")


def run_trial(folder, config: RunConfig, file, split: str | None = "test", notes: bool = True) -> Trial:
    """Trains and evaluates a configuration, resumes that, or reads the finished result.

    Args:
      folder: the work folder of this trial.
      config: of the run.
      file: the FeaturesFile that `config` names.
      split: on which to evaluate the best epoch; None does not.
      notes: see `training.train`.

    Raises:
      InputError: see `training.train`, which also refuses a folder that holds another configuration.
      Stopped: where the program is told to stop; called again, it resumes.
    """
    folder = Path(folder)
    identity = identity_of(as_flags(config), feature_metadata(file))
    path, predictions = folder / "cell.json", folder / "cell_predictions.csv"
    found = read_trial(path)
    if found.get("identity") == identity:
        print(f"{folder}: trained already", flush=True)
    else:
        best = train(config, folder, notes)
        seconds = sum(line["seconds"] for line in read_metrics(folder / "metrics.jsonl"))
        found = {"identity": identity, "best": best, "seconds": seconds}
        write_json(path, found)
    if split and not (found.get("split") == split and predictions.exists()):
        scores, evaluation, _ = evaluate(folder, features=config.data.features, split=split)
        # A copy: a later evaluation of this run does not change the table.
        write_whole(predictions, (evaluation / "predictions.csv").read_bytes())
        found = {**found, "split": split, "scores": scores}
        write_json(path, found)
    found = as_json(found)
    return Trial(folder, found["best"], found.get("scores"), found["seconds"])


def identity_of(flags: dict, features: dict) -> dict:
    """Returns everything that a trial's numbers depend on.

    The path of the features and the runtime are not among it. A flag at its default is left out, so that a trial of a
    version without that flag is still recognised.

    Args:
      flags: their values by name, all of them or those that are not at their default.
      features: see `feature_metadata`.
    """
    free = {"features", *(field.name for field in dataclasses.fields(RuntimeConfig))}
    default = as_flags(RunConfig())
    lasting = {name: value for name, value in flags.items() if name not in free and value != default.get(name)}
    return as_json({"flags": lasting, "features": features})


def as_json(value):
    """Returns a value as JSON would give it back."""
    return json.loads(json.dumps(value))


def read_trial(path: Path) -> dict:
    """Returns the contents of `cell.json`, nothing if it cannot be read: the trial then runs again."""
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        return found | {"identity": identity_of(**found["identity"])}  # Older versions wrote all flags.
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
