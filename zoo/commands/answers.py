"""Answers of a classifier as a table and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from igan_zoo.commands.terminal import print_table

if TYPE_CHECKING:
    from igan_zoo.serving.classifying import Classification


def print_answers(answers: Sequence[Classification]) -> None:
    """Prints a table of file, classes with probabilities, realness, and notes where there are some."""
    noted = any(answer.note for answer in answers)
    rows = [("file", "class and probability", "realness", *(["note"] if noted else []))]
    for answer in answers:
        shares = "  ".join(f"{name} {share:.4f}" for name, share in answer.classes)
        rows.append((answer.file, shares, f"{answer.realness:.4f}", *([answer.note or ""] if noted else [])))
    print_table(rows)


def print_answers_as_csv(answers: Sequence[Classification], top: int) -> None:
    """Prints CSV with a class and its probability for each of ``top``, then realness and note."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    most = max([min(top, len(answer.classes)) for answer in answers], default=1)
    names = [("class", "probability"), *((f"class_{place}", f"probability_{place}") for place in range(2, most + 1))]
    writer.writerow(["file", *(name for pair in names for name in pair), "realness", "note"])
    for answer in answers:
        shares = [value for name, share in answer.classes for value in (name, f"{share:.6f}")]
        writer.writerow([answer.file, *shares, f"{answer.realness:.6f}", answer.note or ""])
    click.echo(text.getvalue(), nl=False)
