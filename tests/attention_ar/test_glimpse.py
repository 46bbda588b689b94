"""Models that look where they are told. (Against the paper written out in NumPy: see test_paper_equations.)"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.errors import InputError
from attention_ar.training.steps import predict

B, T, K2, D = 2, 3, 4, 6
SIZES = {"num_classes": 3, "hidden_dim": 5}
MODELS = {
    "soft": ar.SoftAttentionLSTM(**SIZES, num_layers=2),
    "soft in bfloat16": ar.SoftAttentionLSTM(**SIZES, num_layers=2, compute_dtype="bfloat16"),
    "released": ar.ReleasedAttentionLSTM(**SIZES, dim_out=4, n_layers_att=2, ctx2out=True, selector=True),
}


def case(model, dtype=np.float64):
    """Parameters of ordinary size, features, and a glimpse that is no model's own."""
    random = np.random.default_rng(0)
    X = random.uniform(0, 2, (B, T, K2, D)).astype(dtype)
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)["params"]
    params = jax.tree.map(lambda s: (0.7 * random.normal(size=s.shape)).astype(dtype), shapes)
    return params, X, random.dirichlet(np.full(K2, 0.3), (B, T)).astype(dtype)


@pytest.mark.parametrize(
    ("name", "unused"),
    [("soft", {"location_softmax"}), ("released", {"decoder_Wc_att", "decoder_Wd_att", "decoder_U_att"})],
)
@pytest.mark.slow
def test_its_own_attention_as_glimpse_changes_nothing_and_another_does(x64, name, unused):
    model = MODELS[name]
    params, X, other = case(model)
    run = jax.jit(lambda params, glimpse: model.apply({"params": params}, X, glimpse=glimpse))
    logits, out = run(params, None)
    again, again_out = run(params, out["attention"])
    assert jax.tree.structure(again_out) == jax.tree.structure(out)
    for found, expected in zip(jax.tree.leaves((again, again_out)), jax.tree.leaves((logits, out)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    elsewhere, elsewhere_out = run(params, other)
    np.testing.assert_array_equal(elsewhere_out["attention"], other)
    assert np.abs(elsewhere - logits).max() > 1e-3
    # The location softmax has no part in it: were it computed at all, numbers that are none would show.
    spoilt = {n: jax.tree.map(lambda p: p * np.nan, p) if n in unused else p for n, p in params.items()}
    np.testing.assert_array_equal(run(spoilt, other)[0], elsewhere)
    if name == "soft":
        uniform, _ = run(params, np.full((B, T, K2), 1 / K2))
        del params["location_softmax"]
        pooled, _ = jax.jit(ar.PooledLSTM(**SIZES, num_layers=2).apply)({"params": params}, X)
        np.testing.assert_allclose(uniform, pooled, atol=1e-13)


def test_results_in_bfloat16_are_float32():
    model = MODELS["soft in bfloat16"]
    params, X, glimpse = case(model, np.float32)
    own, told = (
        jax.eval_shape(lambda l: model.apply({"params": params}, jnp.asarray(X, jnp.bfloat16), glimpse=l), l)
        for l in (None, glimpse)
    )
    assert own == told
    assert {leaf.dtype for leaf in jax.tree.leaves(told)} == {np.dtype(np.float32)}


def test_a_glimpse_in_a_batch_is_where_the_model_looks():
    model = MODELS["soft"]
    params, X, glimpse = case(model, np.float32)
    batch = {"frames": X.reshape(B * T, K2, D), "where": np.arange(B * T).reshape(B, T), "glimpse": glimpse}
    _, out = jax.jit(lambda batch: predict(model, params, batch))(batch)
    np.testing.assert_array_equal(out["attention"], glimpse)
    np.testing.assert_allclose(out["x"], np.einsum("bti,btid->btd", glimpse, X), rtol=1e-5)


def test_wrong_shapes_and_models_that_look_nowhere_are_refused():
    for name in ("soft", "released"):
        params, X, glimpse = case(MODELS[name], np.float32)
        with pytest.raises(InputError, match=r"glimpse of shape \(2, 2, 4\): must be \[B, T, K²\], here \[2, 3, 4\]"):
            MODELS[name].apply({"params": params}, X, glimpse=glimpse[:, :2])
    params, X, glimpse = case(ar.PooledLSTM(**SIZES), np.float32)
    with pytest.raises(InputError, match="it pools and has no attention"):
        ar.PooledLSTM(**SIZES).apply({"params": params}, X, glimpse=glimpse)
