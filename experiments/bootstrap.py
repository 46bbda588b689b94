"""Whether one model is better than another on the same clips, or whether the choice of clips could have made it so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Difference:
    """Score of one model minus that of another.

    Attributes:
      mean: on the clips as they are.
      low, high: between which 95 % of the resampled differences lie.
      share_above: of the resampled differences that are greater than 0; those that are 0 count half.
      num_groups: of clips, which were drawn.
    """

    mean: float
    low: float
    high: float
    share_above: float
    num_groups: int


def paired_bootstrap(
    score: Callable, ours, theirs, labels, groups: Sequence[str], *, draws: int = 2000, seed: int = 0
) -> Difference:
    """Draws the test clips again, with replacement, and scores both models on each draw (Efron 1979).

    Paired: both see the same clips. Whole groups are drawn, since clips of one group look alike and succeed or fail
    together; a clip of unknown group is a group of its own. The score of a model is its mean over the seeds, so that
    the interval tells of the clips alone and not of how seeds scatter.

    Args:
      score: a function of predictions `<float>[N, C]` and labels `[N, C]`.
      ours, theirs: the two models' predictions with each seed, `<float>[seeds, N, C]`.
      labels: `[N, C]`.
      groups: N groups, "" where unknown.
      draws: how often.
      seed: of the draws.
    """
    labels, groups = np.asarray(labels), [group or f"\0{clip}" for clip, group in enumerate(groups)]
    group_of = np.unique(groups, return_inverse=True)[1]
    members = [np.flatnonzero(group_of == group) for group in range(group_of.max() + 1)]

    def difference(clips):
        ours_minus_theirs = [
            score(one[clips], labels[clips]) - score(other[clips], labels[clips])
            for one, other in zip(ours, theirs, strict=True)
        ]
        return np.mean(ours_minus_theirs)

    random = np.random.default_rng(seed)
    drawn = np.array(
        [
            difference(np.concatenate([members[group] for group in random.integers(len(members), size=len(members))]))
            for _ in range(draws)
        ]
    )
    low, high = np.quantile(drawn, (0.025, 0.975))
    above = np.mean(drawn > 0) + np.mean(drawn == 0) / 2
    whole = difference(np.arange(len(labels)))
    return Difference(float(whole), float(low), float(high), float(above), len(members))
