import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.datasets.splits import (
    check_disjoint_groups,
    cut_folds,
    hold_out,
    hold_out_fold,
    hold_out_part,
    hold_out_validation,
)


def one_hot(classes):
    return np.eye(max(classes) + 1, dtype=np.uint8)[classes]


def test_torn_groups_are_named():
    parts = SimpleNamespace(
        groups=["ann", "ann", "bob", "bob", "cem", "", ""],
        splits=["train", "test", "validation", "train", "train", "train", "test"],
    )
    with pytest.raises(InputError, match=r"ann \(test and train\), bob \(train and validation\); all clips"):
        check_disjoint_groups(parts)
    check_disjoint_groups(SimpleNamespace(groups=["ann", "ann", "", ""], splits=["test", "test", "train", "test"]))


def test_only_train_gives_and_groups_stay_whole():
    groups = [f"g{i // 4}" for i in range(80)]
    splits = ["test" if i >= 40 else "train" for i in range(80)]
    result = hold_out_validation(one_hot([i % 4 for i in range(80)]), groups, splits, fraction=0.2)
    assert result[40:] == ["test"] * 40
    assert result[:40].count("validation") == 8
    check_disjoint_groups(SimpleNamespace(groups=groups, splits=result))


def test_the_seed_decides():
    labels, groups = one_hot([i % 3 for i in range(60)]), [f"g{i // 3}" for i in range(60)]
    results = [hold_out_validation(labels, groups, ["train"] * 60, seed=seed) for seed in (0, 0, 1)]
    assert results[0] == results[1] != results[2]
    clips = [hold_out_validation(labels, [""] * 60, ["train"] * 60, seed=seed) for seed in (0, 0, 1)]
    assert clips[0] == clips[1] != clips[2]


@pytest.mark.parametrize("seed", range(10))
def test_as_near_to_the_fraction_as_any_choice_that_keeps_every_class(seed):
    """Against all 2^8 choices of groups."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, 8)
    groups = np.repeat(np.arange(8), sizes)
    labels = one_hot(list(rng.integers(0, 3, sizes.sum())))
    held = hold_out(labels, [f"g{group}" for group in groups], fraction=0.15, seed=seed)
    assert labels[~held].any(axis=0).all()

    target = 0.15 * len(labels)
    choices = [np.isin(groups, choice) for count in range(1, 8) for choice in itertools.combinations(range(8), count)]
    best = min(abs(choice.sum() - target) for choice in choices if labels[~choice].any(axis=0).all())
    assert abs(held.sum() - target) == pytest.approx(best)


@pytest.mark.slow
def test_a_class_that_only_one_group_has_stays_in_train():
    groups = ["only"] * 3 + [f"g{i}" for i in range(17)]
    labels = one_hot([1] * 3 + [0] * 17)
    for seed in range(20):
        assert not hold_out(labels, groups, fraction=0.15, seed=seed)[:3].any()


def test_one_group_is_held_out_whatever_its_size():
    held = hold_out(one_hot([0] * 20), ["a"] * 10 + ["b"] * 10, fraction=0.05, seed=0)
    assert held.sum() == 10
    held = hold_out(one_hot([0] * 10 + [1] * 10), ["a"] * 10 + ["b"] * 10, fraction=0.15, seed=0)
    assert held.sum() == 10  # although a class is lost to train: there is no other way
    assert not hold_out(one_hot([0] * 10), ["a"] * 10, fraction=0.15, seed=0).any()


def test_without_groups_every_class_gives_its_share():
    labels = one_hot([0] * 40 + [1] * 20 + [2] * 1)
    held = hold_out(labels, [""] * 61, fraction=0.15, seed=0)
    np.testing.assert_array_equal(labels[held].sum(axis=0), [6, 3, 0])
    assert hold_out(one_hot([0, 1, 2]), [""] * 3, fraction=0.15, seed=0).sum() == 1
    assert hold_out(one_hot([0, 0]), [""] * 2, fraction=0.15, seed=0).sum() == 1
    assert hold_out(one_hot([0]), [""], fraction=0.15, seed=0).sum() == 0


def test_several_labels_per_clip():
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 5)) < 0.3).astype(np.uint8)
    for groups in ([""] * 200, [f"g{i // 5}" for i in range(200)]):
        held = hold_out(labels, groups, fraction=0.15, seed=0)
        assert held.sum() == 30
        assert labels[held].any(axis=0).all() and labels[~held].any(axis=0).all()


def test_a_clip_of_unknown_group_is_one_of_its_own():
    groups = ["a"] * 10 + [""] * 10
    held = hold_out(one_hot([0] * 20), groups, fraction=0.15, seed=3)
    assert held.sum() == 3 and not held[:10].any()


def test_a_split_with_a_validation_part_stays():
    splits = ["train", "train", "validation", "test"]
    assert hold_out_validation(one_hot([0] * 4), list("abcd"), splits) == splits
    assert hold_out_validation(one_hot([0] * 4), list("abcd"), ["train"] * 4, fraction=0) == ["train"] * 4


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fractions_out_of_range(fraction):
    with pytest.raises(InputError, match="must be at least 0 and below 1"):
        hold_out_validation(one_hot([0, 0]), ["a", "b"], ["train"] * 2, fraction=fraction)


# --- Folds ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_clip_is_held_out_once_and_groups_stay_whole():
    groups = [f"g{i // 4}" for i in range(80)]
    splits = ["test" if i >= 56 else "validation" if i >= 48 else "train" for i in range(80)]
    labels = one_hot([i % 4 for i in range(80)])
    cuts = [hold_out_fold(labels, groups, splits, folds=7, fold=fold) for fold in range(7)]
    for cut in cuts:
        assert cut[56:] == ["test"] * 24
        assert cut.count("validation") == 8  # 14 groups of 4 clips.
        check_disjoint_groups(SimpleNamespace(groups=groups, splits=cut))
    assert [sum(cut[i] == "validation" for cut in cuts) for i in range(56)] == [1] * 56
    assert cuts[3] == hold_out_fold(labels, groups, splits, folds=7, fold=3)


@pytest.mark.parametrize("seed", range(4))
def test_folds_are_as_even_as_any_choice(seed):
    """Against all 3^7 ways to deal seven groups to three folds; and of the most even, classes are near the best."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 30, 7)
    groups = np.repeat(np.arange(7), sizes)
    labels = one_hot([*rng.integers(0, 3, sizes.sum() - 1), 2])
    shares = np.array([labels[groups == group].sum(axis=0) for group in range(7)]) / labels.sum(axis=0)

    def uneven(number):
        loads = np.array([[sizes[number == f].sum() / sizes.sum(), *shares[number == f].sum(axis=0)] for f in range(3)])
        return abs(loads[:, 0] - 1 / 3).sum(), abs(loads - 1 / 3).sum()

    folds = cut_folds(labels, [f"g{group}" for group in groups], 3)
    number = np.array([folds[groups == group][0] for group in range(7)])
    assert all((folds[groups == group] == number[group]).all() for group in range(7))
    found = uneven(number)
    choices = [uneven(np.array(choice)) for choice in itertools.product(range(3), repeat=7)]
    assert found[0] == pytest.approx(min(choice[0] for choice in choices), abs=0.01)
    equal = [choice[1] for choice in choices if choice[0] <= found[0] + 1e-9]
    assert found[1] <= min(equal) + 0.1


