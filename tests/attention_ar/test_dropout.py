"""Dropout touches the non-recurrent connections, and no other (section 4.2; Zaremba et al. 2014)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.dropout import drop, example_keys, random_bits, recurrent_masks
from attention_ar.models import soft_attention_blocks

T, K2, D, d, C, LAYERS, INIT = 40, 9, 64, 48, 3, 3, 3


@jax.jit
def draw(key):
    return recurrent_masks(jax.random.key(key), 0.25, T, D, d, LAYERS, INIT)


def soft_attention_block(params, X, masks):
    """One block, as a batch of one."""
    attend = ar.SoftAttentionLSTM(C).attend
    found = soft_attention_blocks(params, X[None], attend, X[None], jax.tree.map(lambda m: m[None], masks))
    return jax.tree.map(lambda a: a[0], found)


def test_masks_keep_what_they_should_and_scale_it():
    masks = draw(0)
    assert [m.keep.shape for m in masks["inputs"]] == [(T, D), (T, d), (T, d)]
    assert masks["top"].keep.shape == masks["hidden"].keep.shape == (T, d)
    for layer in masks["first_state"]:
        assert [[m.keep.shape for m in perceptron] for perceptron in layer] == [[(D,)] * (INIT - 1)] * 2
    assert len(masks["first_state"]) == LAYERS
    whole = [*masks["inputs"], masks["top"], masks["hidden"]]
    for m in whole:
        dropped = drop(jnp.full(m.keep.shape, 3.0), m)
        assert set(np.unique(dropped).tolist()) == {0.0, 4.0}
        kept = np.mean(np.asarray(dropped) > 0)
        assert abs(kept - 0.75) < 4 * np.sqrt(0.75 * 0.25 / m.keep.size)


def test_masks_are_fresh_at_every_step_and_connection():
    arrays = [np.asarray(m) for m in jax.tree.leaves(draw(1))]
    rows = [tuple(row[:d]) for m in arrays for row in m.reshape(-1, m.shape[-1])]
    assert len(set(rows)) == len(rows) == 5 * T + LAYERS * 2 * (INIT - 1)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.25, 0.5, 2 / 3, 0.99, 1.0])
def test_random_bits_are_true_as_often_as_asked_and_independent(probability):
    bits = np.asarray(jax.jit(lambda key: random_bits(key, probability, (500, 33, 7)))(jax.random.key(0)))
    assert (bits.dtype, bits.shape) == (bool, (500, 33, 7))
    deviation = np.sqrt(probability * (1 - probability) / bits.size)
    assert abs(bits.mean() - probability) <= 4 * deviation
    # Neighbours, also those that come of one random word and of the same bits of the next, have nothing to do with each
    # other.
    flat = bits.ravel()
    for shift in (1, 16, 31, 32, 33, 64):
        both = np.mean(flat[shift:] & flat[:-shift])
        assert abs(both - probability**2) <= 5 * np.sqrt(probability**2 * (1 - probability**2) / flat.size)


def params_and_features():
    model = ar.SoftAttentionLSTM(C, hidden_dim=d, num_layers=LAYERS, init_layers=INIT)
    random = np.random.default_rng(0)
    X = jnp.asarray(random.uniform(0, 1, (T, K2, D)), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), X[None])["params"]
    flat = jax.tree.map(lambda s: jnp.asarray(0.2 * random.normal(size=s.shape), jnp.float32), shapes)
    layers = range(1, LAYERS + 1)
    tree = {
        "f_init": [tuple([flat[f"f_init_{s}_{n}_{k}"] for k in (1, 2, 3)] for s in "ch") for n in layers],
        "lstm": [flat[f"lstm_{n}"] for n in layers],
        **{name: flat[name] for name in ("classifier_hidden", "classifier_output", "location_softmax")},
    }
    return tree, X


@pytest.mark.slow
def test_recurrent_connections_are_never_dropped():
    """With every non-recurrent connection cut, the state still flows from step to step, exactly as Eqs. 1 to 3 say."""
    params, X = params_and_features()
    cut = jax.tree.map(jnp.zeros_like, draw(2))
    logits, out = jax.jit(soft_attention_block)(params, X, cut)
    h = [np.tanh(np.asarray(f_h[-1]["bias"], np.float64)) for _, f_h in params["f_init"]]
    c = [np.tanh(np.asarray(f_c[-1]["bias"], np.float64)) for f_c, _ in params["f_init"]]
    for t in range(T):
        l = np.exp(h[-1] @ np.asarray(params["location_softmax"]["kernel"], np.float64))
        np.testing.assert_allclose(out["attention"][t], l / l.sum(), atol=1e-5)
        for n in range(LAYERS):
            z = h[n] @ np.asarray(params["lstm"][n]["kernel"][:d], np.float64) + params["lstm"][n]["bias"]
            i, f, o = (1 / (1 + np.exp(-z[k * d : (k + 1) * d])) for k in range(3))
            c[n] = f * c[n] + i * np.tanh(z[3 * d :])
            h[n] = o * np.tanh(c[n])
            np.testing.assert_allclose(out["h"][t, n], h[n], atol=1e-5)
    # Nothing but its bias reaches the output.
    np.testing.assert_array_equal(logits, np.broadcast_to(params["classifier_output"]["bias"], (T, C)))


def cut_step_7(mask):
    return mask.replace(keep=mask.keep.at[7].set(False))


@pytest.mark.parametrize("connection", ["input of layer 1", "layer 1 to 2", "layer 2 to 3", "top", "hidden", "first"])
@pytest.mark.slow
def test_each_connection_is_masked_where_it_should_be(connection):
    """Cutting one connection alone changes just what lies behind it."""
    params, X = params_and_features()
    whole = jax.tree.map(jnp.ones_like, draw(3))
    masks = dict(whole, inputs=list(whole["inputs"]))
    cut = {"input of layer 1": 0, "layer 1 to 2": 1, "layer 2 to 3": 2}
    if connection in cut:
        masks["inputs"][cut[connection]] = cut_step_7(masks["inputs"][cut[connection]])
    elif connection == "first":
        masks["first_state"] = jax.tree.map(jnp.zeros_like, masks["first_state"])
    else:
        masks[connection] = cut_step_7(masks[connection])
    run = jax.jit(soft_attention_block)
    (logits, out), (cut_logits, cut_out) = run(params, X, whole), run(params, X, masks)
    # First step at which h of layers 1 to 3 and the logits differ.
    differs = np.any(np.asarray(out["h"] != cut_out["h"]), axis=-1)
    first = [int(np.argmax(differs[:, n])) if differs[:, n].any() else None for n in range(LAYERS)]
    logits_differ = np.flatnonzero(np.any(np.asarray(logits != cut_logits), axis=-1))
    expected = {
        "input of layer 1": [7, 7, 7],
        "layer 1 to 2": [8, 7, 7],  # Back to layer 1 by way of the attention at step 8.
        "layer 2 to 3": [8, 8, 7],
        "top": [None, None, None],
        "hidden": [None, None, None],
        "first": [0, 0, 0],
    }[connection]
    assert first == expected
    assert logits_differ[0] == (0 if connection == "first" else 7)
    if connection in ("top", "hidden"):
        assert logits_differ.tolist() == [7]


@pytest.mark.slow
def test_an_example_keeps_its_mask_wherever_it_stands():
    keys = example_keys(jax.random.key(5), jnp.arange(6))
    halves = [example_keys(jax.random.key(5), jnp.arange(3) + offset) for offset in (0, 3)]
    assert jnp.array_equal(jax.random.key_data(keys), jax.random.key_data(jnp.concatenate(halves)))
    model = ar.SoftAttentionLSTM(C, hidden_dim=8, num_layers=2)
    X = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (6, 4, K2, 5)), jnp.float32)
    variables = jax.jit(model.init)(jax.random.key(0), X)

    @jax.jit
    def apply(x, index):
        return model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(1)}, example_index=index)[0]

    whole = apply(X, jnp.arange(6))
    np.testing.assert_allclose(apply(X[4:], jnp.arange(4, 6)), whole[4:], atol=1e-6)
    assert np.max(np.abs(apply(X[4:], jnp.arange(2)) - whole[4:])) > 1e-4


@pytest.mark.slow
def test_nothing_is_dropped_at_test_time_or_by_softmax_regression():
    X = jnp.ones((2, 3, K2, 5))
    model = ar.SoftAttentionLSTM(C, hidden_dim=8)
    variables = jax.jit(model.init)(jax.random.key(0), X)
    apply = jax.jit(model.apply)
    logits, _ = apply(variables, X)
    assert jnp.array_equal(logits[0], logits[1])
    regression = ar.SoftmaxRegression(C)
    variables = regression.init(jax.random.key(0), X)
    trained, _ = regression.apply(variables, X, train=True, rngs={"dropout": jax.random.key(0)})
    assert jnp.array_equal(trained, regression.apply(variables, X)[0])
