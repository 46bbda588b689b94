"""The models against the paper, written out a second time: NumPy, float64, loops over t and i, a line an equation.

The oracle below was written from the paper and not from the models, and shares no code with them.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.loss import PaperObjective

# --- The oracle -------------------------------------------------------------------------------------------------------


def sigma(z):
    return np.array([1 / (1 + math.exp(-v)) for v in z])


def softmax(z):
    e = [math.exp(v - max(z)) for v in z]
    return np.array([v / sum(e) for v in e])


def oracle_layer(M, b, c_prev, h_prev, x):
    d = len(h_prev)
    z = np.array([sum(M[k, j] * v for k, v in enumerate([*h_prev, *x])) + b[j] for j in range(4 * d)])  # Eq. 1
    i, f, o, g = sigma(z[:d]), sigma(z[d : 2 * d]), sigma(z[2 * d : 3 * d]), np.tanh(z[3 * d :])
    c = f * c_prev + i * g  # Eq. 2
    h = o * np.tanh(c)  # Eq. 3
    return c, h


def oracle_perceptron(params, name, v):
    k = 1
    while f"{name}_{k + 1}" in params:
        v = np.maximum(v @ params[f"{name}_{k}"]["kernel"] + params[f"{name}_{k}"]["bias"], 0)
        k += 1
    return np.tanh(v @ params[f"{name}_{k}"]["kernel"] + params[f"{name}_{k}"]["bias"])


def oracle_block(p, X, glimpse):
    """ŷ [T, C], l [T, K²], c and h [T, layers, d] of one block X [T, K², D]; `glimpse` is soft, mean, max or l."""
    T, K2, D = X.shape
    layers = sum(name.startswith("lstm_") for name in p)
    mean = np.zeros(D)
    for t in range(T):
        for i in range(K2):
            mean += X[t, i] / (T * K2)
    c = [oracle_perceptron(p, f"f_init_c_{n + 1}", mean) for n in range(layers)]  # Eq. 6
    h = [oracle_perceptron(p, f"f_init_h_{n + 1}", mean) for n in range(layers)]
    predictions, ls, cs, hs = [], [], [], []
    for t in range(T):
        if not isinstance(glimpse, str) or glimpse == "soft":
            if isinstance(glimpse, str):
                W = p["location_softmax"]["kernel"]
                l = softmax([W[:, i] @ h[-1] for i in range(K2)])  # Eq. 4
            else:
                l = glimpse[t]
            x = sum(l[i] * X[t, i] for i in range(K2))  # Eq. 5
            ls.append(l)
        else:
            x = {"mean": np.mean, "max": np.max}[glimpse](X[t], axis=0)
        for n in range(layers):
            c[n], h[n] = oracle_layer(p[f"lstm_{n + 1}"]["kernel"], p[f"lstm_{n + 1}"]["bias"], c[n], h[n], x)
            x = h[n]
        U, a = p["classifier_hidden"]["kernel"], p["classifier_hidden"]["bias"]
        V, b = p["classifier_output"]["kernel"], p["classifier_output"]["bias"]
        predictions.append(softmax(np.tanh(h[-1] @ U + a) @ V + b))
        cs.append(np.array(c))
        hs.append(np.array(h))
    return np.array(predictions), np.array(ls), np.array(cs), np.array(hs)


def oracle_loss_parts(p, predictions, attention, labels, lam, gamma):
    """The three terms of Eq. 7, each a mean over the blocks but the last."""
    B = len(predictions)
    cross_entropy = penalty = 0.0
    for y_hat, l, y in zip(predictions, attention, labels, strict=True):
        for t in range(len(y_hat)):
            cross_entropy -= sum(y[k] * math.log(y_hat[t, k]) for k in range(len(y))) / B
        for i in range(l.shape[1]):
            penalty += lam * (1 - sum(l[t, i] for t in range(len(l)))) ** 2 / B
    decay = gamma * sum(float(np.sum(theta**2)) for theta in jax.tree.leaves(p))
    return cross_entropy, penalty, decay


# --- Helpers ----------------------------------------------------------------------------------------------------------

MODELS = {
    "soft": ar.SoftAttentionLSTM,
    "mean": lambda **sizes: ar.PooledLSTM(pool="mean", **sizes),
    "max": lambda **sizes: ar.PooledLSTM(pool="max", **sizes),
}

# B, T, K², D, d, C, layers, init_layers: chosen ones, at the edges, and random ones.
SIZES = [
    (2, 5, 9, 6, 4, 3, 3, 1),
    (1, 1, 4, 3, 2, 1, 1, 1),
    (3, 4, 1, 5, 5, 2, 2, 2),
    (2, 3, 16, 4, 3, 5, 5, 3),
    (1, 7, 49, 8, 6, 11, 4, 1),
    *map(tuple, np.random.default_rng(0).integers(1, [4, 8, 26, 9, 9, 7, 6, 4], (4, 8)).tolist()),
]


def random_case(glimpse, size, seed, dtype):
    """A model, parameters larger than the initial ones (which would hide errors), features and labels."""
    B, T, K2, D, d, C, layers, init_layers = size
    model = MODELS[glimpse](num_classes=C, hidden_dim=d, num_layers=layers, init_layers=init_layers)
    random = np.random.default_rng(seed)
    X = random.uniform(0, 2, (B, T, K2, D)).astype(dtype)
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)["params"]
    params = jax.tree.map(lambda s: (0.5 * random.normal(size=s.shape)).astype(dtype), shapes)
    labels = np.eye(C, dtype=dtype)[random.integers(C, size=B)]
    return model, params, X, labels


def largest_error(found, expected):
    return np.max(np.abs(np.asarray(found) - expected), initial=0)


# --- Agreement --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("glimpse", ["soft", "mean", "max"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.slow
def test_models_agree_with_the_paper_in_float64(x64, glimpse, size):
    model, params, X, labels = random_case(glimpse, size, seed=sum(size), dtype=np.float64)
    expected = [oracle_block(params, block, glimpse) for block in X]
    logits, out = jax.jit(model.apply)({"params": params}, X)
    assert logits.dtype == np.float64
    found = [jax.nn.softmax(logits), out.get("attention", np.zeros((len(X), 0))), out["c"], out["h"]]
    for f, e in zip(found, zip(*expected, strict=True), strict=True):
        assert f.shape == np.array(e).shape
        assert largest_error(f, np.array(e)) < 1e-10

    parts_expected = oracle_loss_parts(
        params, [e[0] for e in expected], [e[1].reshape(size[1], -1) for e in expected], labels, 0.7, 1e-3
    )
    total, parts = PaperObjective(0.7, 1e-3)(params, logits, out, labels, np.ones(len(X)))
    names = ("cross_entropy", "attention_penalty", "weight_decay")
    for name, value in zip(names, parts_expected, strict=True):
        assert abs(parts[name] - value) < 1e-10
    assert abs(total - sum(parts_expected)) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("glimpse", ["soft", "mean", "max"])
@pytest.mark.parametrize("size", [SIZES[0], *SIZES[5:8]])
def test_models_agree_with_the_paper_in_float32(glimpse, size):
    model, params, X, labels = random_case(glimpse, size, seed=1, dtype=np.float32)
    double = jax.tree.map(np.float64, params)
    logits, out = jax.jit(model.apply)({"params": params}, X)
    assert {array.dtype for array in jax.tree.leaves((logits, out))} == {np.dtype(np.float32)}
    expected = [oracle_block(double, block, glimpse) for block in np.float64(X)]
    found = [jax.nn.softmax(logits), out.get("attention", np.zeros((len(X), 0))), out["c"], out["h"]]
    for f, e in zip(found, zip(*expected, strict=True), strict=True):
        assert largest_error(f, np.array(e)) < 1e-5
    parts_expected = oracle_loss_parts(
        double, [e[0] for e in expected], [e[1].reshape(size[1], -1) for e in expected], labels, 0.7, 1e-3
    )
    _, parts = PaperObjective(0.7, 1e-3)(params, logits, out, labels, np.ones(len(X), np.float32))
    names = ("cross_entropy", "attention_penalty", "weight_decay")
    for name, value in zip(names, parts_expected, strict=True):
        assert parts[name] == pytest.approx(value, rel=1e-5, abs=1e-6)


def test_a_model_that_looks_where_it_is_told_agrees_with_the_paper(x64):
    model, params, X, _ = random_case("soft", SIZES[0], seed=8, dtype=np.float64)
    glimpse = np.random.default_rng(1).dirichlet(np.ones(X.shape[2]), X.shape[:2])
    logits, out = jax.jit(model.apply)({"params": params}, X, glimpse=glimpse)
    expected = [oracle_block(params, block, l) for block, l in zip(X, glimpse, strict=True)]
    found = [jax.nn.softmax(logits), out["attention"], out["c"], out["h"]]
    for f, e in zip(found, zip(*expected, strict=True), strict=True):
        assert largest_error(f, np.array(e)) < 1e-10


def test_softmax_regression_agrees_with_the_paper(x64):
    random = np.random.default_rng(0)
    X = random.normal(size=(2, 3, 4, 5))
    model = ar.SoftmaxRegression(num_classes=6)
    params = {"regression": {"kernel": random.normal(size=(20, 6)), "bias": random.normal(size=6)}}
    logits, out = model.apply({"params": params}, X)
    for b in range(2):
        for t in range(3):
            z = [X[b, t].reshape(-1) @ params["regression"]["kernel"][:, k] for k in range(6)]
            assert largest_error(jax.nn.softmax(logits[b, t]), softmax(z + params["regression"]["bias"])) < 1e-12
    assert out == {}


def test_softmax_regression_never_copies_the_cubes():
    """Its 50 176 inputs a step are read where they lie: forward and backward need less room than a tenth of them."""
    x = jax.ShapeDtypeStruct((8, 30, 49, 1024), np.float32)
    labels = np.eye(11, dtype=np.float32)[:8]
    model = ar.SoftmaxRegression(num_classes=11)
    params = jax.eval_shape(model.init, jax.random.key(0), x)["params"]

    def loss(params, x):
        logits, out = model.apply({"params": params}, x, train=True)
        return PaperObjective()(params, logits, out, labels, np.ones(8, np.float32))[0]

    compiled = jax.jit(jax.grad(loss)).lower(params, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * math.prod(x.shape) / 10


@pytest.mark.slow
@pytest.mark.parametrize("glimpse", ["soft", "mean", "max"])
def test_gradients_agree_with_finite_differences(x64, glimpse):
    """Every parameter array, along a random direction of its own, of the full loss with dropout."""
    model, params, X, labels = random_case(glimpse, (2, 3, 4, 3, 3, 3, 2, 2), seed=5, dtype=np.float64)
    objective = PaperObjective(attention_penalty=0.7, weight_decay=1e-3)
    weight = np.array([1.0, 1.0])

    @jax.jit
    def loss(params):
        logits, out = model.apply({"params": params}, X, train=True, rngs={"dropout": jax.random.key(3)})
        return objective(params, logits, out, labels, weight)[0]

    gradient = jax.jit(jax.grad(loss))(params)
    leaves, structure = jax.tree.flatten(params)
    random = np.random.default_rng(0)
    for n, (path, g) in enumerate(jax.tree_util.tree_leaves_with_path(gradient)):
        direction = random.normal(size=g.shape)
        direction /= np.linalg.norm(direction)

        def along(step, n=n, direction=direction):
            moved = [leaf + step * direction if k == n else leaf for k, leaf in enumerate(leaves)]
            return float(loss(structure.unflatten(moved)))

        slope = (along(1e-5) - along(-1e-5)) / 2e-5
        assert slope == pytest.approx(float(np.sum(g * direction)), rel=1e-6, abs=1e-7), path


# --- Parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_names_and_shapes_of_the_parameters():
    D, d, K2, C = 1024, 512, 49, 11
    x = jax.ShapeDtypeStruct((2, 30, K2, D), np.float32)

    def shapes(model):
        tree = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
        return jax.tree.map(lambda leaf: leaf.shape, tree)

    lstm = {
        "lstm_1": {"kernel": (d + D, 4 * d), "bias": (4 * d,)},
        "lstm_2": {"kernel": (d + d, 4 * d), "bias": (4 * d,)},
        "lstm_3": {"kernel": (d + d, 4 * d), "bias": (4 * d,)},
        **{f"f_init_{s}_{n}_1": {"kernel": (D, d), "bias": (d,)} for s in "ch" for n in (1, 2, 3)},
        "classifier_hidden": {"kernel": (d, d), "bias": (d,)},
        "classifier_output": {"kernel": (d, C), "bias": (C,)},
    }
    assert shapes(ar.SoftAttentionLSTM(C)) == {**lstm, "location_softmax": {"kernel": (d, K2)}}
    assert shapes(ar.PooledLSTM(C)) == lstm
    assert shapes(ar.SoftmaxRegression(C)) == {"regression": {"kernel": (K2 * D, C), "bias": (C,)}}
    deeper = shapes(ar.SoftAttentionLSTM(C, num_layers=1, init_layers=2))
    assert {name: deeper[name]["kernel"] for name in deeper if name.startswith("f_init")} == {
        "f_init_c_1_1": (D, D),
        "f_init_c_1_2": (D, d),
        "f_init_h_1_1": (D, D),
        "f_init_h_1_2": (D, d),
    }


@pytest.mark.slow
def test_initial_weights():
    """Square matrices, each gate's among them, are orthogonal; the others have a deviation of 0.01; biases are 0."""
    D, d = 96, 64
    model = ar.SoftAttentionLSTM(num_classes=5, hidden_dim=d, num_layers=2)
    params = jax.jit(model.init)(jax.random.key(7), jnp.zeros((1, 2, 49, D)))["params"]
    for name, layer in params.items():
        if "bias" in layer:
            assert not np.any(layer["bias"]), name
    squares = [params["classifier_hidden"]["kernel"]]
    for gate in np.split(params["lstm_1"]["kernel"], 4, axis=1):
        squares.append(gate[:d])
        assert np.std(gate[d:]) == pytest.approx(0.01, rel=0.05)
    for gate in np.split(params["lstm_2"]["kernel"], 4, axis=1):
        squares += [gate[:d], gate[d:]]
    for square in squares:
        assert largest_error(square @ square.T, np.eye(d)) < 1e-5
    assert largest_error(squares[0], squares[1]) > 0.1
    for name in ("location_softmax", "f_init_c_1_1", "f_init_h_2_1"):
        assert np.std(params[name]["kernel"]) == pytest.approx(0.01, rel=0.1), name


