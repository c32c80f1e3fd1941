"""Scores of each class: those of its images alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import igan_zoo as zoo
from igan_zoo.errors import DataError, ScoringError
from igan_zoo.serving.scoring.scores import ScoreOptions
from tests.serving.tiny_scorer import tiny_scorer

Cli = Callable[..., tuple[int, str, str]]
CLASSES = ("0", "1")


def images(count: int, seed: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    return (random.integers(0, 200, (count, 1, 1, 3)) + random.integers(0, 56, (count, 5, 4, 3))).astype(np.uint8)


@pytest.fixture
def scorer(tmp_path: Path) -> str:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    return str(tmp_path / "tiny.onnx")


@pytest.fixture
def sides(tmp_path: Path) -> dict[str, dict[str, NDArray[np.uint8]]]:
    """Two labeled files, mixed and of other sizes, and the images of each class in them."""
    made = {}
    for seed, (side, counts) in enumerate({"ours": (30, 20), "theirs": (25, 40)}.items()):
        order = np.random.default_rng(seed).permutation(np.repeat([0, 1], counts))
        pixels = images(len(order), seed)
        np.savez(tmp_path / f"{side}.npz", images=pixels, labels=order)
        made[side] = {name: pixels[order == label] for label, name in enumerate(CLASSES)}
    return made


def test_a_class_has_the_score_of_its_images_alone(
    sides: dict[str, dict[str, NDArray[np.uint8]]], scorer: str, tmp_path: Path
) -> None:
    options = ScoreOptions(per_class=True, splits=2)
    files = tmp_path / "ours.npz", tmp_path / "theirs.npz"
    scores = zoo.score(*files, metrics=("is", "fid", "kid"), scorer=scorer, options=options)
    assert scores.images == 50
    for name in CLASSES:
        ours, theirs = sides["ours"][name], sides["theirs"][name]
        alone = zoo.score(
            ours, theirs, metrics=("is", "fid", "kid"), scorer=scorer, options=ScoreOptions(splits=2, subset_size=20)
        )
        expected = {record.quantity + record.protocol: record.value for record in alone.records}
        found = {record.quantity + record.protocol: record.value for record in scores.records if record.label == name}
        assert found == expected
    assert "is30 0" in scores
    assert [record.label for record in scores.records] == sorted(str(record.label) for record in scores.records)


def test_the_command_prints_a_line_for_each_class(
    sides: dict[str, dict[str, NDArray[np.uint8]]], igan_zoo: Cli, scorer: str, tmp_path: Path
) -> None:
    command = ("score", tmp_path / "ours.npz", tmp_path / "theirs.npz", "--scorer", scorer, "--per-class")
    code, output, errors = igan_zoo(*command)
    assert code == 0, errors
    assert [line.split()[0] for line in output.splitlines()] == ["class", *CLASSES]
    lines = [json.loads(line) for line in igan_zoo(*command, "--format", "json")[1].splitlines()]
    assert [(line["label"], line["images"]) for line in lines] == [("0", 30), ("1", 20)]
    assert igan_zoo(*command, "--n", "5")[0] == 2


@pytest.mark.usefixtures("sides")
def test_what_has_no_such_classes_is_refused(scorer: str, tmp_path: Path) -> None:
    options, ours = ScoreOptions(per_class=True, splits=2), tmp_path / "ours.npz"
    np.savez(tmp_path / "bare.npz", images=images(9, 0))
    with pytest.raises(DataError, match=r"bare\.npz\[images\] has no labels"):
        zoo.score(tmp_path / "bare.npz", scorer=scorer, options=options)
    np.savez(tmp_path / "one.npz", images=images(9, 0), labels=[0] * 9)
    with pytest.raises(
        DataError, match=r"one\.npz\[images\] has no images of the class '1', which .* has; it has: 0\."
    ):
        zoo.score(ours, tmp_path / "one.npz", scorer=scorer, options=options)
    with pytest.raises(ScoringError, match="need stored images with labels"):
        zoo.score("mnist-ssl", scorer=scorer, options=options)
    with pytest.raises(ScoringError, match="20 images cannot be divided into 25 splits"):
        zoo.score(ours, scorer=scorer, options=ScoreOptions(per_class=True, splits=25))
