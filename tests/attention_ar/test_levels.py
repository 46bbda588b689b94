"""Attention over several levels: against the equations written out in NumPy, and against the paper's model."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.googlenet import LEVELS, GoogLeNet, level
from attention_ar.levels import attend_levels, summed_down
from attention_ar.loss import PaperObjective, attention_penalty

B, T, D, d, C = 2, 3, 5, 4, 3
SHAPES = {"coarse": (4, D), "fine": (16, 3), "finest": (64, 2)}
SCALES = {"fine": 0.5, "finest": 3.0}


def model_of(*levels, **options):
    scales = tuple(SCALES[level] for level in levels[1:])
    return ar.MultiLevelAttentionLSTM(C, hidden_dim=d, num_layers=2, levels=levels, level_scales=scales, **options)


def cubes(*levels, dtype=np.float64):
    random = np.random.default_rng(0)
    return {level: random.uniform(0, 2, (B, T, *SHAPES[level])).astype(dtype) for level in levels}


def draw(model, x, seed=1):
    """Parameters larger than the initial ones, which would hide errors."""
    random = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda s: (0.5 * random.normal(size=s.shape)).astype(s.dtype), shapes)


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def oracle(p, x, levels):
    """ŷ [T, C], l by level, m [T, V] and x_t [T, D] of one block, equation by equation."""
    mean = x[levels[0]].mean(axis=(0, 1))
    c, h = (
        [np.tanh(mean @ p[f"f_init_{s}_{n}_1"]["kernel"] + p[f"f_init_{s}_{n}_1"]["bias"]) for n in (1, 2)]
        for s in "ch"
    )
    found = {"predictions": [], "levels": [], "x": [], "locations": {level: [] for level in levels}}
    for t in range(T):
        m = softmax(p["levels"]["kernel"].T @ h[-1])
        x_t = np.zeros(D)
        for v, name in enumerate(levels):
            W = p["location_softmax"]["kernel"] if v == 0 else p["levels"][name]["location_softmax"]
            a = softmax(np.array([W[:, i] @ h[-1] for i in range(W.shape[1])]))
            found["locations"][name].append(m[v] * a)
            seen = m[v] * sum(a[i] * x[name][t, i] for i in range(len(a)))
            x_t += seen if v == 0 else p["levels"][name]["projection"].T @ seen / SCALES[name]
        below = x_t
        for n in (0, 1):
            M = p[f"lstm_{n + 1}"]
            i, f, o, g = np.split(np.concatenate([h[n], below]) @ M["kernel"] + M["bias"], 4)
            i, f, o = (1 / (1 + np.exp(-z)) for z in (i, f, o))
            c[n] = f * c[n] + i * np.tanh(g)
            h[n] = below = o * np.tanh(c[n])
        U, V = p["classifier_hidden"], p["classifier_output"]
        logits = np.tanh(h[-1] @ U["kernel"] + U["bias"]) @ V["kernel"] + V["bias"]
        found["predictions"].append(softmax(logits))
        found["levels"].append(m)
        found["x"].append(x_t)
    return found


@pytest.mark.parametrize("loop", ["plain", "fast"])
@pytest.mark.parametrize("levels", [("coarse", "fine"), ("coarse", "finest", "fine")])
@pytest.mark.slow
def test_every_equation_against_numpy(x64, levels, loop):
    model, x = model_of(*levels, time_loop=loop), cubes(*levels)
    params = draw(model, x)
    logits, out = model.apply({"params": params}, x)
    for b in range(B):
        expected = oracle(params, {name: of_level[b] for name, of_level in x.items()}, levels)
        np.testing.assert_allclose(jax.nn.softmax(logits[b]), expected["predictions"], atol=1e-12)
        for name in ("levels", "x"):
            np.testing.assert_allclose(out[name][b], expected[name], atol=1e-12)
        for name in levels:
            np.testing.assert_allclose(out["locations"][name][b], expected["locations"][name], atol=1e-12)
    np.testing.assert_allclose(sum(l.sum(-1) for l in out["locations"].values()), 1, atol=1e-12)
    np.testing.assert_allclose(out["attention"].sum(-1), 1, atol=1e-12)
    assert out["attention"].shape == (B, T, 4) and out["levels"].shape == (B, T, len(levels))


def loss_and_gradient(model, params, x, **options):
    objective, labels, weight = PaperObjective(1.0, 1e-3), np.eye(C)[:B], np.ones(B)

    def loss(params):
        logits, out = model.apply({"params": params}, x, **options)
        return objective(params, logits, out, labels, weight)[0]

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences_in_both_loops(x64):
    levels = ("coarse", "fine")
    x = cubes(*levels)
    params = draw(model_of(*levels), x)
    found = {loop: loss_and_gradient(model_of(*levels, time_loop=loop), params, x) for loop in ("plain", "fast")}
    for a, b in zip(*map(jax.tree.leaves, found.values()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    value = jax.jit(lambda params: loss_and_gradient(model_of(*levels), params, x)[0])
    for names in (("levels", "kernel"), ("levels", "fine", "location_softmax"), ("levels", "fine", "projection")):
        gradient, way = found["plain"][1], np.random.default_rng(3)
        gradient = functools.reduce(lambda tree, name: tree[name], names, gradient)
        way = way.normal(size=gradient.shape)

        def moved(distance, names=names, way=way):
            copy = jax.tree.map(np.copy, params)
            functools.reduce(lambda tree, name: tree[name], names, copy)[...] += distance * way
            return float(value(copy))

        slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
        assert abs(slope) > 1e-4
        assert slope == pytest.approx(float(np.sum(gradient * way)), rel=1e-6)


def soft(**options):
    return ar.SoftAttentionLSTM(C, hidden_dim=d, num_layers=2, **options)


@pytest.mark.parametrize("loop", ["plain", pytest.param("fast", marks=pytest.mark.as_users_compile)])
@pytest.mark.slow
def test_one_level_is_the_papers_model_to_the_bit(loop):
    x = cubes("coarse", dtype=np.float32)
    model, train = model_of("coarse", time_loop=loop), {"train": True, "rngs": {"dropout": jax.random.key(5)}}
    params = draw(model, x)
    params["levels"]["kernel"][:] = 0  # It has no effect, but its decay is part of the loss.
    (loss, gradient) = loss_and_gradient(model, params, x, **train)
    del gradient["levels"]
    without = {name: value for name, value in params.items() if name != "levels"}
    expected = loss_and_gradient(soft(time_loop=loop), without, x["coarse"], **train)
    for a, b in zip(*map(jax.tree.leaves, ((loss, gradient), expected)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_all_mass_on_the_first_level_is_the_papers_model(x64):
    """W_m so large that m_t is one-hot; the LSTM's biases give every h a positive sum."""
    x = cubes("coarse", "fine")
    model = model_of("coarse", "fine")
    params = draw(model, x)
    for name in ("f_init_c_1_1", "f_init_c_2_1", "f_init_h_1_1", "f_init_h_2_1", "lstm_1", "lstm_2"):
        params[name]["bias"] += 5
    params["levels"]["kernel"] = np.stack([np.full(d, 1e4), np.full(d, -1e4)], axis=1)
    logits, out = model.apply({"params": params}, x)
    np.testing.assert_array_equal(out["levels"], np.broadcast_to([1.0, 0.0], (B, T, 2)))
    del params["levels"]
    expected_logits, expected = soft().apply({"params": params}, x["coarse"])
    np.testing.assert_allclose(logits, expected_logits, atol=1e-13)
    for name in ("attention", "x", "c", "h"):
        np.testing.assert_allclose(out[name], expected[name], atol=1e-13)


