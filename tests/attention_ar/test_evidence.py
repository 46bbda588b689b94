"""The evidence against finite differences, with the forward pass written out step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.evidence import evidence, log_probability, positive_part
from attention_ar.first_state import first_state, frame_mean
from attention_ar.loss import PaperObjective
from attention_ar.lstm import stacked_lstm_step
from attention_ar.models import classify
from attention_ar.training.steps import eval_step

B, T, K2, D, C = 2, 3, 4, 6, 3
SIZES = {"num_classes": C, "hidden_dim": 5}
CLASSES = np.array([2, 0])
STEP = 1e-6

MODELS = {
    "soft, plain loop": ar.SoftAttentionLSTM(**SIZES, num_layers=2, time_loop="plain"),
    "soft, fast loop": ar.SoftAttentionLSTM(**SIZES, num_layers=2, time_loop="fast"),
    "mean": ar.PooledLSTM(**SIZES, num_layers=2, pool="mean"),
    "max": ar.PooledLSTM(**SIZES, num_layers=2, pool="max", time_loop="fast"),
    "released": ar.ReleasedAttentionLSTM(**SIZES, dim_out=4, n_layers_att=2, ctx2out=True, selector=True),
    "regression": ar.SoftmaxRegression(C),
}


def case(model, dtype=np.float64):
    random = np.random.default_rng(0)
    X = random.normal(size=(B, T, K2, D)).astype(dtype)
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)["params"]
    return jax.tree.map(lambda s: (0.7 * random.normal(size=s.shape)).astype(dtype), shapes), X


def step_by_step(params, X, x):
    """log p of one block from the x_t that the LSTM gets, `<float>[T, D]`; X is for the first state alone."""
    f_init = [([params[f"f_init_c_{n}_1"]], [params[f"f_init_h_{n}_1"]]) for n in (1, 2)]
    states = first_state(f_init, frame_mean(X))
    y = []
    for t in range(T):
        states = stacked_lstm_step([params["lstm_1"], params["lstm_2"]], states, x[t])
        y.append(jax.nn.softmax(classify(params, states[-1][1])))
    return jnp.log(sum(y) / T)


def inputs(name, X, l, scale):
    """x_t of one block, where cell i of step t counts `scale[t, i]` times: `<float>[T, D]`."""
    cells = scale[:, :, None] * X
    if name.startswith("soft"):
        return (l[:, :, None] * cells).sum(axis=1)
    return cells.mean(axis=1) if name == "mean" else cells.max(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["soft, plain loop", "soft, fast loop", "mean", "max"])
def test_one_cell_counts_a_little_more(x64, name):
    model = MODELS[name]
    params, X = case(model)
    _, out = jax.jit(model.apply)({"params": params}, X)
    found = jax.jit(lambda params, X: evidence(model, params, X, CLASSES))(params, X)
    assert found.shape == (B, T, K2) and found.dtype == np.float64
    for b in range(B):
        l = np.asarray(out["attention"][b]) if "attention" in out else None
        steps = STEP * np.eye(T * K2).reshape(-1, T, K2)
        more, less = (np.stack([inputs(name, X[b], l, 1 + sign * step) for step in steps]) for sign in (1, -1))
        log_p = jax.jit(jax.vmap(lambda x: step_by_step(params, X[b], x)[CLASSES[b]]))  # noqa: B023
        difference = (log_p(more) - log_p(less)) / (2 * STEP)
        np.testing.assert_allclose(found[b].reshape(-1), difference, atol=1e-8, rtol=1e-6)
    assert np.abs(found).max() > 1e-2


@pytest.mark.slow
def test_one_cell_of_the_released_model(x64):
    """With all its options; the looks and what the location softmax sees are held."""
    model = MODELS["released"]
    params, X = case(model)
    run = jax.jit(lambda glimpse: model.apply({"params": params}, X, glimpse=glimpse))
    _, out = run(None)
    l = np.asarray(out["attention"])
    found = jax.jit(lambda: evidence(model, params, X, CLASSES))()
    for b, t, i in [(0, 0, 1), (1, 1, 3), (0, 2, 0)]:
        change = np.zeros_like(l)
        change[b, t, i] = STEP * l[b, t, i]
        more, less = (np.log(jax.nn.softmax(run(l + sign * change)[0]).mean(axis=1)) for sign in (1, -1))
        difference = (more - less)[b, CLASSES[b]] / (2 * STEP)
        assert found[b, t, i] == pytest.approx(difference, rel=1e-6, abs=1e-9)
        assert abs(found[b, t, i]) > 1e-4


def test_one_cell_of_the_regression(x64):
    model = MODELS["regression"]
    params, X = case(model)
    found = jax.jit(lambda: evidence(model, params, X, CLASSES, multi_label=True))()
    for b, t, i in [(0, 0, 1), (1, 2, 3)]:
        change = np.zeros_like(X)
        change[b, t, i] = STEP * X[b, t, i]
        y = [jax.nn.sigmoid(model.apply({"params": params}, X + sign * change)[0]) for sign in (1, -1)]
        more, less = (np.log(np.asarray(each).mean(axis=1)) for each in y)
        assert found[b, t, i] == pytest.approx((more - less)[b, CLASSES[b]] / (2 * STEP), rel=1e-6)


@pytest.mark.slow
def test_what_was_not_looked_at_says_nothing(x64):
    """A model that looks at one cell alone, and a max-pooled one in which one cell has every maximum."""
    params, X = case(MODELS["soft, plain loop"])
    there = np.array([1, 3])
    l = np.eye(K2)[np.broadcast_to(there[:, None], (B, T))]

    class LooksThere(ar.SoftAttentionLSTM):
        def attend(self, params, h, X):
            return X[:, 0]

    X[..., 0] = l
    looking = LooksThere(**SIZES, num_layers=2, time_loop="plain")
    E = np.asarray(jax.jit(lambda params, X: evidence(looking, params, X, CLASSES))(params, X))
    assert (E[l == 0] == 0).all() and (E[l == 1] != 0).all()
    X[:, :, 2] = 10 + np.abs(X[:, :, 2])
    del params["location_softmax"]
    E = np.asarray(jax.jit(lambda params, X: evidence(MODELS["max"], params, X, CLASSES))(params, X))
    assert (E[:, :, [0, 1, 3]] == 0).all() and (E[:, :, 2] != 0).all()


def test_log_probability_by_hand():
    logits = jnp.log(jnp.array([[[1.0, 3.0], [2.0, 2.0]]]))  # 1/4 and 1/2, 3/4 and 1/2
    assert float(log_probability(logits, np.array([0]))[0]) == pytest.approx(np.log(3 / 8), abs=1e-6)
    assert float(log_probability(logits, np.array([1]))[0]) == pytest.approx(np.log(5 / 8), abs=1e-6)
    # The logistic function of ln 1 and ln 2 is 1/2 and 2/3.
    assert float(log_probability(logits, np.array([0]), True)[0]) == pytest.approx(np.log(7 / 12), abs=1e-6)
    assert float(log_probability(jnp.array([[[0.0, 200.0]]]), np.array([0]))[0]) == pytest.approx(-200)


def test_the_positive_part_is_a_distribution_or_nothing():
    E = np.array([[3.0, -5.0, 1.0, 0.0], [-1.0, -2.0, 0.0, -3.0]])
    np.testing.assert_array_equal(positive_part(E), [[0.75, 0, 0.25, 0], [0, 0, 0, 0]])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["soft, plain loop", "regression"])
def test_an_evaluation_step_explains_what_each_block_is_taken_for(name):
    model = MODELS[name]
    params, X = case(model, np.float32)
    objective = PaperObjective()
    run = jax.jit(
        lambda batch: eval_step(params, batch, model=model, objective=objective, keep=("evidence", "predictions"))
    )
    results = run({"features": X})
    taken_for = np.asarray(results["predictions"]).mean(axis=1).argmax(axis=1)
    expected = jax.jit(lambda: evidence(model, params, X, taken_for))()
    np.testing.assert_allclose(results["evidence"], expected, atol=1e-6)
    frames = {"frames": X.reshape(-1, K2, D), "where": np.arange(B * T).reshape(B, T)}
    np.testing.assert_allclose(run(frames)["evidence"], expected, atol=1e-6)
    everything = jax.eval_shape(lambda: eval_step(params, {"features": X}, model=model, objective=objective))
    assert "evidence" not in everything


@pytest.mark.slow
def test_evidence_of_hard_attention_lies_where_it_looked():
    """One cell a step; and the sum over the cells is x_t · ∂ log p / ∂x_t, as for soft attention under that glimpse."""
    random = np.random.default_rng(0)
    hard = ar.SoftAttentionLSTM(3, hidden_dim=5, num_layers=1, hard=ar.HardAttention())
    X = random.uniform(0, 2, (2, 3, 9, 4)).astype(np.float32)
    shapes = jax.eval_shape(hard.init, jax.random.key(0), X)["params"]
    params = jax.tree.map(lambda s: random.normal(size=s.shape).astype(np.float32), shapes)
    _, out = hard.apply({"params": params}, X)
    found = evidence(hard, params, X, jnp.array([0, 2]))
    assert ((np.asarray(found) != 0) <= (np.asarray(out["glimpse"]) == 1)).all() and np.abs(found).max() > 1e-3
    told = evidence(hard.clone(hard=None), params, X, jnp.array([0, 2]), glimpse=out["glimpse"])
    np.testing.assert_allclose(found, told, atol=1e-6)
