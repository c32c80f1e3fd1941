"""Tensors of the Open Inference Protocol in gRPC messages: raw bytes, or typed contents, to arrays and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.models.datatypes import MOST_NUMBERS, bytes_array, check_shape, datatype_of, dtype_of
from igan_zoo.serving.server.protocol.classification import CLASSIFICATION, class_count
from igan_zoo.serving.server.protocol.grpc_messages import message
from igan_zoo.serving.server.protocol.tensors import Check, from_binary, to_binary

_Response = message("inference.ModelInferResponse")

# The field of typed contents for each type. FP16 has none.
_CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_inputs(request: Any, check: Check = lambda *_: None) -> dict[str, NDArray[Any]]:
    """Returns the arrays of a ``ModelInferRequest`` by input name; raw ones are views of it, not to be written to.

    ``check`` is told each input's name, type and shape before its contents are read.

    Raises:
        ProtocolError: a tensor is not what the protocol says, or is in shared memory.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise ProtocolError(
            f"The request has {counted(len(request.inputs), 'input')}, but {counted(len(raw), 'raw content')}; give "
            "one for each, or none."
        )
    arrays: dict[str, NDArray[Any]] = {}
    for position, tensor in enumerate(request.inputs):
        _refuse_shared_memory(tensor, f"The input {tensor.name}")
        if tensor.name in arrays:
            raise ProtocolError(f"The input {tensor.name} is given twice.")
        check_shape(tensor.shape)
        check(tensor.name, tensor.datatype, tensor.shape)
        try:
            arrays[tensor.name] = _read(tensor, raw[position] if raw else None)
        except ProtocolError as error:
            raise ProtocolError(f"The input {tensor.name} cannot be read: {error}") from None
    return arrays


def timeout_of(request: Any) -> float | None:
    """Returns the seconds that a request gives itself; its parameter counts microseconds, 0 is no limit of its own.

    Raises:
        ProtocolError: the parameter is no number.
    """
    if "timeout" not in request.parameters:
        return None
    value = _parameter(request.parameters["timeout"])
    if type(value) is not int or value < 0:
        raise ProtocolError("The parameter timeout must be a number of microseconds.")
    return value / 1e6 if value else None


def write_response(model: str, version: str, request: Any, outputs: Mapping[str, NDArray[Any]]) -> Any:
    """Returns the ``ModelInferResponse`` with ``outputs``, raw if the inputs were."""
    response = _Response(model_name=model, model_version=version, id=request.id)
    raw = bool(request.raw_input_contents) or not request.inputs
    for name, array in outputs.items():
        datatype = datatype_of(array)
        tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
        if raw or datatype not in _CONTENTS or array.size > MOST_NUMBERS:
            response.raw_output_contents.append(bytes(to_binary(array)))
        else:
            getattr(tensor.contents, _CONTENTS[datatype]).extend(array.ravel().tolist())
    return response


def outputs_of(request: Any) -> tuple[list[str], dict[str, int]]:
    """Returns the outputs that a request names, and those of which it wants classes, with how many.

    Raises:
        ProtocolError: an output is named twice, or wanted in shared memory.
    """
    names: list[str] = []
    classes: dict[str, int] = {}
    for output in request.outputs:
        _refuse_shared_memory(output, f"The output {output.name}")
        if output.name in names:
            raise ProtocolError(f"The output {output.name} is asked for twice.")
        names.append(output.name)
        if CLASSIFICATION in output.parameters:
            classes[output.name] = class_count(output.name, _parameter(output.parameters[CLASSIFICATION]))
    return names, {name: count for name, count in classes.items() if count}


def _parameter(given: Any) -> object:
    kind = given.WhichOneof("parameter_choice")
    return None if kind is None else getattr(given, kind)


def _refuse_shared_memory(tensor: Any, what: str) -> None:
    if "shared_memory_region" in tensor.parameters:
        raise ProtocolError(f"{what} is in shared memory, which this server does not use.")


def _read(tensor: Any, raw: bytes | None) -> NDArray[Any]:
    shape = tuple(tensor.shape)
    if raw is not None:
        # Some clients send empty contents along.
        if tensor.contents.ByteSize():
            raise ProtocolError("it has both contents and raw contents; give one of them.")
        return from_binary(tensor.datatype, shape, raw)
    dtype = dtype_of(tensor.datatype)
    if tensor.datatype not in _CONTENTS:
        raise ProtocolError(f"{tensor.datatype} has no typed contents; send it as raw contents.")
    field = _CONTENTS[tensor.datatype]
    values = getattr(tensor.contents, field)
    others = [other.name for other, _ in tensor.contents.ListFields() if other.name != field]
    if others or len(values) != math.prod(shape):
        raise ProtocolError(
            f"{tensor.datatype} of shape {list(shape)} has {math.prod(shape)} elements in {field}, not {len(values)}"
            + (f" and some in {others[0]}." if others else ".")
        )
    if tensor.datatype == "BYTES":
        return bytes_array(values).reshape(shape)
    if dtype.kind in "iu" and len(values):
        limits = np.iinfo(dtype)
        if not limits.min <= min(values) <= max(values) <= limits.max:
            raise ProtocolError(f"it has a number out of the range of {tensor.datatype}.")
    return np.array(values, dtype).reshape(shape)
