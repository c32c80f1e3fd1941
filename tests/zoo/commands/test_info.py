"""What ``info`` says of a single ONNX file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from igan_zoo.models.interface import SCORER_KEY
from tests.conftest import REPOSITORY
from tests.serving.tiny_scorer import tiny_scorer

BUNDLED = REPOSITORY / "zoo" / "bundled" / "mnist-ssl" / "onnx"
Run = Callable[..., tuple[int, str, str]]


def table(text: str) -> list[tuple[str, str]]:
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines()]


def test_a_classifier_names_its_classes(igan_zoo: Run) -> None:
    code, said, _ = igan_zoo("info", BUNDLED / "classifier.onnx")
    assert code == 0
    rows = table(said)
    assert ("role", "classifier") in rows
    assert ("takes", "images [N, 28, 28, 1]") in rows
    assert [value for key, value in rows if key == "gives"] == [
        "logits [N, 10]",
        "probabilities [N, 10]",
        "realness [N]",
    ]
    assert ("classes", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9") in rows
    assert ("size", f"{(BUNDLED / 'classifier.onnx').stat().st_size:,} bytes") in rows


def test_a_scorer_takes_any_size_and_json_has_the_same(tmp_path: Path, igan_zoo: Run) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_scorer({SCORER_KEY: "mine"}))
    code, said, _ = igan_zoo("info", path, "--json")
    assert code == 0
    facts = json.loads(said)
    assert facts["role"] == "scorer"
    assert facts["input"] == {"images": ["N", "H", "W", 3]}
    assert facts["outputs"] == {"features": ["N", 3], "logits": ["N", 3]}
    assert facts["metadata"] == {"scorer": "mine"}
    assert facts["bytes"] == path.stat().st_size


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_another_file_is_one_sentence(tmp_path: Path, igan_zoo: Run, content: bytes) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    code, _, errors = igan_zoo("info", path)
    assert code == 1
    assert "x.onnx is neither a generator, a classifier nor a scorer" in errors
