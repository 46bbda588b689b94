"""EfficientNet-Lite0 as an ONNX graph, for CPUs: onnxruntime runs it twice as fast there as XLA."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from attention_ar.efficientnet_lite0 import MEAN, SCALE, bottlenecks, same_padding

FRAMES, FEATURES = "frames", "features"


class _Graph:
    """Nodes and arrays, and the name of the last output."""

    def __init__(self):
        self.nodes, self.arrays = [], []

    def array(self, name: str, value) -> str:
        self.arrays.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(self, x: str, name: str, layer: dict, size: int, stride: int = 1, groups: int = 1) -> tuple[str, int]:
        """Adds a convolution with SAME padding to a picture of `size` × `size`; returns its name and size."""
        kernel = np.asarray(layer["kernel"])
        if kernel.ndim == 2:  # a matrix, input channels by output channels
            kernel = kernel[None, None]
        elif groups > 1:  # rows, columns, channels
            kernel = kernel[:, :, None]
        weights = self.array(f"{name}/kernel", np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        bias = self.array(f"{name}/bias", np.asarray(layer["bias"]))
        before, after = same_padding(size, kernel.shape[0], stride)
        self.node(
            "Conv", [x, weights, bias], name, strides=[stride] * 2, group=groups, pads=[before, before, after, after]
        )
        return name, -(-size // stride)

    def relu6(self, x: str) -> str:
        return self.node("Clip", [x, "zero", "six"], f"{x}/relu6")


def efficientnet_lite0_graph(params: dict, size: int = 224) -> bytes:
    """Returns the model, serialised.

    Args:
      params: of `attention_ar.efficientnet_lite0.EfficientNetLite0`.
      size: of the frames.

    Returns:
      A graph from "frames", `<uint8>[B, size, size, 3]`, BGR, to "features", `<float16>[B, size/32, size/32, 1280]`;
      every stage is one of its tensors: "stem/relu6", "block_0", …, "block_15", `<float>[B, channels, rows, columns]`,
      and so are the "logits", `<float>[B, 1000]`.
    """
    graph = _Graph()
    graph.array("zero", np.float32(0))
    graph.array("six", np.float32(6))
    # The layer's weights see blue, green, red: so the channels need not be reversed.
    stem = {**params["stem"], "kernel": np.asarray(params["stem"]["kernel"])[:, :, ::-1]}
    x = graph.node("Cast", [FRAMES], "float_frames", to=TensorProto.FLOAT)
    x = graph.node("Transpose", [x], "maps_first", perm=[0, 3, 1, 2])
    x = graph.node("Sub", [x, graph.array("mean", np.float32(MEAN))], "centred")
    x = graph.node("Mul", [x, graph.array("scale", np.float32(SCALE))], "scaled")
    x, size = graph.conv(x, "stem", stem, size, stride=2)
    x = graph.relu6(x)
    for number, sizes in enumerate(bottlenecks()):
        name = f"block_{number}"
        layers, before, maps = params[name], x, sizes.maps_in * sizes.expansion
        if sizes.expansion > 1:
            x, _ = graph.conv(x, f"{name}/expand", layers["expand"], size)
            x = graph.relu6(x)
        x, size = graph.conv(x, f"{name}/depthwise", layers["depthwise"], size, sizes.stride, groups=maps)
        x = graph.relu6(x)
        project = f"{name}/project" if sizes.has_residual else name
        x, _ = graph.conv(x, project, layers["project"], size)
        if sizes.has_residual:
            x = graph.node("Add", [before, x], name)
    x, _ = graph.conv(x, "head", params["head"], size)
    x = graph.relu6(x)
    pooled = graph.node("Flatten", [graph.node("GlobalAveragePool", [x], "pooled")], "flat")
    classifier = params["classifier"]
    matrix = graph.array("classifier/kernel", np.asarray(classifier["kernel"]))
    graph.node("Gemm", [pooled, matrix, graph.array("classifier/bias", np.asarray(classifier["bias"]))], "logits")
    x = graph.node("Transpose", [x], "maps_last", perm=[0, 2, 3, 1])
    graph.node("Cast", [x], FEATURES, to=TensorProto.FLOAT16)
    described = helper.make_graph(
        graph.nodes,
        "efficientnet_lite0",
        [helper.make_tensor_value_info(FRAMES, TensorProto.UINT8, ["batch", None, None, 3])],
        [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT16, ["batch", None, None, 1280])],
        graph.arrays,
    )
    model = helper.make_model(described, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()
