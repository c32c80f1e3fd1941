"""Tensors of the Open Inference Protocol: JSON, and binary after the JSON, to arrays and back.

Pure functions of bytes and arrays. Whatever a request does wrong is one sentence, a ``ProtocolError``.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct
from numpy.typing import NDArray

from igan_zoo.errors import ProtocolError

# The protocol's types. BYTES are objects of type bytes in memory.
DATATYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(np.object_),
}
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
# Larger than any tensor of ours, small enough for numpy.
MAX_RANK = 8
_MAX_SIZE = 2**31 - 1
_MOST_ELEMENTS = 2**48
# Numbers that a tensor in JSON may have: each is an object of 32 bytes for a moment.
MOST_NUMBERS = 2**22
# Bytes of JSON around the data of inputs, and objects in it.
_MOST_BUT_DATA, _MOST_OBJECTS = 64 * 1024, 1024

_Name = Annotated[str, Meta(min_length=1, max_length=256)]
_Shape = Annotated[list[Annotated[int, Meta(ge=0, le=_MAX_SIZE)]], Meta(max_length=MAX_RANK)]
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

    ``outputs`` is None where the request names none; then all are given, in the form ``binary`` says.
    """

    id: str
    inputs: dict[str, NDArray[Any]]
    outputs: dict[str, bool] | None
    binary: bool
    timeout: float | None


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
        raise ProtocolError(f"The request is no inference request in JSON: {_clause(error)}") from None
    inputs: dict[str, NDArray[Any]] = {}
    at = 0
    for tensor in request.inputs:
        if tensor.name in inputs:
            raise ProtocolError(f"The input {tensor.name} is given twice.")
        check_shape(tensor.shape)
        check(tensor.name, tensor.datatype, tensor.shape)
        size = _binary_size(tensor)
        if size is None:
            inputs[tensor.name] = _from_json(tensor)
        else:
            if size > len(tail) - at:
                raise ProtocolError(
                    f"The input {tensor.name} is said to have {size} binary bytes, but {len(tail) - at} are left."
                )
            inputs[tensor.name] = _from_binary(tensor, tail[at : at + size])
            at += size
    if at != len(tail):
        raise ProtocolError(f"The request has {len(tail)} binary bytes, but its inputs account for {at}.")
    parameters = request.parameters or {}
    binary = _flag(parameters, "binary_data_output", default=False)
    return InferRequest(request.id, inputs, _wanted(request.outputs, binary), binary, _timeout(parameters))


def check_shape(shape: Sequence[int]) -> None:
    """Does nothing for a shape that an array can have.

    Raises:
        ProtocolError: it is none.
    """
    sides = [max(1, size) for size in shape]
    if len(sides) > MAX_RANK or any(not 0 <= size <= _MAX_SIZE for size in shape) or math.prod(sides) > _MOST_ELEMENTS:
        raise ProtocolError(f"{list(shape)[: MAX_RANK + 1]} is not a valid shape.")


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
    """Returns the body of a response and, if it has binary tensors, the length of its JSON.

    Raises:
        ProtocolError: the request names an output that is not there, or one of FP16 in JSON.
    """
    if request.outputs is None:
        wanted = dict.fromkeys(outputs, request.binary)
    else:
        wanted = request.outputs
        for name in wanted:
            if name not in outputs:
                raise ProtocolError(f"{model} has no output {name!r}; it has: {', '.join(outputs)}.")
    described: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for name, binary in wanted.items():
        array = outputs[name]
        datatype = datatype_of(array)
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": array.shape}
        if binary:
            chunk = to_binary(array)
            tensor["parameters"] = {"binary_data_size": len(chunk)}
            chunks.append(chunk)
        else:
            tensor["data"] = _to_json(name, datatype, array)
        described.append(tensor)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request.id:
        answer["id"] = request.id
    head = _ENCODER.encode(answer)
    return (b"".join([head, *chunks]), len(head)) if chunks else (head, None)


def datatype_of(array: NDArray[Any]) -> str:
    """Returns the protocol's name of an array's type.

    Raises:
        ProtocolError: the protocol has none.
    """
    name = _NAMES.get(array.dtype)
    if name is None:
        raise ProtocolError(f"The protocol has no type for {array.dtype}.")
    return name


def to_binary(array: NDArray[Any]) -> bytes:
    """Returns an array's little-endian bytes, row by row; elements of BYTES each after their length."""
    if array.dtype == np.object_:
        return b"".join(struct.pack("<I", len(element)) + element for element in map(_bytes, array.ravel()))
    return array.tobytes()


def from_binary(datatype: str, shape: Sequence[int], content: bytes | memoryview) -> NDArray[Any]:
    """Returns the array of little-endian bytes, a view of them except for BYTES.

    Raises:
        ProtocolError: the type is unknown, or the bytes are not those of the shape.
    """
    dtype = _dtype(datatype)
    check_shape(shape)
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
        return from_binary(tensor.datatype, tensor.shape, content)
    except ProtocolError as error:
        raise ProtocolError(f"The input {tensor.name} cannot be read: {error}") from None


