"""GoogLeNet as part of an ONNX graph, against the Flax module."""

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from attention_ar.googlenet import GoogLeNet, preprocess
from data_prep.networks.arrays import as_params, layer_shapes
from data_prep.networks.googlenet_graph import add_googlenet
from data_prep.networks.onnx_graph import Graph


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["bvlc", "torchvision"])
def test_features_are_those_of_flax(variant):
    rng = np.random.default_rng(0)
    layers = {}
    for layer, shape in layer_shapes(variant).items():
        deviation = np.sqrt(2 / np.prod(shape[1:]))
        layers[layer] = rng.normal(0, deviation, shape), rng.normal(0, 5, shape[:1])
    params = as_params(layers)
    frames = rng.integers(0, 256, (1, 224, 224, 3), np.uint8)
    _, out = jax.jit(GoogLeNet(variant).apply)({"params": params}, preprocess(frames, variant))

    graph = Graph()
    features = add_googlenet(graph, "frames", params, variant)
    model = graph.model(
        "googlenet",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["batch", 224, 224, 3])],
        [helper.make_tensor_value_info(features, TensorProto.FLOAT16, ["batch", 7, 7, 1024])],
    )
    onnx.checker.check_model(onnx.load_model_from_string(model), full_check=True)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (found,) = session.run([features], {"frames": frames})
    expected = np.asarray(out["features"])
    assert found.shape == expected.shape and found.dtype == np.float16
    assert (expected > 0).mean() > 0.1  # it is no picture of zeros
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