# --- Properties -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_location_softmax_sums_to_one(x64):
    model, params, X, _ = random_case("soft", (2, 6, 49, 4, 3, 2, 3, 1), seed=2, dtype=np.float64)
    params = jax.tree.map(lambda theta: 20 * theta, params)
    _, out = model.apply({"params": params}, X)
    assert largest_error(out["attention"].sum(axis=-1), 1) < 1e-12
    assert np.min(out["attention"]) >= 0


@pytest.mark.slow
def test_cells_may_be_permuted_together_with_W(x64):
    model, params, X, _ = random_case("soft", SIZES[0], seed=3, dtype=np.float64)
    permutation = np.random.default_rng(0).permutation(X.shape[2])
    logits, out = model.apply({"params": params}, X)
    params["location_softmax"]["kernel"] = params["location_softmax"]["kernel"][:, permutation]
    permuted_logits, permuted_out = model.apply({"params": params}, X[:, :, permutation])
    assert largest_error(permuted_logits, logits) < 1e-12
    assert largest_error(permuted_out["attention"], out["attention"][:, :, permutation]) < 1e-12
    # Permuting the cells alone does change the prediction.
    assert largest_error(model.apply({"params": params}, X)[0], logits) > 1e-3


@pytest.mark.slow
def test_uniform_attention_is_average_pooling(x64):
    model, params, X, _ = random_case("soft", SIZES[0], seed=4, dtype=np.float64)
    params["location_softmax"]["kernel"] = np.zeros_like(params["location_softmax"]["kernel"])
    logits, out = model.apply({"params": params}, X)
    assert np.all(out["attention"] == 1 / 9)
    del params["location_softmax"]
    pooled = ar.PooledLSTM(num_classes=3, hidden_dim=4, num_layers=3, pool="mean")
    assert largest_error(pooled.apply({"params": params}, X)[0], logits) < 1e-12


