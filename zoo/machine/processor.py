"""Which processor and which machine this is, as far as the system says."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from igan_zoo.machine.versions import installed_versions

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


@dataclass(frozen=True)
class Machine:
    """What a report says of where it was made."""

    processor: str
    cores: int
    memory_gib: float | None
    system: str
    versions: dict[str, str]


def this_machine() -> Machine:
    """Returns what this machine is, with the versions of the packages that results depend on."""
    memory = None
    if hasattr(os, "sysconf"):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    packages = installed_versions(("igan-zoo", "torch", "onnxruntime", "numpy"))
    return Machine(
        processor=processor().name,
        cores=os.cpu_count() or 1,
        memory_gib=memory,
        system=f"{platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **packages},
    )
