"""Numbers that were computed before are read, and only where nothing has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import igan_zoo
from igan_zoo.models import store
from igan_zoo.serving.scoring.scores import ScoreOptions
from tests.serving.tiny_scorer import tiny_scorer


def test_the_same_numbers_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from igan_zoo.serving.scoring import scores

    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    random, results, computed = np.random.default_rng(0), scores.results, []
    for side in ("a", "b", "c"):
        np.save(tmp_path / f"{side}.npy", random.integers(0, 256, (60, 8, 8, 3), np.uint8))

    def noted(*arguments: Any, **how: Any) -> Any:
        computed.append(arguments[0])
        return results(*arguments, **how)

    def score(other: str = "b", **options: Any) -> dict[str, float]:
        found = igan_zoo.score(
            tmp_path / "a.npy",
            tmp_path / f"{other}.npy",
            metrics=("is", "fid", "kid"),
            scorer=str(tmp_path / "tiny.onnx"),
            options=ScoreOptions(**{"subset_size": 20, **options}),
        )
        return {name: record.value for name, record in found.items()}

    monkeypatch.setattr(scores, "results", noted)
    first = score()
    assert score() == first
    assert len(computed) == 1
    assert score(other="c") != first
    assert score(subset_size=30) != first
    assert score(cached=False) == first
    assert len(computed) == 4
    for path in (store.home() / "scores").glob("*.json"):
        path.write_bytes(b"[{")
    assert score() == first
    assert len(computed) == 5
