"""Writes ONNX graphs: nodes and arrays, each under a name, in the order in which they are added."""

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import GraphProto, ValueInfoProto, helper, numpy_helper

OPSET, IR_VERSION = 17, 8  # of 2022: read by onnxruntime and onnxruntime-web since 1.13


class Graph:
    """A graph that grows by one node at a time.

    Args:
      outer: the graph in whose loop this one is the body; arrays are added to that one.
    """

    def __init__(self, outer: "Graph | None" = None):
        self._nodes, self._arrays, self._outer = [], {}, outer

    def array(self, name: str, value) -> str:
        """Adds an array, once however often it is added, and returns its name."""
        if self._outer:
            return self._outer.array(name, value)
        if name not in self._arrays:
            self._arrays[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def integers(self, *values: int) -> str:
        """Adds a vector of integers, such as a shape or axes, and returns its name."""
        return self.array(f"integers/{'_'.join(map(str, values))}", np.int64(values))

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes) -> str:
        """Adds a node that has one output, and returns the output's name."""
        return self.nodes(kind, inputs, [name], **attributes)[0]

    def nodes(self, kind: str, inputs: Sequence[str], names: Sequence[str], **attributes) -> list[str]:
        """Adds a node, and returns the names of its outputs."""
        self._nodes.append(helper.make_node(kind, list(inputs), list(names), name=names[0], **attributes))
        return list(names)

    def affine(self, x: str, kernel, bias, name: str) -> str:
        """Adds x · kernel + bias, for `x` `<float>[..., num_in]`; without a bias where that is None."""
        product = self.node(
            "MatMul", [x, self.array(f"{name}/kernel", kernel)], f"{name}/product" if bias is not None else name
        )
        return product if bias is None else self.node("Add", [product, self.array(f"{name}/bias", bias)], name)

    def conv(self, x: str, kernel, bias, name: str, **attributes) -> str:
        """Adds a convolution; `kernel` is `<float>[rows, columns, maps in, maps out]`, as Flax keeps it."""
        weights = self.array(f"{name}/kernel", np.asarray(kernel).transpose(3, 2, 0, 1))
        return self.node("Conv", [x, weights, self.array(f"{name}/bias", bias)], name, **attributes)

    def proto(self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> GraphProto:
        """Returns the graph as ONNX has it."""
        return helper.make_graph(self._nodes, name, list(inputs), list(outputs), list(self._arrays.values()))

    def model(
        self,
        name: str,
        inputs: Sequence[ValueInfoProto],
        outputs: Sequence[ValueInfoProto],
        metadata: Mapping[str, str] | None = None,
    ) -> bytes:
        """Returns the graph as a whole model, serialised.

        Args:
          name: of the graph.
          inputs, outputs: what `onnx.helper.make_tensor_value_info` returns.
          metadata: texts by name, which the file carries.
        """
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(self.proto(name, inputs, outputs), opset_imports=opsets, ir_version=IR_VERSION)
        helper.set_model_props(model, dict(metadata or {}))
        return model.SerializeToString()
