"""Splits: no group in two parts, a validation part held out from train, and train cut into folds."""

from collections.abc import Sequence

import numpy as np

from attention_ar.errors import InputError

_TRIALS = 20_000  # orders × groups that are tried


def check_disjoint_groups(parts):
    """Refuses a split that has a group in two parts.

    Clips of one group (the same actor, the same source video) look alike; if one of them is in train, the others
    are no test.

    Args:
      parts: anything with `groups` and `splits`, one string per clip: a `ClipList` or a `FeaturesFile`. Clips of
        the unknown group "" are not looked at.

    Raises:
      InputError: with the names of the groups.
    """
    if torn := torn_groups(parts):
        named = ", ".join(f"{group} ({' and '.join(sides)})" for group, sides in torn.items())
        raise InputError(f"groups in two parts of the split: {named}; all clips of a group must have the same split")


def torn_groups(parts) -> dict[str, list[str]]:
    """Returns the groups that are in two parts, with these; see `check_disjoint_groups`."""
    sides: dict[str, set[str]] = {}
    for group, split in zip(parts.groups, parts.splits, strict=True):
        sides.setdefault(group, set()).add(split)
    return {group: sorted(found) for group, found in sorted(sides.items()) if group and len(found) > 1}


def hold_out_part(
    parts,
    *,
    fraction: float = 0.15,
    seed: int = 0,
    folds: int = 0,
    fold: int = 0,
    test_folds: int = 0,
    test_fold: int = 0,
) -> list[str]:
    """Returns splits in which "validation" is what a run holds out of its training; test is never touched.

    That is a fold; or the split's own validation part; or, where it has none, a share of the training part. With
    `fraction` 0 nothing is held out, not even the split's own part. With `test_folds`, the split is another one: see
    `fold_as_test`.

    Args:
      parts: anything with `labels`, `groups` and `splits`, such as a `FeaturesFile`.
      fraction, seed: of the share, see `hold_out_validation`.
      folds, fold: see `hold_out_fold`; 0 folds cut none.
      test_folds, test_fold: see `fold_as_test`; 0 folds leave the split as it is.

    Raises:
      InputError: for a fold without folds, and see `hold_out_fold`.
    """
    splits = parts.splits
    if test_folds:
        splits = fold_as_test(parts.labels, parts.groups, folds=test_folds, fold=test_fold)
    elif test_fold:
        raise InputError(f"test_fold={test_fold}: needs --test_folds, the number of folds")
    if folds:
        return hold_out_fold(parts.labels, parts.groups, splits, folds=folds, fold=fold)
    if fold:
        raise InputError(f"fold={fold}: needs --folds, the number of folds")
    if not fraction:
        return ["train" if split == "validation" else split for split in splits]
    return hold_out_validation(parts.labels, parts.groups, splits, fraction=fraction, seed=seed)


def fold_as_test(labels: np.ndarray, groups: Sequence[str], *, folds: int, fold: int) -> list[str]:
    """Cuts all clips, whatever their split, into folds, and makes one of them "test" and all the others "train".

    So every clip is tested once by a model that has not seen its group.

    Args:
      labels, groups: see `hold_out_validation`.
      folds: into how many parts to cut, see `cut_folds`.
      fold: which of these is test, from 0.

    Raises:
      InputError: for a fold that there is not, and see `cut_folds`.
    """
    if not 0 <= fold < folds:
        raise InputError(f"test_fold={fold}: must be 0 or greater, and below test_folds={folds}")
    number = cut_folds(np.asarray(labels), groups, folds)
    return np.where(number == fold, "test", "train").tolist()


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


def hold_out_fold(
    labels: np.ndarray, groups: Sequence[str], splits: Sequence[str], *, folds: int, fold: int
) -> list[str]:
    """Makes one fold of the training part the validation part, and all the others train; test is never touched.

    The training part is here train and validation together: a split's own validation part is cut up like the rest.

    Args:
      labels, groups, splits: see `hold_out_validation`.
      folds: into how many parts to cut, see `cut_folds`.
      fold: which of these is held out, from 0.

    Returns:
      N splits.

    Raises:
      InputError: for a fold that there is not, and see `cut_folds`.
    """
    if not 0 <= fold < folds:
        raise InputError(f"fold={fold}: must be 0 or greater, and below folds={folds}")
    splits = np.array(splits, dtype=object)
    pool = np.flatnonzero(splits != "test")
    number = cut_folds(np.asarray(labels)[pool], [groups[i] for i in pool], folds)
    splits[pool] = np.where(number == fold, "validation", "train")
    return splits.tolist()


