"""Tensors of the Open Inference Protocol: JSON, and binary after the JSON, to arrays and back.

Pure functions of bytes and arrays. Whatever a request does wrong is one sentence, a ``ProtocolError``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct
from numpy.typing import NDArray

from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.models.datatypes import (
    MAX_RANK,
    MAX_SIZE,
    bytes_array,
    bytes_of,
    check_shape,
    datatype_of,
    dtype_of,
)
from igan_zoo.serving.server.protocol.classification import CLASSIFICATION, class_count
from igan_zoo.serving.server.protocol.json_tensors import clause, from_json, to_json

# Bytes of JSON around the data of inputs, and objects in it.
_MOST_BUT_DATA, _MOST_OBJECTS = 64 * 1024, 1024

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Shape = Annotated[list[Annotated[int, Meta(ge=0, le=MAX_SIZE)]], Meta(max_length=MAX_RANK)]
_Parameters = dict[str, Any]


class _Input(Struct):
    name: _Name
    datatype: str
    shape: _Shape
    parameters: _Parameters | None = None
    # Empty where there is none.
    data: Raw = Raw()


class _Output(Struct):
    name: _Name
    parameters: _Parameters | None = None


class _Data(Struct):
    data: Raw = Raw()


class _AllData(Struct):
    inputs: list[_Data]


class _Request(Struct):
    inputs: Annotated[list[_Input], Meta(max_length=64)]
    id: Annotated[str, Meta(max_length=1024)] = ""
    parameters: _Parameters | None = None
    outputs: Annotated[list[_Output], Meta(max_length=64)] | None = None


@dataclass(frozen=True)
class InferRequest:
    """What a request asks for: arrays by input name, and outputs by name with whether each shall be binary.

    ``outputs`` is None where the request names none; then all are given, in the form ``binary`` says. ``classes`` are
    the outputs of which only so many of the largest numbers are given.
    """

    id: str
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, bool] | None
    binary: bool
    timeout: float | None
    classes: Mapping[str, int] = field(default_factory=dict)


# Is told an input's name, type and shape.
Check = Callable[[str, str, Sequence[int]], None]

_DECODER = msgspec.json.Decoder(_Request)
_DATA_DECODER = msgspec.json.Decoder(_AllData)
_ENCODER = msgspec.json.Encoder()


def decode_request(
    body: bytes | bytearray | memoryview, header_length: str | None = None, check: Check = lambda *_: None
) -> InferRequest:
    """Reads the body of an inference request; ``header_length`` is its Inference-Header-Content-Length, if it has one.

    Arrays from binary data are views of ``body``: not copied, and not to be written to. ``check`` is told each input's
    name, type and shape before its data are decoded, and raises for one that nobody can use.

    Raises:
        ProtocolError: the body is not what the protocol says.
    """
    head, tail = _split(memoryview(body), header_length)
    try:
        if len(head) > _MOST_BUT_DATA:
            _check_rest(head)
        request = _DECODER.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"The request is not an inference request in JSON: {clause(error)}") from None
    inputs: dict[str, NDArray[Any]] = {}
    at = 0
    for tensor in request.inputs:
        if tensor.name in inputs:
            raise ProtocolError(f"The input {tensor.name} is given twice.")
        check_shape(tensor.shape)
        check(tensor.name, tensor.datatype, tensor.shape)
        size = _binary_size(tensor)
        if size is None:
            inputs[tensor.name] = from_json(tensor.name, tensor.datatype, tensor.shape, bytes(tensor.data))
        else:
            if size > len(tail) - at:
                raise ProtocolError(
                    f"The input {tensor.name} declares {size} binary bytes, but {len(tail) - at} are left."
                )
            inputs[tensor.name] = _from_binary(tensor, tail[at : at + size])
            at += size
    if at != len(tail):
        raise ProtocolError(f"The request has {len(tail)} binary bytes, but its inputs account for {at}.")
    parameters = request.parameters or {}
    binary = _flag(parameters, "binary_data_output", default=False)
    outputs, classes = _wanted(request.outputs, binary)
    return InferRequest(request.id, inputs, outputs, binary, _timeout(parameters), classes)


def _check_rest(head: memoryview) -> None:
    """Checks that a long request is long because of its data, which alone are not made into objects at once.

    Raises:
        ProtocolError: it is not.
    """
    if bytes(head).count(b"{") > _MOST_OBJECTS:
        raise ProtocolError(f"The request has more than {_MOST_OBJECTS} objects.")
    found = _DATA_DECODER.decode(head)
    if len(head) - sum(memoryview(tensor.data).nbytes for tensor in found.inputs) > _MOST_BUT_DATA:
        raise ProtocolError(
            f"The request has more than {_MOST_BUT_DATA} bytes of JSON that are not data of its inputs."
        )


def encode_response(
    model: str, version: str, request: InferRequest, outputs: Mapping[str, NDArray[Any]]
) -> tuple[bytes, int | None]:
    """Returns the body of a response with ``outputs`` and, if it has binary tensors, the length of its JSON.

    Raises:
        ProtocolError: an output is of FP16, in JSON.
    """
    wanted = request.outputs or {}
    described: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for name, array in outputs.items():
        datatype = datatype_of(array)
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": array.shape}
        if wanted.get(name, request.binary):
            chunk = to_binary(array)
            tensor["parameters"] = {"binary_data_size": len(chunk)}
            chunks.append(chunk)
        else:
            tensor["data"] = to_json(name, datatype, array)
        described.append(tensor)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id:
        answer["id"] = request.id
    head = _ENCODER.encode(answer)
    return (b"".join([head, *chunks]), len(head)) if chunks else (head, None)


def to_binary(array: NDArray[Any]) -> bytes:
    """Returns an array's little-endian bytes, row by row; elements of BYTES each after their length."""
    if array.dtype == np.object_:
        return b"".join(struct.pack("<I", len(element)) + element for element in map(bytes_of, array.ravel()))
    return array.tobytes()


