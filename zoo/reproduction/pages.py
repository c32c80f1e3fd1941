"""A report's two files: a page for people, and the same for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from igan_zoo.machine.files import atomic_file


def write_pages(out: Path, record: dict[str, Any], markdown: str) -> None:
    """Writes ``report.json`` and ``report.md``.

    Raises:
        OutputError: ``out`` cannot be written.
    """
    with atomic_file(out / "report.json") as temporary:
        temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    with atomic_file(out / "report.md") as temporary:
        temporary.write_text(markdown)
