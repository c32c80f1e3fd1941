"""The headers of a parquet file's pages: pyarrow makes room for what they promise, so they are read before it does.

A header is a Thrift structure in the compact protocol: field 2 is the size of the page unpacked, field 3 that
in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

from igan_zoo.machine.files import open_regular

# Images hardly get smaller in a page. Those that repeat each other may, but one of them is not that large.
_UNPACKED_FACTOR, _UNPACKED_BYTES = 8, 2**26
_UNPACKED, _PACKED = 2, 3
_MOST_DEPTH = 16
# Of a text: what Thrift's lengths can say.
_MOST_BYTES = 2**31 - 1
# Kinds of values. Those of booleans in a structure are the values themselves.
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 11, 12


def check_pages(path: Path, chunk: Any) -> None:
    """Checks the pages of a column chunk, of which ``chunk`` is pyarrow's metadata.

    Raises:
        ValueError: a header is damaged, or promises far more than the file has for it.
        OSError: the file cannot be read.
    """
    at, pages = chunk.data_page_offset, 0
    if chunk.dictionary_page_offset is not None:
        at = min(at, chunk.dictionary_page_offset)
    end = at + chunk.total_compressed_size
    with open_regular(path) as file:
        while at < end:
            file.seek(at)
            sizes = _structure(file, 0)
            unpacked, packed = sizes.get(_UNPACKED, -1), sizes.get(_PACKED, -1)
            pages += 1
            # At most one page has no values: that of the dictionary.
            if min(unpacked, packed) < 0 or pages > chunk.num_values + 1:
                raise ValueError("its pages have no sizes, or no values")
            if unpacked > _UNPACKED_FACTOR * packed + _UNPACKED_BYTES:
                raise ValueError(f"a page of {packed:,} bytes promises {unpacked:,}")
            at = file.tell() + packed


def _structure(file: IO[bytes], depth: int) -> dict[int, int]:
    """Passes over a structure and returns the whole numbers right inside it by their field."""
    if depth > _MOST_DEPTH:
        raise ValueError("a page header is too deep")
    found: dict[int, int] = {}
    field = 0
    while start := _byte(file):
        kind = start & 15
        field = field + (start >> 4) if start >> 4 else _integer(file)
        if kind in _INTEGERS:
            found[field] = _integer(file)
        elif kind not in _BOOLEANS:
            _pass(file, kind, depth)
    return found


def _pass(file: IO[bytes], kind: int, depth: int) -> None:
    """Passes over a value that is no boolean of a structure."""
    if kind in (*_BOOLEANS, _BYTE):
        _byte(file)
    elif kind in _INTEGERS:
        _integer(file)
    elif kind == _DOUBLE:
        file.seek(8, 1)
    elif kind == _BINARY:
        length = _varint(file)
        if length > _MOST_BYTES:
            raise ValueError("a page header has a text that is too long")
        file.seek(length, 1)
    elif kind == _STRUCT:
        _structure(file, depth + 1)
    elif kind in _LISTS:
        start = _byte(file)
        for _ in range(_varint(file) if start >> 4 == 15 else start >> 4):
            _pass(file, start & 15, depth + 1)
    elif kind == _MAP:
        count = _varint(file)
        kinds = _byte(file) if count else 0
        for _ in range(count):
            _pass(file, kinds >> 4, depth + 1)
            _pass(file, kinds & 15, depth + 1)
    else:
        raise ValueError("a page header has a value of an unknown kind")


def _integer(file: IO[bytes]) -> int:
    value = _varint(file)
    return -(value >> 1) - 1 if value & 1 else value >> 1


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 63, 7):
        byte = _byte(file)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise ValueError("a page header has a number of more than nine bytes")


def _byte(file: IO[bytes]) -> int:
    read = file.read(1)
    if not read:
        raise ValueError("a page header is beyond the end of the file")
    return read[0]
