"""A small random vision transformer in an ONNX file, as those of practice are: patches, a class token, attention."""

import numpy as np
import onnx
from onnx import TensorProto, helper


def write_vit(path, *, side=16, patch=14, dim=32, batch="batch", tokens=True, seed=0, extra=0):
    """Writes the file.

    Args:
      path: of the file.
      side: K.
      patch: pixels on a side of a cell.
      dim: D.
      batch: of the frames, a number or a name.
      tokens: whether "tokens" `[B, 1 + extra + K², D]` is an output, beside "logits" `[B, 5]`.
      seed: of the weights.
      extra: tokens that are no cells, besides the class token.
    """
    rng = np.random.default_rng(seed)
    arrays, nodes = [], []

    def array(value, name=None):
        name = name or f"array_{len(arrays)}"
        value = np.asarray(value)
        arrays.append(onnx.numpy_helper.from_array(value.astype(np.float32) if value.dtype == float else value, name))
        return name

    def matrix(*shape):
        return array(rng.normal(0, 1 / np.sqrt(shape[-1] if len(shape) == 4 else shape[0]), shape))

    def node(kind, *inputs, name=None, **attributes):
        nodes.append(helper.make_node(kind, inputs, [name or f"{kind}_{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    x = node("Conv", "frames", matrix(dim, 3, patch, patch), strides=[patch, patch])
    x = node("Reshape", x, array(np.array([0, dim, side * side])))
    x = node("Transpose", x, perm=[0, 2, 1])
    first = node("ReduceMean", x, axes=[1], keepdims=1)
    class_token = node("Mul", first, array(np.float32(0.5)))
    x = node("Concat", *[class_token] * (1 + extra), x, axis=1)
    x = node("Add", x, matrix(1, 1 + extra + side * side, dim))
    q, k, v = (node("MatMul", x, matrix(dim, dim)) for _ in range(3))
    scores = node("Mul", node("MatMul", q, node("Transpose", k, perm=[0, 2, 1])), array(np.float32(dim**-0.5)))
    x = node("Add", x, node("MatMul", node("Softmax", scores, axis=-1), v))
    ones, zeros = array(np.ones(dim, np.float32)), array(np.zeros(dim, np.float32))
    x = node("LayerNormalization", x, ones, zeros, name="tokens", axis=-1)
    class_token = node("Gather", x, array(np.array(0)), axis=1)
    node("MatMul", class_token, matrix(dim, 5), name="logits")
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 5])]
    if tokens:
        outputs.append(helper.make_tensor_value_info("tokens", TensorProto.FLOAT, [batch, 1 + extra + side**2, dim]))
    size = side * patch
    frames = helper.make_tensor_value_info("frames", TensorProto.FLOAT, [batch, 3, size, size])
    graph = helper.make_graph(nodes, "vit", [frames], outputs, arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
