"""Writing an ONNX model with protobuf alone, which onnxruntime brings: the package ``onnx`` is 30 MB more.

Field numbers are those of ``onnx/onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        ("i", 3, "int64", False),
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
_INT, _INTS = 2, 7  # AttributeProto.AttributeType
# TensorProto.DataType
DATA_TYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 2, np.dtype(np.int64): 7}


class OnnxGraph:
    """Nodes and constants of a graph under construction. What adds one returns the name of its output."""

    def __init__(self) -> None:
        self._model = _model_class()()
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
        """Adds a constant, stored as float32 or int64."""
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = f"constant{len(self._graph.initializer)}"
        self._graph.initializer.add(
            name=name,
            dims=array.shape,
            data_type=DATA_TYPES[array.dtype],
            raw_data=array.astype(array.dtype.newbyteorder("<")).tobytes(),
        )
        return name

    def node(self, operator: str, *inputs: str, **attributes: int | Sequence[int]) -> str:
        """Adds a node of the standard's operators with one output."""
        name = f"{operator}{len(self._graph.node)}"
        node = self._graph.node.add(op_type=operator, name=name, input=inputs, output=[name])
        for key, value in attributes.items():
            attribute = node.attribute.add(name=key)
            if isinstance(value, int):
                attribute.type, attribute.i = _INT, value
            else:
                attribute.type = _INTS
                attribute.ints.extend(value)
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


def _declare(value: Any, name: str, dtype: DTypeLike, shape: Sequence[int | str]) -> None:
    value.name = name
    tensor = value.type.tensor_type
    tensor.elem_type = DATA_TYPES[np.dtype(dtype)]
    for size in shape:
        tensor.shape.dim.add(**{"dim_param" if isinstance(size, str) else "dim_value": size})


@cache
def _model_class() -> Any:
    return message_class(_MESSAGES, "ModelProto")
