"""An evaluation as people and programs read it: tables, JSON, and a folder of files."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from igan_zoo.evaluation.confusion import draw_confusion, write_confusion
from igan_zoo.evaluation.evaluation import Evaluation
from igan_zoo.images.pixels import encode_png
from igan_zoo.machine.files import atomic_directory


def class_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Returns a table of the errors of every class, with a head."""
    rows = [
        (
            row.name,
            str(row.images),
            str(row.wrong),
            f"{row.error:.2%}",
            f"{row.taken_for} ({row.times})" if row.taken_for is not None else "-",
        )
        for row in evaluation.by_class
    ]
    return [("class", "images", "errors", "share", "most often taken for"), *rows]


def calibration_sentence(evaluation: Evaluation) -> str:
    """Returns a line on how far the probabilities can be believed."""
    found = evaluation.calibration
    said = f"calibration: probabilities are off by {found.error:.2%} on average"
    if found.temperature is None or found.error_at_temperature is None:
        return said
    return (
        f"{said}; at temperature {found.temperature:.2f}, fitted on these images, by {found.error_at_temperature:.2%} "
        f"(export --temperature {found.temperature:.2f} makes it the model's own)"
    )


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Returns all that is known as JSON takes it."""
    calibration = evaluation.calibration
    return {
        "wrong": evaluation.wrong,
        "total": evaluation.total,
        "classes": [
            {"name": row.name, "images": row.images, "wrong": row.wrong, "taken_for": row.taken_for, "times": row.times}
            for row in evaluation.by_class
        ],
        "confusion": {"classes": list(evaluation.classes), "counts": evaluation.confusion.tolist()},
        "calibration": {
            "expected_calibration_error": calibration.error,
            "temperature": calibration.temperature,
            "error_at_temperature": calibration.error_at_temperature,
        },
        "wrong_files": [asdict(row) for row in evaluation.wrong_files],
    }


def write_report(out: Path, evaluation: Evaluation, *, replace: bool = False) -> None:
    """Writes ``confusion.png``, ``confusion.csv`` and ``wrong.csv`` into the folder ``out``, whole or not at all.

    Raises:
        OutputError: ``out`` exists, without ``replace``, or cannot be written.
    """
    with atomic_directory(out, replace=replace) as folder:
        write_confusion(folder / "confusion.csv", evaluation.confusion, evaluation.classes)
        with (folder / "confusion.png").open("wb") as file:
            encode_png(file, draw_confusion(evaluation.confusion, evaluation.classes))
        with (folder / "wrong.csv").open("w", encoding="utf-8", errors="backslashreplace", newline="") as text:
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(["file", "label", "answer", "probability", "probability_of_label"])
            for row in evaluation.wrong_files:
                shares = f"{row.probability:.4f}", f"{row.label_probability:.4f}"
                writer.writerow([row.file, row.label, row.answer, *shares])
