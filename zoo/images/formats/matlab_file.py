"""Arrays of numbers from MATLAB 5 files (``save -v7``), each checked by its promised type and shape before it is read.

The layout is that of MathWorks' "MAT-File Format": after 128 bytes of header a sequence of elements, each a type, a
length and content; an array is an element of elements, usually inside a zlib stream.

Differs from scipy.io.loadmat, which crashes at some damaged files: only plain arrays of real numbers are read.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

_HEADER_BYTES = 128
_TAG_BYTES = 8
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x08
_BYTES_AT_ONCE = 2**18
_MOST_DIMENSIONS = 32
_LONGEST_NAME = 256
# Deflate makes at most this many bytes of one.
_LARGEST_RATIO = 1032

_CLASSES = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 6: "double", 7: "single", 8: "int8"}
_CLASSES |= {9: "uint8", 10: "int16", 11: "uint16", 12: "int32", 13: "uint32", 14: "int64", 15: "uint64"}
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
NUMBERS = frozenset(_CLASSES.values()) - {"cell", "struct", "object", "char", "sparse"}


class MatlabFormatError(ValueError):
    """Bytes that are not as the format says."""


class LaterMatlabError(ValueError):
    """A file of MATLAB 7.3, which is HDF5."""


@dataclass(frozen=True)
class Variable:
    """What a file promises of an array: its class in MATLAB and its shape; and where its element is."""

    kind: str
    shape: tuple[int, ...]
    start: int
    length: int
    compressed: bool


def list_variables(path: Path) -> dict[str, Variable]:
    """Returns the variables of a file by name.

    Raises:
        MatlabFormatError: it is damaged, or no MATLAB file.
        LaterMatlabError: its format is MATLAB 7.3.
        OSError: it cannot be read.
    """
    found = {}
    with path.open("rb") as file:
        order = _byte_order(file)
        for kind, start, length in _elements(file, order, path.stat().st_size):
            if kind not in (_MATRIX, _COMPRESSED):
                continue
            stream = _opened(file, order, start, length, kind == _COMPRESSED)
            name, variable = _described(stream, order, start, length, kind == _COMPRESSED)
            found[name] = variable
    return found


def read_variable(path: Path, variable: Variable) -> NDArray[Any]:
    """Returns an array of numbers, in Fortran order as the file has it.

    Raises:
        MatlabFormatError: it is damaged, or does not hold what it promises.
        OSError: it cannot be read.
    """
    count = math.prod(variable.shape)
    # Before room is made for them: so many numbers cannot come out of so few bytes.
    if count > variable.length * (_LARGEST_RATIO if variable.compressed else 1):
        raise MatlabFormatError(f"{count:,} numbers are declared, but only {variable.length:,} bytes are there")
    with path.open("rb") as file:
        order = _byte_order(file)
        stream = _opened(file, order, variable.start, variable.length, variable.compressed)
        _described(stream, order, variable.start, variable.length, variable.compressed)
        kind, length, content = _tag(stream, order)
        if kind not in _STORED:
            raise MatlabFormatError(f"numbers of the unknown type {kind}")
        stored = np.dtype(order + _STORED[kind])
        if length != count * stored.itemsize:
            raise MatlabFormatError(f"{count:,} numbers of {stored.itemsize} bytes are declared, not {length:,} bytes")
        raw = bytearray(length)
        raw[: len(content)] = content
        for first in range(len(content), length, _BYTES_AT_ONCE):
            last = min(first + _BYTES_AT_ONCE, length)
            raw[first:last] = stream.read(last - first)
        stream.finish()
    values = np.frombuffer(raw, stored)
    return values.astype(variable.kind, copy=False).reshape(variable.shape, order="F")


class _Stream(Protocol):
    def read(self, count: int) -> bytes: ...

    def finish(self) -> None: ...


class _Plain:
    """The content of an element."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self._left = file, length

    def read(self, count: int) -> bytes:
        content = self._file.read(min(count, self._left))
        self._left -= len(content)
        if len(content) < count:
            raise MatlabFormatError("an element is truncated")
        return content

    def finish(self) -> None:
        """There is no checksum."""


