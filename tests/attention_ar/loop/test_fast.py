"""The time loop against a plain scan of a vmap, gradients of everything included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar.loop.fast import InPlace, time_loop
from attention_ar.products import product

B, T, D, d = 3, 4, 5, 2


def step(weights, state, x):
    z = product(weights["W"], jnp.concatenate([state, x["here"]])) + weights["bias"]
    kept = product(weights["top"], jnp.tanh(z))
    return jnp.where(x["keep"], jnp.tanh(z), state), {"kept": kept, "z": z}


def plain_loop(weights, states, inputs):
    def one_block(state, inputs):
        return jax.lax.scan(lambda s, now: step(weights, s, now), state, inputs)[1]

    return jax.vmap(one_block)(states, inputs)


@pytest.fixture
def case(x64):
    random = np.random.default_rng(0)
    weights = {"W": random.normal(size=(d + D, d)), "bias": random.normal(size=d), "top": random.normal(size=(d, 3))}
    inputs = {"here": random.normal(size=(B, T, D)), "keep": random.random((B, T, d)) > 0.3}
    return weights, random.normal(size=(B, d)), inputs


def test_values_and_gradients_of_weights_states_and_inputs(case):
    weights, states, inputs = case
    factor = np.random.default_rng(1).normal(size=(B, T, 3))

    def total(loop):
        def of(weights, states, here):
            out = loop(weights, states, {**inputs, "here": here})
            return jnp.sum(factor * out["kept"] ** 2) + jnp.sum(out["z"][:, -1])

        return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2)))(weights, states, inputs["here"])

    found, expected = total(lambda *a: time_loop(step, *a)), total(plain_loop)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_weight_gradients_are_summed_behind_the_loop(case):
    """No iteration of the backward loop has an array of a matrix's size among what it hands on."""
    weights, states, inputs = case

    def total(weights):
        return jnp.sum(time_loop(step, weights, states, inputs)["kept"])

    jaxpr = jax.make_jaxpr(jax.grad(total))(weights)
    scans = [e for e in jaxpr.jaxpr.eqns if e.primitive.name == "scan"]
    assert len(scans) == 2
    for scan in scans:
        first = scan.params["num_consts"]
        carried = [v.aval.shape for v in scan.invars[first : first + scan.params["num_carry"]]]
        assert (d + D, d) not in carried
        assert (d, d + D) not in carried


def test_each_matrix_is_used_once(case):
    weights, states, inputs = case

    def twice(weights, state, x):
        z = product(weights["W"], jnp.concatenate([state, x["here"]]))
        return z, product(weights["top"], z) + product(weights["top"], state)

    def never(weights, state, x):
        return state, product(weights["top"], state)

    with pytest.raises(ValueError, match="once only"):
        time_loop(twice, weights, states, inputs)
    with pytest.raises(ValueError, match="must multiply with each of its weight matrices"):
        time_loop(never, weights, states, inputs)


@pytest.mark.parametrize("marked", [InPlace, lambda array: array])
def test_matrix_inputs_that_stay_in_place(case, marked):
    """The numbers of a plain loop, and gradients of the matrices where they are wanted."""
    weights, states, _ = case
    X = np.random.default_rng(2).normal(size=(B, T, 3, d))

    def attend(weights, state, X_t):
        x = product(X_t, product(weights["top"], state))
        return jnp.tanh(product(weights["square"], x)), x

    def plain(weights, states, X):
        def one_block(state, X):
            return jax.lax.scan(lambda s, X_t: attend(weights, s, X_t), state, X)[1]

        return jax.vmap(one_block)(states, X)

    weights = {"top": weights["top"], "square": weights["W"][:d]}
    for wanted in [(0, 1), (0, 1, 2)]:
        found, expected = (
            jax.value_and_grad(lambda *a, loop=loop: jnp.sum(loop(*a) ** 2), argnums=wanted)(weights, states, X)
            for loop in (lambda w, s, X: time_loop(attend, w, s, marked(X)), plain)
        )
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
