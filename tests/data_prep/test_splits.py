import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from attention_ar.errors import InputError
from data_prep.splits import check_disjoint_groups, hold_out, hold_out_validation


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
