"""Paired bootstrap: whether a difference between two models on the same clips may be due to the choice of clips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000
"""Samples of the test clips. The smallest p value is two in so many, which 28 pairs of rows still need."""


@dataclass(frozen=True)
class Difference:
    """Score of one model minus that of another.

    Attributes:
      mean: on the clips as they are.
      low, high: between which 95 % of the resampled differences lie.
      num_groups: of clips, which were drawn.
      p_value: two-sided: the lowest level at which the resampled differences' interval leaves zero out.
    """

    mean: float
    low: float
    high: float
    num_groups: int
    p_value: float


def draw_clips(groups: Sequence[str], draws: int = DRAWS, seed: int = 0) -> tuple[np.ndarray, int]:
    """Resamples clips with replacement (Efron 1979): whole groups, since clips of one group look alike and succeed or
    fail together; a clip of unknown group is a group of its own.

    Args:
      groups: N groups, "" where unknown.
      draws: how many samples.
      seed: of the draws.

    Returns:
      How often each clip is in each sample, `<int64>[1 + draws, N]`, first the clips as they are, each once; and the
      number of groups.
    """
    names = [group or f"\0{clip}" for clip, group in enumerate(groups)]
    group_of = np.unique(names, return_inverse=True)[1]
    num_groups = int(group_of.max()) + 1
    random = np.random.default_rng(seed)
    drawn = random.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=1 + draws)
    drawn[0] = 1
    return drawn[:, group_of], num_groups


def mean_scores(scores: Callable, predictions, labels, counts) -> np.ndarray:
    """Scores a model on samples of the test clips; the mean over its seeds, so that what scatters tells of the clips
    alone and not of the seeds.

    Args:
      scores: `accuracies` or `mean_average_precisions`.
      predictions: with each seed, `<float>[seeds, N, C]`.
      labels: `[N, C]`.
      counts: see `draw_clips`.

    Returns:
      `<float64>[1 + draws]`.
    """
    return np.mean([scores(one, labels, counts) for one in predictions], axis=0)


def difference(ours: np.ndarray, theirs: np.ndarray, num_groups: int) -> Difference:
    """Compares two models. Paired: both were scored on the same samples.

    Args:
      ours, theirs: of `mean_scores`.
      num_groups: of `draw_clips`.
    """
    whole, *others = ours - theirs
    others = np.array(others)[np.isfinite(others)]
    if not len(others):
        return Difference(float(whole), np.nan, np.nan, num_groups, 1.0)
    low, high = np.quantile(others, (0.025, 0.975))
    tail = min(np.sum(others <= 0), np.sum(others >= 0))
    p_value = min(1.0, 2 * (1 + tail) / (1 + len(others)))
    return Difference(float(whole), float(low), float(high), num_groups, float(p_value))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects the p values of several comparisons so that, of all, a false one is found at most as often as the level
    says (Holm 1979, A simple sequentially rejective multiple test procedure)."""
    corrected, so_far = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = so_far
    return corrected


def accuracies(predictions, labels, counts) -> np.ndarray:
    """`metrics.accuracy` of many draws of clips.

    Args:
      predictions: `<float>[N, C]`.
      labels: `[N, C]`.
      counts: how often each clip is in each draw, `<int>[draws, N]`.

    Returns:
      `<float64>[draws]`.
    """
    right = np.argmax(predictions, axis=1) == np.argmax(labels, axis=1)
    return counts @ right / counts.sum(axis=1)


def mean_average_precisions(predictions, labels, counts) -> np.ndarray:
    """`metrics.mean_average_precision` of many draws of clips, in one pass over the ranks. See `accuracies`.

    Classes of which a draw has no clip are left out of its mean; a draw without a clip of any class has none, NaN.
    """
    found = np.stack([_average_precisions(predictions[:, c], labels[:, c], counts) for c in range(labels.shape[1])])
    defined = np.isfinite(found)
    number = defined.sum(axis=0)
    sums = np.where(defined, found, 0).sum(axis=0)
    return np.divide(sums, number, out=np.full(len(counts), np.nan), where=number > 0)


def _average_precisions(scores, labels, counts):
    order = np.argsort(-scores, kind="stable")
    hits, seen = (np.cumsum(counts[:, order] * weight, axis=1) for weight in (labels[order] != 0, 1))
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # Clips of equal score share a rank.
    hits, seen = hits[:, ends], seen[:, ends]
    at_rank = np.diff(hits, axis=1, prepend=0)
    precisions = np.sum(at_rank * hits / np.maximum(seen, 1), axis=1)
    return np.divide(precisions, hits[:, -1], out=np.full(len(counts), np.nan), where=hits[:, -1] > 0)


def correlations(values, right, counts) -> np.ndarray:
    """Pearson's correlation over many draws of clips; with ones and zeros on one side, the point-biserial one.

    Args:
      values: of each clip, `<float>[N]`.
      right: likewise, `[N]`.
      counts: see `accuracies`.

    Returns:
      `<float64>[draws]`; NaN where one side is the same for all clips of a draw.
    """
    weights = counts / counts.sum(axis=1, keepdims=True)

    def mean(x):
        return weights @ x

    x, y = (np.asarray(side, np.float64) - np.mean(side) for side in (values, right))
    covariance = mean(x * y) - mean(x) * mean(y)
    variances = (mean(x * x) - mean(x) ** 2) * (mean(y * y) - mean(y) ** 2)
    undefined = np.full(len(counts), np.nan)
    return np.divide(covariance, np.sqrt(np.maximum(variances, 0)), out=undefined, where=variances > 1e-15)
