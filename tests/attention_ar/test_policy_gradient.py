"""The gradient of hard attention, against the exact one: all places of a tiny case, enumerated.

T = 3 and K² = 3; of the window T = 2 and K² = 9, where r = 1 covers 4 to 9 cells.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar import policy_gradient
from attention_ar.errors import InputError
from attention_ar.loss import PaperObjective
from attention_ar.released import ReleasedObjective
from attention_ar.training import sampling
from attention_ar.training.sampling import Sampling, draw_samples, sampled_loss

T, K2, D, C = 3, 3, 4, 3
HARD = ar.HardAttention()
CASES = {
    "paper": (
        ar.SoftAttentionLSTM(num_classes=C, hidden_dim=4, num_layers=1, hard=HARD),
        PaperObjective(attention_penalty=0.7, weight_decay=1e-2),
    ),
    "released": (
        ar.ReleasedAttentionLSTM(num_classes=C, hidden_dim=4, dim_out=4, hard=HARD, use_dropout=False),
        ReleasedObjective(attention_penalty=0.7, weight_decay=1e-2),
    ),
    "window": (
        ar.SoftAttentionLSTM(num_classes=C, hidden_dim=4, num_layers=1, hard=ar.HardAttention(window=1)),
        PaperObjective(attention_penalty=0.7, weight_decay=1e-2),
    ),
}


@functools.cache
def places(name):
    """All places of all steps, `<int>[K²^T, T]`: 27 or, of the window, 81."""
    num_steps, num_cells = (2, 9) if name == "window" else (T, K2)
    return np.array(list(itertools.product(range(num_cells), repeat=num_steps)))


@functools.cache
def case(name):
    """Parameters so large that places matter, the features of one block, and its label."""
    model, _ = CASES[name]
    random = np.random.default_rng(5)
    X = random.normal(size=(1, places(name).shape[1], places(name).max() + 1, D))
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)["params"]
    params = jax.tree.map(lambda s: 1.2 * random.normal(size=s.shape), shapes)
    return params, X, np.eye(C)[:1]


def forced(s):
    """Noise under which these places are drawn, whatever l is: `<int>[..., T]` to `<float>[..., T, K²]`."""
    return 1e6 * np.eye(s.max() + 1)[s]


def run(name, params, X, noise):
    """Runs blocks, all of them X, with noise `<float>[B, T, K²]`."""
    model, _ = CASES[name]
    X = jnp.broadcast_to(X, (len(noise), *X.shape[1:]))
    return model.apply({"params": params}, X, samples=ar.Samples(noise))


@functools.cache
def exact(name):
    """J and ∇J by enumeration, and the probabilities of all `places`."""
    _, objective = CASES[name]

    def J(params, X, labels):
        logits, out = run(name, params, X, forced(places(name)))
        p = jnp.exp(jnp.sum(out["log_probability"], axis=1))
        labels = jnp.broadcast_to(labels, (len(p), C))
        # For a loss that is a mean over the blocks or a sum: with these weights, of which the sum is 1, both are E_s.
        value, _ = objective(params, logits, out, labels, p)
        return value, p

    (value, p), gradient = jax.jit(jax.value_and_grad(J, has_aux=True))(*case(name))
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    return float(value), gradient, np.asarray(p)


def expected_gradient(name, num_samples, baseline=None):
    """The mean of the estimator over all outcomes of N samples, each with its probability, through `sampled_loss`."""
    _, objective = CASES[name]
    _, _, p = exact(name)
    outcomes = np.array(list(itertools.product(range(len(p)), repeat=num_samples))).T  # [N, len(p)^N]
    weight = np.prod(p[outcomes], axis=0)

    def surrogate(params, X, labels):
        batch = {"labels": jnp.broadcast_to(labels, (len(weight), C)), "weight": weight}
        logits, out = jax.vmap(lambda noise: run(name, params, X, noise))(forced(places(name)[outcomes]))
        value, loss, _, _ = sampled_loss(
            objective, params, logits, out, batch, None, baseline, jnp.zeros(()), "reinforce"
        )
        return value, loss

    gradient, loss = jax.jit(jax.grad(surrogate, has_aux=True))(*case(name))
    return float(loss), gradient


def difference(found, expected) -> float:
    """The largest difference, relative to the largest entry."""
    pairs = list(zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True))
    return max(float(np.abs(a - b).max()) for a, b in pairs) / max(float(np.abs(b).max()) for _, b in pairs)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_the_estimators_mean_is_the_exact_gradient(x64, name):
    """Two samples with the leave-one-out baseline, and one sample with any numbers as the baseline of its steps."""
    value, gradient, _ = exact(name)
    for loss, found in (
        expected_gradient(name, 2),
        expected_gradient(name, 1, jnp.array([3.0, -1.0, 0.5])[: places(name).shape[1]]),
    ):
        assert loss == pytest.approx(value, rel=1e-10)
        assert difference(found, gradient) < 1e-9


def own_step_only(costs, penalty):
    return costs + penalty[..., None]


def penalty_outside(costs, penalty, right=policy_gradient.return_to_go):
    return right(costs, jnp.zeros_like(penalty))


def mean_over_all(G):
    return jnp.mean(G, axis=0, keepdims=True)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [("return_to_go", own_step_only), ("return_to_go", penalty_outside), ("leave_one_out", mean_over_all)],
)
@pytest.mark.slow
def test_wrong_estimators_are_found_out(x64, monkeypatch, part, wrong):
    _, gradient, _ = exact("paper")
    monkeypatch.setattr(policy_gradient, part, wrong)
    _, found = expected_gradient("paper", 2)
    assert difference(found, gradient) > 1e-3


@pytest.mark.slow
def test_the_sampler_of_training_gives_the_exact_gradient_on_average(x64):
    """Monte Carlo: 2·10⁵ blocks with the noise that training draws. Errors are as large as their scatter says."""
    model, objective = CASES["paper"]
    params, X, labels = case("paper")
    _, gradient, _ = exact("paper")
    B, how = 4000, Sampling(num_samples=4, soft_probability=0)

    @jax.jit
    def estimate(key):
        def surrogate(params):
            repeated = jnp.broadcast_to(X, (B, *X.shape[1:]))
            noise, expect = draw_samples(key, jnp.arange(B), repeated, how)
            assert expect is None
            logits, out = jax.vmap(lambda g: model.apply({"params": params}, repeated, samples=ar.Samples(g)))(noise)
            batch = {"labels": jnp.broadcast_to(labels, (B, C)), "weight": jnp.ones(B)}
            return sampled_loss(objective, params, logits, out, batch, None, None, jnp.zeros(()), "reinforce")[0]

        return jax.grad(surrogate)(params)["location_softmax"]["kernel"]

    found = np.stack([estimate(key) for key in jax.random.split(jax.random.key(0), 50)])
    deviation = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    wanted = np.asarray(gradient["location_softmax"]["kernel"])
    assert np.all(np.abs(found.mean(axis=0) - wanted) < 4 * deviation)
    assert np.all(deviation < 0.02 * np.abs(wanted).max())  # So that this says something.


def test_nothing_flows_into_returns_or_baseline(x64):
    """The gradient of S is (G − b) ∇ log l and no more."""
    random = np.random.default_rng(0)
    log_p, costs = random.normal(size=(2, 3, 2, T))
    penalty, b = random.uniform(size=(3, 2)), random.normal(size=T)
    for baseline in (None, b):
        arguments = (log_p, costs, penalty) + (() if baseline is None else (baseline,))
        value = lambda *a: jnp.sum(policy_gradient.reinforce(*a))  # noqa: E731
        of_log_p, *others = jax.grad(value, argnums=tuple(range(len(arguments))))(*arguments)
        for gradient in others:
            np.testing.assert_array_equal(gradient, np.zeros_like(gradient))
        G = np.flip(np.cumsum(np.flip(costs, -1), -1), -1) + penalty[..., None]
        of_others = np.stack([(G.sum(axis=0) - G[n]) / 2 for n in range(3)])
        np.testing.assert_allclose(of_log_p, (G - (of_others if baseline is None else b)) / 3, rtol=1e-12)


def test_moving_average_counts_drawn_blocks_of_before():
    b, G = jnp.array([10.0, 5.0]), jnp.array([[20.0, 1.0], [40.0, 3.0], [1e6, 1e6]])
    after = policy_gradient.moving_average(b, G, jnp.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(after, [0.9 * 10 + 0.1 * 30, 0.9 * 5 + 0.1 * 2], rtol=1e-6)
    np.testing.assert_array_equal(policy_gradient.moving_average(b, G, jnp.zeros(3)), b)
    first = sampling.first_baseline(PaperObjective(), 30, 11)
    np.testing.assert_allclose(first[jnp.array([0, 29])], [30 * np.log(11), np.log(11)], rtol=1e-6)


def test_what_cannot_be_sampled_is_refused():
    for options, message in (
        ({"num_samples": 0}, "num_samples=0: must be 1 or greater"),
        ({"soft_probability": 1.5}, "soft_probability=1.5: must be from 0 to 1"),
        ({"entropy_weight": -1.0}, "entropy_weight=-1.0: must be 0 or greater"),
    ):
        with pytest.raises(InputError) as error:
            Sampling(**options)
        assert str(error.value) == message
    logits, batch = jnp.zeros((1, 2, T, C)), {"labels": jnp.eye(C)[:2], "weight": jnp.ones(2)}
    out = {"attention": jnp.full((1, 2, T, K2), 1 / K2), "entropy": jnp.zeros((1, 2, T))}
    with pytest.raises(InputError, match="num_samples=1: needs a baseline"):
        sampled_loss(PaperObjective(), {"b": jnp.ones(1)}, logits, out, batch, None, None, jnp.zeros(()), "reinforce")


def test_the_entropy_weight_falls_to_zero():
    how = Sampling(entropy_weight=0.03, num_updates=10)
    np.testing.assert_allclose([how.entropy_weight_at(k) for k in (0, 5, 10, 11)], [0.03, 0.015, 0, 0], atol=1e-9)
