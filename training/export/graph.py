"""An ONNX graph, written node by node."""

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import Tensor

OPSET = 18
"""Of this set, whatever the detector needs has a kernel for CPU and one for CUDA."""
IR_VERSION = 10
BATCH = "batch"

Given = str | float | np.ndarray | Tensor


class Graph:
    """Nodes in the order they run. Values go by name; anything else that a node is given is a constant."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}

    def node(
        self, operator: str, *given: Given, output: str = "", **attributes: int | float | list[int]
    ) -> str:
        """Add a node and answer the name of its output."""
        inputs = [one if isinstance(one, str) else self._constant(one) for one in given]
        output = output or f"value_{len(self._nodes)}"
        node = helper.make_node(operator, inputs, [output])
        node.attribute.extend(helper.make_attribute(*attribute) for attribute in attributes.items())
        self._nodes.append(node)
        return output

    def model(
        self, inputs: dict[str, tuple[type, int]], outputs: dict[str, tuple[type, int | None]]
    ) -> onnx.ModelProto:
        """Inputs and outputs by name: their type and their width, None for one number a row."""
        graph = helper.make_graph(
            self._nodes,
            "detector",
            [_described(name, *facts) for name, facts in inputs.items()],
            [_described(name, *facts) for name, facts in outputs.items()],
            list(self._constants.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)

    def _constant(self, given: float | np.ndarray | Tensor) -> str:
        if isinstance(given, Tensor):
            values = given.detach().numpy()
        else:
            values = np.asarray(given, np.float32) if isinstance(given, float) else given
        key = values.dtype.str, values.shape, values.tobytes()
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self._constants[key] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return self._constants[key].name


def _described(name: str, kind: type, width: int | None) -> onnx.ValueInfoProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return helper.make_tensor_value_info(name, element, [BATCH] if width is None else [BATCH, width])
