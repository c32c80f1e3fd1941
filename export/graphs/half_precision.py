"""An exported graph with float16 layers, for GPUs and browsers: half the size, inputs and outputs as they were.

Layers with weights compute in float16, and what follows them without arithmetic between elements (rectifiers,
reshaping) stays in it. Everything else computes in float32: the preparation of pixels and their rounding, the moments
of virtual batch normalization, divisions, exponentials and their sums.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from igan_zoo.export.graphs.building import metadata_of, to_bytes

LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
FOLLOWERS = {"Concat", "LeakyRelu", "Relu", "Reshape", "Transpose"}
# Of followers whose other inputs are no numbers of the network, only the first is float16.
_SHAPED = {"Reshape"}


def half_precision(content: bytes) -> bytes:
    """Returns the float32 graph ``content`` with its layers in float16; the interface and the metadata are the same.

    A weight beyond the range of float16 becomes its largest number.
    """
    model = onnx.load_from_string(content)
    halved = _Halved(model.graph)
    for node in model.graph.node:
        halved.add(node)
    halved.finish()
    return to_bytes(model, metadata_of(model))


class _Halved:
    """The nodes of a graph, added again in order; tensor ``x`` in float16 is called ``x_fp16``."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._whole = {"", *self._weights, *(value.name for value in graph.input)}
        self._half: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []

    def add(self, node: onnx.NodeProto) -> None:
        """Adds a node that computes in float16 if it is a layer, or follows one that does."""
        if node.op_type in LAYERS or (node.op_type in FOLLOWERS and node.input[0] in self._half):
            numbers = 1 if node.op_type in _SHAPED else len(node.input)
            inputs = [self._in_half(name) for name in node.input[:numbers]]
            inputs += [self._in_whole(name) for name in node.input[numbers:]]
            outputs = [_half_name(name) for name in node.output]
            self._half.update(node.output)
        else:
            inputs, outputs = [self._in_whole(name) for name in node.input], list(node.output)
            self._whole.update(node.output)
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:], copy.output[:] = inputs, outputs
        self._nodes.append(copy)

    def finish(self) -> None:
        """Replaces the graph's nodes, and drops the weights that none of them needs any more."""
        for value in self._graph.output:
            self._in_whole(value.name)
        needed = {name for node in self._nodes for name in node.input}
        weights = [tensor for tensor in self._weights.values() if tensor.name in needed]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(weights)

    def _in_whole(self, name: str) -> str:
        if name not in self._whole:
            self._cast(_half_name(name), name, onnx.TensorProto.FLOAT)
            self._whole.add(name)
        return name

    def _in_half(self, name: str) -> str:
        if name == "":
            return name
        if name not in self._half:
            if name in self._weights:
                self._weights[_half_name(name)] = _half_weight(self._weights[name])
            else:
                self._cast(name, _half_name(name), onnx.TensorProto.FLOAT16)
            self._half.add(name)
        return _half_name(name)

    def _cast(self, name: str, result: str, kind: int) -> None:
        self._nodes.append(onnx.helper.make_node("Cast", [name], [result], name=f"cast_{result}", to=kind))


def _half_name(name: str) -> str:
    return f"{name}_fp16"


def _half_weight(tensor: onnx.TensorProto) -> onnx.TensorProto:
    largest = np.finfo(np.float16).max
    values = numpy_helper.to_array(tensor).clip(-largest, largest)
    return numpy_helper.from_array(values.astype(np.float16), _half_name(tensor.name))
