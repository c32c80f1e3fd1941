"""Printing results: JSON and tables to stdout, durations to stderr."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import click


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of equally many cells in columns as wide as their widest cell."""
    click.echo(table(rows))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of equally many cells in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]))
    return "\n".join(lines)


def print_seconds_since(began: float) -> None:
    """Prints the time since ``began``, a value of ``time.perf_counter()``."""
    click.echo(f"{time.perf_counter() - began:.1f} s", err=True)
