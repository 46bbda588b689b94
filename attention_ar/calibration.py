"""Probabilities that mean what they say: a temperature, the calibration error, and accuracy against coverage.

None of this is in the paper. A temperature is one number that makes predictions less sure of themselves, or surer
(Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2). It is applied here to the prediction of a
video, which is a mean of probabilities, so the order of the classes, and with it the accuracy, stays as it is.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax, logit

NUM_BINS = 15  # as in Guo et al. 2017
_LEAST = 1e-12  # A softmax in float32 can give 0.
_WIDEST = 3.0  # of log τ: τ is between 1/20 and 20


def at_temperature(predictions, temperature: float, multi_label: bool = False) -> np.ndarray:
    """Returns predictions at a temperature τ: p_c^(1/τ) / Σ_k p_k^(1/τ), which is softmax(log p / τ).

    Example, from sure to less sure:

        >>> from attention_ar.calibration import at_temperature
        >>> at_temperature([0.9, 0.1], 2.0).round(2).tolist()
        [0.75, 0.25]

    Args:
      predictions: p, `<float>[..., C]`.
      temperature: τ, above 0; 1 changes nothing.
      multi_label: whether a clip may have several labels: then each class by itself, σ(σ⁻¹(p) / τ).

    Returns:
      `<float>[..., C]`.
    """
    predictions = np.asarray(predictions)
    if temperature == 1:
        return predictions
    return np.exp(_log_likelihood(_scores(predictions, multi_label) / temperature, multi_label))


def fit_temperature(predictions, labels, multi_label: bool = False) -> float:
    """Returns the temperature at which the labels of held-out videos are most probable.

    It minimises the negative log-likelihood, summed over the videos, plus (log τ)² / 2. This weak prior keeps a handful
    of videos from making the predictions certain (if all are right, the likelihood alone has its optimum at τ = 0), and
    does not matter for many.

    Args:
      predictions: of the videos, `<float>[N, C]`, N at least 1.
      labels: theirs, 0 or 1, `[N, C]`.
      multi_label: see `at_temperature`.
    """
    scores, labels = _scores(predictions, multi_label), np.asarray(labels) > 0

    def cost(log_temperature):
        likelihood = _of_labels(scores / np.exp(log_temperature), labels, multi_label)
        return -likelihood.sum() + log_temperature**2 / 2

    found = minimize_scalar(cost, bounds=(-_WIDEST, _WIDEST), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def negative_log_likelihood(predictions, labels, multi_label: bool = False) -> float:
    """Mean over the videos (with several labels, over all videos and classes) of −log p, in nats. See `at_temperature`.

    Probabilities below 1e-12 count as that.
    """
    return -float(_of_labels(_scores(predictions, multi_label), np.asarray(labels) > 0, multi_label).mean())


def _scores(predictions, multi_label: bool) -> np.ndarray:
    """Returns log p or, with several labels, σ⁻¹(p)."""
    p = np.clip(np.asarray(predictions, np.float64), _LEAST, 1 - _LEAST if multi_label else 1)
    return logit(p) if multi_label else np.log(p)


def _log_likelihood(scores: np.ndarray, multi_label: bool) -> np.ndarray:
    return log_expit(scores) if multi_label else log_softmax(scores, axis=-1)


def _of_labels(scores: np.ndarray, labels: np.ndarray, multi_label: bool) -> np.ndarray:
    """Returns the log-likelihood of each label, `<float64>[N]`, or with several labels `<float64>[N·C]`."""
    if multi_label:
        return log_expit(np.where(labels, scores, -scores)).ravel()
    return log_softmax(scores, axis=-1)[labels]


def answers(predictions, labels, multi_label: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns the confidence of each answer, and whether it is right, `<float>[n]` and `<bool>[n]`.

    Of one label, a video's answer is its most probable class. Of several, every class is a question by itself, "does
    the video have it?", answered with its probability and right if the video has it: n = N·C.

    Args:
      predictions: `<float>[N, C]`.
      labels: 0 or 1, `[N, C]`; one of a row is 1 unless `multi_label`.
      multi_label: see `at_temperature`.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels) > 0
    if multi_label:
        return predictions.ravel(), labels.ravel()
    return best(predictions, labels)


def best(predictions, labels) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probability of each video's most probable class, and whether that is one of its labels."""
    predictions, labels = np.asarray(predictions), np.asarray(labels) > 0
    rows, taken = np.arange(len(predictions)), np.argmax(predictions, axis=1)
    return predictions[rows, taken], labels[rows, taken]


def reliability(confidence, right, num_bins: int = NUM_BINS) -> dict[str, np.ndarray]:
    """Returns how often answers of similar confidence are right: the points of a reliability diagram.

    Args:
      confidence: between 0 and 1, `<float>[n]`; see `answers`.
      right: `<bool>[n]`.
      num_bins: of equal width, between 0 and 1.

    Returns:
      Of each bin that has answers: `count` `<int64>[b]`, and their mean `confidence` and `accuracy`, `<float64>[b]`.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    of_bin = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    count = np.bincount(of_bin, minlength=num_bins)
    sums = [np.bincount(of_bin, weights=values, minlength=num_bins)[count > 0] for values in (confidence, right)]
    count = count[count > 0]
    return {"count": count, "confidence": sums[0] / count, "accuracy": sums[1] / count}


def expected_calibration_error(confidence, right, num_bins: int = NUM_BINS) -> float:
    """Returns Σ_b n_b/n · |accuracy_b − confidence_b| over the bins of `reliability` (Guo et al. 2017, Eq. 3).

    Warning: of few answers it is above 0 even where the probabilities are true ones, since the accuracy of a bin with a
    few videos scatters.
    """
    found = reliability(confidence, right, num_bins)
    return float(np.average(np.abs(found["accuracy"] - found["confidence"]), weights=found["count"]))


def coverage(confidence, right, reject_below) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is answered, and how well, where less sure answers are rejected.

    Args:
      confidence, right: of each video's answer, `<float>[N]` and `<bool>[N]`; see `best`.
      reject_below: thresholds, `<float>[n]`; an answer of at least that confidence is given.

    Returns:
      For each threshold the share of the videos that get an answer, and the share of right ones among these, NaN where
      there are none; each `<float64>[n]`.
    """
    given = np.asarray(confidence) >= np.asarray(reject_below)[:, None]
    num_right, count = (given & np.asarray(right)).sum(axis=1), given.sum(axis=1)
    return count / given.shape[1], np.divide(num_right, count, out=np.full(len(count), np.nan), where=count > 0)
