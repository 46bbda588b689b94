"""The released program's optimisers against their recurrences, written out in NumPy."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from attention_ar.released import OPTIMIZERS, optimizers

GRADIENTS = np.random.RandomState(0).randn(6, 3)


def run(optimizer, gradients):
    params = jnp.zeros(gradients.shape[1])
    state, trace = optimizer.init(params), []
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        trace.append(params)
    return np.stack(trace)


def adam(gradients):
    p = m = v = np.zeros(3)
    for t, g in enumerate(gradients, start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        rate = 2e-4 * np.sqrt(1 - 0.001**t) / (1 - 0.1**t)
        p = p - rate * m / (np.sqrt(v) + 1e-8)
        yield p


def rmsprop(gradients):
    p = r = s = u = np.zeros(3)
    for g in gradients:
        r = 0.95 * r + 0.05 * g
        s = 0.95 * s + 0.05 * g**2
        u = 0.9 * u - 1e-4 * g / np.sqrt(s - r**2 + 1e-4)
        p = p + u
        yield p


def adadelta(gradients):
    p = s = a = np.zeros(3)
    for g in gradients:
        s = 0.95 * s + 0.05 * g**2
        u = -g * np.sqrt(a + 1e-6) / np.sqrt(s + 1e-6)
        a = 0.95 * a + 0.05 * u**2
        p = p + u
        yield p


def sgd(gradients):
    yield from -0.3 * np.cumsum(gradients, axis=0)


@pytest.mark.parametrize("recurrence", [adam, rmsprop, adadelta, sgd])
def test_recurrence(recurrence, x64):
    trace = run(OPTIMIZERS[recurrence.__name__](0.3), GRADIENTS)
    np.testing.assert_allclose(trace, np.stack(list(recurrence(GRADIENTS))), rtol=1e-12)


def test_first_step_of_adam_is_too_long():
    """7.02e-4 whatever the gradient; Adam's is its learning rate, 2e-4."""
    gradients = np.array([[1e-3, -1.0, 1e3]])
    np.testing.assert_allclose(
        run(optimizers.released_adam(), gradients), [[-7.0237e-4, 7.0237e-4, -7.0237e-4]], rtol=1e-3
    )


@pytest.mark.slow
def test_adam_forgets_its_oddity(x64):
    """After many equal gradients it walks at 2e-4 a step, as Adam does."""
    trace = run(optimizers.released_adam(), np.ones((5000, 1)))
    np.testing.assert_allclose(trace[-1] - trace[-2], -2e-4, rtol=0.01)
    assert abs(trace[9] - trace[8])[0] > 1.2e-3


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adadelta"])
def test_the_rate_is_ignored(name):
    np.testing.assert_array_equal(run(OPTIMIZERS[name](1.0), GRADIENTS), run(OPTIMIZERS[name](1e-9), GRADIENTS))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_keeps_types_and_compiles(name, x64):
    """Every array keeps its type in a tree of several, under strict promotion."""
    params = {"a": jnp.ones(2, jnp.float32), "b": jnp.ones((), jnp.float64)}
    optimizer = OPTIMIZERS[name](0.1)
    updates, state = jax.jit(optimizer.update)(params, optimizer.init(params))
    updates, _ = jax.jit(optimizer.update)(params, state)
    assert jax.tree.map(lambda leaf: leaf.dtype, updates) == {"a": np.dtype("float32"), "b": np.dtype("float64")}
    assert all(np.all(leaf < 0) for leaf in jax.tree.leaves(updates))


@pytest.mark.slow
def test_example_in_the_docstring():
    with jax.numpy_dtype_promotion("standard"):
        assert doctest.testmod(optimizers).failed == 0
    assert doctest.testmod(optimizers).attempted > 5
