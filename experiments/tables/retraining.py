"""The author's own protocol: hold out, note the training cost at the best epoch, retrain on everything down to it."""

from dataclasses import dataclass

from attention_ar.errors import InputError
from data_prep.features.opening import open_features
from experiments.runs.config import RunConfig, with_flags
from experiments.runs.metrics_log import read_metrics
from experiments.tables.trials import Trial, run_trial


@dataclass(frozen=True)
class Retraining:
    """A model trained on the whole training part until its cost was that of another run.

    Attributes:
      trial: its run.
      cost: that was noted: mean loss per block over an epoch of training.
      epochs: trained.
      lowest_cost: over these epochs; its epoch is the one that is evaluated.
      most_epochs: the limit.
    """

    trial: Trial
    cost: float
    epochs: int
    lowest_cost: float
    most_epochs: int

    @property
    def reached(self) -> bool:
        """Whether the cost was reached."""
        return self.lowest_cost <= self.cost

    def describe(self) -> str:
        """Returns the result as one line."""
        end = f"{self.trial.folder}: trained on the whole training part, {self.epochs} epochs,"
        if self.reached:
            return f"{end} down to a cost of {self.lowest_cost:.4g} (noted: {self.cost:.4g})"
        return (
            f"{end} WITHOUT reaching the noted cost of {self.cost:.4g}: it is at {self.lowest_cost:.4g} after "
            f"--epochs={self.most_epochs}; more epochs resume from there"
        )


def retrain_to_cost(config: RunConfig, first: Trial, split: str | None = None) -> Retraining:
    """Trains the model of a trial again, on all that it held out too, down to its cost at the best epoch.

    Args:
      config: of the trial.
      first: a trial that held something out. The new run is in its folder.
      split: see `trials.run_trial`.

    Raises:
      InputError: where the trial held nothing out.
    """
    if "held_out" not in first.best:
        raise InputError(f"{first.folder}: held nothing out, so that no epoch was chosen; see --validation_fraction")
    cost = first.best["loss"]
    return retrain(config, cost, first.folder / f"retrained_to_{cost:.6g}", split)


def retrain(config: RunConfig, cost: float, folder, split: str | None = None) -> Retraining:
    """Trains a model on the whole training part, its validation part included, until the training cost is not above a
    given one; or for `config.training.epochs`. Finished work is not repeated.

    Args:
      config: of the model.
      cost: mean loss per block over an epoch, as `loss` in `metrics.jsonl`.
      folder: the work folder.
      split: on which to evaluate the result, see `trials.run_trial`.
    """
    everything = {"validation_fraction": 0.0, "split_seed": -1, "folds": 0, "fold": 0, "stop_at_cost": cost}
    everything["patience"] = 0  # Nothing is held out.
    trial = run_trial(folder, with_flags(config, **everything), open_features(config.data.features), split, notes=False)
    epochs = read_metrics(trial.folder / "metrics.jsonl")[-1]["epoch"]
    return Retraining(trial, cost, epochs, trial.best["loss"], config.training.epochs)
