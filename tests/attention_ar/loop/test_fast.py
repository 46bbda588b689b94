"""What only the fast loop does: gradients after the loop, and objects in the place of arrays in its steps."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar.loop import InPlace, time_loop
from attention_ar.loop.fast import LoopInput, fast_loop
from attention_ar.products import product

B, T, D, d = 3, 4, 5, 2


@pytest.fixture
def weights(x64):
    random = np.random.default_rng(0)
    return {"W": random.normal(size=(d + D, d)), "bias": random.normal(size=d), "top": random.normal(size=(d, 3))}


@pytest.fixture
def states(x64):
    return np.random.default_rng(1).normal(size=(B, d))


@pytest.fixture
def inputs(x64):
    return np.random.default_rng(2).normal(size=(B, T, D))


def step(weights, state, x):
    z = product(weights["W"], jnp.concatenate([state, x])) + weights["bias"]
    return jnp.tanh(z), product(weights["top"], jnp.tanh(z))


def test_weight_gradients_are_summed_after_the_loop(weights, states, inputs):
    """The plain loop adds up gradients of W's shape, step by step. In the fast loop no sum has that shape."""

    def additions(loop):
        gradient = jax.grad(lambda weights: jnp.sum(time_loop(step, weights, states, inputs, loop)))
        text = str(jax.make_jaxpr(gradient)(weights))
        assert text.count(" scan[") == 2
        return re.findall(rf"f64\[{d + D},{d}\] = add\w* ", text)

    assert additions("plain")
    assert not additions("fast")


def test_each_matrix_is_multiplied_with_one_vector_a_step(weights, states, inputs):
    def twice(weights, state, x):
        z = product(weights["W"], jnp.concatenate([state, x]))
        return z, product(weights["top"], z) + product(weights["top"], state)

    def several(weights, state, x):
        return state, product(weights["top"], jnp.stack([state, state]))

    with pytest.raises(ValueError, match=r"with each weight matrix once only.*or use time_loop='plain'"):
        fast_loop(twice, weights, states, inputs)
    with pytest.raises(ValueError, match=r"v of shape \[2, 2\], W of \[2, 3\]: .* one vector; multiply whole frames"):
        fast_loop(several, weights, states, inputs)


@pytest.mark.parametrize(
    "use",
    [
        lambda W, v: W.T @ v,
        lambda W, v: v @ W,
        lambda W, v: W @ jnp.ones(3),
        lambda W, v: np.ones(2) @ W,
        lambda W, v: 2 * W,
        lambda W, v: W + W,
        lambda W, v: -W,
        lambda W, v: W[0],
        lambda W, v: W.sum(),
        lambda W, v: W.astype(jnp.float32),
        lambda W, v: jnp.asarray(W),
        lambda W, v: np.asarray(W),
        lambda W, v: jnp.einsum("ij,i->j", W, v),
        lambda W, v: jnp.concatenate([W, W]),
        list,
    ],
)
def test_a_weight_matrix_is_no_array(weights, states, inputs, use):
    """As one, it would lose its gradient without a word."""

    def natural(weights, state, x):
        return state, use(weights["top"], state) if use is not list else list(weights["top"])

    with pytest.raises(
        TypeError, match=r"shape \[2, 3\]: the fast time loop supports only product\(W, v\), i.e. W.T @ v; else use"
    ):
        fast_loop(natural, weights, states, inputs)


@pytest.mark.parametrize(
    "use",
    [
        lambda X, u, v: X @ u,
        lambda X, u, v: v @ X,
        lambda X, u, v: X.T @ v,
        lambda X, u, v: 2 * X + X * u[None] - X / 3,
        lambda X, u, v: (-X) ** 2,
        lambda X, u, v: X[1] * u,
        lambda X, u, v: X.mean(axis=0),
        lambda X, u, v: sum(row * u for row in X) / len(X),
        lambda X, u, v: jnp.tanh(jnp.asarray(X)),
        lambda X, u, v: jnp.einsum("ij,j->i", X, u),
        lambda X, u, v: np.ones((3, d)) + X,
        lambda X, u, v: X @ X.T,
        lambda X, u, v: X.astype(jnp.float32).astype(jnp.float64) @ u,
        lambda X, u, v: jnp.where(X > 0, u[None], 0.0),
        lambda X, u, v: product(u, X),
        lambda X, u, v: product(X, v) + X.ndim * X.shape[0],
    ],
)
@pytest.mark.slow
def test_features_in_place_are_arrays(weights, states, use):
    """Values and gradients of any other operand are those of the plain loop, whose steps get arrays."""
    X = np.random.default_rng(3).normal(size=(B, T, 3, d))

    def look(weights, state, X_t):
        v = product(weights["top"], state)
        seen = use(X_t, weights["bias"], v)
        return jnp.tanh(state + jnp.sum(seen)), seen

    few = {"top": weights["top"], "bias": weights["bias"]}
    for wanted in [(0, 1), (0, 1, 2)]:  # Where the gradient of X is wanted, too, a step gets an array.

        def run(loop, wanted=wanted):
            def total(weights, states, X):
                return jnp.sum(time_loop(look, weights, states, InPlace(X), loop) ** 2)

            return jax.value_and_grad(total, argnums=wanted)(few, states, X)

        for a, b in zip(*map(jax.tree.leaves, (run("fast"), run("plain"))), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_features_in_place_know_their_shape_and_type(x64):
    X = LoopInput(np.arange(24.0).reshape(2, 3, 4), 1)
    assert (X.shape, X.ndim, X.dtype, X.astype(jnp.float32).dtype) == ((3, 4), 2, np.float64, np.float32)
    for as_array in (jnp.asarray, np.asarray):
        np.testing.assert_array_equal(as_array(X), np.arange(12.0, 24.0).reshape(3, 4))
    with pytest.raises(AttributeError, match="shapes"):
        _ = X.shapes
