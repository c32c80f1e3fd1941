"""A real Ray of a test's own."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

TOO_BUSY = "needs a machine that is less busy: Ray gives its own processes 30 seconds to start, and no longer"


@contextmanager
def local_ray(cpus: int) -> Iterator[None]:
    """Starts Ray on this machine, whatever other Ray runs here."""
    ray = pytest.importorskip("ray", reason="needs the ray extra")
    _start(ray, cpus)
    try:
        yield
    finally:
        ray.shutdown()


def _start(ray: Any, cpus: int) -> None:
    for _ in range(3):
        try:
            ray.init("local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="error")
            return
        except Exception as error:
            # Of one of its processes or another.
            if "timed out" not in str(error).lower():
                raise
        with warnings.catch_warnings():
            # Ray forgets the processes of a start that failed.
            warnings.simplefilter("ignore", ResourceWarning)
            ray.shutdown()
            gc.collect()
    pytest.skip(TOO_BUSY)
