"""A run's temperature, its calibration error, and what it answers where less sure answers are rejected."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attention_ar import calibration
from attention_ar.errors import InputError, one_line
from data_prep.common.files import write_json
from experiments.runs.protocol import Protocol

NONE_OF_THESE = "none of these"
"""The answer for a clip of which no class is probable enough."""

_FILE = "temperature.json"
THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Of the table of accuracy against coverage."""


@dataclass(frozen=True)
class Temperature:
    """The temperature of a checkpoint, see `attention_ar.calibration`.

    Attributes:
      value: τ.
      num_videos: how many held-out videos it was fitted on; 0 for one that was not fitted, and is 1.
    """

    value: float = 1.0
    num_videos: int = 0

    @classmethod
    def of_run(cls, workdir, metadata: dict) -> "Temperature":
        """Returns what training found with the parameters of a checkpoint or, where it held nothing out, what `write`
        wrote.

        None was fitted where there is neither, as in the middle of an epoch, and by versions without temperatures.

        Args:
          workdir: of the run.
          metadata: of the checkpoint.

        Raises:
          InputError: for a file that is not readable.
        """
        held_out = metadata.get("metrics", {}).get("held_out", {})
        if "temperature" in held_out:
            return cls(held_out["temperature"], held_out["num_videos"])
        path = Path(workdir) / _FILE
        if held_out or not path.exists():
            return cls()
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            value, num_videos = float(found["temperature"]), int(found["num_videos"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path}: not a run's temperature ({one_line(error)}); remove it") from None
        if not 0 < value < np.inf:
            raise InputError(f"{path}: the temperature is {value:g}; must be above 0")
        return cls(value, num_videos)

    def write(self, workdir):
        """Keeps it with a run that holds nothing out: one that cross-validation of the same training has found."""
        write_json(Path(workdir) / _FILE, {"temperature": self.value, "num_videos": self.num_videos})

    def __call__(self, predictions, protocol: Protocol, multi_label: bool) -> np.ndarray:
        """Returns calibrated predictions of clips, or of blocks, `<float>[..., C]`.

        Those of the released protocol stay as they are: votes are no probabilities.
        """
        value = self.value if protocol.name == "paper" else 1.0
        return calibration.at_temperature(predictions, value, multi_label)

    def describe(self) -> str:
        """Returns for example "temperature 1.83, fitted on 30 held-out clips"."""
        if not self.num_videos:
            return "temperature 1: this checkpoint has no held-out clips to fit it on"
        return f"temperature {self.value:.2f}, fitted on {self.num_videos} held-out clips"


def fit(predictions, labels, multi_label: bool) -> Temperature:
    """Returns the temperature for predictions of held-out videos, `<float>[N, C]`, and their labels `[N, C]`."""
    return Temperature(calibration.fit_temperature(predictions, labels, multi_label), len(predictions))


def calibration_scores(temperature: Temperature, found, labels, multi_label: bool) -> dict:
    """Returns how well confidence and accuracy agree, before and after the temperature, as JSON keeps it.

    Args:
      temperature: of the run.
      found: the `VideoPredictions`.
      labels: of these videos, `[N, C]`.
      multi_label: whether a clip may have several labels; then every class of a video counts as a question by itself.

    Returns:
      `temperature` and `fitted_on` (how many held-out videos); `before` and `after`, each with
      `expected_calibration_error`, `negative_log_likelihood` and the points of the `reliability` diagram; and
      `coverage`: for each of the `THRESHOLDS` the share of the videos that are answered, and the accuracy on these.
    """
    after = temperature(found.predictions, found.protocol, multi_label)
    scores = {"temperature": temperature.value, "fitted_on": temperature.num_videos}
    for name, predictions in (("before", found.predictions), ("after", after)):
        confidence, right = calibration.answers(predictions, labels, multi_label)
        points = calibration.reliability(confidence, right)
        scores[name] = {
            "expected_calibration_error": calibration.expected_calibration_error(confidence, right),
            "negative_log_likelihood": calibration.negative_log_likelihood(predictions, labels, multi_label),
            "reliability": [dict(zip(points, values, strict=True)) for values in zip(*_lists(points), strict=True)],
        }
    return scores | {"coverage": [rejection(after, labels, threshold) for threshold in THRESHOLDS]}


def rejection(predictions, labels, reject_below: float) -> dict:
    """Returns what is answered where less sure answers are rejected: `reject_below`, `num_answered`, `coverage` and
    `accuracy`, which is None where nothing is answered.

    Args:
      predictions: calibrated ones, `<float>[N, C]`.
      labels: theirs, `[N, C]`; with several labels, the most probable class must be one of them.
      reject_below: a probability.
    """
    share, accuracy = calibration.coverage(*calibration.best(predictions, labels), [reject_below])
    return {
        "reject_below": reject_below,
        "num_answered": round(share[0] * len(predictions)),
        "coverage": float(share[0]),
        "accuracy": None if np.isnan(accuracy[0]) else float(accuracy[0]),
    }


def describe_calibration(scores: dict) -> str:
    """Returns the console's line about `calibration_scores`."""
    before, after = (100 * scores[name]["expected_calibration_error"] for name in ("before", "after"))
    line = f"expected calibration error {before:.1f} %"
    if scores["fitted_on"]:
        line += f", {after:.1f} % with {Temperature(scores['temperature'], scores['fitted_on']).describe()}"
    else:
        line += f"; {Temperature().describe()}"
    return line


def describe_rejection(scores: dict) -> str:
    """Returns the console's line about `rejection`."""
    accuracy = "" if scores["accuracy"] is None else f", {100 * scores['accuracy']:.1f} % of them right"
    return (
        f"reject_below={scores['reject_below']:g}: {100 * scores['coverage']:.1f} % of the clips are "
        f"answered{accuracy}; the others are {NONE_OF_THESE}"
    )


def _lists(columns: dict) -> list[list]:
    return [values.tolist() for values in columns.values()]
