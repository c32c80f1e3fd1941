"""How much of the machine is ours."""

from __future__ import annotations

import os
from pathlib import Path

_CONTAINER_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def cores() -> int:
    """Returns how many cores this process may use: by its affinity (``taskset``) and by its container's limit."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, _container_limit(_CONTAINER_LIMIT) or allowed)


def _container_limit(file: Path) -> int | None:
    """Returns how many cores the time that a container gets comes to, rounded up; None where there is no limit."""
    try:
        quota, period = file.read_text().split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        # No such file outside of version 2 control groups; without a limit the quota is "max".
        return None
