"""CSV files of labels: one image a line, for folders whose names say nothing of classes."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DataError
from igan_zoo.images.findings import Finding
from igan_zoo.images.image_names import ImageNames
from igan_zoo.images.label_lines import FILE_COLUMNS, LABEL_COLUMNS, read_lines

_LOG = logging.getLogger(__name__)
_UNREADABLE = re.compile(r"^\s|\s$|[\r\n\0\ud800-\udfff]")


@dataclass(frozen=True)
class FileLabels:
    """The label of each image by its name, and the rows whose label means none."""

    labels: dict[str, str]
    findings: tuple[Finding, ...]


def is_labels_file(labels: str) -> bool:
    """Returns whether the ``--labels`` of a command name a file, and are no number."""
    return labels.lower().endswith(".csv")


def read_labels(path: Path, known: Collection[str], place: str) -> FileLabels:
    """Returns the label of each image that the CSV file ``path`` names; a line without a label names an image without.

    The first line names the columns: ``file`` (or filename, path, image, id and the like) and ``label`` (or class,
    category); others are ignored. ``known`` are the names of all images of the data, relative to ``place``. Names may
    differ in case, suffix, accents' encoding, kind of slash and in the folders before them where they mean one image.

    Raises:
        DataError: the file is not as ``read_lines`` wants it, names an image that is not known or one of several, gives
            one image two labels, or has classes that differ in case only.
    """
    found, names = read_lines(path), ImageNames(known)
    labels: dict[str, str] = {}
    written: dict[str, str] = {}
    for line in found.lines:
        where = f"Line {line.number} of {path}"
        file = names.find(line.name, where, place)
        plain = PurePosixPath(line.name.replace("\\", "/")).as_posix()
        if (other := written.setdefault(file, plain)) != plain:
            raise DataError(f"{where} names {line.name!r} and an earlier one {other!r}, which both mean {file}.")
        if (label := labels.setdefault(file, line.label)) != line.label:
            raise DataError(f"{where} labels {line.name!r} as {line.label!r}, an earlier one as {label!r}.")
    labels = {file: label for file, label in labels.items() if label}
    if not labels:
        raise DataError(f"{path} has no labels; give a line with file and label for each labeled image.")
    refuse_odd_classes(labels.values(), f"The labels of {path}")
    # Letters of the same look, composed or not, are nothing that a reader could see.
    composed = [(normalize("NFC", name), normalize("NFC", file)) for file, name in written.items()]
    if otherwise := [(name, file) for name, file in composed if name != file]:
        many = counted(len(otherwise), "name")
        _LOG.info("%s: %s written otherwise than in %s: %s is %s.", path, many, place, *otherwise[0])
    return FileLabels(labels, found.findings)


def labeled_lines(path: Path) -> dict[str, str]:
    """Returns the label of each image that the CSV file ``path`` labels, in its order, whatever images there are.

    Raises:
        DataError: the file is not as ``read_lines`` wants it.
    """
    return {PurePosixPath(line.name).as_posix(): line.label for line in read_lines(path).lines if line.label}


def write_labels(path: Path, rows: Iterable[Sequence[str]], hints: Sequence[str] = ()) -> None:
    """Writes a CSV file that ``read_labels`` reads: file, label, and columns of ``hints``, which it ignores.

    Raises:
        DataError: a file has a name that would not be read again.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((FILE_COLUMNS[0], LABEL_COLUMNS[0], *hints))
        for row in rows:
            if _UNREADABLE.search(row[0]):
                raise DataError(
                    f"A CSV file of labels cannot name {row[0]!r}: it begins or ends with a blank, or has a line break "
                    "or a letter that is not UTF-8; rename the file."
                )
            writer.writerow(row)


def number_labels(names: Sequence[str], labels: dict[str, str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Returns the label of each name, int64 ``[N]`` with -1 where there is none, and the classes: the sorted labels."""
    classes = sorted_classes(labels.values())
    index = {label: number for number, label in enumerate(classes)}
    return np.array([index[labels[name]] if name in labels else -1 for name in names], np.int64), classes


def sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the different names in their order: 2 before 10 where all are whole numbers, else by their letters."""
    found = set(names)
    if all(name.isascii() and name.isdigit() for name in found):
        return tuple(sorted(found, key=lambda name: (int(name), name)))
    return tuple(sorted(found))


def refuse_odd_classes(names: Iterable[str], who: str) -> None:
    """Refuses classes that differ in nothing but case, and names that are not UTF-8.

    Raises:
        DataError: there are such; the message begins with ``who``.
    """
    seen: dict[str, str] = {}
    for name in sorted(set(names)):
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise DataError(f"{who} have the name {name!r}, which is not UTF-8; rename it.")
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(f"{who} have the classes {other!r} and {name!r}, which differ only in case; use one name.")
