"""Temperatures, calibration errors and coverage at values worked out by hand, and against searches and simulations."""

import numpy as np
import pytest

from attention_ar import calibration
from attention_ar.calibration import at_temperature, fit_temperature


def simulated(temperature: float, count: int, num_classes: int = 5, seed: int = 0):
    """Predictions that become true probabilities at a temperature, and labels drawn from these."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, num_classes))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.eye(num_classes)[[random.choice(num_classes, p=p) for p in truth]]
    said = np.exp(temperature * logits)
    return said / said.sum(axis=1, keepdims=True), labels, truth


def test_a_temperature_by_hand():
    np.testing.assert_allclose(at_temperature([0.8, 0.2], 2.0), [2 / 3, 1 / 3])  # √0.8 is twice √0.2.
    np.testing.assert_allclose(at_temperature([[0.8, 0.2]], 0.5), [[16 / 17, 1 / 17]])
    # Of several labels each by itself: odds 4 and 1/9 become 2 and 1/3.
    np.testing.assert_allclose(at_temperature([0.8, 0.1], 2.0, multi_label=True), [2 / 3, 1 / 4])


def test_a_temperature_keeps_the_order_and_what_is_certain():
    predictions = np.random.default_rng(0).dirichlet(np.ones(7), 50)
    for temperature in (0.1, 0.7, 3.0, 20.0):
        found = at_temperature(predictions, temperature)
        np.testing.assert_array_equal(np.argsort(found), np.argsort(predictions))
        np.testing.assert_allclose(found.sum(axis=1), 1)
    assert at_temperature(predictions, 1.0) is predictions
    certain = at_temperature(np.array([[1.0, 0.0]]), 2.0)
    assert np.isfinite(certain).all() and certain[0, 0] > 0.999
    assert np.isfinite(at_temperature(np.array([[1.0, 0.0]]), 2.0, multi_label=True)).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_a_simulation_is_found(temperature):
    predictions, labels, truth = simulated(temperature, 4000)
    found = fit_temperature(predictions, labels)
    assert found == pytest.approx(temperature, rel=0.06)
    np.testing.assert_allclose(at_temperature(predictions, found), truth, atol=0.03)
    before, after = (
        calibration.expected_calibration_error(*calibration.answers(p, labels))
        for p in (predictions, at_temperature(predictions, found))
    )
    assert after < 0.02 and (before > 3 * after or temperature == 1.0)


def test_the_temperature_of_several_labels_is_found():
    random = np.random.default_rng(2)
    logits = random.normal(0, 1.5, (2000, 3))
    labels = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    said = 1 / (1 + np.exp(-1.7 * logits))
    assert fit_temperature(said, labels, multi_label=True) == pytest.approx(1.7, rel=0.06)


def test_the_optimum_is_that_of_a_search():
    """With (log τ)² / 2, which is the whole cost where every τ is equally likely."""
    predictions, labels, _ = simulated(3.0, 12, seed=3)
    grid = np.linspace(-3, 3, 60001)
    scores = np.log(predictions)[None] / np.exp(grid[::100])[:, None, None]
    likelihood = scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))
    cost = -(likelihood * labels).sum(axis=(1, 2)) + grid[::100] ** 2 / 2
    assert np.log(fit_temperature(predictions, labels)) == pytest.approx(grid[::100][np.argmin(cost)], abs=0.011)
    assert fit_temperature(np.full((5, 4), 0.25), np.eye(4)[[0, 1, 2, 3, 0]]) == pytest.approx(1, abs=1e-3)


def test_a_handful_of_right_ones_makes_nothing_certain():
    predictions, labels = np.array([[0.6, 0.4]] * 8), np.array([[1, 0]] * 8)
    found = at_temperature(predictions, fit_temperature(predictions, labels))
    assert 0.8 < found[0, 0] < 0.95  # Laplace's rule of succession says 9/10.
    wrong = fit_temperature(np.array([[0.999, 0.001]] * 8), np.array([[0, 1]] * 8))
    assert 5 < wrong < 21


def test_likelihood_by_hand():
    predictions = np.array([[0.5, 0.5], [0.25, 0.75]])
    assert calibration.negative_log_likelihood(predictions, np.eye(2)) == pytest.approx(-np.log(0.5 * 0.75) / 2)
    several = calibration.negative_log_likelihood(predictions, np.array([[1, 1], [0, 1]]), multi_label=True)
    assert several == pytest.approx(-np.log(0.5 * 0.5 * 0.75 * 0.75) / 4)
    assert calibration.negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([[0, 1]])) == pytest.approx(
        -np.log(1e-12)
    )


def test_calibration_error_by_hand():
    confidence, right = np.array([0.95, 0.85, 0.85, 1.0]), np.array([True, True, False, False])
    points = calibration.reliability(confidence, right, num_bins=10)
    assert points["count"].tolist() == [2, 2]
    np.testing.assert_allclose(points["confidence"], [0.85, 0.975])
    np.testing.assert_allclose(points["accuracy"], [0.5, 0.5])
    error = calibration.expected_calibration_error(confidence, right, num_bins=10)
    assert error == pytest.approx((2 * 0.35 + 2 * 0.475) / 4)


def test_answers_and_coverage_by_hand():
    predictions = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5]])
    labels = np.eye(2)[[0, 1, 0, 0]]
    confidence, right = calibration.answers(predictions, labels)
    assert confidence.tolist() == [0.9, 0.6, 0.7, 0.5] and right.tolist() == [True, True, False, True]
    share, accuracy = calibration.coverage(confidence, right, [0.0, 0.6, 0.7, 0.95])
    np.testing.assert_array_equal(share, [1.0, 0.75, 0.5, 0.0])
    np.testing.assert_array_equal(accuracy, [0.75, 2 / 3, 0.5, np.nan])
    confidence, right = calibration.answers(predictions, labels, multi_label=True)
    assert confidence.tolist() == predictions.ravel().tolist() and right.sum() == 4
