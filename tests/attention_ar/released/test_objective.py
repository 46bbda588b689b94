"""The released program's cost: numbers worked out by hand, the formula as written, and logits of any size."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.released import ReleasedObjective
from attention_ar.released.objective import attention_penalty, binary_cross_entropy, cross_entropy


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[[0.25, 0.75], [0.5, 0.5]]]))
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([[1.0, 0.0]])), [[math.log(4), math.log(2)]], rtol=1e-6)
    np.testing.assert_allclose(
        cross_entropy(logits, jnp.array([[0.0, 1.0]])), [[math.log(4 / 3), math.log(2)]], rtol=1e-6
    )


def test_binary_cross_entropy_by_hand():
    """σ(0) = 1/2, σ(ln 3) = 3/4: with labels 1, 0, 1 the cost is ln 2 + ln 4 + ln 4/3."""
    logits = jnp.array([[[0.0, math.log(3), math.log(3)]]])
    np.testing.assert_allclose(
        binary_cross_entropy(logits, jnp.array([[1.0, 0.0, 1.0]])), [[math.log(32 / 3)]], rtol=1e-6
    )


def test_formula_with_epsilon(x64):
    """As the program writes it, from p; in float64 and where p is not extreme the formula can be evaluated so."""
    rng = np.random.RandomState(0)
    logits = 3 * rng.randn(4, 5, 6)
    y = rng.randint(0, 2, (4, 6)).astype(float)
    p = 1 / (1 + np.exp(-logits))
    expected = np.sum(-y[:, None] * np.log(p + 1e-8) - (1 - y[:, None]) * np.log(1 - p + 1e-8), axis=-1)
    np.testing.assert_allclose(binary_cross_entropy(logits, y), expected, rtol=1e-14)
    one_hot = np.eye(6)[rng.randint(0, 6, 4)]
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.log(np.sum(p * one_hot[:, None], axis=-1) + 1e-8)
    np.testing.assert_allclose(cross_entropy(logits, one_hot), expected, rtol=1e-14)
    assert np.max(np.abs(expected + np.log(np.sum(p * one_hot[:, None], axis=-1)))) > 1e-8  # ε is to be seen


@pytest.mark.parametrize("function", [cross_entropy, binary_cross_entropy])
@pytest.mark.slow
def test_extreme_logits(function):
    """ε bounds the cost of a class by −log 1e-8; nothing is Inf or NaN, nor is any gradient, in float32."""
    logits = jnp.array([[[200.0, -200.0], [-3e38, 3e38], [6.0, -6.0], [-6.0, 6.0]]])
    labels = jnp.array([[1.0, 0.0]])
    cost, gradient = jax.value_and_grad(lambda z: jnp.sum(function(z, labels)))(logits)
    classes = 1 if function is cross_entropy else 2
    assert np.all(np.isfinite(gradient)) and np.isfinite(cost)
    steps = function(logits, labels)[0]
    np.testing.assert_allclose(steps[:2], [0, classes * -math.log(1e-8)], atol=1e-6, rtol=1e-6)
    assert np.all(np.abs(gradient[0, :2]) < 1e-6)
    # A class that is certainly wrong is still pulled back: p + ε is not lost in p.
    assert gradient[0, 3, 0] < -0.99


@pytest.mark.slow
def test_gradient_where_the_programs_is_not_a_number(x64):
    """z = 17, y = 0: d/dz −log(1 − σ(z) + ε) = σ(z) q / (q + ε) with q = σ(−z)."""
    q = 1 / (1 + math.exp(17))
    for dtype in (jnp.float32, jnp.float64):
        logits, labels = jnp.full((1, 1), 17, dtype), jnp.zeros((1, 1), dtype)
        gradient = jax.grad(lambda z, y=labels: jnp.sum(binary_cross_entropy(z, y)))(logits)
        np.testing.assert_allclose(gradient, [[(1 - q) * q / (q + 1e-8)]], rtol=1e-6)


def test_labels_of_block_or_of_step():
    rng = np.random.RandomState(1)
    logits = rng.randn(2, 3, 4).astype(np.float32)
    labels = np.eye(4, dtype=np.float32)[[2, 0]]
    per_step = np.repeat(labels[:, None], 3, axis=1)
    for function in (cross_entropy, binary_cross_entropy):
        np.testing.assert_array_equal(function(logits, labels), function(logits, per_step))
    changing = np.eye(4, dtype=np.float32)[[[0, 1, 2], [3, 3, 0]]]
    expected = [[cross_entropy(logits[b, t : t + 1], changing[b, t])[0] for t in range(3)] for b in range(2)]
    np.testing.assert_allclose(cross_entropy(logits, changing), expected, rtol=1e-6)


def test_attention_penalty_by_hand():
    """Σ_t l = (1.5, 0.5, 0, 0): mean of 0.25, 0.25, 1, 1."""
    attention = jnp.array([[[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]])
    np.testing.assert_allclose(attention_penalty(attention), [0.625])


class TestObjective:
    logits = np.log(np.array([[[0.25, 0.75], [0.5, 0.5]], [[0.2, 0.8], [0.9, 0.1]]], np.float32))
    labels = np.array([[1, 0], [0, 1]], np.float32)

    def cost(self, weight=(1.0, 1.0), **kwargs):
        params = {"W": jnp.array([[1.0, -2.0]]), "b": jnp.array(3.0)}  # Σ θ² = 14
        out = {"attention": jnp.full((2, 2, 4), 0.25)}  # (1 − 0.5)² in each cell
        objective = ReleasedObjective(0.8, 0.01)
        return objective(params, self.logits, out, self.labels, jnp.array(weight), **kwargs)

    @pytest.mark.slow
    def test_sums_over_steps_and_batch(self):
        total, parts = self.cost()
        by_hand = math.log(4) + math.log(2) + math.log(1 / 0.8) + math.log(10)
        np.testing.assert_allclose(parts["cross_entropy"], by_hand, rtol=1e-6)
        np.testing.assert_allclose(parts["attention_penalty"], 0.8 * 2 * 0.25, rtol=1e-6)
        np.testing.assert_allclose(parts["weight_decay"], 0.14, rtol=1e-6)
        np.testing.assert_allclose(total, by_hand + 0.4 + 0.14, rtol=1e-6)

    def test_mask_spares_the_penalty(self):
        """The mask multiplies the cost of each step; the penalty is blind to it."""
        _, parts = self.cost(mask=jnp.array([[1.0, 0.0], [0.0, 0.0]]))
        np.testing.assert_allclose(parts["cross_entropy"], math.log(4), rtol=1e-6)
        np.testing.assert_allclose(parts["attention_penalty"], 0.4, rtol=1e-6)

    def test_filling_has_no_part(self):
        _, parts = self.cost(weight=(1.0, 0.0))
        np.testing.assert_allclose(parts["cross_entropy"], math.log(8), rtol=1e-6)
        np.testing.assert_allclose(parts["attention_penalty"], 0.2, rtol=1e-6)

    def test_cross_entropy_of_each_block(self):
        each = ReleasedObjective().cross_entropy(self.logits, self.labels)
        np.testing.assert_allclose(each, [math.log(8), math.log(12.5)], rtol=1e-6)

    @pytest.mark.slow
    def test_predictions(self):
        np.testing.assert_allclose(ReleasedObjective().predictions(self.logits)[0, 0], [0.25, 0.75], rtol=1e-6)
        several = ReleasedObjective(multi_label=True).predictions(jnp.log(jnp.array([[[3.0, 1.0]]])))
        np.testing.assert_allclose(several[0, 0], [0.75, 0.5], rtol=1e-6)

    def test_bad_coefficients(self):
        with pytest.raises(InputError, match="weight_decay=-1: must be 0 or greater"):
            ReleasedObjective(weight_decay=-1)
        with pytest.raises(InputError, match="attention_penalty=nan: must be 0 or greater"):
            ReleasedObjective(attention_penalty=float("nan"))
