"""The self-check: this installation computes the stored figures, and a fault anywhere shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from igan_zoo.serving.scorers import self_check as module
from igan_zoo.serving.scorers.self_check import self_check
from igan_zoo.serving.scoring.network import Network

Cli = Callable[..., tuple[int, str, str]]


def test_the_stored_figures_are_this_installations(igan_zoo: Cli) -> None:
    code, output, _ = igan_zoo("score", "--self-check")
    assert code == 0
    rows = [line.split() for line in output.splitlines()[1:]]
    assert len(rows) == len(module.EXPECTED)
    assert {row[-1] for row in rows} == {"ok"}


def test_other_pixels_or_features_are_found(igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Network.answer
    monkeypatch.setattr(Network, "answer", lambda *given: tuple(part * np.float32(1.01) for part in plain(*given)))
    wrong = {figure.name for figure in self_check() if not figure.right}
    assert {"is60 split mean", "fd60 distance", "kd60 distance", "fd-inf60 extrapolated"} <= wrong
    code, output, errors = igan_zoo("score", "--self-check")
    assert code == 1
    assert "WRONG" in output
    assert "do not trust this installation's scores" in errors
