"""The lines of label files as spreadsheets and programs write them: their encoding, delimiter and header are found."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from igan_zoo.counts import counted
from igan_zoo.errors import DataError
from igan_zoo.images.findings import Finding, Findings
from igan_zoo.machine.files import open_regular

_LOG = logging.getLogger(__name__)
FILE_COLUMNS = (
    *("file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_name", "image_path"),
    *("image_id", "id"),
)
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category")
_DELIMITERS = ",;\t|"
# Of programs that mark an image without a label; an empty cell is one, too.
_NO_LABEL = {"nan", "<na>", "n/a", "null", "-1", "unlabeled", "unlabelled", "unknown"}
# Numbers of a column that pandas made floats for the sake of its gaps.
_FLOAT = re.compile(r"(-?\d+)\.0")
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class LabelLine:
    """What line ``number`` says: the ``label`` of an image by its ``name``, empty for none."""

    number: int
    name: str
    label: str


@dataclass(frozen=True)
class LabelLines:
    """The lines of a file that name an image, and the rows whose label means none."""

    lines: list[LabelLine]
    findings: tuple[Finding, ...]


def read_lines(path: Path) -> LabelLines:
    """Returns the lines of a file of labels but the first, which names the columns, and but empty ones.

    Raises:
        DataError: the file is missing, empty or no CSV, lacks a column, a line names no image, or gives it several
            labels.
    """
    findings = Findings()
    try:
        with open_regular(path) as file:
            text = _text(path, file.read())
        rows = _rows(text, _delimiter(text))
        _, header = next(rows, (0, []))
        file_column, label_column = (_column(path, header, names) for names in (FILE_COLUMNS, LABEL_COLUMNS))
        found = [_line(path, number, row, file_column, label_column, len(header)) for number, row in rows]
    except FileNotFoundError:
        raise DataError(f"There is no file of labels {path}.") from None
    except (OSError, UnicodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {str(error).rstrip('.')}.") from error
    if all(_FLOAT.fullmatch(line.label) or not _means_label(line.label) for line in found):
        found = [LabelLine(line.number, line.name, _FLOAT.sub(r"\1", line.label)) for line in found]
    lines = []
    for line in found:
        if line.label and not _means_label(line.label):
            findings.add("row", f" of {path.name} with the label {line.label}, which means none", line.name)
        lines.append(line if _means_label(line.label) else LabelLine(line.number, line.name, ""))
    return LabelLines(lines, findings.listed())


def _means_label(label: str) -> bool:
    return label != "" and label.lower() not in _NO_LABEL


def _text(path: Path, content: bytes) -> str:
    mark = next((mark for mark in _MARKS if content.startswith(mark)), None)
    try:
        return content.decode("utf-8" if mark is None else _MARKS[mark])
    except UnicodeDecodeError:
        if mark is not None or b"\0" in content:
            raise
        text = content.decode("cp1252")
        _LOG.warning("%s is not UTF-8; reading it as Windows-1252.", path)
        return text


def _delimiter(text: str) -> str:
    """Returns the delimiter by which the header has both columns, or else the most cells."""

    def fit(delimiter: str) -> tuple[bool, int]:
        try:
            _, header = next(_rows(text, delimiter), (0, []))
        except csv.Error:
            return False, 0
        names = {_plain(name) for name in header}
        return not (names.isdisjoint(FILE_COLUMNS) or names.isdisjoint(LABEL_COLUMNS)), len(header)

    return max(_DELIMITERS, key=fit)


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields number and stripped cells of every row that has any."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num, cells


def _column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    plain = [_plain(cell) for cell in header]
    for name in names:
        if name in plain:
            return plain.index(name)
    if not header:
        raise DataError(f"{path} is empty; its first line names the columns: file,label.")
    usual = " or ".join(names[:3])
    raise DataError(f"{path} has no column {usual}, but {', '.join(header)}; its first line names them: file,label.")


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _line(path: Path, number: int, row: list[str], file_column: int, label_column: int, columns: int) -> LabelLine:
    if len(row) <= max(file_column, label_column):
        raise DataError(f"Line {number} of {path} has {counted(len(row), 'column')}, not {columns}.")
    name, label = row[file_column], row[label_column]
    if not name:
        raise DataError(f"Line {number} of {path} names no image.")
    if ";" in label:
        raise DataError(f"Line {number} of {path} gives {name!r} several labels ({label}); an image has one.")
    return LabelLine(number, name, label)
