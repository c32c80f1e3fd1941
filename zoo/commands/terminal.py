"""Printing: results as JSON and tables to stdout; durations, and what the library logs, to stderr."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from igan_zoo.errors import printable


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of equally many cells in columns as wide as their widest cell."""
    click.echo(table(rows))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows of equally many cells in columns as wide as their widest cell; control characters are escaped."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]))
    return "\n".join(lines)


def print_seconds_since(began: float) -> None:
    """Prints the time since ``began``, a value of ``time.perf_counter()``."""
    click.echo(f"{time.perf_counter() - began:.1f} s", err=True)


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Shows what the library logs, from INFO on, as plain lines while a command runs."""
    logger, handler = logging.getLogger("igan_zoo"), _Lines()
    level = logger.level
    logger.setLevel(logging.INFO)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        logger.setLevel(level)


class _Lines(logging.Handler):
    """Writes records of this package to stderr; those of other libraries as the default handler does, from WARNING."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING or record.name.startswith("igan_zoo"):
            said = self.format(record)
            click.echo(said if record.exc_info else printable(said), err=True)
