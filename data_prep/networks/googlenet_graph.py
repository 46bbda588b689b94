"""GoogLeNet as part of an ONNX graph, for a model that is used without this project."""

import numpy as np
from onnx import TensorProto

from attention_ar.googlenet import INCEPTIONS, VARIANTS
from data_prep.networks.onnx_graph import Graph


def add_googlenet(graph: Graph, frames: str, params: dict, variant: str = "bvlc") -> str:
    """Adds the network to a graph.

    Args:
      graph: the graph.
      frames: the name of frames `<uint8>[B, 224, 224, 3]`, BGR.
      params: of `attention_ar.googlenet.GoogLeNet`.
      variant: of it.

    Returns:
      The name of the features, `<float16>[B, 7, 7, 1024]`.
    """
    network = VARIANTS[variant]
    x = graph.node("Cast", [frames], "float_frames", to=TensorProto.FLOAT)
    mean = np.float32(network.mean)
    if network.colour == "rgb":
        x = graph.node("Gather", [x, graph.integers(2, 1, 0)], "rgb_frames", axis=-1)
    x = graph.node("Sub", [x, graph.array("mean", mean)], "centred")
    x = graph.node("Mul", [x, graph.array("scale", np.float32(network.scale))], "scaled")
    x = graph.node("Transpose", [x], "maps_first", perm=[0, 3, 1, 2])

    def conv(x, stage, layer, window, stride=1):
        layer_params, pad = params[stage][layer], window // 2
        name = f"{stage}/{layer}"
        graph.conv(x, layer_params["kernel"], layer_params["bias"], name, strides=[stride] * 2, pads=[pad] * 4)
        return graph.node("Relu", [name], f"{name}/relu")

    def max_pool(x, name, window=3, stride=2, pad=0):
        sizes = {"kernel_shape": [window] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return graph.node("MaxPool", [x], name, ceil_mode=1, **sizes)

    def normalise(x):
        return graph.node("LRN", [x], f"{x}/norm", size=5, alpha=1e-4, beta=0.75, bias=1.0) if network.normalise else x

    x = normalise(max_pool(conv(x, "conv1", "7x7_s2", 7, stride=2), "pool1"))
    x = normalise(conv(conv(x, "conv2", "3x3_reduce", 1), "conv2", "3x3", 3))
    for stage in INCEPTIONS:
        if stage.endswith("a"):
            x = max_pool(x, f"{stage}/pool_before", network.window_pool4 if stage == "inception_5a" else 3)
        pooled = max_pool(x, f"{stage}/pool", stride=1, pad=1)
        branches = [
            conv(x, stage, "1x1", 1),
            conv(conv(x, stage, "3x3_reduce", 1), stage, "3x3", 3),
            conv(conv(x, stage, "5x5_reduce", 1), stage, "5x5", network.window_5x5),
            conv(pooled, stage, "pool_proj", 1),
        ]
        x = graph.node("Concat", branches, stage, axis=1)
    x = graph.node("Transpose", [x], "maps_last", perm=[0, 2, 3, 1])
    return graph.node("Cast", [x], "network_features", to=TensorProto.FLOAT16)
