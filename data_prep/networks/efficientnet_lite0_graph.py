"""EfficientNet-Lite0 as an ONNX graph, for CPUs: onnxruntime runs it twice as fast there as XLA."""

import numpy as np
from onnx import TensorProto, helper

from attention_ar.efficientnet_lite0 import MEAN, SCALE, bottlenecks, same_padding
from data_prep.networks.onnx_graph import Graph

FRAMES, FEATURES = "frames", "features"


def efficientnet_lite0_graph(params: dict, size: int = 224) -> bytes:
    """Returns the model, serialised.

    Args:
      params: of `attention_ar.efficientnet_lite0.EfficientNetLite0`.
      size: of the frames.

    Returns:
      A graph from "frames", `<uint8>[B, size, size, 3]`, BGR, to "features", `<float16>[B, size/32, size/32, 1280]`;
      every stage is one of its tensors: "stem/relu6", "block_0", …, "block_15", `<float>[B, channels, rows, columns]`.
    """
    graph = Graph()
    graph.node("Identity", [add_efficientnet_lite0(graph, FRAMES, params, size)], FEATURES)
    return graph.model(
        "efficientnet_lite0",
        [helper.make_tensor_value_info(FRAMES, TensorProto.UINT8, ["batch", None, None, 3])],
        [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT16, ["batch", None, None, 1280])],
    )


def add_efficientnet_lite0(graph: Graph, frames: str, params: dict, size: int = 224) -> str:
    """Adds the network to a graph; returns the name of its features. See `efficientnet_lite0_graph`."""
    # The layer's weights see blue, green, red: so the channels need not be reversed.
    stem = {**params["stem"], "kernel": np.asarray(params["stem"]["kernel"])[:, :, ::-1]}
    x = graph.node("Cast", [frames], "float_frames", to=TensorProto.FLOAT)
    x = graph.node("Transpose", [x], "maps_first", perm=[0, 3, 1, 2])
    x = graph.node("Sub", [x, graph.array("mean", np.float32(MEAN))], "centred")
    x = graph.node("Mul", [x, graph.array("scale", np.float32(SCALE))], "scaled")
    x, size = _conv(graph, x, "stem", stem, size, stride=2)
    x = _relu6(graph, x)
    for number, sizes in enumerate(bottlenecks()):
        name = f"block_{number}"
        layers, before, maps = params[name], x, sizes.maps_in * sizes.expansion
        if sizes.expansion > 1:
            x, _ = _conv(graph, x, f"{name}/expand", layers["expand"], size)
            x = _relu6(graph, x)
        x, size = _conv(graph, x, f"{name}/depthwise", layers["depthwise"], size, sizes.stride, groups=maps)
        x = _relu6(graph, x)
        project = f"{name}/project" if sizes.has_residual else name
        x, _ = _conv(graph, x, project, layers["project"], size)
        if sizes.has_residual:
            x = graph.node("Add", [before, x], name)
    x, _ = _conv(graph, x, "head", params["head"], size)
    x = _relu6(graph, x)
    x = graph.node("Transpose", [x], "maps_last", perm=[0, 2, 3, 1])
    return graph.node("Cast", [x], "network_features", to=TensorProto.FLOAT16)


def _conv(graph: Graph, x: str, name: str, layer: dict, size: int, stride: int = 1, groups: int = 1) -> tuple[str, int]:
    """Adds a convolution with SAME padding to a picture of `size` × `size`; returns its name and size."""
    kernel = np.asarray(layer["kernel"])
    if kernel.ndim == 2:  # a matrix, input channels by output channels
        kernel = kernel[None, None]
    elif groups > 1:  # rows, columns, channels
        kernel = kernel[:, :, None]
    before, after = same_padding(size, kernel.shape[0], stride)
    pads = [before, before, after, after]
    graph.conv(x, kernel, layer["bias"], name, strides=[stride] * 2, group=groups, pads=pads)
    return name, -(-size // stride)


def _relu6(graph: Graph, x: str) -> str:
    bounds = [graph.array("zero", np.float32(0)), graph.array("six", np.float32(6))]
    return graph.node("Clip", [x, *bounds], f"{x}/relu6")