def cut_folds(labels: np.ndarray, groups: Sequence[str], folds: int) -> np.ndarray:
    """Cuts clips into parts for cross-validation, by group where groups are known and otherwise class by class.

    By group: a random search looks for folds of the same size, and among equally even ones takes the one whose folds
    have the most even share of every class. A clip of unknown group is then a group of its own. Class by class, sizes
    differ by one clip at most, and so do those of every class.

    The same clips give the same folds; no seed changes them, so that all models are compared on the same ones.

    Args:
      labels: <uint8>[N, C].
      groups: N groups, "" where unknown.
      folds: into how many parts, at least 2.

    Returns:
      <int64>[N], the fold of every clip, from 0.

    Raises:
      InputError: for less than two folds, and where there are fewer groups (or clips) than folds.
    """
    labels = np.asarray(labels) != 0
    rng = np.random.default_rng(0)
    what = "groups" if any(groups) else "clips"
    group_of, per_class, sizes = _tabulate(labels, groups)
    if folds < 2:
        raise InputError(f"folds={folds}: must be at least 2")
    if len(sizes) < folds:
        raise InputError(f"folds={folds}: there are only {len(sizes)} {what} to cut; must not be more than that")
    if not any(groups):
        by_class = np.lexsort((rng.permutation(len(labels)), _rarest_class(labels)))
        number = np.empty(len(labels), np.int64)
        number[by_class] = np.arange(len(labels)) % folds
        return number
    return _deal_groups(per_class, sizes, folds, rng)[group_of]


def _deal_groups(per_class: np.ndarray, sizes: np.ndarray, folds: int, rng) -> np.ndarray:
    """Returns the fold of each group, <int64>[G], given <int>[G, C] clips per class and <int>[G] clips in all."""
    brings = np.column_stack([sizes / sizes.sum(), per_class / np.maximum(per_class.sum(axis=0), 1)])
    best_score, best = None, None
    for trial in range(min(max(8, _TRIALS // len(sizes)), 1000)):
        number, loads = np.zeros(len(sizes), np.int64), np.zeros((folds, brings.shape[1]))
        weights, chance = np.ones(brings.shape[1]), 0.0
        if trial % 2:  # Less greedy.
            weights[1:], chance = rng.uniform(), rng.uniform(0, 2)
        for group in np.argsort(
            -sizes * rng.uniform(0.5 * (1 - trial % 2), 1, len(sizes))
        ):  # Large ones first, mostly.
            there = loads @ (weights * brings[group])  # How much is of what it brings: at first, nothing.
            number[group] = np.argmin(there * (1 + chance * rng.uniform(size=folds)))
            loads[number[group]] += brings[group]
        uneven = np.abs(loads - 1 / folds)
        score = (round(uneven[:, 0].sum(), 9), uneven.sum())
        if best_score is None or score < best_score:
            best_score, best = score, number
    return best


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

    group_of, per_class, sizes = _tabulate(labels, groups)
    return _choose_groups(per_class, sizes, fraction, rng)[group_of]


def _tabulate(labels: np.ndarray, groups: Sequence[str]):
    """Returns each clip's group, <int>[N], and the groups' clips per class, <int>[G, C], and in all, <int>[G]."""
    names = [group or f"\0{i}" for i, group in enumerate(groups)]
    group_of = np.unique(names, return_inverse=True)[1]
    num_groups = group_of.max(initial=-1) + 1
    per_class = np.zeros((num_groups, labels.shape[1]), int)
    np.add.at(per_class, group_of, labels)
    return group_of, per_class, np.bincount(group_of, minlength=num_groups)


def _rarest_class(labels: np.ndarray) -> np.ndarray:
    """Returns the class under which each clip counts, <int>[N]: of several, the one that fewest clips have."""
    return np.argmin(np.where(labels, labels.sum(axis=0), len(labels) + 1), axis=1)


def _choose_groups(per_class: np.ndarray, sizes: np.ndarray, fraction: float, rng) -> np.ndarray:
    """Returns which groups to hold out, <bool>[G], given <int>[G, C] clips per class and <int>[G] clips in all."""
    num_groups = len(sizes)
    target = fraction * int(sizes.sum())
    total = per_class.sum(axis=0)
    best_score, best = None, np.zeros(num_groups, bool)
    counts, absent = sizes.tolist(), total == 0  # Python's numbers are faster here than NumPy's.
    for _ in range(max(8, _TRIALS // num_groups)):
        held = np.zeros(num_groups, bool)
        size, left = 0, total.copy()
        for group in rng.permutation(num_groups).tolist():
            nearer = abs(size + counts[group] - target) < abs(size - target)
            if nearer and np.all((left > per_class[group]) | absent):
                held[group] = True
                size, left = size + counts[group], left - per_class[group]
        uneven = np.abs(total - left - fraction * total).sum()
        score = (abs(size - target), uneven)
        if held.any() and (best_score is None or score < best_score):
            best_score, best = score, held
    if num_groups > 1 and not best.any():  # every group is too big, or holds the whole of some class
        emptied = np.sum((per_class == total) & (total > 0), axis=1)
        best[np.lexsort((rng.permutation(num_groups), np.abs(sizes - target), emptied))[0]] = True
    return best


def _hold_out_clips(labels: np.ndarray, fraction: float, from_every_class: bool, rng) -> np.ndarray:
    """As `hold_out`, class by class."""
    class_of = _rarest_class(labels)
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
