"""Which processor this is, as far as the system says."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

_FACTS = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Processor:
    """Its name, and the flags of its instructions as Linux names them; no flags on other systems."""

    name: str
    flags: frozenset[str]


def processor() -> Processor:
    """Returns what this machine says of its first core."""
    fields: dict[str, str] = {}
    try:
        lines = _FACTS.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return Processor(name, frozenset(fields.get("flags", fields.get("Features", "")).split()))
