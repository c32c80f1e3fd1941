"""Programs that we did not write, each in an environment of its own, which ``make environments`` makes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Names the folder of the environments; environments.mk says what is in each.
VARIABLE = "IGAN_ZOO_ENVIRONMENTS"


def is_here(name: str) -> bool:
    """Says whether an environment was made."""
    return VARIABLE in os.environ and (Path(os.environ[VARIABLE]) / name / ".installed").exists()


def environment(name: str) -> Path:
    """Returns the folder of an environment, or skips the test where it was not made."""
    if not is_here(name):
        pytest.skip(f"needs the environment {name}: make test-everything")
    return Path(os.environ[VARIABLE]) / name


def python_of(name: str) -> str:
    """Returns the Python of an environment, or skips the test where it was not made."""
    return str(environment(name) / "bin" / "python")
