"""Both time loops against a scan of a vmap, gradients of everything included, and against each other in every model."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.loop import InPlace, loop_for, time_loop
from attention_ar.loss import PaperObjective
from attention_ar.products import product
from attention_ar.released import ReleasedObjective

B, T, D, d = 3, 4, 5, 2
both = pytest.mark.parametrize("loop", ["plain", "fast"])


def step(weights, state, x):
    z = product(weights["W"], jnp.concatenate([state, x["here"]])) + weights["bias"]
    kept = product(weights["top"], jnp.tanh(z))
    return jnp.where(x["keep"], jnp.tanh(z), state), {"kept": kept, "z": z}


def oracle(step, weights, states, inputs):
    """Python's own loops."""
    blocks = []
    for b in range(B):
        state, out = jax.tree.map(lambda s, b=b: s[b], states), []
        for t in range(T):
            state, kept = step(weights, state, jax.tree.map(lambda x, b=b, t=t: x[b, t], inputs))
            out.append(kept)
        blocks.append(jax.tree.map(lambda *steps: jnp.stack(steps), *out))
    return jax.tree.map(lambda *blocks: jnp.stack(blocks), *blocks)


@pytest.fixture
def case(x64):
    random = np.random.default_rng(0)
    weights = {"W": random.normal(size=(d + D, d)), "bias": random.normal(size=d), "top": random.normal(size=(d, 3))}
    inputs = {"here": random.normal(size=(B, T, D)), "keep": random.random((B, T, d)) > 0.3}
    return weights, random.normal(size=(B, d)), inputs


def require_close(found, expected, tolerance=1e-12):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for path, a in jax.tree_util.tree_leaves_with_path(found):
        b = functools.reduce(lambda node, key: node[getattr(key, "key", getattr(key, "idx", None))], path, expected)
        scale = max(1.0, float(np.max(np.abs(b))))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=jax.tree_util.keystr(path))


@both
@pytest.mark.slow
def test_values_and_gradients_of_weights_states_and_inputs(case, loop):
    weights, states, inputs = case
    factor = np.random.default_rng(1).normal(size=(B, T, 3))

    def total(run):
        def of(weights, states, here):
            out = run(step, weights, states, {**inputs, "here": here})
            return jnp.sum(factor * out["kept"] ** 2) + jnp.sum(out["z"][:, -1])

        return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2)))(weights, states, inputs["here"])

    require_close(total(functools.partial(time_loop, loop=loop)), total(oracle))


@both
@pytest.mark.parametrize("marked", [InPlace, lambda array: array])
@pytest.mark.slow
def test_matrix_inputs_with_and_without_their_gradient(case, loop, marked):
    weights, states, _ = case
    X = np.random.default_rng(2).normal(size=(B, T, 3, d))

    def attend(weights, state, X_t):
        x = product(X_t, product(weights["top"], state))
        return jnp.tanh(product(weights["square"], x)), x

    weights = {"top": weights["top"], "square": weights["W"][:d]}
    for wanted in [(0, 1), (0, 1, 2)]:
        found, expected = (
            jax.value_and_grad(lambda *a, run=run: jnp.sum(run(*a) ** 2), argnums=wanted)(weights, states, X)
            for run in (
                lambda w, s, X: time_loop(attend, w, s, marked(X), loop),
                functools.partial(oracle, attend),
            )
        )
        require_close(found, expected)


@both
@pytest.mark.slow
def test_a_matrix_that_no_step_uses_has_gradient_zero(case, loop):
    weights, states, inputs = case

    def total(weights):
        return jnp.sum(time_loop(step, weights, states, inputs, loop)["kept"])

    gradient = jax.grad(total)({**weights, "unused": np.ones((2, 7))})
    np.testing.assert_array_equal(gradient["unused"], np.zeros((2, 7)))
    assert np.abs(gradient["top"]).max() > 0.1


# --- Every model ------------------------------------------------------------------------------------------------------

