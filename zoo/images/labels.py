"""CSV files of labels: one image a line, for folders whose names say nothing of classes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError
from igan_zoo.machine.files import open_regular

_FILE_COLUMNS = ("file", "filename", "path", "image")
_LABEL_COLUMNS = ("label", "class")
_UNREADABLE = re.compile(r"^\s|\s$|[\r\n\0\ud800-\udfff]")


def is_labels_file(labels: str) -> bool:
    """Returns whether the ``--labels`` of a command name a file, and are no number."""
    return labels.lower().endswith(".csv")


def read_labels(path: Path, known: Collection[str], place: str) -> dict[str, str]:
    """Returns the label of each image that the CSV file ``path`` names; a line with an empty label has none.

    The first line names the columns: ``file`` (or filename, path, image) and ``label`` (or class); others are ignored.
    ``known`` are the names of all images of the data, relative to ``place``.

    Raises:
        DataError: the file is missing, empty or no CSV in UTF-8, lacks a column, names an image that is not known, or
            gives one image two labels.
    """
    labels: dict[str, str] = {}
    for line, name, label in _lines(path):
        file = PurePosixPath(name).as_posix()
        if file not in known:
            raise DataError(f"Line {line} of {path} names {name!r}, but there is no such PNG or JPEG image in {place}.")
        if labels.setdefault(file, label) != label:
            raise DataError(f"Line {line} of {path} labels {name!r} as {label!r}, an earlier one as {labels[file]!r}.")
    if not any(labels.values()):
        raise DataError(f"{path} has no labels; give a line with file and label for each labeled image.")
    return {file: label for file, label in labels.items() if label}


def labeled_lines(path: Path) -> dict[str, str]:
    """Returns the label of each image that the CSV file ``path`` labels, in its order, whatever images there are.

    Raises:
        DataError: the file is missing, empty or no CSV in UTF-8, or lacks a column.
    """
    return {PurePosixPath(name).as_posix(): label for _, name, label in _lines(path) if label}


def write_labels(path: Path, rows: Iterable[Sequence[str]], hints: Sequence[str] = ()) -> None:
    """Writes a CSV file that ``read_labels`` reads: file, label, and columns of ``hints``, which it ignores.

    Raises:
        DataError: a file has a name that would not be read again.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((_FILE_COLUMNS[0], _LABEL_COLUMNS[0], *hints))
        for row in rows:
            if _UNREADABLE.search(row[0]):
                raise DataError(
                    f"A CSV file of labels cannot name {row[0]!r}: it begins or ends with a blank, or has a line break "
                    "or a letter that is not UTF-8; rename the file."
                )
            writer.writerow(row)


def number_labels(names: Sequence[str], labels: dict[str, str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Returns the label of each name, int64 ``[N]`` with -1 where there is none, and the classes: the sorted labels."""
    classes = tuple(sorted(set(labels.values())))
    index = {label: number for number, label in enumerate(classes)}
    return np.array([index[labels[name]] if name in labels else -1 for name in names], np.int64), classes


def _lines(path: Path) -> list[tuple[int, str, str]]:
    """Returns line number, file and label of every line but the first."""
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            file_column = _column(path, header, _FILE_COLUMNS)
            label_column = _column(path, header, _LABEL_COLUMNS)
            rows = []
            for row in reader:
                if not row:
                    continue
                if len(row) <= max(file_column, label_column):
                    raise DataError(f"Line {reader.line_num} of {path} has {len(row)} columns, not {len(header)}.")
                rows.append((reader.line_num, row[file_column].strip(), row[label_column].strip()))
            return rows
    except FileNotFoundError:
        raise DataError(f"There is no file of labels {path}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {str(error).rstrip('.')}.") from error


def _column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    if not any(header):
        raise DataError(f"{path} is empty; its first line names the columns: file,label.")
    raise DataError(f"{path} has no column {' or '.join(names)}; it has {', '.join(header)}.")
