"""Writing an ONNX model with protobuf alone, which onnxruntime brings: the package ``onnx`` is 30 MB more.

Field numbers are those of ``onnx/onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from igan_zoo.serving.scorers.protobuf import Field, message_class

# Loaded by onnxruntime 1.17 and later.
OPSET = 18
IR_VERSION = 9

_MESSAGES: Mapping[str, Sequence[Field]] = {
    "ModelProto": (
        ("ir_version", 1, "int64", False),
        ("producer_name", 2, "string", False),
        ("graph", 7, "GraphProto", False),
        ("opset_import", 8, "OperatorSetIdProto", True),
        ("metadata_props", 14, "StringStringEntryProto", True),
    ),
    "OperatorSetIdProto": (("domain", 1, "string", False), ("version", 2, "int64", False)),
    "StringStringEntryProto": (("key", 1, "string", False), ("value", 2, "string", False)),
    "GraphProto": (
        ("node", 1, "NodeProto", True),
        ("name", 2, "string", False),
        ("initializer", 5, "TensorProto", True),
        ("input", 11, "ValueInfoProto", True),
        ("output", 12, "ValueInfoProto", True),
    ),
    "NodeProto": (
        ("input", 1, "string", True),
        ("output", 2, "string", True),
        ("name", 3, "string", False),
        ("op_type", 4, "string", False),
        ("attribute", 5, "AttributeProto", True),
    ),
    "AttributeProto": (
        ("name", 1, "string", False),
        ("f", 2, "float", False),
        ("i", 3, "int64", False),
        ("s", 4, "bytes", False),
        ("g", 6, "GraphProto", False),
        ("ints", 8, "int64", True),
        ("type", 20, "int32", False),
    ),
    "TensorProto": (
        ("dims", 1, "int64", True),
        ("data_type", 2, "int32", False),
        ("name", 8, "string", False),
        ("raw_data", 9, "bytes", False),
    ),
    "ValueInfoProto": (("name", 1, "string", False), ("type", 2, "TypeProto", False)),
    "TypeProto": (("tensor_type", 1, "TensorTypeProto", False),),
    "TensorTypeProto": (("elem_type", 1, "int32", False), ("shape", 2, "TensorShapeProto", False)),
    "TensorShapeProto": (("dim", 1, "Dimension", True),),
    "Dimension": (("dim_value", 1, "int64", False), ("dim_param", 2, "string", False)),
}
_FLOAT, _INT, _STRING, _GRAPH, _INTS = 1, 2, 3, 5, 7  # AttributeProto.AttributeType
# TensorProto.DataType
DATA_TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int64): 7, np.dtype(np.float16): 10}


class OnnxGraph:
    """Nodes and constants of a graph under construction. What adds one returns the name of its output.

    ``prefix`` begins the names of all tensors but inputs and outputs.
    """

    def __init__(self, prefix: str = "") -> None:
        self._model = _model_class()()
        self._prefix = prefix
        self._graph = self._model.graph
        self._graph.name = "main"

    def input(self, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> str:
        """Adds an input; axes that may have any size are named."""
        _declare(self._graph.input.add(), name, dtype, shape)
        return name

    def output(self, name: str, tensor: str, shape: Sequence[int | str]) -> None:
        """Makes a float32 tensor the output ``name``."""
        self._graph.node.add(op_type="Identity", name=name, input=[tensor], output=[name])
        _declare(self._graph.output.add(), name, np.float32, shape)

    def constant(self, value: ArrayLike) -> str:
        """Adds a constant, stored as float32 or int64, or as float16 where it has that type."""
        array = np.asarray(value)
        if array.dtype != np.float16:
            array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = f"{self._prefix}constant{len(self._graph.initializer)}"
        self._graph.initializer.add(
            name=name,
            dims=array.shape,
            data_type=DATA_TYPES[array.dtype],
            raw_data=array.astype(array.dtype.newbyteorder("<")).tobytes(),
        )
        return name

    def node(
        self, operator: str, *inputs: str, output: str | None = None, **attributes: float | str | Sequence[int]
    ) -> str:
        """Adds a node of the standard's operators with one output, by a name of its own unless ``output`` is one."""
        name = output or f"{self._prefix}{operator}{len(self._graph.node)}"
        node = self._graph.node.add(op_type=operator, name=name, input=inputs, output=[name])
        for key, value in attributes.items():
            attribute = node.attribute.add(name=key)
            if isinstance(value, int):
                attribute.type, attribute.i = _INT, value
            elif isinstance(value, float):
                attribute.type, attribute.f = _FLOAT, value
            elif isinstance(value, str):
                attribute.type, attribute.s = _STRING, value.encode()
            else:
                attribute.type = _INTS
                attribute.ints.extend(value)
        return name

    def either(
        self,
        condition: str,
        then: Callable[[OnnxGraph], str],
        otherwise: Callable[[OnnxGraph], str],
        shape: Sequence[int | str],
    ) -> str:
        """Adds the float32 tensor that ``then`` adds where a boolean scalar is true, else that of ``otherwise``.

        Both get a graph of their own, which reads the tensors of this one. Only one of them runs.
        """
        name = f"{self._prefix}If{len(self._graph.node)}"
        node = self._graph.node.add(op_type="If", name=name, input=[condition], output=[name])
        for branch, add in (("then_branch", then), ("else_branch", otherwise)):
            inner = OnnxGraph(prefix=f"{name}/{branch}/")
            inner.output(f"{name}/{branch}", add(inner), shape)
            node.attribute.add(name=branch, type=_GRAPH).g.CopyFrom(inner._graph)
        return name

    def to_bytes(self, metadata: Mapping[str, str]) -> bytes:
        """Returns the model, always the same bytes."""
        self._model.ir_version, self._model.producer_name = IR_VERSION, "igan-zoo"
        del self._model.opset_import[:], self._model.metadata_props[:]
        self._model.opset_import.add(domain="", version=OPSET)
        for key, value in metadata.items():
            self._model.metadata_props.add(key=key, value=value)
        content: bytes = self._model.SerializeToString(deterministic=True)
        return content

    def around(self, model: Any, metadata: Mapping[str, str]) -> bytes:
        """Returns ``model`` with this graph's inputs, outputs and metadata; changes ``model``.

        The graph's nodes come before those of the model, but for those of its outputs, which come after.
        """
        outer, inner = self._graph, model.graph
        outputs = {value.name for value in outer.output}
        before = [node for node in outer.node if node.output[0] not in outputs]
        after = [node for node in outer.node if node.output[0] in outputs]
        nodes = [*before, *inner.node, *after]
        constants = {tensor.name for tensor in inner.initializer}
        kept = [value for value in inner.input if value.name in constants]
        merged = type(model)()
        merged.CopyFrom(model)
        del merged.graph.node[:], merged.graph.input[:], merged.graph.output[:], merged.metadata_props[:]
        merged.graph.node.extend(nodes)
        merged.graph.initializer.extend(outer.initializer)
        merged.graph.input.extend([*outer.input, *kept])
        merged.graph.output.extend(outer.output)
        for key, value in metadata.items():
            merged.metadata_props.add(key=key, value=value)
        content: bytes = merged.SerializeToString(deterministic=True)
        return content


def parse_model(content: bytes) -> Any:
    """Returns the message of an ONNX model; what is no field here is kept and written again as it is.

    Raises:
        google.protobuf.message.DecodeError: the bytes are none.
    """
    return _model_class().FromString(content)


def _declare(value: Any, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> None:
    value.name = name
    tensor = value.type.tensor_type
    tensor.elem_type = DATA_TYPES[np.dtype(dtype)]
    for size in shape:
        tensor.shape.dim.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})


@cache
def _model_class() -> Any:
    return message_class(_MESSAGES, "ModelProto")