SIZES = {"num_classes": 3, "hidden_dim": 4}
RELEASED = functools.partial(ar.ReleasedAttentionLSTM, **SIZES, dim_out=6)
MODELS = {
    "soft": functools.partial(ar.SoftAttentionLSTM, **SIZES, num_layers=2),
    "mean": functools.partial(ar.PooledLSTM, **SIZES, num_layers=1, init_layers=2),
    "max": functools.partial(ar.PooledLSTM, **SIZES, num_layers=1, pool="max"),
    "released": RELEASED,
    "released, all options": functools.partial(
        RELEASED, n_layers_att=3, n_layers_out=2, n_layers_init=2, ctx2out=True, selector=True, temperature_inverse=2.0
    ),
}


def results(name, loop, dtype, glimpse=False, **options):
    """Loss, logits, everything else that the model returns, and the gradients of its parameters."""
    model, random = MODELS[name](time_loop=loop, **options), np.random.default_rng(4)
    X = random.uniform(0, 2, (3, 5, 9, 6)).astype(dtype)
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)["params"]
    params = jax.tree.map(lambda s: (0.5 * random.normal(size=s.shape)).astype(s.dtype), shapes)
    labels, weight = np.eye(3, dtype=dtype), np.ones(3, dtype)
    told = random.dirichlet(np.ones(9), (3, 5)).astype(dtype) if glimpse else None
    objective = (ReleasedObjective if name.startswith("released") else PaperObjective)(1.0, 1e-3)

    def loss(params, X):
        rngs = {"dropout": jax.random.key(1)}
        logits, out = model.apply({"params": params}, X, train=True, rngs=rngs, glimpse=told)
        return objective(params, logits, out, labels, weight)[0], {"logits": logits, **out}

    (value, out), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, X)
    return {"loss": value, "out": {n: list(v) if isinstance(v, tuple) else v for n, v in out.items()}, "d": gradients}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-12)])
def test_both_loops_agree_in_every_model(name, dtype, tolerance):
    with jax.enable_x64(dtype is np.float64):
        require_close(results(name, "fast", dtype), results(name, "plain", dtype), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["soft", "released"])
def test_both_loops_agree_where_the_model_looks_where_it_is_told(x64, name):
    require_close(results(name, "fast", np.float64, True), results(name, "plain", np.float64, True))


@pytest.mark.slow
def test_bfloat16_gradients_are_not_summed_in_bfloat16():
    """30 equal terms of 1 + 2⁻⁸ … 2⁻⁸ would vanish in a sum of bfloat16: both loops sum in float32, and round once."""
    terms = 1 + np.arange(30, dtype=np.float32) / 128

    def total(W, loop):
        out = time_loop(
            lambda W, state, x: (state, product(W, x)), W, jnp.zeros((1, 1)), jnp.asarray(terms.reshape(1, 30, 1)), loop
        )
        return jnp.sum(out)

    for loop in ("plain", "fast"):
        gradient = jax.grad(total)(jnp.ones((1, 1), jnp.bfloat16), loop)
        assert gradient.dtype == jnp.bfloat16
        assert gradient[0, 0] == jnp.asarray(terms.sum(), jnp.bfloat16)


def test_auto_is_fast_where_that_was_measured_and_other_names_are_refused():
    assert [loop_for(platform) for platform in ("cpu", "gpu", "cuda", "tpu")] == ["fast", "fast", "fast", "plain"]
    for model in (ar.SoftAttentionLSTM, ar.PooledLSTM, ar.ReleasedAttentionLSTM):
        assert model(3).time_loop == "auto"
        with pytest.raises(ar.InputError, match="time_loop='quick': must be auto, plain or fast"):
            model(3, time_loop="quick")
    with pytest.raises(ar.InputError, match="time_loop='quick'"):
        time_loop(step, {}, None, None, "quick")


@pytest.mark.slow
def test_auto_has_the_bits_of_the_fast_loop_on_a_cpu():
    found, expected = results("soft", "auto", np.float32), results("soft", "fast", np.float32)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_array_equal(a, b)
