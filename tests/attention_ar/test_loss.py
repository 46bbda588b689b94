"""Eq. 7 term by term, at values worked out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar import InputError, loss
from attention_ar.loss import PaperObjective
from attention_ar.released import ReleasedObjective


def test_cross_entropy_is_summed_over_the_steps():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    assert loss.cross_entropy(logits, jnp.array([0.0, 1.0, 0.0])) == pytest.approx(-math.log(0.25) - math.log(0.8))


def test_cross_entropy_of_extreme_logits_is_finite():
    logits = jnp.array([[1e4, -1e4]])
    assert loss.cross_entropy(logits, jnp.array([0.0, 1.0])) == 2e4
    assert loss.cross_entropy(logits, jnp.array([1.0, 0.0])) == 0
    assert np.all(np.isfinite(jax.grad(loss.cross_entropy)(logits, jnp.array([0.0, 1.0]))))


def test_binary_cross_entropy_is_summed_over_classes_and_steps():
    probabilities = jnp.array([[0.9, 0.2], [0.5, 0.5]])
    logits = jnp.log(probabilities / (1 - probabilities))
    expected = -math.log(0.9) - math.log(0.8) - 2 * math.log(0.5)
    assert loss.binary_cross_entropy(logits, jnp.array([1.0, 0.0])) == pytest.approx(expected, rel=1e-6)
    several = loss.binary_cross_entropy(logits, jnp.array([1.0, 1.0]))
    assert several == pytest.approx(-math.log(0.9) - math.log(0.2) - 2 * math.log(0.5), rel=1e-6)


def test_attention_penalty_by_hand():
    l = jnp.array([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5]])  # Sums over t: 0.75, 0.75, 0.5.
    assert loss.attention_penalty(l) == pytest.approx(0.0625 + 0.0625 + 0.25)


def test_attention_penalty_is_least_for_uniform_attention():
    uniform = jnp.full((30, 49), 1 / 49)
    assert loss.attention_penalty(uniform) == pytest.approx((49 - 30) ** 2 / 49, rel=1e-5)
    one_cell = jnp.zeros((30, 49)).at[:, 3].set(1.0)
    assert loss.attention_penalty(one_cell) == pytest.approx(29**2 + 48)


def test_weight_decay_covers_biases():
    assert loss.weight_decay({"kernel": jnp.array([[1.0, 2.0]]), "bias": jnp.array([3.0])}) == 14


def batch(weight):
    logits = jnp.log(jnp.array([[[0.5, 0.5]], [[0.2, 0.8]], [[0.9, 0.1]]]))
    attention = jnp.array([[[1.0, 0.0]], [[0.5, 0.5]], [[0.0, 1.0]]])  # Penalties 1, 0.5, 1.
    labels = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    return {"bias": jnp.array([2.0])}, logits, {"attention": attention}, labels, jnp.array(weight)


def test_objective_averages_over_real_blocks_and_adds_the_decay_once():
    total, parts = PaperObjective(attention_penalty=10.0, weight_decay=0.25)(*batch([1.0, 1.0, 0.0]))
    assert parts["cross_entropy"] == pytest.approx(-(math.log(0.5) + math.log(0.2)) / 2)
    assert parts["attention_penalty"] == pytest.approx(10 * (1 + 0.5) / 2)
    assert parts["weight_decay"] == pytest.approx(0.25 * 4)
    assert total == pytest.approx(sum(float(v) for v in parts.values()))


def test_objective_of_a_model_without_attention():
    params, logits, _, labels, weight = batch([1.0, 1.0, 1.0])
    _, parts = PaperObjective(attention_penalty=10.0)(params, logits, {}, labels, weight)
    assert parts["attention_penalty"] == 0


def test_objective_of_several_labels():
    params, logits, out, labels, weight = batch([1.0, 0.0, 0.0])
    _, parts = PaperObjective(multi_label=True)(params, logits, out, labels, weight)
    # logit = log 0.5 for both classes: p = 1 / 3.
    assert parts["cross_entropy"] == pytest.approx(-math.log(1 / 3) - math.log(2 / 3))


def test_class_weights_multiply_the_first_term_and_leave_the_mean_over_the_blocks():
    params, logits, out, _, weight = batch([1.0, 1.0, 0.0])
    labels = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    objective = PaperObjective(attention_penalty=10.0, weight_decay=0.25, class_weights=(3.0, 0.5))
    _, parts = objective(params, logits, out, labels, weight)
    assert parts["cross_entropy"] == pytest.approx((-3 * math.log(0.5) - 0.5 * math.log(0.8)) / 2)
    assert parts["attention_penalty"] == pytest.approx(10 * (1 + 0.5) / 2)
    assert parts["weight_decay"] == pytest.approx(0.25 * 4)
    released = ReleasedObjective(class_weights=(3.0, 0.5))
    _, parts = released(params, logits, out, labels, weight)
    assert parts["cross_entropy"] == pytest.approx(-3 * math.log(0.5) - 0.5 * math.log(0.8), rel=1e-6)
    np.testing.assert_allclose(objective.cross_entropy(logits, labels)[:1], -math.log(0.5), rtol=1e-6)  # Evaluation's.


def test_balanced_weights_give_every_class_the_same_part():
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], [2, 5, 13])
    labels = np.eye(4)[classes]  # Of the last class there is no block.
    weights = loss.balanced_class_weights(labels)
    assert weights == (20 / (3 * 2), 20 / (3 * 5), 20 / (3 * 13), 0.0)
    assert sum(weights[c] for c in classes) == pytest.approx(20)
    logits = random.normal(size=(20, 3, 4)).astype(np.float32)
    objective = PaperObjective(weight_decay=0.0, class_weights=weights)
    total, _ = objective({}, logits, {}, labels.astype(np.float32), np.ones(20, np.float32))
    each = np.asarray(loss.cross_entropy(logits, labels.astype(np.float32)))
    assert total == pytest.approx(np.mean([each[classes == c].mean() for c in range(3)]), rel=1e-5)


def test_equal_classes_have_weight_one_and_without_weights_nothing_is_computed():
    assert loss.balanced_class_weights(np.eye(3)) == (1.0, 1.0, 1.0)
    each = jnp.array([1.0, 2.0])
    assert PaperObjective().weighted(each, jnp.eye(2)) is each


def test_class_weights_need_one_label_a_clip():
    with pytest.raises(InputError, match="class_weights: need one label for each clip"):
        PaperObjective(multi_label=True, class_weights=(1.0, 1.0))


@pytest.mark.parametrize("bad", [{"attention_penalty": -1.0}, {"weight_decay": -0.1}, {"attention_penalty": math.nan}])
def test_negative_coefficients_are_refused(bad):
    with pytest.raises(InputError, match=f"{next(iter(bad))}=.*: must be 0 or greater"):
        PaperObjective(**bad)


def test_predictions():
    logits = jnp.array([0.0, math.log(3.0)])
    np.testing.assert_allclose(loss.predictions(logits, multi_label=False), [0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(loss.predictions(logits, multi_label=True), [0.5, 0.75], rtol=1e-6)
