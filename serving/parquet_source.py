"""Images to score from parquet files as the Hub stores image data sets, a few rows in memory at a time."""

from __future__ import annotations

import hashlib
import json
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from igan_zoo.errors import DataError, ImageError, MissingExtraError, first_line
from igan_zoo.images.parquet_pages import check_pages
from igan_zoo.machine.files import reading, sha256_of
from igan_zoo.serving.stored_images import MAX_ENCODED_BYTES, StoredImage, check_indices

_ROWS_AT_ONCE = 64
_BYTES_AT_ONCE = 16 * 2**20
_BUFFER_BYTES = 2**20
_USUAL_NAMES = ("image", "img")


class ParquetSource:
    """The rows of several parquet files, one behind the other.

    Rows are streamed inside a row group, since a file may be a single one: reading in ascending order is cheap, and a
    step back reads the row group from its start again. In memory are a page or two of the file (of 1024 rows each, as
    pyarrow writes them) and 64 rows, or as few as are sure to have less than 16 MiB.
    """

    encoded = True

    def __init__(self, paths: Sequence[Path], files: Sequence[Any], column: str, reference: str) -> None:
        self.paths, self.reference = tuple(paths), reference
        self._column = column
        self._groups = [
            (path, file, group) for path, file in zip(paths, files, strict=True) for group in range(file.num_row_groups)
        ]
        self._starts = [0]
        for _, file, group in self._groups:
            self._starts.append(self._starts[-1] + file.metadata.row_group(group).num_rows)
        self._group, self._first = -1, 0
        self._rows: Any = ()
        self._batches: Iterator[Any] = iter(())
        for file in files:
            weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return self._starts[-1]

    def name(self, index: int) -> str:
        return f"image {index} of {self.reference}"

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        check_indices(indices, len(self))
        return [StoredImage(self.name(index), self._content(index, self._row(index))) for index in indices]

    def fingerprint(self) -> str:
        """Returns the sha256 over the sha256 of each file and the column that is read."""
        sums = [sha256_of(path) for path in self.paths]
        return hashlib.sha256("\n".join([self._column, *sums]).encode()).hexdigest()

    def _row(self, index: int) -> Any:
        """Returns the bytes of a row as pyarrow has them, a scalar that is not copied yet."""
        try:
            self._go_to(index)
            row = self._rows[index - self._first]
            return row["bytes"] if row.is_valid else row
        except Exception as error:
            raise DataError(f"{self.reference} is damaged at image {index}: {first_line(error)}") from error

    def _go_to(self, index: int) -> None:
        """Has the rows around ``index`` in memory."""
        group = bisect_right(self._starts, index) - 1
        if group != self._group or index < self._first:
            path, file, number = self._groups[group]
            self._group, self._first, self._rows = group, self._starts[group], ()
            chunks = _chunks(file.metadata.row_group(number), self._column)
            for chunk in chunks:
                check_pages(path, chunk)
            rows = _rows_at_once(chunks, file.metadata.row_group(number).num_rows, self._column)
            self._batches = file.iter_batches(rows, row_groups=[number], columns=[self._column], use_threads=False)
        while index >= self._first + len(self._rows):
            self._first += len(self._rows)
            self._rows = ()
            batch = next(self._batches)
            if index < self._first + len(batch):
                self._rows = batch.column(0)
            else:
                self._first += len(batch)

    def _content(self, index: int, content: Any) -> bytes | ImageError:
        buffer = content.as_buffer() if content.is_valid else None
        if buffer is None:
            return ImageError(f"{self.name(index)} is not in the file: it has no bytes.")
        if buffer.size > MAX_ENCODED_BYTES:
            return ImageError(
                f"{self.name(index)} has {buffer.size:,} bytes; an image has at most {MAX_ENCODED_BYTES:,}."
            )
        return bytes(buffer)


def open_parquet(paths: Sequence[Path], reference: str) -> ParquetSource:
    """Opens parquet files of one data set without reading their images.

    The images are in the column of the Hub's type Image, or in the only column that is a struct with the field
    ``bytes``.

    Raises:
        DataError: a file is missing, damaged, has no such column or several, or there are no rows.
        MissingExtraError: ``pyarrow`` is not installed.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError("Reading parquet files needs the data extra: pip install 'igan-zoo[data]'.") from None

    files: list[Any] = []
    try:
        files.extend(_open_file(parquet, path) for path in paths)
        columns = set()
        for path, file in zip(paths, files, strict=True):
            with reading(path, "a whole parquet file", DataError):
                columns.add(_image_column(path, file.schema_arrow))
        if len(columns) != 1:
            raise DataError(f"The files of {reference} name their column of images differently: {', '.join(columns)}.")
        if sum(file.metadata.num_rows for file in files) == 0:
            raise DataError(f"{reference} has no images: its files have no rows.")
    except BaseException:
        for file in files:
            file.close()
        raise
    return ParquetSource(paths, files, columns.pop(), reference)


def _open_file(parquet: Any, path: Path) -> Any:
    with reading(path, "a whole parquet file", DataError):
        return parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _chunks(group: Any, column: str) -> list[Any]:
    """Returns the metadata of what a row group has of a column: its bytes and its paths."""
    chunks = [group.column(place) for place in range(group.num_columns)]
    return [chunk for chunk in chunks if chunk.path_in_schema.startswith(f"{column}.")]


def _rows_at_once(chunks: list[Any], num_rows: int, column: str) -> int:
    """Returns how many rows of a row group are read together.

    Rows that repeat each other may be in the file once, in a dictionary: any row may then be as large as the column.
    """
    size = max(1, sum(chunk.total_uncompressed_size for chunk in chunks))
    repeated = any(chunk.has_dictionary_page for chunk in chunks if chunk.path_in_schema == f"{column}.bytes")
    rows = int(_BYTES_AT_ONCE * (1 if repeated else num_rows) // size)
    return max(1, min(_ROWS_AT_ONCE, rows))


def _image_column(path: Path, schema: Any) -> str:
    structs = [field.name for field in schema if _holds_bytes(field.type)]
    typed = [name for name in _columns_of_hub_type(schema) if name in structs]
    usual = [name for name in _USUAL_NAMES if name in structs]
    for names in (typed, structs, usual):
        if len(names) == 1:
            return names[0]
    if structs:
        raise DataError(f"{path} has several columns of images ({', '.join(structs)}); keep one, or call it image.")
    raise DataError(f"{path} has no column of images, a struct with bytes and path, but {', '.join(schema.names)}.")


def _holds_bytes(kind: Any) -> bool:
    names = [kind.field(index).name for index in range(kind.num_fields)]
    return str(kind).startswith("struct<") and "bytes" in names and "binary" in str(kind.field("bytes").type)


def _columns_of_hub_type(schema: Any) -> list[str]:
    """Returns the columns that the metadata of ``datasets`` says are images."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return [name for name, feature in features.items() if feature.get("_type") == "Image"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