@pytest.mark.slow
def test_the_future_enters_through_the_first_state_alone(x64):
    model, params, X, _ = random_case("soft", (1, 6, 9, 4, 3, 3, 2, 1), seed=6, dtype=np.float64)
    changed = X.copy()
    # Frames 4 and 5 change such that the mean of Eq. 6 does not.
    difference = np.random.default_rng(0).uniform(0, 1, X[0, 4].shape)
    changed[0, 4] += difference
    changed[0, 5] -= difference
    before, after = (model.apply({"params": params}, features)[0] for features in (X, changed))
    assert largest_error(after[0, :4], before[0, :4]) < 1e-13
    assert largest_error(after[0, 4:], before[0, 4:]) > 1e-6
    # Frame 5 alone moves the mean, and so every prediction.
    changed = X.copy()
    changed[0, 5] += difference
    after, _ = model.apply({"params": params}, changed)
    assert np.all(np.max(np.abs(after - before), axis=-1) > 1e-6)


def test_float64_needs_no_float32_on_the_way(x64):
    model, params, X, _ = random_case("soft", SIZES[0], seed=8, dtype=np.float64)
    jaxpr = str(jax.make_jaxpr(lambda p, x: model.apply({"params": p}, x)[0])(params, X))
    assert "f32" not in jaxpr


def test_features_of_another_rank_are_refused():
    for model in (ar.SoftAttentionLSTM(3), ar.PooledLSTM(3), ar.SoftmaxRegression(3)):
        with pytest.raises(ar.InputError, match=r"features of shape \(30, 49, 8\): must be \[B, T, K²"):
            jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((30, 49, 8)))
    with pytest.raises(ar.InputError, match="pool='median'"):
        jax.eval_shape(ar.PooledLSTM(3, pool="median").init, jax.random.key(0), jnp.zeros((1, 2, 4, 3)))
