"""Numbers that were computed before are read, and only where nothing has changed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import igan_zoo
from igan_zoo.models import store
from igan_zoo.serving import engine
from igan_zoo.serving.scoring.network import open_network
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


def test_the_scorer_is_loaded_only_where_images_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    random, load, loaded = np.random.default_rng(0), engine._session, []
    for side in ("a", "b"):
        np.save(tmp_path / f"{side}.npy", random.integers(0, 256, (60, 8, 8, 3), np.uint8))

    def noted(*arguments: Any) -> Any:
        loaded.append(arguments[0])
        return load(*arguments)

    def score(side: str, **options: Any) -> tuple[float, int]:
        loaded.clear()
        how = ScoreOptions(**options)
        found = igan_zoo.score(tmp_path / f"{side}.npy", scorer=str(tmp_path / "tiny.onnx"), options=how)
        return found["is60"].value, len(loaded)

    monkeypatch.setattr(engine, "_session", noted)
    first, times = score("a")
    assert times == 1
    assert score("a") == (first, 0)
    assert score("a", cached=False) == (first, 1)
    other, times = score("b")
    assert times == 1
    assert score("b", cached=False) == (other, 1)
    for path in (store.home() / "scores").glob("*.json"):
        path.write_bytes(b"[{")
    assert score("a") == (first, 1)


def test_threads_load_a_known_scorer_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    reference = str(tmp_path / "tiny.onnx")
    expected = open_network(reference, remembered=True).answer(images)
    load, loaded = engine._session, []

    def noted(*arguments: Any) -> Any:
        loaded.append(arguments[0])
        return load(*arguments)

    monkeypatch.setattr(engine, "_session", noted)
    network = open_network(reference, threads=1, remembered=True)
    with ThreadPoolExecutor(4) as pool:
        for answers in pool.map(lambda _: network.answer(images), range(8)):
            np.testing.assert_array_equal(answers[0], expected[0])
    assert loaded == ["scorer"]
