"""Hard attention and the window: where a model looks, and that it is soft attention under that glimpse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.errors import InputError
from attention_ar.hard_attention import draw_location, draw_noise, neighbourhoods, straight_through, window_weights
from attention_ar.loss import PaperObjective
from attention_ar.training.sampling import Sampling, draw_samples, sampled_loss

B, T, K2, D, C = 3, 4, 16, 5, 3  # A window of r = 1 is smaller than 4 × 4 cells, and its cells are read alone.
SIZES = {"num_classes": C, "hidden_dim": 6}
KINDS = {"paper": ar.SoftAttentionLSTM, "released": ar.ReleasedAttentionLSTM}
OWN = {"paper": {"num_layers": 2}, "released": {"dim_out": 4, "selector": True, "ctx2out": True}}


def build(kind, hard=None, **options):
    return KINDS[kind](**SIZES, **OWN[kind], hard=hard, **options)


def case(kind, seed=0, scale=0.9):
    """Parameters of ordinary size, features and noise, in float64."""
    random = np.random.default_rng(seed)
    X = random.uniform(0, 2, (B, T, K2, D))
    shapes = jax.eval_shape(build(kind).init, jax.random.key(0), X)["params"]
    params = jax.tree.map(lambda s: scale * random.normal(size=s.shape), shapes)
    return params, X, random.gumbel(size=(B, T, K2))


@functools.cache
def compiled(model):
    """The model under a given glimpse, or given noise and, of each block, whether it takes the expectation."""
    return jax.jit(
        lambda params, X, glimpse=None, noise=None, expect=None: model.apply(
            {"params": params}, X, glimpse=glimpse, samples=None if noise is None else ar.Samples(noise, expect)
        )
    )


def one_hot(s):
    return np.eye(K2)[s]


def require_close(found, expected, tolerance=1e-12):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_places_are_drawn_as_often_as_their_probability_says():
    """A place of probability p is drawn within four standard deviations of p, by the sampler that training uses."""
    l = jnp.array([0.5, 0.3, 0.15, 0.05, 0.0], jnp.float32)
    noise = draw_noise(jax.random.key(3), jnp.arange(40), 50, 20, 5, jnp.float32)
    assert noise.shape == (50, 40, 20, 5)
    s = np.asarray(jax.jit(jax.vmap(draw_location, in_axes=(None, 0)))(l, noise.reshape(-1, 5)))
    share = np.bincount(s, minlength=5) / len(s)
    assert np.all(np.abs(share - l) <= 4 * np.sqrt(l * (1 - l) / len(s)))
    # Neighbouring steps, samples and blocks have nothing to do with each other.
    first = (s == 0).reshape(50, 40, 20).astype(float)
    for axis in range(3):
        pairs = np.mean(np.delete(first, 0, axis) * np.delete(first, -1, axis))
        assert pairs == pytest.approx(0.25, abs=0.01)


def test_blocks_take_the_expectation_as_often_as_asked_whatever_the_batch():
    x = jax.ShapeDtypeStruct((4000, 2, 3, 5), jnp.float32)
    _, expect = draw_samples(jax.random.key(5), jnp.arange(4000), x, Sampling(num_samples=2, soft_probability=0.2))
    assert expect.shape == (4000,)
    assert float(expect.mean()) == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 4000) ** 0.5)
    some = jnp.array([7, 3999, 12])
    _, alone = draw_samples(jax.random.key(5), some, x, Sampling(num_samples=1, soft_probability=0.2))
    np.testing.assert_array_equal(alone, expect[some])
    _, all_soft = draw_samples(jax.random.key(5), some, x, Sampling(soft_probability=1.0))
    assert all_soft.all()


def test_the_cells_of_a_window():
    near = neighbourhoods(49, 1)
    assert near[24].reshape(7, 7)[2:5, 2:5].all()
    assert near.sum(axis=1).reshape(7, 7)[0].tolist() == [4, 6, 6, 6, 6, 6, 4]
    assert near[0].reshape(7, 7)[:2, :2].all()
    assert not near[6, 7]  # The right end of row 0 and the left end of row 1 are numbered one after the other.
    assert neighbourhoods(49, 6).all()
    np.testing.assert_array_equal(neighbourhoods(5, 0), np.eye(5, dtype=bool))
    l = jnp.array([0.1, 0.2, 0.3, 0.4])
    weights = window_weights(l, jnp.array([True, False, True, False]))
    np.testing.assert_allclose(weights, [0.25, 0, 0.75, 0], rtol=1e-6)
    with pytest.raises(InputError, match="a window on 5 cells: these must make a square"):
        neighbourhoods(5, 1)


@pytest.mark.parametrize("loop", ["plain", "fast"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_it_is_soft_attention_under_the_glimpse_that_was_drawn(x64, kind, loop):
    """Whichever way x_t is read: of one cell alone, of a window's cells, or of all where some blocks are soft."""
    params, X, noise = case(kind)
    told = compiled(build(kind, time_loop=loop))
    own, _ = told(params, X)
    for window in (0, 1):
        model = compiled(build(kind, ar.HardAttention(window), time_loop=loop))
        for expect in (None, np.array([True, False, False])):
            logits, out = model(params, X, None, noise, expect)
            l, w = np.asarray(out["attention"]), np.asarray(out["glimpse"])
            s = np.argmax(np.log(l) + noise, axis=-1)
            expected = l * neighbourhoods(K2, window)[s]
            expected /= expected.sum(axis=-1, keepdims=True)
            if expect is not None:
                expected[expect] = l[expect]
                np.testing.assert_allclose(logits[expect], own[expect], rtol=1e-12)
            np.testing.assert_allclose(w, expected, rtol=1e-12)
            if window == 0 and expect is None:
                np.testing.assert_array_equal(w, one_hot(s))
            again, out_again = told(params, X, w)
            np.testing.assert_allclose(logits, again, rtol=1e-11)
            np.testing.assert_allclose(out["x"], out_again["x"], rtol=1e-11)
            chosen = np.take_along_axis(l, s[..., None], -1)[..., 0]
            np.testing.assert_allclose(out["log_probability"], np.log(chosen), rtol=1e-12)
            np.testing.assert_allclose(out["entropy"], -np.sum(l * np.log(l), axis=-1), rtol=1e-12)
            assert np.abs(logits - own).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_softmax_that_is_certain_leaves_nothing_to_draw(x64, kind):
    """W · 10⁴ (of the released model U): argmax, sample and expectation are one."""
    params, X, noise = case(kind)
    if kind == "paper":
        params["location_softmax"]["kernel"] *= 1e4
    else:
        params["decoder_U_att"] *= 1e4
    soft, _ = compiled(build(kind))(params, X)
    hard = compiled(build(kind, ar.HardAttention()))
    expectation, out = compiled(build(kind, ar.HardAttention(glimpse_rule="expectation")))(params, X)
    assert "glimpse" not in out
    np.testing.assert_array_equal(expectation, soft)
    for logits, _ in (hard(params, X), hard(params, X, None, noise)):
        np.testing.assert_allclose(logits, soft, rtol=1e-9)


