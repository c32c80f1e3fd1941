"""Images and labels from parquet files as the Hub stores image data sets, a few rows in memory at a time."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import weakref
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DataError, ImageError, MissingExtraError, first_line, pip_install
from igan_zoo.images.files.decoding import MAX_ENCODED_BYTES
from igan_zoo.images.formats.parquet_pages import check_pages
from igan_zoo.images.hub_data import HubFile
from igan_zoo.images.stored import Content, Indices, LabeledSource
from igan_zoo.machine.files import reading, sha256_of

_ROWS_AT_ONCE = 64
_BYTES_AT_ONCE = 16 * 2**20
_BUFFER_BYTES = 2**20
_USUAL_NAMES = ("image", "img", "image_bytes", "jpg", "png")
_LABEL_COLUMNS = ("label", "labels", "class", "fine_label")
_PLAIN = re.compile(r"(large_)?string|bool|u?int\d+")
_UNREAD = -2


File = Path | HubFile


class ParquetSource(LabeledSource):
    """The rows of several parquet files, one behind the other.

    Rows are streamed inside a row group, since a file may be a single one: reading in ascending order is cheap, and a
    step back reads the row group from its start again. In memory are a page or two of the file (of 1024 rows each, as
    pyarrow writes them) and 64 rows, or as few as are sure to have less than 16 MiB. Labels are read by row groups.
    """

    def __init__(self, paths: Sequence[File], files: Sequence[Any], column: str, reference: str) -> None:
        super().__init__(reference)
        self.parts = tuple(paths)
        self._files, self._column = files, column
        self._is_struct = _holds_bytes(files[0].schema_arrow.field(column).type)
        self._label_column = ""
        self._numbers: dict[Any, int] = {}
        self._groups = [
            (path, file, group) for path, file in zip(paths, files, strict=True) for group in range(file.num_row_groups)
        ]
        self._starts = [0]
        for _, file, group in self._groups:
            self._starts.append(self._starts[-1] + file.metadata.row_group(group).num_rows)
        self._group, self._first = -1, 0
        self._rows: Any = ()
        self._batches: Iterator[Any] = iter(())
        # One thread reads ahead, and another may ask for labels.
        self._lock = threading.Lock()
        for file in files:
            weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return self._starts[-1]

    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        with self._lock:
            return [self._content(index, self._row(index)) for index in indices]

    def labels(self, indices: Indices) -> NDArray[np.int64]:
        if self._label_column:
            known = np.full(len(self), _UNREAD) if self._labels is None else self._labels
            where = np.asarray(indices, np.int64)
            groups = np.searchsorted(self._starts, where[known[where] == _UNREAD], side="right") - 1
            for number in np.unique(groups).tolist():
                known[self._starts[number] : self._starts[number + 1]] = self._group_labels(number)
            self._labels = known
        return super().labels(indices)

    def fingerprint(self) -> str:
        """Returns the sha256 over the sha256 of each file and the column that is read."""
        sums = [path.sum if isinstance(path, HubFile) else sha256_of(path) for path in self.parts]
        return hashlib.sha256("\n".join([self._column, *sums]).encode()).hexdigest()

    def add_labels(self, others: Sequence[File]) -> None:
        """Takes the labels from a column ClassLabel, else from one of strings or integers with a usual name.

        The classes are then the sorted values that the files ``others``, of the other splits, have as well.

        Raises:
            DataError: a file is damaged.
        """
        schema = self._files[0].schema_arrow
        for name, feature in _features(schema).items():
            names = feature.get("names")
            if feature.get("_type") == "ClassLabel" and isinstance(names, list) and name in schema.names:
                self._label_column, self.classes = name, tuple(map(str, names))
                self._numbers = {number: number for number in range(len(self.classes))}
                return
        name = next((name for name in _LABEL_COLUMNS if name in schema.names), "")
        if not _PLAIN.fullmatch(str(schema.field(name).type) if name else ""):
            return
        known = {value for file in self._files for value in _values(self.reference, file, name)}
        for path in others:
            with closing(_open_file(path)) as file:
                known |= set(_values(str(path), file, name)) if name in file.schema_arrow.names else set()
        self._numbers = {
            value: number
            for number, value in enumerate(sorted(known - {None}, key=lambda value: (isinstance(value, str), value)))
        }
        self._label_column, self.classes = name, tuple(map(str, self._numbers))

    def file_names(self) -> list[str]:
        """Returns the paths that are stored with the images, or else their numbers.

        Raises:
            DataError: a file is damaged.
        """
        paths: list[str | None] = [None] * len(self)
        if self._is_struct and self._files[0].schema_arrow.field(self._column).type.get_field_index("path") >= 0:
            paths = [path for file in self._files for path in _values(self.reference, file, f"{self._column}.path")]
        return [path or str(index) for index, path in enumerate(paths)]

    def _group_labels(self, number: int) -> list[int]:
        _, file, group = self._groups[number]
        with self._lock:
            values = _values(self.reference, file, self._label_column, group)
        known = {-1: -1, None: -1, **self._numbers}
        for index, value in enumerate(values, start=self._starts[number]):
            if value not in known:
                count = len(self.classes)
                raise DataError(
                    f"{self.name(index)} has the label {value}, but the data has {counted(count, 'class')}."
                )
        return [known[value] for value in values]

    def _row(self, index: int) -> Any:
        """Returns the bytes of a row as pyarrow has them, a scalar that is not copied yet."""
        try:
            self._go_to(index)
            row = self._rows[index - self._first]
            return row["bytes"] if row.is_valid and self._is_struct else row
        except Exception as error:
            raise DataError(f"{self.reference} is damaged at image {index}: {first_line(error)}") from error

    def _go_to(self, index: int) -> None:
        """Has the rows around ``index`` in memory."""
        group = bisect_right(self._starts, index) - 1
        if group != self._group or index < self._first:
            path, file, number = self._groups[group]
            self._group, self._first, self._rows = group, self._starts[group], ()
            chunks = _chunks(file.metadata.row_group(number), self._column)
            if isinstance(path, Path):
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
            return ImageError(f"{self.name(index)} is missing from the file: it has no bytes.")
        if buffer.size > MAX_ENCODED_BYTES:
            return ImageError(
                f"{self.name(index)} has {buffer.size:,} bytes; an image has at most {MAX_ENCODED_BYTES:,}."
            )
        return bytes(buffer)


def open_parquet(
    paths: Sequence[File],
    reference: str,
    *,
    labeled: bool = False,
    labels_file: Path | None = None,
    others: Sequence[File] = (),
) -> ParquetSource:
    """Opens parquet files of one split without reading their images.

    The images are in the column of the Hub's type Image, or in the only column that is a struct with the field
    ``bytes``, or else in the only one of bytes. ``labeled`` asks for labels, of ``labels_file`` or as ``add_labels``
    finds them; ``others`` are the files of the other splits.

    Raises:
        DataError: a file is missing, damaged, has no such column or several, there are no rows, or the file of labels
            is not as ``read_labels`` wants it.
        MissingExtraError: ``pyarrow`` is not installed.
    """
    files: list[Any] = []
    try:
        files.extend(map(_open_file, paths))
        columns = set()
        for path, file in zip(paths, files, strict=True):
            with _reading(path):
                columns.add(_image_column(path, file.schema_arrow))
        if len(columns) != 1:
            raise DataError(
                f"The files of {reference} have different names for their image column: {', '.join(columns)}."
            )
        if sum(file.metadata.num_rows for file in files) == 0:
            raise DataError(f"{reference} has no images: its files have no rows.")
    except BaseException:
        for file in files:
            file.close()
        raise
    source = ParquetSource(paths, files, columns.pop(), reference)
    if labels_file is not None:
        source.read_labels(labels_file, reference)
    elif labeled:
        source.add_labels(others)
    return source


def has_image_column(path: Path) -> bool:
    """Returns whether a parquet file is whole and has a column of images.

    Raises:
        MissingExtraError: ``pyarrow`` is not installed.
    """
    try:
        with closing(_open_file(path)) as file:
            return bool(_image_column(path, file.schema_arrow))
    except DataError:
        return False


def _open_file(path: File) -> Any:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise MissingExtraError(f"Reading parquet files needs the data extra: {pip_install('data')}.") from None
    with _reading(path):
        if isinstance(path, HubFile):
            # Neighboring columns of a row group come in one request.
            return parquet.ParquetFile(path.open(), pre_buffer=True)
        return parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)


def _reading(path: File) -> AbstractContextManager[None]:
    return reading(Path(str(path)), "a complete parquet file", DataError)


def _values(reference: str, file: Any, column: str, group: int | None = None) -> list[Any]:
    """Returns the values of a column of a file, or of one of its row groups."""
    groups = range(file.num_row_groups) if group is None else [group]
    try:
        table = file.read_row_groups(groups, columns=[column], use_threads=False)
        values: list[Any] = table.flatten().column(0).to_pylist()
        return values
    except Exception as error:
        raise DataError(f"{reference} is damaged in the column {column}: {first_line(error)}") from error


def _chunks(group: Any, column: str) -> list[Any]:
    """Returns the metadata of what a row group has of a column: its bytes and its paths."""
    chunks = [group.column(place) for place in range(group.num_columns)]
    return [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] == column]


def _rows_at_once(chunks: list[Any], num_rows: int, column: str) -> int:
    """Returns how many rows of a row group are read together.

    Rows that repeat each other may be in the file once, in a dictionary: any row may then be as large as the column.
    """
    size = max(1, sum(chunk.total_uncompressed_size for chunk in chunks))
    held = (column, f"{column}.bytes")
    repeated = any(chunk.has_dictionary_page for chunk in chunks if chunk.path_in_schema in held)
    rows = int(_BYTES_AT_ONCE * (1 if repeated else num_rows) // size)
    return max(1, min(_ROWS_AT_ONCE, rows))


def _image_column(path: File, schema: Any) -> str:
    structs = [field.name for field in schema if _holds_bytes(field.type)]
    typed = [name for name, feature in _features(schema).items() if feature.get("_type") == "Image" and name in structs]
    plain = [field.name for field in schema if str(field.type) in ("binary", "large_binary")]
    usual = [[name for name in _USUAL_NAMES if name in names] for names in (structs, plain)]
    for names in (typed, structs, usual[0]) if structs else (usual[1], plain):
        if len(names) == 1:
            return names[0]
    if found := structs or plain:
        raise DataError(f"{path} has several columns of images ({', '.join(found)}); keep one, or call it image.")
    raise DataError(
        f"{path} has no column of images, bytes or a struct with bytes and path, but {', '.join(schema.names)}."
    )


def _holds_bytes(kind: Any) -> bool:
    names = [kind.field(index).name for index in range(kind.num_fields)]
    return str(kind).startswith("struct<") and "bytes" in names and "binary" in str(kind.field("bytes").type)


def _features(schema: Any) -> dict[str, Any]:
    """Returns the Hub's types of the columns, which the metadata of a file may have."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
