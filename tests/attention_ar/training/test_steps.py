"""The training step, and checkpoints."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import attention_ar as ar
from attention_ar.loss import PaperObjective
from attention_ar.training.checkpoints import Checkpoints
from attention_ar.training.named_params import export_params
from attention_ar.training.optimizers import adam
from attention_ar.training.sampling import evaluation_samples, features_shape
from attention_ar.training.steps import TrainState, create_train_state, eval_step, predict, train_step

MODEL = ar.SoftAttentionLSTM(num_classes=3, hidden_dim=6, num_layers=2)
OBJECTIVE = PaperObjective(attention_penalty=1.0)


def batch(size, seed=0):
    random = np.random.default_rng(seed)
    return {
        "features": random.uniform(0, 2, (size, 4, 9, 5)).astype(np.float32),
        "labels": np.eye(3, dtype=np.float32)[random.integers(3, size=size)],
        "weight": np.ones(size, np.float32),
        "index": np.arange(size, dtype=np.int32),
    }


@functools.cache
def compiled(optimizer_name="adam"):
    optimizer = {"adam": adam(1e-2), "sgd": optax.sgd(0.1)}[optimizer_name]
    step = functools.partial(train_step, model=MODEL, objective=OBJECTIVE, optimizer=optimizer, seed=3)
    init = functools.partial(create_train_state, MODEL, optimizer)
    return jax.jit(step), jax.jit(init)(jax.random.key(0), batch(1)["features"])


@pytest.mark.slow
def test_a_step_is_gradient_descent_on_the_objective():
    step, state = compiled("sgd")
    data = batch(5)
    key = jax.random.fold_in(jax.random.key(3), state.step)

    @jax.jit
    def loss(params):
        logits, out = MODEL.apply({"params": params}, data["features"], train=True, rngs={"dropout": key})
        return OBJECTIVE(params, logits, out, data["labels"], data["weight"])[0]

    new_state, metrics = step(state, data)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, jax.jit(jax.grad(loss))(state.params))
    for found, wanted in zip(jax.tree.leaves(new_state.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert metrics["loss"] == pytest.approx(float(loss(state.params)), rel=1e-5)
    parts = ("cross_entropy", "attention_penalty", "weight_decay")
    assert metrics["loss"] == pytest.approx(sum(float(metrics[name]) for name in parts), rel=1e-6)
    assert (int(metrics["step"]), int(new_state.step), bool(metrics["finite"])) == (1, 1, True)


@pytest.mark.slow
def test_padding_has_no_part_in_the_step():
    step, state = compiled("sgd")
    real = batch(5)
    filled = batch(5)
    filled["features"][3:] = 100.0
    filled["weight"][3:] = 0
    shorter = jax.tree.map(lambda a: a[:3], real)
    found, _ = step(state, filled)
    expected, metrics = step(state, shorter)
    assert metrics["num_blocks"] == 3
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.slow
def test_training_learns_and_dropout_changes_from_step_to_step():
    step, state = compiled()
    data = batch(8)
    losses = []
    for _ in range(60):
        state, metrics = step(state, data)
        losses.append(float(metrics["cross_entropy"]))
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    still, _ = step(state.replace(step=jnp.int32(7)), data)
    other, _ = step(state.replace(step=jnp.int32(8)), data)
    assert not np.array_equal(still.params["lstm_1"]["kernel"], other.params["lstm_1"]["kernel"])


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_feature_that_is_not_finite_is_noticed(value):
    step, state = compiled()
    data = batch(5)
    data["features"][2, 1, 4, 0] = value
    _, metrics = step(state, data)
    assert not metrics["finite"]


def test_adam_is_the_papers(x64):
    """Against the update as Kingma & Ba print it."""
    optimizer = adam(0.1)
    theta = np.array([1.0, -2.0])
    state = optimizer.init(jnp.asarray(theta))
    m = v = np.zeros(2)
    for t in range(1, 6):
        g = np.array([0.3, -1.0]) * t
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        expected = -0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        update, state = optimizer.update(jnp.asarray(g), state)
        np.testing.assert_allclose(update, expected, rtol=1e-12)


@pytest.mark.slow
def test_evaluation_has_no_dropout_and_returns_the_attention():
    _, state = compiled()
    data = batch(5)
    found = jax.jit(functools.partial(eval_step, model=MODEL, objective=OBJECTIVE))(state.params, data)
    logits, out = MODEL.apply({"params": state.params}, data["features"])
    np.testing.assert_allclose(found["predictions"], jax.nn.softmax(logits), atol=1e-6)
    np.testing.assert_allclose(found["attention"], out["attention"], atol=1e-6)
    assert found["entropy"].shape == (5,)


@pytest.mark.slow
def test_the_rule_sample_is_the_mean_prediction_of_ten_draws():
    """By their noise, which follows from where a block begins in its clip, draw after draw; also of several levels."""
    random = np.random.default_rng(0)
    fine = random.uniform(0, 2, (2, 4, 36, 3)).astype(np.float32)
    own = {"coarse": batch(2)["features"], "fine": fine}
    levels = {"levels": ("coarse", "fine"), "level_scales": (1.5,)}
    model = ar.MultiLevelAttentionLSTM(
        3, hidden_dim=6, num_layers=1, hard=ar.HardAttention(1, "reinforce", "sample"), **levels
    )
    params = model.clone(hard=None).init(jax.random.key(0), own)["params"]
    params = jax.tree.map(lambda a: 2 * jnp.asarray(random.normal(size=a.shape), a.dtype), params)
    data = {"features": own, "start": np.array([3, 0], np.int32)}
    noise = evaluation_samples(data, features_shape(data)).noise
    assert noise.shape == (10, 2, 4, 9 + 36)
    of_zero = evaluation_samples({"start": jnp.zeros(1, jnp.int32)}, jax.ShapeDtypeStruct((1, 4, 45, 5), jnp.float32))
    np.testing.assert_array_equal(noise[:, 1:], of_zero.noise)
    apply = jax.jit(lambda noise: model.apply({"params": params}, own, samples=ar.Samples(noise)))
    draws = [apply(one) for one in noise]
    means = {name: np.mean([out[name] for _, out in draws], axis=0) for name in ("attention", "glimpse", "levels")}
    for multi_label, probabilities in ((False, jax.nn.softmax), (True, jax.nn.sigmoid)):
        means["predictions"] = np.mean([probabilities(logits) for logits, _ in draws], axis=0)
        evaluate = functools.partial(eval_step, model=model, objective=PaperObjective(multi_label=multi_label))
        found = jax.jit(evaluate)(params, data)
        for name, expected in means.items():
            np.testing.assert_allclose(found[name], expected, atol=2e-6, err_msg=name)
        assert np.abs(means["predictions"] - probabilities(draws[0][0])).max() > 0.01


@pytest.mark.slow
def test_evaluation_without_labels_has_all_but_the_cross_entropy():
    _, state = compiled()
    data = batch(5)
    evaluate = jax.jit(functools.partial(eval_step, model=MODEL, objective=OBJECTIVE))
    expected = evaluate(state.params, data)
    found = evaluate(state.params, {"features": data["features"]})
    assert expected.keys() - found.keys() == {"cross_entropy"}
    for name in found:
        np.testing.assert_array_equal(found[name], expected[name])


def test_a_model_of_single_frames_sees_each_frame_once():
    model = ar.SoftmaxRegression(num_classes=3)
    data = batch(4)
    where = np.array([[0, 1, 2, 2], [1, 2, 3, 4], [4, 4, 4, 4], [0, 2, 4, 1]])
    frames = data.pop("features").reshape(-1, 9, 5)[:6]
    params = jax.jit(model.init)(jax.random.key(0), frames[None])["params"]
    params = jax.tree.map(lambda p: p + 0.1, params)
    shared, _ = predict(model, params, {**data, "frames": frames, "where": where})
    whole, _ = model.apply({"params": params}, frames[where])
    np.testing.assert_allclose(shared, whole, atol=1e-6)


# --- Checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_latest_and_best_are_kept_and_restored_to_the_bit(tmp_path):
    step, state = compiled()
    saved = {}
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.step() is None
        for score in (0.5, 0.9, 0.7, 0.8):
            state, _ = step(state, batch(8))
            checkpoints.save(state, {"score": score}, score)
            checkpoints.wait()
            saved[int(state.step)] = jax.device_get(state)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["2", "4"]
    with Checkpoints(tmp_path / "c", create=False) as checkpoints:
        assert (checkpoints.step("latest"), checkpoints.step("best")) == (4, 2)
        assert checkpoints.metadata("best") == {"score": 0.9}
        like = jax.eval_shape(lambda s: s, state)
        for which, number in (("latest", 4), ("best", 2)):
            found = checkpoints.state(like, which)
            assert isinstance(found, TrainState)
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(saved[number]), strict=True):
                np.testing.assert_array_equal(a, b)


def test_among_equal_scores_the_lowest_loss_is_best_and_then_the_latest(tmp_path):
    _, state = compiled()
    with Checkpoints(tmp_path / "c") as checkpoints:
        for step, loss in ((1, 3.0), (2, 2.0), (3, 4.0)):
            checkpoints.save(state.replace(step=jnp.int32(step)), {}, 0.5, loss)
        checkpoints.wait()
        assert (checkpoints.step("best"), checkpoints.step("latest")) == (2, 3)
        checkpoints.save(state.replace(step=jnp.int32(4)), {}, 0.5, 2.0)
        checkpoints.wait()
        assert checkpoints.step("best") == 4


def test_what_a_killed_process_left_is_no_checkpoint(tmp_path):
    _, state = compiled()
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state.replace(step=jnp.int32(5)), {}, 0.0)
    half = tmp_path / "c" / "9.orbax-checkpoint-tmp"
    half.mkdir()
    (half / "params").mkdir()
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.step() == 5


def test_parameters_of_another_model_are_refused_by_name(tmp_path):
    _, state = compiled()
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(state, {}, 0.0)
        checkpoints.wait()
        other = ar.SoftAttentionLSTM(num_classes=4, hidden_dim=6, num_layers=3)
        like = jax.eval_shape(other.init, jax.random.key(0), batch(1)["features"])["params"]
        with pytest.raises(ar.InputError) as error:
            checkpoints.params(like)
    message = str(error.value)
    assert "lstm_3/kernel is missing" in message
    assert "classifier_output/kernel is [6, 3], must be [6, 4]" in message
    assert "\n" not in message


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(ar.InputError, match="no checkpoints here; train first"):
        Checkpoints(tmp_path / "none", create=False)
    (tmp_path / "empty").mkdir()
    with (
        Checkpoints(tmp_path / "empty", create=False) as checkpoints,
        pytest.raises(ar.InputError, match="holds no checkpoint; train first"),
    ):
        checkpoints.metadata()
    with pytest.raises(ar.InputError, match="'latest' or 'best'"), Checkpoints(tmp_path / "empty") as checkpoints:
        checkpoints.step("first")


def test_exported_parameters(tmp_path):
    _, state = compiled()
    export_params(tmp_path / "params.npz", state.params)
    with np.load(tmp_path / "params.npz", allow_pickle=False) as arrays:
        assert "location_softmax/kernel" in arrays.files
        assert len(arrays.files) == len(jax.tree.leaves(state.params))
        np.testing.assert_array_equal(arrays["lstm_2/bias"], state.params["lstm_2"]["bias"])
    assert [path.name for path in tmp_path.iterdir()] == ["params.npz"]