def test_without_groups_every_fold_has_its_share_of_every_class():
    labels = one_hot([0] * 41 + [1] * 22 + [2] * 3)
    folds = cut_folds(labels, [""] * 66, 4)
    counts = np.array([labels[folds == fold].sum(axis=0) for fold in range(4)])
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
    assert sorted(counts.sum(axis=1)) == [16, 16, 17, 17]
    assert (np.diff(folds[:41]) < 0).sum() > 5  # Not in the order of the list.


def test_folds_that_cannot_be():
    labels, splits = one_hot([0, 1] * 4), ["train"] * 6 + ["test"] * 2
    with pytest.raises(InputError, match="folds=4: there are only 3 groups to cut; must not be more than that"):
        hold_out_fold(labels, list("aabbccdd"), splits, folds=4, fold=0)
    with pytest.raises(InputError, match="folds=7: there are only 6 clips"):
        hold_out_fold(labels, [""] * 8, splits, folds=7, fold=0)
    with pytest.raises(InputError, match="folds=1: must be at least 2"):
        hold_out_fold(labels, [""] * 8, splits, folds=1, fold=0)
    for fold in (-1, 3):
        with pytest.raises(InputError, match=f"fold={fold}: must be 0 or greater, and below folds=3"):
            hold_out_fold(labels, [""] * 8, splits, folds=3, fold=fold)


def test_what_a_run_holds_out():
    class Parts:
        labels = one_hot([0, 1] * 4)
        groups = list("aabbccdd")  # noqa: RUF012
        splits = ["train"] * 4 + ["validation"] * 2 + ["test"] * 2

    assert hold_out_part(Parts) == Parts.splits
    assert hold_out_part(Parts, fraction=0) == ["train"] * 6 + ["test"] * 2
    folds = [hold_out_part(Parts, folds=3, fold=fold, fraction=0) for fold in range(3)]
    assert sorted(cut.index("validation") for cut in folds) == [0, 2, 4]
    assert all(cut[6:] == ["test", "test"] and cut.count("validation") == 2 for cut in folds)
    with pytest.raises(InputError, match="fold=1: needs --folds"):
        hold_out_part(Parts, fold=1)
    cuts = [hold_out_part(Parts, test_folds=2, test_fold=fold, fraction=0.5) for fold in range(2)]
    assert [cut.count("test") for cut in cuts] == [4, 4]
    assert all((first == "test") != (second == "test") for first, second in zip(*cuts, strict=True))
    assert all(cut.count("train") == cut.count("validation") == 2 for cut in cuts)
    assert all(cut[n] == cut[n + 1] for cut in cuts for n in (0, 2, 4, 6))  # By group.
    with pytest.raises(InputError, match="test_fold=1: needs --test_folds"):
        hold_out_part(Parts, test_fold=1)
    with pytest.raises(InputError, match="test_fold=2: must be 0 or greater, and below test_folds=2"):
        hold_out_part(Parts, test_folds=2, test_fold=2)
