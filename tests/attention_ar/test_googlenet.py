"""The layers against small cases worked by hand, and the whole network's shapes, names and dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar.googlenet import Conv2, GoogLeNet, Inception, local_response_norm, max_pool, preprocess

STAGES = {
    "conv1": (112, 112, 64),
    "conv2": (56, 56, 192),
    "inception_3a": (28, 28, 256),
    "inception_3b": (28, 28, 480),
    "inception_4a": (14, 14, 512),
    "inception_4b": (14, 14, 512),
    "inception_4c": (14, 14, 512),
    "inception_4d": (14, 14, 528),
    "inception_4e": (14, 14, 832),
    "inception_5a": (7, 7, 832),
    "inception_5b": (7, 7, 1024),
    "features": (7, 7, 1024),
}


def picture(rows):
    return jnp.array(rows, jnp.float32)[None, :, :, None]


@pytest.mark.slow
def test_the_last_window_may_stick_out_and_sees_no_zeros_there():
    x = picture(-np.arange(16).reshape(4, 4))
    np.testing.assert_array_equal(max_pool(x, 3, stride=2)[0, :, :, 0], [[0, -2], [-8, -10]])
    np.testing.assert_array_equal(max_pool(-x, 3, stride=2)[0, :, :, 0], [[10, 11], [14, 15]])
    np.testing.assert_array_equal(max_pool(x, 2, stride=2)[0, :, :, 0], [[0, -2], [-8, -10]])
    np.testing.assert_array_equal(
        max_pool(x[:, :3, :3], 3, stride=1, pad=1)[0, :, :, 0], [[0, 0, -1], [0, 0, -1], [-4, -4, -5]]
    )


@pytest.mark.parametrize(("size", "rows"), [(5, 2), (6, 3), (7, 3), (8, 4)])
def test_max_pool_is_the_maximum_over_the_window(size, rows):
    x = np.random.default_rng(size).normal(size=(2, size, size + 1, 3)).astype(np.float32) - 9
    columns = (size + 1) // 2
    expected = [
        [x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max(axis=(1, 2)) for j in range(columns)] for i in range(rows)
    ]
    np.testing.assert_array_equal(max_pool(x, 3, stride=2), np.moveaxis(expected, 2, 0))


def test_local_response_norm_of_one_location():
    x = jnp.array([10.0, 20, 30, 40, 50, 60])[None, None, None, :]
    # with alpha 5 the sums of squares are 1400, 3000, 5500, 9000, 8600 and 7700
    expected = [0.0436688, 0.0493265, 0.0469667, 0.0432854, 0.0559833, 0.0729862]
    np.testing.assert_allclose(local_response_norm(x, alpha=5.0)[0, 0, 0], expected, rtol=2e-6)
    # Caffe divides alpha by the 5 maps: 1 + 1400 · 1e-4 / 5 = 1.028
    np.testing.assert_allclose(local_response_norm(x)[0, 0, 0, 0], 10 / 1.028**0.75, rtol=1e-6)


def test_local_response_norm_against_a_loop():
    x = np.random.default_rng(0).normal(scale=100, size=(2, 2, 3, 9))
    expected = np.empty_like(x)
    for i in range(9):
        expected[..., i] = x[..., i] * (1 + 2e-5 * (x[..., max(i - 2, 0) : i + 3] ** 2).sum(-1)) ** -0.75
    np.testing.assert_allclose(local_response_norm(x.astype(np.float32)), expected, rtol=1e-5)


def test_preprocessing_by_hand():
    blue_green_red = np.array([[0, 100, 255]], np.uint8)
    x = preprocess(blue_green_red)
    assert x.dtype == jnp.float32
    np.testing.assert_array_equal(x, [[-104.0, -17.0, 132.0]])
    np.testing.assert_allclose(preprocess(blue_green_red, "torchvision"), [[1.0, 100 / 127.5 - 1, -1.0]], atol=1e-7)


def test_stages_and_logits_have_the_shapes_of_the_paper():
    frames = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    (logits, out), variables = jax.eval_shape(GoogLeNet().init_with_output, jax.random.key(0), frames)
    assert logits.shape == (2, 1000)
    assert {stage: array.shape[1:] for stage, array in out.items()} == STAGES
    assert all(array.dtype == jnp.float32 for array in out.values())
    params = variables["params"]
    assert params.keys() == STAGES.keys() - {"features"} | {"loss3"}
    assert params["inception_5b"].keys() == {"1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj"}
    assert params["inception_3a"]["3x3_reduce"]["kernel"].shape == (1, 1, 192, 96)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 6_998_552  # of bvlc_googlenet.caffemodel


@pytest.mark.slow
def test_initial_kernels_are_he_normal():
    params = Conv2().init(jax.random.key(0), jnp.ones((1, 3, 3, 64)))["params"]
    for layer, fan_in in {"3x3_reduce": 64, "3x3": 9 * 64}.items():
        assert np.std(params[layer]["kernel"]) == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
        assert not params[layer]["bias"].any()


def test_inception_concatenates_its_four_branches():
    """Every weight 1 and every bias 1, and a picture that is 0 around one bright or one dark location."""
    bright = picture([[0, 0, 0], [0, 7, 0], [0, 0, 0]])
    module = Inception((1, 1, 1, 1, 1, 1))
    shapes = jax.eval_shape(module.init, jax.random.key(0), bright)["params"]
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    # after a reduction 8 in the middle and 1 elsewhere, then 0 in the middle; a 5×5 window sees all from the corner
    y = module.apply({"params": params}, bright)[0]
    np.testing.assert_array_equal(y[1, 1], [7 + 1, 8 + 8 + 1, 8 + 8 + 1, 7 + 1])
    np.testing.assert_array_equal(y[0, 0], [0 + 1, 8 + 3 + 1, 8 + 8 + 1, 7 + 1])
    y = module.apply({"params": params}, -bright)[0]
    np.testing.assert_array_equal(y[1, 1], [0, 8 + 1, 8 + 1, 0 + 1])
    np.testing.assert_array_equal(y[0, 0], [0 + 1, 3 + 1, 8 + 1, 0 + 1])


@pytest.mark.slow
def test_double_precision(x64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 5, 5, 16))
    module = Inception((4, 4, 4, 4, 4, 4))
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    single = jax.tree.map(np.float32, params)
    y = module.apply({"params": params}, x)
    assert y.dtype == jnp.float64
    np.testing.assert_allclose(module.apply({"params": single}, np.float32(x)), y, rtol=1e-4, atol=1e-4)

    frames = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float64)
    everything = jax.eval_shape(GoogLeNet().init_with_output, jax.random.key(0), frames)
    assert {leaf.dtype for leaf in jax.tree.leaves(everything)} == {np.dtype("float64")}