def from_binary(datatype: str, shape: Sequence[int], content: bytes | memoryview) -> NDArray[Any]:
    """Returns the array of little-endian bytes, a view of them except for BYTES.

    Raises:
        ProtocolError: the type is unknown, or the bytes are not those of the shape.
    """
    check_shape(shape)
    return _array(datatype, shape, content)


def _array(datatype: str, shape: Sequence[int], content: bytes | memoryview) -> NDArray[Any]:
    """Does what :func:`from_binary` does for a shape that has been checked."""
    dtype = dtype_of(datatype)
    count = math.prod(shape)
    if datatype == "BYTES":
        return _elements(content, count).reshape(shape)
    if len(content) != count * dtype.itemsize:
        raise ProtocolError(
            f"A {datatype} tensor of shape {list(shape)} has {count * dtype.itemsize} bytes, not {len(content)}."
        )
    if datatype == "BOOL" and content and max(content) > 1:
        raise ProtocolError("A BOOL tensor has a byte that is neither 0 nor 1.")
    return np.frombuffer(content, dtype).reshape(shape)


def _split(body: memoryview, header_length: str | None) -> tuple[memoryview, memoryview]:
    if header_length is None:
        return body, body[:0]
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) < 20):
        raise ProtocolError("Inference-Header-Content-Length must be a number of bytes.")
    length = int(header_length)
    if length > len(body):
        raise ProtocolError(
            f"Inference-Header-Content-Length is {length}, but the whole body has only {len(body)} bytes."
        )
    return body[:length], body[length:]


def _binary_size(tensor: _Input) -> int | None:
    if tensor.parameters is None:
        return None
    if "shared_memory_region" in tensor.parameters:
        raise ProtocolError(f"The input {tensor.name} is in shared memory, which this server does not read.")
    size = tensor.parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise ProtocolError(f"The binary_data_size of the input {tensor.name} must be a number of bytes.")
    if memoryview(tensor.data).nbytes:
        raise ProtocolError(f"The input {tensor.name} has both data and a binary_data_size; give one of them.")
    return size


def _from_binary(tensor: _Input, content: memoryview) -> NDArray[Any]:
    try:
        return _array(tensor.datatype, tensor.shape, content)
    except ProtocolError as error:
        raise ProtocolError(f"The input {tensor.name} cannot be read: {error}") from None


def _elements(content: bytes | memoryview, count: int) -> NDArray[Any]:
    """Returns the elements of a BYTES tensor, each after its length as four bytes."""
    found: list[bytes] = []
    at = 0
    while at < len(content):
        if at + 4 > len(content):
            raise ProtocolError("A BYTES tensor ends in the middle of an element's length.")
        (length,) = struct.unpack_from("<I", content, at)
        at += 4
        if at + length > len(content):
            raise ProtocolError("A BYTES tensor ends in the middle of an element.")
        found.append(bytes(content[at : at + length]))
        at += length
    if len(found) != count:
        raise ProtocolError(f"A BYTES tensor has {len(found)} elements, but by its shape {count}.")
    return bytes_array(found)


def _wanted(outputs: list[_Output] | None, binary: bool) -> tuple[dict[str, bool] | None, dict[str, int]]:
    """Returns the outputs that are named, with whether each is binary, and those that are classes, with how many."""
    if not outputs:
        return None, {}
    wanted: dict[str, bool] = {}
    classes: dict[str, int] = {}
    for output in outputs:
        if output.name in wanted:
            raise ProtocolError(f"The output {output.name} is asked for twice.")
        parameters = output.parameters or {}
        if parameters.get("shared_memory_region"):
            raise ProtocolError(f"The output {output.name} asks for shared memory, which this server does not write.")
        wanted[output.name] = _flag(parameters, "binary_data", default=binary)
        count = class_count(output.name, parameters.get(CLASSIFICATION, 0))
        if count:
            classes[output.name] = count
    return wanted, classes


def _flag(parameters: _Parameters, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise ProtocolError(f"The parameter {name} must be true or false.")
    return value


def _timeout(parameters: _Parameters) -> float | None:
    """Returns the seconds that a request gives itself; the parameter counts microseconds, 0 is no limit of its own."""
    value = parameters.get("timeout")
    if value is None or value == 0:
        return None
    if type(value) is not int or not 0 <= value < 2**63:
        raise ProtocolError("The parameter timeout must be a number of microseconds below 2^63.")
    return value / 1e6