def test_a_glimpse_is_on_the_first_level_alone():
    x, glimpse = cubes("coarse", "fine", dtype=np.float32), np.eye(4, dtype=np.float32)[[[0, 3, 1], [2, 2, 0]]]
    model = model_of("coarse", "fine")
    _, out = model.apply({"params": draw(model, x)}, x, glimpse=glimpse)
    np.testing.assert_array_equal(out["attention"], glimpse)
    np.testing.assert_array_equal(out["x"], np.sum(glimpse[..., None] * x["coarse"], axis=2))
    np.testing.assert_array_equal(out["levels"], np.broadcast_to(np.float32([1, 0]), (B, T, 2)))


def test_at_the_beginning_every_level_has_the_same_mass():
    """A flat softmax over 49 + 196 locations would have 80 % on the finer one."""
    W = {"coarse": jnp.zeros((d, 49)), "fine": jnp.zeros((d, 196))}
    m, l = attend_levels(jnp.zeros((d, 2)), W, jnp.ones(d))
    assert m.tolist() == [0.5, 0.5]
    assert [round(float(of_level.sum()), 6) for of_level in l.values()] == [0.5, 0.5]


def test_fine_cells_lie_within_their_coarse_cell():
    """Cell (5, 2) of 14×14 is within cell (2, 1) of 7×7; of 28×28, cell (27, 0) is within (6, 0)."""
    l = {"fine": jnp.zeros(196).at[5 * 14 + 2].set(0.25), "finest": jnp.zeros(784).at[27 * 28].set(0.75)}
    expected = np.zeros(49)
    expected[2 * 7 + 1], expected[6 * 7] = 0.25, 0.75
    np.testing.assert_array_equal(summed_down(l, 49), expected)


