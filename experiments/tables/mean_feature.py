"""The simplest baseline: logistic regression on a clip's mean feature, which knows neither place nor time."""

import functools
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from attention_ar.errors import InputError
from data_prep.common.files import write_json
from data_prep.features.contents import FeaturesFile
from experiments.runs.config import RunConfig, as_flags
from experiments.runs.evaluation import write_predictions
from experiments.runs.protocol import PAPER
from experiments.runs.split import split_of_run
from experiments.runs.trained import feature_metadata
from experiments.runs.video_predictions import VideoPredictions
from experiments.tables.trials import Trial, as_json, identity_of, read_trial

DATA_FLAGS = ("features", "validation_fraction", "split_seed", "folds", "fold", "test_folds", "test_fold")
"""The flags of a run that it uses."""
STRENGTHS = tuple(10.0**power for power in range(-5, 2))
"""scikit-learn's C, the inverse of the coefficient of the squared weights, among which the held-out clips choose."""


class MeanFeatureBaseline:
    """Trials of the baseline on one features file, which is read once.

    Args:
      file: the FeaturesFile.
    """

    def __init__(self, file: FeaturesFile):
        self._file = file

    def trial(self, folder, config: RunConfig, everything: bool = False) -> Trial:
        """Fits the training clips with every C, and evaluates on test the one that is best on the held-out clips.

        Features are standardised by the mean and the deviation of the training clips. Of equal scores, the lower
        cross-entropy decides.

        Args:
          folder: for `cell.json` and `cell_predictions.csv`; with `everything`, they go to its folder of that name. A
            trial that is there is not repeated.
          config: of the run; what is trained on, held out and tested follows from it as for every model.
          everything: whether to fit once more, with this C, training and held-out clips together.

        Raises:
          InputError: where nothing is held out, or a feature is not a finite number.
        """
        folder, file = Path(folder, "everything") if everything else Path(folder), self._file
        used = {name: as_flags(config)[name] for name in (*DATA_FLAGS, "seed")}
        identity = identity_of({**used, "model": "mean_feature"}, feature_metadata(file))
        path = folder / "cell.json"
        found = read_trial(path)
        if found.get("identity") != identity:
            folder.mkdir(parents=True, exist_ok=True)
            begun = time.perf_counter()
            best, predictions = self._fit(np.array(split_of_run(file, config)), everything)
            write_predictions(folder / "cell_predictions.csv", file, predictions, calibrated=predictions.predictions)
            scores = predictions.scores(file.labels[predictions.video], file.multi_label)
            seconds = time.perf_counter() - begun
            found = as_json({"identity": identity, "best": best, "scores": scores, "seconds": seconds})
            write_json(path, found)
        return Trial(folder, found["best"], found["scores"], found["seconds"])

    def _fit(self, splits, everything: bool) -> tuple[dict, VideoPredictions]:
        training, held_out, test = (np.flatnonzero(splits == part) for part in ("train", "validation", "test"))
        if not len(held_out):
            raise InputError("mean_feature: nothing is held out, on which to choose C; see --validation_fraction")
        tried = []
        for strength in STRENGTHS:
            scores = self._predict(strength, training, held_out).scores(
                self._file.labels[held_out], self._file.multi_label
            )
            tried.append({"C": strength, "held_out": scores})
        best = max(tried, key=lambda one: _rank(one["held_out"]))
        fitted = np.concatenate([training, held_out]) if everything else training
        return best, self._predict(best["C"], fitted, test)

    def _predict(self, strength: float, training, videos) -> VideoPredictions:
        labels, x, new = self._file.labels[training], self._means[training], self._means[videos]
        if self._file.multi_label:
            columns = [_probabilities(strength, x, has, new, [1])[:, 0] for has in labels.T]
            predictions = np.stack(columns, axis=1)
        else:
            classes = range(labels.shape[1])
            predictions = _probabilities(strength, x, np.argmax(labels, axis=1), new, classes)
        p, is_so = np.clip(predictions, 1e-12, 1 - 1e-12), self._file.labels[videos] != 0
        surprise = -np.where(is_so, np.log(p), np.log1p(-p) if self._file.multi_label else 0.0).sum(axis=1)
        ones = np.ones(len(videos), np.int64)
        return VideoPredictions(videos, predictions, ones, float(surprise.mean()), {}, PAPER)

    @functools.cached_property
    def _means(self) -> np.ndarray:
        return clip_means(self._file)


def clip_means(file: FeaturesFile) -> np.ndarray:
    """Returns the mean feature of every clip, over its frames and cells, `<float64>[N, D]`.

    Raises:
      InputError: where one is not a finite number.
    """
    means = np.stack(
        [
            file.features[first : first + count].mean(axis=(0, 1, 2), dtype=np.float32)
            for first, count in zip(file.first_row.tolist(), file.num_frames.tolist(), strict=True)
        ]
    ).astype(np.float64)
    bad = [file.names[clip] for clip in np.flatnonzero(~np.isfinite(means).all(axis=1))]
    if bad:
        raise InputError(f"mean_feature: the features of {', '.join(bad)} are not finite; extract them again")
    return means


def _probabilities(strength: float, x, classes, new, wanted) -> np.ndarray:
    """Returns the probabilities of the wanted classes, `<float64>[n, len(wanted)]`: 0 of one that x does not have."""
    known = np.unique(classes)
    if len(known) == 1:
        found = np.ones((len(new), 1))
    else:
        # The most iterations are far more than were ever needed. Products are so small that one thread is fastest, by
        # far beside other work; and so the numbers do not depend on how many there are.
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=100_000))
        with threadpool_limits(1):
            found = model.fit(x, classes).predict_proba(new)
    column = {int(name): n for n, name in enumerate(known)}
    none = np.zeros(len(new))
    return np.stack([found[:, column[name]] if name in column else none for name in wanted], axis=1)


def _rank(scores: dict) -> tuple[float, float]:
    score = scores[scores["score_name"]]
    return (score if np.isfinite(score) else -np.inf), -scores["cross_entropy"]
