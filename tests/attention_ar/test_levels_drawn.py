"""Hard attention and a window over several levels: a level and a cell are drawn at once."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.levels import neighbourhoods_of_levels
from attention_ar.loss import PaperObjective
from attention_ar.training.sampling import features_shape, sampled_loss

B, T, D, d, C = 2, 3, 5, 4, 3
LEVELS, SCALES = ("coarse", "fine"), {"fine": 0.5}
SHAPES = {"coarse": (4, D), "fine": (16, 3)}


def model_of(hard, **options):
    options = {"num_layers": 1, "levels": LEVELS, "level_scales": (0.5,), "hard": hard, **options}
    return ar.MultiLevelAttentionLSTM(C, hidden_dim=d, **options)


def case(shapes=SHAPES, blocks=B, steps=T):
    random = np.random.default_rng(0)
    x = {level: random.uniform(0, 2, (blocks, steps, *shape)) for level, shape in shapes.items()}
    shapes = jax.eval_shape(model_of(None).init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda s: random.normal(size=s.shape), shapes), x


def flat(l):
    return np.concatenate([l[level] for level in LEVELS], axis=-1)


def seen_at(params, x, b, t, place):
    """What x_t is at one of the 20 places: the first 4 are coarse."""
    if place < 4:
        return x["coarse"][b, t, place]
    return params["levels"]["fine"]["projection"].T @ x["fine"][b, t, place - 4] / SCALES["fine"]


@pytest.mark.parametrize("loop", ["plain", "fast"])
@pytest.mark.slow
def test_one_location_of_all_levels_is_read(x64, loop):
    params, x = case()
    levels_drawn, draw = set(), np.random.default_rng(1).gumbel
    for noise in (None, *(draw(size=(B, T, 20)) for _ in range(4))):
        samples = None if noise is None else ar.Samples(noise)
        _, out = model_of(ar.HardAttention(), time_loop=loop).apply({"params": params}, x, samples=samples)
        l = flat(out["locations"])
        places = np.argmax(np.log(l) + (0 if noise is None else noise), axis=-1)
        for b, t in itertools.product(range(B), range(T)):
            np.testing.assert_allclose(out["x"][b, t], seen_at(params, x, b, t, places[b, t]), atol=1e-12)
            assert out["log_probability"][b, t] == pytest.approx(np.log(l[b, t, places[b, t]]), rel=1e-10)
        coarse = np.where(places < 4, places, (places - 4) // 8 * 2 + (places - 4) % 4 // 2)
        np.testing.assert_array_equal(out["glimpse"], np.eye(4)[coarse])
        levels_drawn |= set((places < 4).ravel().tolist())
    assert levels_drawn == {False, True}


def test_a_window_is_within_the_drawn_level():
    near = neighbourhoods_of_levels([4, 16], 1)
    assert near[0].tolist() == [True] * 4 + [False] * 16
    assert np.flatnonzero(near[4 + 5]).tolist() == [4 + cell for cell in (0, 1, 2, 4, 5, 6, 8, 9, 10)]


def test_a_window_over_all_cells_is_soft_attention_within_the_drawn_level(x64):
    params, x = case()
    _, out = model_of(ar.HardAttention(window=3)).apply({"params": params}, x)
    l = out["locations"]
    for b, t in itertools.product(range(B), range(T)):
        level = LEVELS[int(np.argmax(flat(l)[b, t]) >= 4)]
        a = np.asarray(l[level][b, t] / l[level][b, t].sum())
        seen = sum(p * x[level][b, t, i] for i, p in enumerate(a))
        seen = seen if level == "coarse" else params["levels"]["fine"]["projection"].T @ seen / SCALES["fine"]
        np.testing.assert_allclose(out["x"][b, t], seen, atol=1e-12)


@pytest.mark.slow
def test_the_expectation_is_soft_attention_to_the_bit():
    params, x = jax.tree.map(np.float32, case())
    soft, _ = model_of(None).apply({"params": params}, x)
    expected, _ = model_of(ar.HardAttention(glimpse_rule="expectation")).apply({"params": params}, x)
    np.testing.assert_array_equal(expected, soft)


def test_noise_is_over_all_locations(x64):
    params, x = case()
    with pytest.raises(ar.InputError, match=r"noise of shape \(2, 3, 4\): must be \[B, T, K²\], here \[2, 3, 20\]"):
        model_of(ar.HardAttention()).apply({"params": params}, x, samples=ar.Samples(np.zeros((B, T, 4))))
    frames = {level: cubes[0] for level, cubes in x.items()}
    where = np.zeros((7, 5), int)
    assert features_shape({"features": x}).shape[:3] == (B, T, 20)
    assert features_shape({"frames": frames, "where": where}).shape[:3] == (7, 5, 20)


@pytest.mark.slow
def test_the_estimators_mean_is_the_exact_gradient(x64):
    """All 25 pairs of places of one coarse and four fine cells at T = 2; two samples, leave-one-out: 1e-9."""
    model, objective = model_of(ar.HardAttention()), PaperObjective(attention_penalty=0.7, weight_decay=1e-2)
    params, x = case({"coarse": (1, D), "fine": (4, 3)}, blocks=1, steps=2)
    places = np.array(list(itertools.product(range(5), repeat=2)))
    label = np.eye(C)[:1]

    def run(params, noise):
        several = {level: jnp.broadcast_to(cubes, (len(noise), *cubes.shape[1:])) for level, cubes in x.items()}
        return model.apply({"params": params}, several, samples=ar.Samples(noise))

    def J(params):
        logits, out = run(params, 1e6 * np.eye(5)[places])
        p = jnp.exp(jnp.sum(out["log_probability"], axis=1))
        return objective(params, logits, out, jnp.broadcast_to(label, (25, C)), p)[0], p

    (value, p), exact = jax.jit(jax.value_and_grad(J, has_aux=True))(params)
    outcomes = np.array(list(itertools.product(range(25), repeat=2))).T
    weight = np.prod(np.asarray(p)[outcomes], axis=0)

    def surrogate(params):
        batch = {"labels": jnp.broadcast_to(label, (625, C)), "weight": weight}
        logits, out = jax.vmap(lambda noise: run(params, noise))(1e6 * np.eye(5)[places[outcomes]])
        return sampled_loss(objective, params, logits, out, batch, None, None, jnp.zeros(()), "reinforce")[:2]

    found, loss = jax.jit(jax.grad(surrogate, has_aux=True))(params)
    assert float(loss) == pytest.approx(float(value), rel=1e-10)
    largest = max(np.abs(g).max() for g in jax.tree.leaves(exact))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * largest)