class _Inflated:
    """The content of a compressed element."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file, self._left, self._inflater = file, length, zlib.decompressobj()

    def read(self, count: int) -> bytes:
        content = b""
        while len(content) < count and not self._inflater.eof:
            content += self._inflater.decompress(self._next(), count - len(content))
        if len(content) < count:
            raise MatlabFormatError("a compressed element is truncated")
        return content

    def finish(self) -> None:
        """Reads to the end, where the checksum is."""
        while not self._inflater.eof:
            self._inflater.decompress(self._next(), _BYTES_AT_ONCE)

    def _next(self) -> bytes:
        if self._inflater.unconsumed_tail:
            return self._inflater.unconsumed_tail
        content = self._file.read(min(_BYTES_AT_ONCE, self._left))
        self._left -= len(content)
        if not content:
            raise MatlabFormatError("a compressed element is truncated")
        return content


def _byte_order(file: IO[bytes]) -> str:
    header = file.read(_HEADER_BYTES)
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    if order is None:
        raise MatlabFormatError("it does not start like a MATLAB file")
    (version,) = struct.unpack(f"{order}H", header[124:126])
    if version == 0x0200:
        raise LaterMatlabError("its format is MATLAB 7.3")
    if version != 0x0100:
        raise MatlabFormatError(f"it has the unknown version {version:#06x}")
    return order


def _elements(file: IO[bytes], order: str, size: int) -> Iterator[tuple[int, int, int]]:
    """Yields type, first byte and length of every element of a file."""
    at = _HEADER_BYTES
    while at < size:
        file.seek(at)
        tag = file.read(_TAG_BYTES)
        if len(tag) < _TAG_BYTES:
            raise MatlabFormatError("it is truncated")
        kind, length = struct.unpack(f"{order}II", tag)
        start = at + _TAG_BYTES
        if start + length > size:
            raise MatlabFormatError("it is truncated")
        yield kind, start, length
        at = start + length + (0 if kind == _COMPRESSED else -length % 8)


def _opened(file: IO[bytes], order: str, start: int, length: int, compressed: bool) -> _Stream:
    """Returns what reads the content of an array's element."""
    file.seek(start)
    if not compressed:
        return _Plain(file, length)
    stream = _Inflated(file, length)
    kind, _, _ = _tag(stream, order)
    if kind != _MATRIX:
        raise MatlabFormatError(f"a compressed element of the type {kind}")
    return stream


def _described(stream: _Stream, order: str, start: int, length: int, compressed: bool) -> tuple[str, Variable]:
    """Reads flags, shape and name of an array, up to its numbers."""
    flags = _small(stream, order, 8)
    shape = _small(stream, order, 4 * _MOST_DIMENSIONS)
    name = _small(stream, order, _LONGEST_NAME)
    if len(flags) != 8 or len(shape) < 8 or len(shape) % 4:
        raise MatlabFormatError("an array has no flags or no shape")
    (bits,) = struct.unpack(f"{order}I", flags[:4])
    kind = "complex" if bits >> 8 & _COMPLEX else _CLASSES.get(bits & 0xFF, "unknown")
    sizes = struct.unpack(f"{order}{len(shape) // 4}i", shape)
    if min(sizes) < 0:
        raise MatlabFormatError("a size is negative")
    return name.decode("ascii", "replace"), Variable(kind, sizes, start, length, compressed)


def _small(stream: _Stream, order: str, most: int) -> bytes:
    """Reads an element of at most so many bytes, and the zeros behind it."""
    _, length, content = _tag(stream, order)
    if length > most:
        raise MatlabFormatError(f"a part of {length:,} bytes, where there are at most {most}")
    return content or stream.read(length + -length % 8)[:length]


def _tag(stream: _Stream, order: str) -> tuple[int, int, bytes]:
    """Reads type and length of an element, and the content of one that is so small that it is a part of the tag."""
    tag = stream.read(_TAG_BYTES)
    first, length = struct.unpack(f"{order}II", tag)
    if first >> 16:
        kind, length = first & 0xFFFF, first >> 16
        if length > 4:
            raise MatlabFormatError(f"a small part of {length} bytes")
        return kind, length, tag[4 : 4 + length]
    return first, length, b""
