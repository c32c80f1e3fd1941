"""Which class is taken for which: the confusion matrix as numbers, as a table and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CELL, _MARGIN, _LONGEST = 46, 10, 24
# Of more classes the cells are small, without numbers and names.
_MOST_NAMED, _SMALL_CELL = 40, 6
_WHITE, _RIGHT, _WRONG = (255.0, 255.0, 255.0), (90.0, 130.0, 185.0), (209.0, 96.0, 61.0)


@dataclass(frozen=True)
class ClassErrors:
    """How many of the ``images`` of a class are ``wrong``, and the class that they are most often taken for."""

    name: str
    images: int
    wrong: int
    taken_for: str | None
    times: int

    @property
    def error(self) -> float:
        """The share of wrong answers, 0 to 1."""
        return self.wrong / self.images


def confusion_matrix(labels: NDArray[np.int64], answers: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Returns how often which label (row) got which answer (column), int64 ``[K, K]``."""
    counts: NDArray[np.int64] = np.bincount(labels * classes + answers, minlength=classes * classes)
    return counts.reshape(classes, classes)


def errors_by_class(matrix: NDArray[np.int64], classes: Sequence[str]) -> list[ClassErrors]:
    """Returns images and errors of every class that has images, in the order of the classes."""
    rows = []
    for number, name in enumerate(classes):
        images, right = int(matrix[number].sum()), int(matrix[number, number])
        others = matrix[number].copy()
        others[number] = 0
        most = int(others.argmax())
        times = int(others[most])
        if images:
            rows.append(ClassErrors(name, images, images - right, classes[most] if times else None, times))
    return rows


def write_confusion(path: Path, matrix: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Writes the matrix as CSV: a row for each label, a column for each answer."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", *classes])
        writer.writerows([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))


def draw_confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.uint8]:
    """Returns a picture of the matrix, uint8 ``[H, W, 3]``: a cell is the darker, the larger its share of the row.

    Right answers are blue, wrong ones red. Rows are labels and columns answers, with names where there are at most 40.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    paint = np.where(np.eye(len(classes), dtype=bool)[..., None], _RIGHT, _WRONG)
    # The root, or the few errors of a good classifier would be as white as none.
    cells = _WHITE + (paint - _WHITE) * np.sqrt(shares)[..., None]
    named = len(classes) <= _MOST_NAMED
    side = _CELL if named else _SMALL_CELL
    squares = np.repeat(np.repeat(cells.round().astype(np.uint8), side, axis=0), side, axis=1)
    return _with_names(squares, matrix, classes) if named else squares


def _with_names(squares: NDArray[np.uint8], matrix: NDArray[np.int64], classes: Sequence[str]) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=13)
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in classes]
    room = round(max(font.getlength(name) for name in names)) + 2 * _MARGIN
    left = top = room + 20
    picture = Image.new("RGB", (left + len(squares) + _MARGIN, top + len(squares) + _MARGIN), "white")
    picture.paste(Image.fromarray(squares), (left, top))
    draw = ImageDraw.Draw(picture)
    for number, name in enumerate(names):
        middle = top + number * _CELL + _CELL // 2
        draw.text((left - _MARGIN, middle), name, fill="#222222", font=font, anchor="rm")
        # Pillow writes along a line only: the name is drawn on a strip of its own and turned.
        strip = Image.new("RGB", (room, _CELL), "white")
        ImageDraw.Draw(strip).text((_MARGIN, _CELL // 2), name, fill="#222222", font=font, anchor="lm")
        picture.paste(strip.transpose(Image.Transpose.ROTATE_90), (left + number * _CELL, top - room))
        for other in range(len(names)):
            if count := int(matrix[number, other]):
                place = (left + other * _CELL + _CELL // 2, middle)
                draw.text(place, f"{count}", fill="#222222", font=font, anchor="mm")
    draw.text((_MARGIN, top - _MARGIN), "label", fill="#777777", font=font, anchor="ls")
    draw.text((left, 4), "answer", fill="#777777", font=font, anchor="la")
    return np.asarray(picture, np.uint8)
