"""A short run of benchmarks/soak.py: many clients, a third of them hostile."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import REPOSITORY


def test_hostile_clients_break_nothing_and_every_good_answer_is_right() -> None:
    command = [sys.executable, REPOSITORY / "benchmarks" / "soak.py", "--requests", 300, "--hostile", 0.3]
    result = subprocess.run([*map(str, command), "--clients", "8"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 wrong; memory is flat" in result.stdout
