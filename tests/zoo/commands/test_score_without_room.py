"""Statistics are kept for another time where they can be; where not, the score is printed all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(("home", "save_every"), [("/proc/none", 0), ("/proc/none", 30), ("/etc/passwd", 30)])
def test_a_score_is_printed_where_nothing_can_be_kept(
    home: str, save_every: float, tmp_path: Path, igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "x.npz", images=np.random.default_rng(0).integers(0, 256, (500, 28, 28, 1), np.uint8))
    command = ["score", tmp_path / "x.npz", "--scorer", "mnist-ssl", "--save-every", save_every, "--format", "csv"]
    code, expected, _ = igan_zoo(*command, "--no-cache")
    assert code == 0
    monkeypatch.setenv("IGAN_ZOO_HOME", home)
    code, said, errors = igan_zoo(*command)
    assert code == 0
    assert said.split(",")[:12] == expected.split(",")[:12]
    assert f"The statistics were not cached: Cannot write {home}/scores" in errors
    assert errors.count("not cached") <= 2


def test_an_output_that_cannot_be_written_is_an_error(tmp_path: Path, igan_zoo: Cli) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((20, 28, 28, 1), np.uint8))
    command = ["score", tmp_path / "x.npz", "--scorer", "mnist-ssl", "--splits", 1, "--save-statistics"]
    code, said, errors = igan_zoo(*command, "/proc/none/x.safetensors")
    assert (code, said) == (1, "")
    assert "Cannot write /proc/none/x.safetensors" in errors
