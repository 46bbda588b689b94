"""The layers against small cases worked by hand, and the whole network's shapes, names and dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from attention_ar.efficientnet_lite0 import (
    Bottleneck,
    Depthwise,
    EfficientNetLite0,
    InvertedBottleneck,
    Pointwise,
    bottlenecks,
    preprocess,
    relu6,
    same_padding,
)


@pytest.mark.parametrize(
    ("size", "window", "stride", "expected"),
    [
        (224, 3, 2, (0, 1)),  # an odd zero goes to the end
        (112, 3, 1, (1, 1)),
        (56, 5, 2, (1, 2)),
        (14, 5, 1, (2, 2)),
        (7, 3, 2, (1, 1)),
        (4, 1, 1, (0, 0)),
    ],
)
def test_padding_is_tensorflows(size, window, stride, expected):
    assert same_padding(size, window, stride) == expected


def test_preprocessing_by_hand():
    blue_green_red = np.array([[0, 127, 255]], np.uint8)
    x = preprocess(blue_green_red)
    assert x.dtype == jnp.float32
    np.testing.assert_array_equal(x, [[1.0, 0.0, -127 / 128]])


def test_relu6_by_hand():
    np.testing.assert_array_equal(relu6(jnp.array([-1.0, 0, 3, 6, 7])), [0, 0, 3, 6, 6])


def depthwise(x, kernel, stride, bias=0.0):
    maps = x.shape[-1]
    params = {"kernel": jnp.array(kernel, x.dtype), "bias": jnp.full(maps, bias, x.dtype)}
    return Depthwise(len(kernel), stride).apply({"params": params}, x)


def test_a_depthwise_convolution_by_hand():
    """3×3 and stride 2 over 4×4: windows begin at rows 0 and 2, the last sees one row of zeros."""
    x = jnp.arange(16.0, dtype=jnp.float32).reshape(1, 4, 4, 1)
    y = depthwise(x, np.ones((3, 3, 1)), stride=2, bias=0.5)
    np.testing.assert_array_equal(y[0, :, :, 0], [[45.5, 39.5], [66.5, 50.5]])


@pytest.mark.parametrize(("window", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.slow
def test_a_depthwise_convolution_against_xlas_grouped_one(window, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 10, 4)).astype(np.float32)
    kernel = rng.normal(size=(window, window, 4)).astype(np.float32)
    expected = jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=4,
        precision="highest",
    )
    np.testing.assert_allclose(depthwise(jnp.array(x), kernel, stride), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_bottleneck_adds_its_input_where_it_can():
    x = jnp.full((1, 2, 2, 3), 2.0, jnp.float32)
    for sizes, expected in (
        (Bottleneck(3, 3, 2, 3, 1), 2.0),
        (Bottleneck(3, 4, 2, 3, 1), 0.0),
        (Bottleneck(3, 3, 2, 3, 2), 0.0),
    ):
        module = InvertedBottleneck(sizes)
        shapes = jax.eval_shape(module.init, jax.random.key(0), x)["params"]
        y = module.apply({"params": jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)}, x)
        assert y.shape == (1, 2 // sizes.stride, 2 // sizes.stride, sizes.maps)
        np.testing.assert_array_equal(y, np.full(y.shape, expected))


def test_stages_and_logits_have_the_shapes_of_the_paper():
    frames = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    (logits, out), variables = jax.eval_shape(EfficientNetLite0().init_with_output, jax.random.key(0), frames)
    assert logits.shape == (2, 1000)
    sizes = [112, 56, 56, 28, 28, 14, 14, 14, 14, 14, 14, 7, 7, 7, 7, 7]
    maps = [16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320]
    expected = {"stem": (112, 112, 32)}
    expected |= {f"block_{n}": (size, size, m) for n, (size, m) in enumerate(zip(sizes, maps, strict=True))}
    assert {stage: array.shape[1:] for stage, array in out.items()} == expected | {"features": (7, 7, 1280)}
    params = variables["params"]
    assert params.keys() == expected.keys() | {"head", "classifier"}
    assert params["block_0"].keys() == {"depthwise", "project"}
    assert params["block_3"]["depthwise"]["kernel"].shape == (5, 5, 144)
    # Published: 4.652 million. The 42 016 means, deviations, … of batch normalisation are 21 008 biases here.
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 4_652_008 - 21_008
    assert len(bottlenecks()) == 16 and sum(b.has_residual for b in bottlenecks()) == 9


@pytest.mark.slow
def test_double_precision(x64):
    x = np.random.default_rng(0).normal(size=(1, 5, 5, 4))
    for module in (Pointwise(3), Depthwise(3, 2), InvertedBottleneck(Bottleneck(4, 4, 6, 5, 1))):
        variables = module.init(jax.random.key(0), jnp.array(x))
        assert module.apply(variables, jnp.array(x)).dtype == jnp.float64
