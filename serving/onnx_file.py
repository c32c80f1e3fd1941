"""A look at the bytes of an ONNX file before onnxruntime has them: what a foreign file may not do.

Weights in other files would let a graph read whatever its user may read, and onnxruntime before 1.21 lets it. Functions
that call each other grow exponentially when they are inlined. Field numbers and wire format are those of ``onnx.proto``
and of protocol buffers; ``onnx`` itself is not installed where models are served.
"""

from __future__ import annotations

from collections.abc import Iterator

from igan_zoo.errors import InterfaceError

# The messages in which tensors can be, and the fields of each that lead to them.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _LENGTH = 0, 2
_FIXED = {1: 8, 5: 4}
# The largest graph here has some thousands of fields; a graph inside a graph inside a graph has a depth of 10.
_MOST_FIELDS = 2_000_000
_MOST_DEPTH = 100


_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def check_onnx_file(content: bytes, role: str) -> None:
    """Refuses a graph that keeps weights outside of ``content``, and one with functions of its own.

    Raises:
        InterfaceError: it does, or it is not a protocol buffer message.
    """
    if content.startswith(_LFS_POINTER):
        raise InterfaceError(f"The {role} is a Git LFS pointer, not the file that it points to: run git lfs pull.")
    try:
        fault = _fault(memoryview(content))
    except (IndexError, ValueError):
        fault = "it is damaged, or not a protocol buffer"
    if fault:
        raise InterfaceError(f"The {role} is not an ONNX graph that can be loaded: {fault}.")


def _fault(content: memoryview) -> str | None:
    pending = [("model", content, 0)]
    fields = 0
    while pending:
        kind, message, depth = pending.pop()
        if depth > _MOST_DEPTH:
            return f"its graphs are nested more than {_MOST_DEPTH} messages deep"
        inside = _INSIDE[kind]
        for number, wire, value in _fields(message):
            fields += 1
            if fields > _MOST_FIELDS:
                return f"it has more than {_MOST_FIELDS:,} parts"
            if kind == "tensor" and number in (_EXTERNAL_DATA, _DATA_LOCATION) and value:
                return "it keeps weights in other files (external data); save it with all weights inside"
            if wire != _LENGTH or number not in inside or isinstance(value, int):
                continue
            if inside[number] == "function":
                return "it has custom functions; export it with them inlined"
            pending.append((inside[number], value, depth + 1))
    return None


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """Yields number, wire type and value of every field of a message.

    Raises:
        IndexError, ValueError: the message is cut off, or is none.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        # Readers of protocol buffers drop what is beyond 32 bits, so the same field can be written in several ways.
        number, wire = (tag & 0xFFFFFFFF) >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, wire, value
            continue
        if wire == _LENGTH:
            length, at = _varint(message, at)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > end:
            raise IndexError(length)
        yield number, wire, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Returns the number that begins at a byte, and the byte behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
