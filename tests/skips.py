"""Fails tests that are skipped, but for those that a list accepts: a file that IGAN_ZOO_ACCEPTED_SKIPS names."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest

VARIABLE = "IGAN_ZOO_ACCEPTED_SKIPS"

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@cache
def accepted_skips(path: str) -> list[dict[str, str]]:
    """Returns the entries of a list: ``tests``, ``reason`` (how they begin) and ``why`` this is accepted."""
    return list(tomllib.loads(Path(path).read_text())["skip"])


def without_skips(report: Report) -> Report:
    """Turns a skip that is not listed into a failure, where a list is named."""
    if VARIABLE in os.environ and report.skipped and not hasattr(report, "wasxfail"):
        assert isinstance(report.longrepr, tuple)
        reason = report.longrepr[2].removeprefix("Skipped: ")
        listed = accepted_skips(os.environ[VARIABLE])
        if not any(report.nodeid.startswith(one["tests"]) and reason.startswith(one["reason"]) for one in listed):
            report.outcome = "failed"
            report.longrepr = f"Skipped ({reason}), which {os.environ[VARIABLE]} does not accept."
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return without_skips((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return without_skips((yield))
