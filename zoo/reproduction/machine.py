"""What a report says of the machine and the versions it was made with."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec

from igan_zoo.machine.versions import installed_versions

_PACKAGES = ("igan-zoo", "torch", "onnxruntime", "numpy")
_CPU_FACTS = Path("/proc/cpuinfo")


class Machine(msgspec.Struct, frozen=True):
    """The machine that makes a report; runs that were given may come from another one."""

    processor: str
    cores: int
    memory_gib: float | None
    system: str
    versions: dict[str, str]


def describe_machine() -> Machine:
    """Returns what this machine is, as far as it says so."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=_memory(),
        system=f"{platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **installed_versions(_PACKAGES)},
    )


def _processor() -> str:
    if _CPU_FACTS.is_file():
        for line in _CPU_FACTS.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
