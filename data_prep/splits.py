"""Splits: no group on two sides, and a validation part held out from train."""

from collections.abc import Sequence

import numpy as np

from attention_ar.errors import InputError

_TRIALS = 20_000  # orders × groups that are tried


def check_disjoint_groups(parts):
    """Refuses a split that has a group on two of its sides.

    Clips of one group (the same actor, the same source video) look alike; with one of them in train, the others
    are no test.

    Args:
      parts: anything with `groups` and `splits`, one string per clip: a `ClipList` or a `FeaturesFile`. Clips of
        the unknown group "" are not looked at.

    Raises:
      InputError: with the names of the groups.
    """
    if torn := torn_groups(parts):
        named = ", ".join(f"{group} ({' and '.join(sides)})" for group, sides in torn.items())
        raise InputError(f"groups on two sides of the split: {named}; all clips of a group must have the same split")


def torn_groups(parts) -> dict[str, list[str]]:
    """Returns the groups that are on two sides, with these; see `check_disjoint_groups`."""
    sides: dict[str, set[str]] = {}
    for group, split in zip(parts.groups, parts.splits, strict=True):
        sides.setdefault(group, set()).add(split)
    return {group: sorted(found) for group, found in sorted(sides.items()) if group and len(found) > 1}


def hold_out_validation(
    labels: np.ndarray,
    groups: Sequence[str],
    splits: Sequence[str],
    *,
    fraction: float = 0.15,
    seed: int = 0,
) -> list[str]:
    """Turns a part of train into validation; test is never touched.

    A split that already has a validation part is returned as it is.

    Args:
      labels: <uint8>[N, C], one row of ones and zeros per clip.
      groups: N groups; whole groups are held out. Where all are "", clips are, class by class.
      splits: N of "train", "validation", "test".
      fraction: how much of train to hold out. At least one group (or clip) is, if train has two.
      seed: the same seed gives the same split.

    Returns:
      N splits.

    Raises:
      InputError: for a fraction outside [0, 1).
    """
    if not 0 <= fraction < 1:
        raise InputError(f"fraction={fraction:g} of the training clips to hold out: must be at least 0 and below 1")
    splits = list(splits)
    if fraction == 0 or "validation" in splits:
        return splits
    train = np.flatnonzero(np.asarray(splits) == "train")
    held = hold_out(np.asarray(labels)[train], [groups[i] for i in train], fraction=fraction, seed=seed)
    for i in train[held]:
        splits[i] = "validation"
    return splits


def hold_out(
    labels: np.ndarray, groups: Sequence[str], *, fraction: float, seed: int, from_every_class: bool = False
) -> np.ndarray:
    """Chooses clips to hold out, by group where groups are known and otherwise class by class.

    By group: every class keeps a clip outside the held-out part where that is possible; under that condition the
    held-out share comes as near to `fraction` as a random search finds, and of equally near choices the one wins
    that takes about the same share of every class. A clip of unknown group is then a group of its own.

    Args:
      labels: <uint8>[N, C].
      groups: N groups, "" where unknown.
      fraction: of the N clips.
      seed: of the choice.
      from_every_class: without groups, hold out one clip at least of every class that has two.

    Returns:
      <bool>[N], true where held out.
    """
    labels = np.asarray(labels) != 0
    rng = np.random.default_rng(seed)
    if len(labels) < 2:
        return np.zeros(len(labels), bool)
    if not any(groups):
        return _hold_out_clips(labels, fraction, from_every_class, rng)

    names = [group or f"\0{i}" for i, group in enumerate(groups)]
    group_of = np.unique(names, return_inverse=True)[1]
    num_groups = group_of.max() + 1
    per_class = np.zeros((num_groups, labels.shape[1]), int)
    np.add.at(per_class, group_of, labels)
    sizes = np.bincount(group_of, minlength=num_groups)
    return _choose_groups(per_class, sizes, fraction, rng)[group_of]


def _choose_groups(per_class: np.ndarray, sizes: np.ndarray, fraction: float, rng) -> np.ndarray:
    """Returns which groups to hold out, <bool>[G], given <int>[G, C] clips per class and <int>[G] clips in all."""
    num_groups = len(sizes)
    target = fraction * sizes.sum()
    total = per_class.sum(axis=0)
    best_score, best = None, np.zeros(num_groups, bool)
    for _ in range(max(8, _TRIALS // num_groups)):
        held = np.zeros(num_groups, bool)
        size, left = 0, total.copy()
        for group in rng.permutation(num_groups):
            nearer = abs(size + sizes[group] - target) < abs(size - target)
            if nearer and np.all((left > per_class[group]) | (total == 0)):
                held[group] = True
                size, left = size + sizes[group], left - per_class[group]
        uneven = np.abs(total - left - fraction * total).sum()
        score = (abs(size - target), uneven)
        if held.any() and (best_score is None or score < best_score):
            best_score, best = score, held
    if num_groups > 1 and not best.any():  # every group is too big, or holds the whole of some class
        emptied = np.sum((per_class == total) & (total > 0), axis=1)
        best[np.lexsort((rng.permutation(num_groups), np.abs(sizes - target), emptied))[0]] = True
    return best


def _hold_out_clips(labels: np.ndarray, fraction: float, from_every_class: bool, rng) -> np.ndarray:
    """As `hold_out`, class by class; a clip with several labels counts under its rarest one."""
    frequency = labels.sum(axis=0)
    class_of = np.argmin(np.where(labels, frequency, len(labels) + 1), axis=1)
    sizes = np.bincount(class_of, minlength=labels.shape[1])
    spare = np.maximum(sizes - 1, 0)  # one clip of each class stays

    quota = np.minimum(np.floor(fraction * sizes).astype(int), spare)
    if from_every_class:
        quota = np.maximum(quota, np.minimum(1, spare))
    wanted = max(1, round(fraction * len(labels)))
    by_remainder = np.lexsort((rng.permutation(len(sizes)), quota - fraction * sizes))
    for index in by_remainder:
        if quota.sum() < wanted and quota[index] < spare[index]:
            quota[index] += 1

    held = np.zeros(len(labels), bool)
    for index, count in enumerate(quota):
        held[rng.permutation(np.flatnonzero(class_of == index))[:count]] = True
    if not held.any():  # one clip per class
        held[rng.integers(len(labels))] = True
    return held
