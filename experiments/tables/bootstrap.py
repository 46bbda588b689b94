"""Paired bootstrap: whether a difference between two models on the same clips may be due to the choice of clips."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Difference:
    """Score of one model minus that of another.

    Attributes:
      mean: on the clips as they are.
      low, high: between which 95 % of the resampled differences lie.
      num_groups: of clips, which were drawn.
    """

    mean: float
    low: float
    high: float
    num_groups: int


def paired_bootstrap(
    scores: Callable, ours, theirs, labels, groups: Sequence[str], *, draws: int = 2000, seed: int = 0
) -> Difference:
    """Resamples the test clips with replacement and scores both models on each sample (Efron 1979).

    Paired: both see the same clips. Whole groups are drawn, since clips of one group look alike and succeed or fail
    together; a clip of unknown group is a group of its own. The score of a model is its mean over the seeds, so that
    the interval tells of the clips alone and not of how seeds scatter.

    Args:
      scores: `accuracies` or `mean_average_precisions`.
      ours, theirs: the two models' predictions with each seed, `<float>[seeds, N, C]`.
      labels: `[N, C]`.
      groups: N groups, "" where unknown.
      draws: how many samples.
      seed: of the draws.
    """
    groups = [group or f"\0{clip}" for clip, group in enumerate(groups)]
    group_of = np.unique(groups, return_inverse=True)[1]
    num_groups = group_of.max() + 1
    random = np.random.default_rng(seed)
    drawn = random.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=draws)
    drawn[0] = 1  # The clips as they are.
    counts = drawn[:, group_of]

    def mean_score(models):
        return np.mean([scores(predictions, labels, counts) for predictions in models], axis=0)

    whole, *others = mean_score(ours) - mean_score(theirs)
    low, high = np.nanquantile(others, (0.025, 0.975)) if np.any(np.isfinite(others)) else (np.nan, np.nan)
    return Difference(float(whole), float(low), float(high), int(num_groups))


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
