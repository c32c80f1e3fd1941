"""What a report says of the machine and the versions it was made with."""

from __future__ import annotations

import os
import platform

import msgspec

from igan_zoo.machine.processor import processor
from igan_zoo.machine.versions import installed_versions

_PACKAGES = ("igan-zoo", "torch", "onnxruntime", "numpy")


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
        processor=processor().name,
        cores=os.cpu_count() or 1,
        memory_gib=_memory(),
        system=f"{platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **installed_versions(_PACKAGES)},
    )


def _memory() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