def test_the_penaltys_minimum_is_that_of_the_first_levels_cells():
    l = {"coarse": jnp.full((30, 49), 1 / 245), "fine": jnp.full((30, 196), 1 / 245)}
    assert round(float(attention_penalty(summed_down(l, 49))), 2) == 7.37
    assert round(float(attention_penalty(jnp.concatenate(list(l.values()), axis=1))), 1) == 188.7


def test_what_is_recorded_of_a_level_comes_of_its_scale(x64):
    """Twice the features at twice the σ are the same model."""
    x = cubes("coarse", "fine")
    model = model_of("coarse", "fine")
    params = draw(model, x)
    logits, _ = model.apply({"params": params}, x)
    twice = model.clone(level_scales=(1.0,))
    doubled, _ = twice.apply({"params": params}, x | {"fine": 2 * x["fine"]})
    np.testing.assert_allclose(doubled, logits, atol=1e-13)
    other, _ = twice.apply({"params": params}, x)
    assert np.abs(other - logits).max() > 1e-3


def test_bfloat16_keeps_softmaxes_and_results_in_float32():
    x = {name: of_level.astype(jnp.bfloat16) for name, of_level in cubes("coarse", "fine").items()}
    model = model_of("coarse", "fine", compute_dtype="bfloat16")
    logits, out = jax.eval_shape(functools.partial(model.init_with_output, jax.random.key(0)), x)[0]
    leaves = [logits, *jax.tree.leaves(out)]
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}


def test_bad_input_is_one_line():
    x = cubes("coarse", "fine", dtype=np.float32)
    model = model_of("coarse", "fine")
    for given, message in (
        (x["coarse"], "features are one array: must be a dict of the levels coarse, fine"),
        ({"coarse": x["coarse"]}, "features are levels coarse: must be a dict of the levels coarse, fine"),
        (x | {"fine": x["fine"][:1]}, r"features of fine of shape \(1, 3, 16, 3\): must be \[B, T, K², D\], as of coa"),
        (x | {"fine": x["fine"][:, :, :9]}, "features of fine have 9 cells: must be a square grid that divides each"),
    ):
        with pytest.raises(ar.InputError, match=message):
            model.init(jax.random.key(0), given)
    for scales in ((), (0.0,), (1.0, 1.0)):
        with pytest.raises(ar.InputError, match=r"level_scales=.*: must be a number above 0 for each of fine"):
            ar.MultiLevelAttentionLSTM(C, levels=("coarse", "fine"), level_scales=scales)


def test_the_levels_of_googlenet_have_their_shapes_and_4e_is_also_pooled_to_7x7():
    frames = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)

    def stages(frames):
        out = GoogLeNet().init_with_output(jax.random.key(0), frames)[0][1]
        return {name: level(out, name) for name in LEVELS}

    assert {name: array.shape[1:] for name, array in jax.eval_shape(stages, frames).items()} == LEVELS
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(level({"s": x}, "s_7x7")[0, :, :, 0], [[5, 7], [13, 15]])
    assert math.prod(LEVELS["inception_4e"]) * 2 == 326_144  # bytes a frame
