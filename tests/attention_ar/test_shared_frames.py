"""Blocks that share frames: each frame is used once, and the predictions are those of whole blocks."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import attention_ar as ar
from attention_ar.hard_attention import HardAttention
from attention_ar.loss import PaperObjective
from attention_ar.training.steps import eval_step, predict

SIZES = {"num_classes": 3, "hidden_dim": 8}
LEVELS = {"levels": ("coarse", "fine"), "level_scales": (1.5,)}
MODELS = {
    "soft": functools.partial(ar.SoftAttentionLSTM, **SIZES),
    "hard": functools.partial(ar.SoftAttentionLSTM, **SIZES, hard=HardAttention(window=1)),
    "several levels": functools.partial(ar.MultiLevelAttentionLSTM, **SIZES, **LEVELS),
    "max": functools.partial(ar.PooledLSTM, **SIZES, pool="max"),
    "released": functools.partial(ar.ReleasedAttentionLSTM, **SIZES, dim_out=8, n_layers_att=2, selector=True),
    "released, several levels": functools.partial(ar.ReleasedAttentionLSTM, **SIZES, **LEVELS, dim_out=8),
}


class Moving(ar.SoftAttentionLSTM):
    """Attends to what differs from the frame before."""

    def visible(self, params, X):
        return X - jnp.roll(X, 1, axis=1)

    def attend(self, params, h, X):
        return jax.nn.softmax(X.sum(axis=-1))


class Mirrored(ar.SoftAttentionLSTM):
    """Changes the features before anything else sees them."""

    def blocks(self, params, X, masks, glimpse, samples):
        return super().blocks(params, X[:, :, ::-1], masks, glimpse, samples)


class FromOutside(nn.Module):
    """A model that knows of nothing here but how it is called."""

    @nn.compact
    def __call__(self, x, train=False, example_index=None):
        sums = jax.vmap(lambda block: block.mean(axis=1).cumsum(axis=0))(x)
        return nn.Dense(3, param_dtype=x.dtype)(sums), {"attention": jax.nn.softmax(sums)}


def shared_blocks(num_blocks, num_steps, num_cells=9, num_maps=6, dtype=np.float64):
    """Frames, and blocks of them at stride 1."""
    frames = np.random.default_rng(0).normal(size=(num_blocks + num_steps - 1, num_cells, num_maps)).astype(dtype)
    return frames, (np.arange(num_blocks)[:, None] + np.arange(num_steps)).astype(np.int32)


def random_params(model, x):
    """Parameters of the model, drawn so that its predictions differ from block to block."""
    random, shapes = np.random.default_rng(1), jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    return jax.tree.map(lambda p: (0.7 * random.normal(size=p.shape)).astype(p.dtype), shapes)


def of_levels(model, frames):
    """The frames, or for a model of two levels a dict of them and of finer ones."""
    if not getattr(model, "levels", ()):
        return frames
    return {"coarse": frames, "fine": np.repeat(frames[..., :4], 4, axis=1) + 0.1 * np.arange(4)}


@pytest.mark.parametrize(
    "name, loop",
    [
        *(("soft", loop) for loop in ("fast", "plain")),
        *(pytest.param(name, "fast", marks=pytest.mark.slow) for name in MODELS if name != "soft"),
    ],
)
def test_predictions_are_those_of_whole_blocks(name, loop):
    model = MODELS[name](time_loop=loop)
    frames, where = shared_blocks(num_blocks=4, num_steps=5)
    frames = of_levels(model, frames)
    blocks = jax.tree.map(lambda of_level: of_level[where], frames)
    with jax.enable_x64(True):
        params = random_params(model, blocks)
        expected, in_blocks = jax.jit(model.apply)({"params": params}, blocks)
        found, shared = jax.jit(functools.partial(predict, model))(params, {"frames": frames, "where": where})
        np.testing.assert_allclose(found, expected, atol=1e-12)
        jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-12), shared, in_blocks)
        assert np.abs(np.diff(expected, axis=0)).max() > 0.01


@pytest.mark.parametrize("model", [Moving(**SIZES), Mirrored(**SIZES), FromOutside()])
def test_a_model_of_ones_own_may_do_anything_with_the_features(model):
    frames, where = shared_blocks(num_blocks=3, num_steps=4, dtype=np.float32)
    params = random_params(model, frames[where])
    expected, out = jax.jit(model.apply)({"params": params}, frames[where])
    found, shared = jax.jit(functools.partial(predict, model))(params, {"frames": frames, "where": where})
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(shared["attention"], out["attention"], atol=1e-6)


@pytest.mark.slow
def test_the_rule_sample_draws_the_same_places():
    model = ar.SoftAttentionLSTM(**SIZES, hard=HardAttention(glimpse_rule="sample"))
    frames, where = shared_blocks(num_blocks=2, num_steps=3, dtype=np.float32)
    params, start = random_params(model, frames[where]), np.array([0, 1], np.int32)
    step = jax.jit(
        functools.partial(eval_step, model=model, objective=PaperObjective(), keep=("predictions", "glimpse"))
    )
    expected = step(params, {"features": frames[where], "start": start})
    found = step(params, {"frames": frames, "where": where, "start": start})
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), found, expected)
    assert np.ptp(expected["glimpse"], axis=0).max() > 0.09  # One of ten draws fell elsewhere.


@pytest.mark.slow
def test_training_and_plain_numpy_arrays():
    """Gradients of the released model, whose projections are made before the loop; a call without jax.jit."""
    model = MODELS["released"](time_loop="fast", use_dropout=False)
    frames, where = shared_blocks(num_blocks=2, num_steps=3, dtype=np.float32)
    params = random_params(model, frames[where])
    shared, whole = {"frames": frames, "where": where}, {"features": frames[where]}
    found, _ = predict(model, params, shared)
    np.testing.assert_allclose(found, jax.jit(model.apply)({"params": params}, frames[where])[0], atol=1e-6)

    def gradient(batch):
        return jax.jit(jax.grad(lambda params: jnp.sum(predict(model, params, batch, train=True)[0] ** 2)))(params)

    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), gradient(shared), gradient(whole))


@pytest.mark.parametrize("name", ["soft", "max", "released"])
def test_no_array_has_the_frames_of_all_blocks(name):
    """Nor, with the released model, their projections."""
    model = MODELS[name](time_loop="fast")
    num_blocks, num_steps, num_cells, num_maps = 16, 20, 49, 64
    frames, where = shared_blocks(num_blocks, num_steps, num_cells, num_maps, np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), frames[where])["params"]
    step = functools.partial(eval_step, model=model, objective=PaperObjective(), keep=("predictions", "entropy"))
    compiled = jax.jit(step).lower(params, {"frames": frames, "where": where}).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * num_blocks * num_steps * num_cells * num_maps / 2
