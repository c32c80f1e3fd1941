"""Printing records of scores: a table for people, lines of JSON or CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from igan_zoo.commands.terminal import table
from igan_zoo.errors import OutputError
from igan_zoo.machine.files import atomic_file

if TYPE_CHECKING:
    from igan_zoo.serving.scoring.protocols import Record


def print_records(records: Sequence[Record], form: str, out: Path | None) -> None:
    """Prints records as ``table``, ``json`` (one line each) or ``csv``, or writes them to ``out``."""
    text = {"table": _as_table, "json": _as_json, "csv": _as_csv}[form](records)
    if out is None:
        click.echo(text)
        return
    with atomic_file(out) as temporary:
        temporary.write_text(f"{text}\n")
    click.echo(f"{out}: {len(records)} numbers")


def refuse_existing(path: Path | None, force: bool) -> None:
    """Refuses to replace a file.

    Raises:
        OutputError: it is there, without ``force``.
    """
    if path is not None and path.exists() and not force:
        raise OutputError(f"{path} already exists; choose another file, or add --force to replace it.")


def _as_table(records: Sequence[Record]) -> str:
    labeled = any(record.label is not None for record in records)
    rows = [
        (
            *((record.label or "",) if labeled else ()),
            record.metric,
            record.protocol,
            record.quantity,
            _number(record.value),
            _number(record.standard_error),
            _number(record.deviation),
        )
        for record in records
    ]
    return table(
        [
            (
                *(("class",) if labeled else ()),
                "metric",
                "protocol",
                "quantity",
                "value",
                "standard error",
                "deviation",
            ),
            *rows,
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _as_json(records: Sequence[Record]) -> str:
    import msgspec

    return "\n".join(msgspec.json.encode(record).decode() for record in records)


def _as_csv(records: Sequence[Record]) -> str:
    import msgspec

    buffer = io.StringIO()
    rows = [msgspec.to_builtins(record) for record in records]
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "versions": json.dumps(row["versions"])} for row in rows)
    return buffer.getvalue().rstrip("\n")
