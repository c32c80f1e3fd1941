"""A report: everything that was found out, as one record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from igan_zoo.machine.files import atomic_file
from igan_zoo.machine.processor import Machine
from igan_zoo.reproduction.cells import Cell, Group, Measured
from igan_zoo.reproduction.scores import Score


class TrainingRow(Struct, frozen=True):
    """One finished training or model behind the report; ``wrong`` of the test images, where it classifies."""

    path: str
    kind: str
    recipe: str
    departures: tuple[str, ...]
    labels: int
    seed: int
    subset: int
    members: int
    epochs: int
    seconds: float
    validation_error: float | None
    wrong: int | None
    command: str


class Report(Struct, frozen=True, kw_only=True):
    """The report of one table. ``pictures`` are names of files beside it, by what they show."""

    table: str
    title: str
    source: str
    metric: str
    remark: str
    note: str | None
    data: str
    test_images: int | None
    paper_test_images: int
    budget: str | None
    command: str
    made: str
    seconds: float
    machine: Machine
    threads: int | None
    cells: tuple[Cell, ...]
    trainings: tuple[TrainingRow, ...]
    mixed_ensembles: dict[str, dict[str, Measured]]
    scores: tuple[Score, ...]
    left_out: tuple[str, ...]
    pictures: dict[str, str]


def record(report: Report) -> dict[str, Any]:
    """Returns the report as JSON has it, with mean and deviation of every group beside its numbers."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    for cell, described in zip(report.cells, plain["cells"], strict=True):
        described["full_protocol"] = bool(cell.groups) and not cell.shortfalls
        described["ours"] = _summary(cell.groups[0]) if cell.groups else None
        for group, its in zip(cell.groups, described["groups"], strict=True):
            its |= _summary(group)
    return plain


def _summary(group: Group) -> dict[str, Any]:
    return {"mean": group.mean, "deviation": group.deviation, "numbers": len(group.measured)}


def write_report(out: Path, record: dict[str, Any], page: str) -> None:
    """Writes ``report.json`` and the same for people, ``report.md``.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    with atomic_file(out / "report.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    with atomic_file(out / "report.md") as temporary:
        temporary.write_text(page)
