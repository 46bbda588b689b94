"""Dtypes: bfloat16 products with everything else in float32, and features of any type."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import attention_ar as ar
from attention_ar.loss import PaperObjective
from attention_ar.products import product
from attention_ar.training.optimizers import adam
from attention_ar.training.steps import create_train_state, train_step

B, T, K2, D, d, C = 4, 5, 9, 16, 12, 3
MODELS = {
    "soft": functools.partial(ar.SoftAttentionLSTM, C, d, 2),
    "pooled": functools.partial(ar.PooledLSTM, C, d, 2),
    "regression": functools.partial(ar.SoftmaxRegression, C),
    "released": functools.partial(ar.ReleasedAttentionLSTM, C, d, d),
}


@functools.cache
def features() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 2, (B, T, K2, D)).astype(np.float32)


@functools.cache
def params(name):
    """Parameters of ordinary size."""
    shapes = jax.eval_shape(MODELS[name]().init, jax.random.key(0), features())["params"]
    random = np.random.default_rng(1)
    return jax.tree.map(lambda s: (0.3 * random.normal(size=s.shape)).astype(np.float32), shapes)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.slow
def test_bfloat16_is_close_to_float32_and_results_are_float32(name):
    exact, exact_out = jax.jit(MODELS[name]().apply)({"params": params(name)}, features())
    model = MODELS[name](compute_dtype="bfloat16")
    found, out = jax.jit(model.apply)({"params": params(name)}, features().astype(jnp.bfloat16))
    floats = {a.dtype for a in jax.tree.leaves((found, out)) if jnp.issubdtype(a.dtype, jnp.floating)}
    assert floats == {np.dtype(np.float32)}
    # bfloat16 has 8 bits: a rounding is up to 2⁻⁹ = 0.002 of a value; several of them in a row are given 15 times that.
    scale = float(np.max(np.abs(exact)))
    assert 1e-5 * scale < np.max(np.abs(found - exact)) < 0.02 * scale
    if "attention" in out:
        assert np.max(np.abs(out["attention"] - exact_out["attention"])) < 0.02
        np.testing.assert_allclose(out["attention"].sum(-1), 1, atol=1e-5)  # The softmax is not bfloat16's.


def types_of(jaxpr, primitive):
    """The types of the operands and of the results of every such operation, however deep."""
    found = set()
    for equation in jaxpr.eqns:
        if equation.primitive.name == primitive:
            found.add(tuple(str(v.aval.dtype) for v in (*equation.invars, *equation.outvars)))
        for inner in jaxprs_in_params(equation.params):
            found |= types_of(inner, primitive)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_products_are_bfloat16_and_all_else_is_float32(name):
    model = MODELS[name](compute_dtype="bfloat16")
    x = features().astype(jnp.bfloat16)
    jaxpr = jax.make_jaxpr(lambda p, x: model.apply({"params": p}, x))(params(name), x).jaxpr
    # Twice, as a CPU is given the rounded numbers in float32; and Uᵀ of the released location softmax is in float32.
    assert types_of(jaxpr, "dot_general") == {("bfloat16", "bfloat16", "float32"), ("float32", "float32", "float32")}
    for primitive in ("exp", "tanh", "logistic"):
        assert types_of(jaxpr, primitive) <= {("float32", "float32")}
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
@pytest.mark.slow
def test_features_of_fewer_bits_are_taken_as_the_numbers_they_are(name, dtype):
    stored = features().astype(dtype)
    apply = jax.jit(MODELS[name]().apply)
    found, _ = apply({"params": params(name)}, stored)
    expected, _ = apply({"params": params(name)}, stored.astype(np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_training_in_bfloat16_learns_as_float32_does():
    labels = np.eye(C, dtype=np.float32)[[0, 1, 2, 0]]
    x = features() + 2 * np.repeat(labels, (D + C - 1) // C, axis=1)[:, None, None, :D]  # A class is seen at once.
    losses, optimizer = {}, adam(1e-2)
    init = functools.partial(create_train_state, ar.SoftAttentionLSTM(C, d, 1), optimizer)
    first_state = jax.jit(init)(jax.random.key(0), x)
    for dtype in ("float32", "bfloat16"):
        model, state = ar.SoftAttentionLSTM(C, d, 1, dropout=0.0, compute_dtype=dtype), first_state
        batch = {"features": x.astype(dtype), "labels": labels, "weight": np.ones(B, np.float32), "index": np.arange(B)}
        step = functools.partial(train_step, model=model, objective=PaperObjective(), optimizer=optimizer, seed=0)
        step, losses[dtype] = jax.jit(step), []
        for _ in range(40):
            state, metrics = step(state, batch)
            assert metrics["finite"]
            losses[dtype].append(float(metrics["cross_entropy"]))
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
        assert {leaf.dtype for leaf in jax.tree.leaves(state.opt_state)} <= {np.dtype(np.float32), np.dtype(np.int32)}
    assert losses["float32"][-1] < 0.3 * losses["float32"][0]
    np.testing.assert_allclose(losses["bfloat16"], losses["float32"], rtol=0.1, atol=0.2)


def test_products_of_the_paper():
    W, v = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), np.array([1.0, 1 / 512], np.float32)
    np.testing.assert_array_equal(product(W, v), [1 + 3 / 512, 2 + 4 / 512])
    # 1 + 2⁻⁹ needs more than the eight bits of bfloat16, but sums have them.
    rough = product(jnp.ones((2, 1), jnp.bfloat16), v)
    assert (rough.dtype, float(rough[0])) == (np.float32, 1 + 1 / 512)


def test_other_types_are_refused():
    with pytest.raises(ar.InputError, match="compute_dtype=float16: must be float32 or bfloat16"):
        jax.eval_shape(ar.SoftAttentionLSTM(C, compute_dtype="float16").init, jax.random.key(0), features())
