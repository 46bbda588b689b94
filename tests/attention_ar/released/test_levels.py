"""The released model with attention over several levels: one step written out in NumPy, and the model of one level."""

import functools

import jax
import numpy as np
import pytest

import attention_ar as ar

B, T, D, d, C = 2, 3, 5, 4, 3
LEVELS, SIGMA = ("coarse", "fine"), 0.5


def model_of(**options):
    options = {"levels": LEVELS, "level_scales": (SIGMA,), "use_dropout": False, "temperature_inverse": 2.0, **options}
    return ar.ReleasedAttentionLSTM(C, hidden_dim=d, dim_out=6, **options)


def case(model, dtype=np.float64):
    random = np.random.default_rng(0)
    x = {"coarse": random.uniform(0, 2, (B, T, 4, D)), "fine": random.uniform(0, 2, (B, T, 16, 3))}
    x = {level: x[level].astype(dtype) for level in model.levels}
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda s: (0.5 * random.normal(size=s.shape)).astype(dtype), shapes), x


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


@pytest.mark.parametrize("loop", ["plain", "fast"])
def test_where_it_looks_and_what_it_sees_against_numpy(x64, loop):
    model = model_of(time_loop=loop)
    params, x = case(model)
    out = jax.tree.map(np.asarray, model.apply({"params": params}, x)[1])
    for b in range(B):
        h = out["first_h"][b]
        for t in range(T):
            m = softmax(params["levels"]["kernel"].T @ h)
            seen = np.zeros(D)
            for v, (level, p, scale) in enumerate((("coarse", params, 1), ("fine", params["levels"]["fine"], SIGMA))):
                X = x[level][b, t]
                A = X / scale @ p["decoder_Wc_att"] + p["decoder_b_att"]
                e = np.tanh(A + p["decoder_Wd_att"].T @ h) @ p["decoder_U_att"][:, 0] + p["decoder_c_tt"]
                l = m[v] * softmax(2.0 * e)
                np.testing.assert_allclose(out["locations"][level][b, t], l, atol=1e-12)
                attended = l @ X
                seen += attended if v == 0 else attended @ p["projection"] / SIGMA
            np.testing.assert_allclose(out["levels"][b, t], m, atol=1e-12)
            np.testing.assert_allclose(out["x"][b, t], seen, atol=1e-12)
            h = out["h"][b, t]
    np.testing.assert_allclose(out["attention"].sum(-1), 1, atol=1e-12)


def test_one_level_is_the_released_model_to_the_bit():
    model = model_of(levels=("coarse",), level_scales=())
    params, x = case(model, np.float32)
    without = {name: value for name, value in params.items() if name != "levels"}
    logits, out = model.apply({"params": params}, x)
    expected_logits, expected = model.clone(levels=()).apply({"params": without}, x["coarse"])
    np.testing.assert_array_equal(logits, expected_logits)
    for name in ("attention", "x", "h"):
        np.testing.assert_array_equal(out[name], expected[name])


@pytest.mark.slow
def test_both_loops_have_the_same_gradients_also_of_what_is_drawn(x64):
    for options in ({"hard": ar.HardAttention(window=1)}, {"n_layers_att": 3, "selector": True}):
        params, x = case(model_of(**options))

        def loss(params, loop, options=options, x=x):
            logits, out = model_of(time_loop=loop, **options).apply({"params": params}, x)
            return (logits**2).sum() + (out["attention"] ** 2).sum()

        found = [jax.jit(jax.grad(functools.partial(loss, loop=loop)))(params) for loop in ("plain", "fast")]
        for a, b in zip(*map(jax.tree.leaves, found), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
        if "hard" not in options:  # There the most probable location may always be a coarse one.
            assert np.abs(found[0]["levels"]["fine"]["projection"]).max() > 1e-3


def test_a_glimpse_is_on_the_first_level_alone():
    model = model_of()
    params, x = case(model, np.float32)
    glimpse = np.eye(4, dtype=np.float32)[[[0, 3, 1], [2, 2, 0]]]
    _, out = model.apply({"params": params}, x, glimpse=glimpse)
    np.testing.assert_array_equal(out["attention"], glimpse)
    np.testing.assert_array_equal(out["x"], np.sum(glimpse[..., None] * x["coarse"], axis=2))