@functools.cache
def gradients(model, estimator="reinforce"):
    """The surrogate's gradient, the loss and its parts, of two samples a block."""
    objective = PaperObjective(attention_penalty=0.3, weight_decay=1e-3)
    batch = {"labels": np.eye(C)[np.arange(B) % C], "weight": np.ones(B)}

    def surrogate(params, X, noise, expect):
        logits, out = jax.vmap(lambda g: model.apply({"params": params}, X, samples=ar.Samples(g, expect)))(noise)
        value, loss, parts, _ = sampled_loss(
            objective, params, logits, out, batch, expect, None, jnp.zeros(()), estimator
        )
        return value, (loss, parts, logits)

    def soft(params, X):
        logits, out = model.clone(hard=None).apply({"params": params}, X)
        return objective(params, logits, out, batch["labels"], batch["weight"])

    return jax.jit(jax.grad(surrogate, has_aux=True)), jax.jit(jax.grad(soft, has_aux=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_both_ends_of_the_window(x64, kind):
    """r that covers the frame is soft attention, with its gradient: every advantage is 0. A smaller one is not.

    r = 0 is hard attention: `test_it_is_soft_attention_under_the_glimpse_that_was_drawn`.
    """
    params, X, noise = case(kind)
    noise = np.stack([noise, case(kind, seed=1)[2]])
    whole, soft = gradients(build(kind, ar.HardAttention(window=3)))
    gradient, (loss, parts, logits) = whole(params, X, noise, None)
    expected, soft_parts = soft(params, X)
    require_close(gradient, expected, 1e-11)
    assert abs(float(parts["score_term"])) < 1e-11
    assert float(loss) == pytest.approx(sum(float(part) for part in soft_parts.values()), rel=1e-12)
    smaller = build(kind, ar.HardAttention(window=1))
    found, _ = jax.jit(smaller.apply)({"params": params}, X, samples=ar.Samples(noise[0]))
    assert not np.allclose(found, logits[0], rtol=1e-6)


@pytest.mark.slow
def test_blocks_that_take_the_expectation_have_the_gradient_of_soft_attention(x64):
    params, X, noise = case("paper")
    noise = np.stack([noise, case("paper", seed=1)[2]])
    hard, soft = gradients(build("paper", ar.HardAttention()))
    gradient, (_, parts, _) = hard(params, X, noise, np.ones(B, bool))
    require_close(gradient, soft(params, X)[0], 1e-11)
    assert float(parts["score_term"]) == 0


@pytest.mark.slow
def test_straight_through_has_the_gradient_of_its_relaxation(x64):
    """The value is that of the drawn cell; the gradient is held against finite differences."""
    random = np.random.default_rng(0)
    z, g, v = random.normal(size=9), random.gumbel(size=9), random.normal(size=9)
    for window in (0, 1):
        near = neighbourhoods(9, window)

        def relaxed(z, near=near):
            l = np.exp(z) / np.exp(z).sum()
            y = np.exp((np.log(l) + g) / 0.5)
            of_cell = near * l[None] / (near * l[None]).sum(axis=1, keepdims=True)
            return (y / y.sum()) @ of_cell @ v, of_cell, np.argmax(np.log(l) + g)

        value = straight_through(jax.nn.softmax(z), g, near)
        _, of_cell, s = relaxed(z)
        np.testing.assert_allclose(value, of_cell[s], atol=1e-12)

        # With respect to the drawn place, and to the weights of its window: the sum of the two.
        def through(z, near=near):
            return straight_through(jax.nn.softmax(z), g, near) @ v

        def of_place(z, of_cell=of_cell):
            l = np.exp(z) / np.exp(z).sum()
            y = np.exp((np.log(l) + g) / 0.5)
            return (y / y.sum()) @ of_cell @ v

        def of_window(z, s=s, relaxed=relaxed):
            return relaxed(z)[1][s] @ v

        found = jax.grad(through)(z)
        for i in range(9):
            step = 1e-6 * np.eye(9)[i]
            slope = sum((f(z + step) - f(z - step)) / 2e-6 for f in (of_place, of_window))
            assert found[i] == pytest.approx(slope, abs=1e-8)


def test_the_types_of_results_in_bfloat16():
    for kind in KINDS:
        params, X, noise = case(kind)
        single = functools.partial(jax.tree.map, lambda a: jnp.asarray(a, jnp.float32))
        for expect in (None, jnp.ones(B, bool)):
            for loop in ("plain", "fast"):
                model = build(kind, ar.HardAttention(1), compute_dtype="bfloat16", time_loop=loop)
                _, out = jax.eval_shape(
                    lambda params, X, noise, model=model, expect=expect: model.apply(
                        {"params": params}, X, samples=ar.Samples(noise, expect)
                    ),
                    single(params),
                    jnp.asarray(X, jnp.bfloat16),
                    single(noise),
                )
                assert {leaf.dtype for leaf in jax.tree.leaves(out)} - {np.dtype(np.int32)} == {np.dtype(np.float32)}


def test_wrong_options_and_samples_are_refused():
    for options, message in (
        ({"window": -1}, "window=-1: must be 0 or greater"),
        ({"estimator": "magic"}, "estimator='magic': must be one of reinforce, gumbel_st"),
        ({"glimpse_rule": "all"}, "glimpse_rule='all': must be one of argmax, sample, expectation"),
    ):
        with pytest.raises(InputError) as error:
            ar.HardAttention(**options)
        assert str(error.value) == message
    for kind in KINDS:
        params, X, noise = jax.tree.map(lambda a: np.asarray(a, np.float32), case(kind))
        for hard, samples, message in (
            (None, ar.Samples(noise), "samples for a model of soft attention: it draws nothing"),
            (ar.HardAttention(), ar.Samples(noise[:, :2]), r"noise of shape \(3, 2, 16\): must be \[B, T, K²\], here"),
            (ar.HardAttention(glimpse_rule="sample"), None, "glimpse_rule='sample': needs samples"),
        ):
            with pytest.raises(InputError, match=message):
                build(kind, hard).apply({"params": params}, X, samples=samples)
    params, X, noise = jax.tree.map(lambda a: np.asarray(a, np.float32), case("paper"))
    with pytest.raises(InputError, match="it pools and has no attention"):
        ar.PooledLSTM(**SIZES, num_layers=2).apply({"params": params}, X, samples=ar.Samples(noise))
