"""Fig. 9: W alone is optimised, for one clip, until it is right."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from attention_ar.errors import InputError
from attention_ar.training.optimizers import adam
from experiments.paper_figures.figure9_random_glimpse import draw_random_glimpse, optimise_W, random_W, with_W
from experiments.paper_figures.registry import draw_figure
from experiments.runs.build import build_model, build_objective


@pytest.fixture(scope="module")
def wanderer(run):
    """A model that has not learnt, with parameters large enough for its glimpse to matter, and a block for it."""
    random = np.random.default_rng(2)
    x = random.uniform(0, 2, (2, 4, 9, 8)).astype(np.float32)
    params = jax.tree.map(lambda p: random.normal(0, 0.7, p.shape).astype(np.float32), jax.device_get(run.model.params))
    config = run.model.config

    model, objective = build_model(config, 3, False), build_objective(config, False)

    def optimise(label, max_steps):
        lines, labels = [], np.eye(3, dtype=np.float32)[label]
        found, right = optimise_W(
            model, objective, params, x, labels, learning_rate=0.05, max_steps=max_steps, log=lines.append
        )
        return found, right, lines

    said, _ = jax.jit(model.apply)({"params": params}, x)
    return params, optimise, np.argsort(-np.asarray(jax.nn.softmax(said).mean((0, 1)))).tolist()


@pytest.mark.slow
def test_only_W_is_optimised_until_the_clip_is_right(wanderer):
    params, optimise, (_, second, _) = wanderer
    found, right, lines = optimise(second, max_steps=100)
    assert right and 1 < len(lines) < 100
    assert [line["step"] for line in lines] == list(range(len(lines)))
    assert [line["right"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["prediction"] == second != lines[0]["prediction"]
    assert lines[-1]["cross_entropy"] < lines[0]["cross_entropy"]
    assert lines[-1]["probability"] > lines[0]["probability"]
    assert jax.tree.structure(found) == jax.tree.structure(params)
    for path, before in jax.tree_util.tree_leaves_with_path(params):
        after = found
        for key in path:
            after = after[key.key if hasattr(key, "key") else key.idx]
        same = np.asarray(after).tobytes() == before.tobytes()
        assert same == (path[0].key != "location_softmax"), path


@pytest.mark.slow
def test_a_long_clips_gradient_is_that_of_all_its_blocks(run, wanderer):
    """Five blocks in batches of two, of which the last is filled up, against the mean over all five at once."""
    x = np.random.default_rng(3).uniform(0, 2, (5, 4, 9, 8)).astype(np.float32)
    params = wanderer[0]
    model, objective = build_model(run.model.config, 3, False), build_objective(run.model.config, False)

    @jax.jit
    def at_once(W, labels):
        def loss(W):
            logits, _ = model.apply({"params": with_W(params, W)}, x)
            return objective.cross_entropy(logits, labels).mean(), jax.nn.softmax(logits).mean((0, 1))

        return jax.value_and_grad(loss, has_aux=True)(W)

    W = jax.numpy.asarray(params["location_softmax"]["kernel"])
    labels = np.eye(3, dtype=np.float32)
    (_, said), _ = at_once(W, labels[[0] * 5])
    worst = int(said.argmin())
    lines, expected, state = [], [], adam(0.01).init(W)
    found, _ = optimise_W(
        model, objective, params, x, labels[worst], learning_rate=0.01, max_steps=3, log=lines.append, batch_size=2
    )
    for _ in lines:
        (cross_entropy, said), gradient = at_once(W, labels[[worst] * 5])
        expected.append((float(cross_entropy), float(said[worst])))
        last = W
        updates, state = adam(0.01).update(gradient, state, W)
        W = W + updates
    assert len(lines) == 4
    np.testing.assert_allclose([(line["cross_entropy"], line["probability"]) for line in lines], expected, rtol=1e-4)
    np.testing.assert_allclose(found["location_softmax"]["kernel"], last, atol=1e-5)


@pytest.mark.slow
def test_it_stops_where_told_and_says_that_it_has_not_succeeded(wanderer):
    _, optimise, (best, _, worst) = wanderer
    _, right, lines = optimise(worst, max_steps=2)
    assert (right, len(lines), lines[-1]["right"]) == (False, 3, False)
    found, right, lines = optimise(best, max_steps=2)
    assert (right, len(lines)) == (True, 1)  # Right already: nothing is optimised.
    np.testing.assert_array_equal(found["location_softmax"]["kernel"], wanderer[0]["location_softmax"]["kernel"])


def test_random_W_is_uniform_between_its_extremes(run):
    params = {"location_softmax": {"kernel": np.linspace(-0.3, 0.1, 49 * 64, dtype=np.float32).reshape(64, 49)}}
    W = random_W(params, seed=3)
    assert (W.shape, W.dtype) == ((64, 49), np.float32)
    assert -0.3 <= W.min() < -0.29 and 0.09 < W.max() <= 0.1 and abs(W.mean() + 0.1) < 0.01
    np.testing.assert_array_equal(W, random_W(params, seed=3))
    assert np.any(random_W(params, seed=4) != W)
    assert with_W({**params, "b": 1}, W) == {"location_softmax": {"kernel": W}, "b": 1}


@pytest.mark.slow
def test_figure_9_keeps_the_log_of_the_optimisation(small_run, clips, tmp_path, run, pixels, colours):
    paths, remarks = draw_figure("9", [small_run], data_dir=clips, output=tmp_path, max_steps=3, num_columns=2)
    assert [path.name for path in paths] == ["figure9.png", "figure9.jsonl"]
    lines = [json.loads(line) for line in paths[1].read_text().splitlines()]
    assert lines[0].keys() == {
        "step", "cross_entropy", "probability", "prediction", "right", "entropy", "movement",
    }  # fmt: skip
    assert lines[0]["prediction"] in colours and (lines[-1]["right"] or lines[-1]["step"] == 3)
    assert [line[:3] for line in remarks[-4:-1]] == ["(1)", "(2)", "(3)"]
    assert pixels(paths[0]).shape[0] == 32 + 28 + 4 * 124 + 18 + 36
    assert "the paper's figure 9 is of λ = 1" in remarks[0]
    released = dataclasses.replace(run.model.config.model, model="released")
    model = dataclasses.replace(run.model, config=dataclasses.replace(run.model.config, model=released))
    with pytest.raises(InputError, match=r"figure 9 is about W of Eq\. 4, which model=released does not have"):
        draw_random_glimpse(None, dataclasses.replace(run, model=model), tmp_path, None, split="test", num_columns=2)
