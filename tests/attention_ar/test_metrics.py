"""Scores at values worked out by hand, and against slower plain versions."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from attention_ar import metrics
from attention_ar.attention_health import attention_health

LABELS = np.eye(3)[[0, 0, 1, 1, 1, 2]]
PREDICTIONS = np.array(
    [[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3], [0.5, 0.3, 0.2], [0.0, 0.1, 0.9]]
)


def test_every_video_counts_once():
    blocks = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    found = metrics.video_predictions(blocks, np.array([0, 0, 0, 1]), 2)
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3], [0.5, 0.5]])


def test_accuracy_and_confusion():
    assert metrics.accuracy(PREDICTIONS, LABELS) == pytest.approx(4 / 6)
    assert metrics.confusion(PREDICTIONS, LABELS).tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 1]]
    assert metrics.mean_class_accuracy(PREDICTIONS, LABELS) == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)


def test_mean_class_accuracy_leaves_out_absent_classes():
    assert metrics.mean_class_accuracy(PREDICTIONS[:5], LABELS[:5]) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_average_precision_by_hand():
    scores = np.array([[0.9], [0.8], [0.7], [0.6]])
    labels = np.array([[1], [0], [1], [0]])
    assert metrics.average_precisions(scores, labels) == pytest.approx([(1 + 2 / 3) / 2])


def plain_average_precision(scores, labels):
    """Precision at each distinct score, times the share of the class that comes in at that score."""
    total = 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        at = scores == threshold
        above = scores >= threshold
        total += (labels[at].sum() / labels.sum()) * (labels[above].sum() / above.sum())
    return total


def test_average_precision_of_random_cases_and_ties():
    random = np.random.default_rng(0)
    for _ in range(30):
        labels = (random.random((40, 5)) < 0.3).astype(int)
        labels[0] = 1
        scores = np.round(random.random((40, 5)), 1)  # Many ties.
        expected = [plain_average_precision(scores[:, c], labels[:, c]) for c in range(5)]
        assert expected == pytest.approx([average_precision_score(labels[:, c], scores[:, c]) for c in range(5)])
        assert metrics.average_precisions(scores, labels) == pytest.approx(expected)
        assert metrics.mean_average_precision(scores, labels) == pytest.approx(np.mean(expected))
    # All tied: no ranking, so the precision is the share of the class.
    assert metrics.average_precisions(np.ones((8, 1)), np.eye(8)[:, :1]) == pytest.approx([1 / 8])


def test_class_without_a_video_is_left_out_with_a_warning(caplog):
    labels = np.array([[1, 0], [0, 0], [1, 0]])
    scores = np.array([[0.9, 0.1], [0.2, 0.3], [0.1, 0.4]])
    assert np.isnan(metrics.average_precisions(scores, labels)[1])
    assert metrics.mean_average_precision(scores, labels) == pytest.approx((1 + 2 / 3) / 2)
    assert "leaves out classes without a video: [1]" in caplog.text
    assert math.isnan(metrics.mean_average_precision(scores, np.zeros((3, 2))))


def test_precision_recall_and_f1_by_hand():
    found = metrics.precision_recall_f1(PREDICTIONS, LABELS)  # The confusion matrix is above.
    assert found["num_videos"].tolist() == [2, 3, 1]
    np.testing.assert_allclose(found["precision"], [1 / 2, 2 / 3, 1])
    np.testing.assert_allclose(found["recall"], [1 / 2, 2 / 3, 1])
    np.testing.assert_allclose(found["f1"], [1 / 2, 2 / 3, 1])
    assert metrics.mean_f1(PREDICTIONS, LABELS) == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)


def test_what_no_video_defines_is_nan_and_not_counted():
    labels = np.eye(4)[[0, 0, 1]]
    predictions = np.eye(4)[[0, 2, 0]]  # Class 1 is never said, class 2 never right, class 3 nowhere.
    found = metrics.precision_recall_f1(predictions, labels)
    np.testing.assert_array_equal(found["precision"], [1 / 2, np.nan, 0, np.nan])
    np.testing.assert_array_equal(found["recall"], [1 / 2, 0, np.nan, np.nan])
    np.testing.assert_array_equal(found["f1"], [1 / 2, 0, 0, np.nan])
    assert metrics.mean_f1(predictions, labels) == pytest.approx(1 / 4)  # Of classes 0 and 1.


def test_with_several_labels_every_class_is_said_from_one_half_on():
    labels = np.array([[1, 1], [0, 1], [1, 0]])
    predictions = np.array([[0.9, 0.4], [0.6, 0.5], [0.2, 0.1]])
    found = metrics.precision_recall_f1(predictions, labels, multi_label=True)
    np.testing.assert_allclose(found["precision"], [1 / 2, 1])
    np.testing.assert_allclose(found["recall"], [1 / 2, 1 / 2])
    np.testing.assert_allclose(found["f1"], [1 / 2, 2 / 3])
    assert metrics.precision_recall_f1(np.ones((2, 1)), np.ones((2, 1)))["f1"].tolist() == [1.0]


def test_curves_by_hand():
    curve = metrics.threshold_curves(np.array([0.9, 0.8, 0.8, 0.1]), np.array([1, 0, 1, 0]))
    assert {name: values.tolist() for name, values in curve.items()} == {
        "threshold": [0.9, 0.8, 0.1],
        "false_positive_rate": [0.0, 0.5, 1.0],
        "recall": [0.5, 1.0, 1.0],
        "precision": [1.0, pytest.approx(2 / 3), 0.5],
    }


def test_curves_and_areas_of_random_cases_and_ties():
    random = np.random.default_rng(1)
    for _ in range(20):
        labels = random.permutation(np.arange(30) < 11).astype(int)
        scores = np.round(random.random(30), 1)
        curve = metrics.threshold_curves(scores, labels)
        for n, threshold in enumerate(curve["threshold"]):
            said = scores >= threshold
            assert curve["precision"][n] == pytest.approx(labels[said].mean())
            assert curve["recall"][n] == pytest.approx(labels[said].sum() / 11)
            assert curve["false_positive_rate"][n] == pytest.approx((1 - labels[said]).sum() / 19)
        higher = scores[labels == 1][:, None] - scores[labels == 0]
        area = np.mean((higher > 0) + 0.5 * (higher == 0))
        np.testing.assert_allclose(metrics.roc_areas(scores[:, None], labels[:, None]), [area])
    assert np.isnan(metrics.roc_areas(np.ones((3, 2)), np.array([[1, 0]] * 3))).all()


@pytest.mark.slow
def test_attention_health_by_hand():
    uniform = jnp.full((4, 49), 1 / 49)
    found = attention_health(uniform)
    assert found["entropy"] == pytest.approx(math.log(49), rel=1e-6)
    assert found["movement"] == 0
    assert found["largest_mass"] == pytest.approx(1 / 49)

    jumping = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    found = attention_health(jumping)
    assert found["entropy"] == pytest.approx(math.log(2) / 3)
    assert found["movement"] == pytest.approx((1 + 0.5) / 2)
    assert found["largest_mass"] == pytest.approx((1 + 1 + 0.5) / 3)

    one_step = attention_health(jnp.array([[0.25, 0.75]]))
    assert one_step["movement"] == 0
    assert {name: value.shape for name, value in attention_health(jnp.ones((5, 2, 3))).items()} == {
        "entropy": (5,),
        "movement": (5,),
        "largest_mass": (5,),
    }