def _from_json(tensor: _Input) -> NDArray[Any]:
    text = bytes(tensor.data)
    if not text:
        raise ProtocolError(f"The input {tensor.name} has neither data nor a binary_data_size.")
    if tensor.datatype == "FP16":
        raise ProtocolError(f"The input {tensor.name} is FP16, which has no form in JSON; send it as binary data.")
    dtype = _dtype(tensor.datatype)
    if len(text) > _MOST_BUT_DATA and tensor.datatype != "BYTES":
        _check_count(tensor, text)
    nested = text[1 : 1 + MAX_RANK * 8].lstrip()[:1] == b"["
    rank = max(1, len(tensor.shape)) if nested else 1
    try:
        values = _data_decoder(tensor.datatype, rank).decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"The data of the input {tensor.name} is not {tensor.datatype}: {_clause(error)}") from None
    if tensor.datatype == "BYTES":
        flat = [element.encode() for element in _flattened(values, rank)]
        array = np.empty(len(flat), np.object_)
        array[:] = flat
        given = _nested_shape(values, rank) if nested else (len(flat),)
    else:
        try:
            with np.errstate(over="ignore"):
                array = np.array(values, dtype)
        except (ValueError, OverflowError):
            raise ProtocolError(
                f"The data of the input {tensor.name} has rows of different lengths, or a number out of range."
            ) from None
        given = array.shape
    if (nested and given != tuple(tensor.shape)) or array.size != math.prod(tensor.shape):
        raise ProtocolError(
            f"The data of the input {tensor.name} has {array.size} elements in the shape {list(given)}, "
            f"but its shape is given as {tensor.shape}."
        )
    return array.reshape(tensor.shape)


def _check_count(tensor: _Input, text: bytes) -> None:
    """Checks that numbers and lists are as many as the shape says, before there are objects of them.

    Raises:
        ProtocolError: they are more, or more than are taken in JSON.
    """
    shape = tensor.shape
    count = math.prod(shape)
    lists = sum(math.prod(shape[:rank]) for rank in range(max(1, len(shape))))
    if max(count, lists) > MOST_NUMBERS:
        raise ProtocolError(
            f"The input {tensor.name} has {count} elements; more than {MOST_NUMBERS} are sent as binary data."
        )
    if text.count(b",") >= max(1, count, lists) or text.count(b"[") > lists:
        raise ProtocolError(f"The data of the input {tensor.name} has more elements than its shape {shape}.")


@functools.cache
def _data_decoder(datatype: str, rank: int) -> msgspec.json.Decoder[Any]:
    """Returns what reads lists nested ``rank`` deep of one type, each number within the type's range."""
    element: Any = {"BOOL": bool, "BYTES": str, "FP32": float, "FP64": float}.get(datatype)
    if element is None:
        limits = np.iinfo(DATATYPES[datatype])
        # msgspec takes no bound beyond 64 bits with sign; numpy refuses what is larger.
        upper = limits.max if limits.max <= 2**63 - 1 else None
        element = Annotated[int, Meta(ge=int(limits.min), le=upper)]
    for _ in range(rank):
        element = list[element]
    return msgspec.json.Decoder(element)


def _flattened(values: list[Any], rank: int) -> list[Any]:
    for _ in range(rank - 1):
        values = [element for row in values for element in row]
    return values


def _nested_shape(values: list[Any], rank: int) -> tuple[int, ...]:
    """Returns the shape of nested lists, or one that no tensor has where rows differ in length."""
    shape = []
    level = values
    for depth in range(rank):
        shape.append(len(level) if depth == 0 else len(level[0]) if level else 0)
        if depth:
            if any(len(row) != shape[-1] for row in level):
                return (-1,)
            level = [element for row in level for element in row]
    return tuple(shape)


def _to_json(name: str, datatype: str, array: NDArray[Any]) -> list[Any]:
    if datatype == "FP16":
        raise ProtocolError(f"The output {name} is FP16, which has no form in JSON; ask for it as binary data.")
    if array.size > MOST_NUMBERS:
        raise ProtocolError(
            f"The output {name} has {array.size} elements; ask for more than {MOST_NUMBERS} as binary data."
        )
    flat = array.ravel()
    if datatype != "BYTES":
        return flat.tolist()
    try:
        return [_bytes(element).decode() for element in flat]
    except UnicodeDecodeError:
        raise ProtocolError(f"The output {name} is no text; ask for it as binary data.") from None


def _elements(content: bytes | memoryview, count: int) -> NDArray[Any]:
    """Returns the elements of a BYTES tensor, each after its length as four bytes."""
    found: list[bytes] = []
    at = 0
    while at < len(content):
        if at + 4 > len(content):
            raise ProtocolError("A BYTES tensor ends within the length of an element.")
        (length,) = struct.unpack_from("<I", content, at)
        at += 4
        if at + length > len(content):
            raise ProtocolError("A BYTES tensor ends within an element.")
        found.append(bytes(content[at : at + length]))
        at += length
    if len(found) != count:
        raise ProtocolError(f"A BYTES tensor has {len(found)} elements, but by its shape {count}.")
    array = np.empty(len(found), np.object_)
    array[:] = found
    return array


def _bytes(element: object) -> bytes:
    return element if isinstance(element, bytes) else str(element).encode()


def _dtype(datatype: str) -> np.dtype[Any]:
    dtype = DATATYPES.get(datatype)
    if dtype is None:
        raise ProtocolError(f"There is no datatype {datatype[:32]!r}; there are: {', '.join(DATATYPES)}.")
    return dtype


def _wanted(outputs: list[_Output] | None, binary: bool) -> dict[str, bool] | None:
    if not outputs:
        return None
    wanted: dict[str, bool] = {}
    for output in outputs:
        if output.name in wanted:
            raise ProtocolError(f"The output {output.name} is asked for twice.")
        parameters = output.parameters or {}
        for unknown in ("classification", "shared_memory_region"):
            if parameters.get(unknown):
                raise ProtocolError(f"The output {output.name} asks for {unknown}, which this server does not do.")
        wanted[output.name] = _flag(parameters, "binary_data", default=binary)
    return wanted


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


def _clause(error: Exception) -> str:
    return str(error).rstrip(".")[:200] + "."
