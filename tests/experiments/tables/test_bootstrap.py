"""The paired bootstrap against what theory says of it."""

import numpy as np
import pytest

from attention_ar import metrics
from experiments.tables.bootstrap import (
    accuracies,
    difference,
    draw_clips,
    holm,
    mean_average_precisions,
    mean_scores,
)

LABELS = np.eye(2)[np.arange(200) % 2]


def predictions(right):
    """Of two classes, right for these clips: `<float>[1, N, 2]`."""
    return np.where(np.asarray(right)[:, None], LABELS, 1 - LABELS)[None]


def paired_bootstrap(scores, ours, theirs, labels, groups, draws=2000):
    counts, num_groups = draw_clips(groups, draws)
    return difference(*(mean_scores(scores, one, labels, counts) for one in (ours, theirs)), num_groups)


def test_a_model_does_not_differ_from_itself():
    one = predictions(np.arange(200) < 130)
    found = paired_bootstrap(accuracies, one, one, LABELS, [""] * 200, draws=50)
    assert (found.mean, found.low, found.high, found.num_groups, found.p_value) == (0, 0, 0, 200, 1)


def test_the_interval_is_that_of_the_differences_of_pairs():
    ours, theirs = np.arange(200) < 150, (np.arange(200) >= 20) & (np.arange(200) < 150)
    found = paired_bootstrap(accuracies, predictions(ours), predictions(theirs), LABELS, [""] * 200)
    assert found.mean == pytest.approx(0.1)
    half_width = 1.96 * np.sqrt(0.1 * 0.9 / 200)  # The models differ on a tenth of the clips, always in one direction.
    assert found.low == pytest.approx(0.1 - half_width, abs=0.006)
    assert found.high == pytest.approx(0.1 + half_width, abs=0.006)


def test_clips_of_one_group_count_as_one():
    ours, theirs = np.ones(200, bool), np.arange(200) >= 20
    groups = [str(clip // 10) for clip in range(200)]  # 20 groups; two of them make all of the difference.
    found = paired_bootstrap(accuracies, predictions(ours), predictions(theirs), LABELS, groups)
    assert found.num_groups == 20
    alone = paired_bootstrap(accuracies, predictions(ours), predictions(theirs), LABELS, [""] * 200)
    ratio = (found.high - found.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.2)


def test_seeds_are_averaged_before_the_clips_are_drawn():
    better, worse = np.ones(200, bool), np.arange(200) >= 100
    ours = np.concatenate([predictions(better), predictions(worse)])
    theirs = np.concatenate([predictions(worse), predictions(better)])
    found = paired_bootstrap(accuracies, ours, theirs, LABELS, [""] * 200, draws=100)
    assert (found.mean, found.low, found.high) == (0, 0, 0)


def test_scores_of_draws_are_those_of_the_clips_that_were_drawn():
    random = np.random.default_rng(0)
    predictions = random.integers(0, 6, (30, 4)) / 5  # With many ties.
    several = random.integers(0, 2, (30, 4))
    one = np.eye(4)[random.integers(0, 4, 30)]
    clips = random.integers(0, 30, (5, 30))
    counts = np.array([np.bincount(drawn, minlength=30) for drawn in clips])
    found = mean_average_precisions(predictions, several, counts)
    expected = [metrics.mean_average_precision(predictions[drawn], several[drawn]) for drawn in clips]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    found = accuracies(predictions, one, counts)
    np.testing.assert_allclose(found, [metrics.accuracy(predictions[drawn], one[drawn]) for drawn in clips])


def test_a_class_without_a_clip_in_a_draw_is_left_out_there():
    predictions, labels = np.array([[0.9, 0.1], [0.4, 0.6]]), np.eye(2)
    np.testing.assert_array_equal(mean_average_precisions(predictions, labels, np.array([[2, 0], [1, 1]])), [1, 1])


def test_draws_without_a_clip_of_any_class_are_left_out():
    predictions, labels = np.array([[[0.9, 0.2], [0.4, 0.6], [0.3, 0.1]]]), np.array([[0, 0], [0, 0], [1, 0]])
    assert np.isnan(mean_average_precisions(predictions[0], labels, np.array([[2, 1, 0]]))).all()
    better = predictions + np.array([[0, 0], [0, 0], [1, 0]])
    found = paired_bootstrap(mean_average_precisions, better, predictions, labels, [""] * 3)
    assert found.mean == pytest.approx(2 / 3)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_the_p_value_is_that_of_the_sign_of_the_difference():
    """The models differ on 20 clips, on 14 of them in our favour: near a normal of mean 8 and deviation 4.44."""
    ours, theirs = np.arange(200) < 100, np.arange(200) < 100
    ours[100:114], theirs[114:120] = True, True
    found = paired_bootstrap(accuracies, predictions(ours), predictions(theirs), LABELS, [""] * 200, draws=20_000)
    assert found.p_value == pytest.approx(0.091, abs=0.01)  # Twice the part below one half.
    back = paired_bootstrap(accuracies, predictions(theirs), predictions(ours), LABELS, [""] * 200, draws=20_000)
    assert back.p_value == found.p_value
    sure = paired_bootstrap(accuracies, predictions(ours), predictions(np.zeros(200) > 0), LABELS, [""] * 200, 999)
    assert sure.p_value == 2 / 1000  # No sample speaks against it: two in one more than there are.


def test_holms_correction_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
