"""The data of tensors in JSON, to arrays and back: counted before there are objects of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.models.datatypes import DATATYPES, MAX_RANK, MOST_NUMBERS, bytes_array, bytes_of, dtype_of

# Bytes of text that are decoded whatever they are.
_FEW = 64 * 1024


def from_json(name: str, datatype: str, shape: list[int], text: bytes) -> NDArray[Any]:
    """Returns the array of a tensor's data in JSON, flat or nested as its shape says; ``name`` is for errors.

    Raises:
        ProtocolError: the data are not of that type and shape, or too many.
    """
    if not text:
        raise ProtocolError(f"The input {name} has neither data nor a binary_data_size.")
    if datatype == "FP16":
        raise ProtocolError(f"The input {name} is FP16, which has no form in JSON; send it as binary data.")
    dtype = dtype_of(datatype)
    if len(text) > _FEW and datatype != "BYTES":
        _check_count(name, shape, text)
    nested = text[1 : 1 + MAX_RANK * 8].lstrip()[:1] == b"["
    rank = max(1, len(shape)) if nested else 1
    try:
        values = _decoded(datatype, rank, text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"The data of the input {name} is not {datatype}: {clause(error)}") from None
    if datatype == "BYTES":
        array = bytes_array([element.encode() for element in _flattened(values, rank)])
        given = _nested_shape(values, rank) if nested else array.shape
    else:
        try:
            with np.errstate(over="ignore"):
                array = np.array(values, dtype)
        except (ValueError, OverflowError):
            raise ProtocolError(
                f"The data of the input {name} has rows of different lengths, or a number out of range."
            ) from None
        given = array.shape
    if (nested and given != tuple(shape)) or array.size != math.prod(shape):
        raise ProtocolError(
            f"The data of the input {name} has {array.size} elements in the shape {list(given)}, "
            f"but its shape is given as {shape}."
        )
    return array.reshape(shape)


def _check_count(name: str, shape: list[int], text: bytes) -> None:
    """Checks that numbers and lists are as many as the shape says, before there are objects of them.

    Raises:
        ProtocolError: they are more, or more than are taken in JSON.
    """
    count = math.prod(shape)
    lists = sum(math.prod(shape[:rank]) for rank in range(max(1, len(shape))))
    if max(count, lists) > MOST_NUMBERS:
        raise ProtocolError(f"The input {name} has {count} elements; more than {MOST_NUMBERS} are sent as binary data.")
    if text.count(b",") >= max(1, count, lists) or text.count(b"[") > lists:
        raise ProtocolError(f"The data of the input {name} has more elements than its shape {shape}.")


def _decoded(datatype: str, rank: int, text: bytes) -> list[Any]:
    """Returns the lists of a tensor's data; whole numbers may be written ``5.0``, as floats of numpy become."""
    try:
        values: list[Any] = _data_decoder(datatype, rank).decode(text)
        return values
    except msgspec.ValidationError:
        if b"." not in text or DATATYPES[datatype].kind not in "iu":
            raise
        given = _mixed_decoder(rank).decode(text)
        whole = [_whole(number) for number in _flattened(given, rank)]
        # The range is checked where all numbers are read.
        _data_decoder(datatype, 1).decode(msgspec.json.encode(whole))
        return whole if rank == 1 else _nested(given, iter(whole), rank)


def _whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _nested(values: list[Any], numbers: Iterator[float], rank: int) -> list[Any]:
    """Returns lists like ``values`` with other numbers."""
    if rank == 1:
        return [next(numbers) for _ in values]
    return [_nested(row, numbers, rank - 1) for row in values]


@functools.cache
def _mixed_decoder(rank: int) -> msgspec.json.Decoder[Any]:
    element: Any = int | float
    for _ in range(rank):
        element = list[element]
    return msgspec.json.Decoder(element)


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


def to_json(name: str, datatype: str, array: NDArray[Any]) -> list[Any]:
    """Returns an output's elements for JSON, flat; ``name`` is for errors.

    Raises:
        ProtocolError: they have no form in JSON, or are too many.
    """
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
        return [bytes_of(element).decode() for element in flat]
    except UnicodeDecodeError:
        raise ProtocolError(f"The output {name} is not text; ask for it as binary data.") from None


def clause(error: Exception) -> str:
    """Returns a decoder's error as the end of a sentence."""
    return str(error).rstrip(".")[:200] + "."
