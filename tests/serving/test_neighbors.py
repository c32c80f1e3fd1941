"""Nearest training images: their definition, what is a near copy, and the command's folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.serving.neighbors import find_neighbors
from tests.serving.scoring.examples import some_features
from tests.serving.test_engine import scorer_graph

Cli = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("block", [1, 7, 100])
def test_the_nearest_are_those_of_all_distances(block: int) -> None:
    made, true = some_features(30, 6, 1), some_features(40, 6, 2)
    found = find_neighbors(made, true, block=block)
    # On the grid of 2⁻¹⁴, as the features are rounded.
    rounded = [np.rint(side.astype(np.float64) * 2**14) / 2**14 for side in (made, true)]
    distances = np.linalg.norm(rounded[0][:, None] - rounded[1], axis=2)
    order = np.argsort(distances, axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(found.nearest, order)
    np.testing.assert_allclose(found.distances, np.take_along_axis(distances, order, axis=1), rtol=1e-12)
    own = np.linalg.norm(rounded[1][:, None] - rounded[1], axis=2)
    np.fill_diagonal(own, np.inf)
    np.testing.assert_array_equal(found.copies, distances.min(axis=1) < own.min(axis=1)[order[:, 0]])
    assert 0 < found.copies.sum() < 30


def test_copies_are_found_and_distant_samples_are_none() -> None:
    true = some_features(50, 8, 3)
    assert find_neighbors(true[:9], true).copies.all()
    assert not find_neighbors(true[:9] + 100, true).copies.any()


def test_the_command_writes_a_sheet_and_lines_from_the_closest_on(igan_zoo: Cli, tmp_path: Path) -> None:
    """Sample 3 is training image 5, and one file does not decode."""
    random = np.random.default_rng(0)
    true = random.integers(0, 256, (12, 6, 6, 3), np.uint8)
    for folder in ("made", "true"):
        (tmp_path / folder).mkdir()
    for index, image in enumerate(true):
        Image.fromarray(image).save(tmp_path / "true" / f"{index:02}.png")
    for index in range(6):
        image = true[5] if index == 3 else random.integers(0, 30, (6, 6, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "made" / f"{index}.png")
    (tmp_path / "made" / "1.png").write_bytes(b"no image")
    (tmp_path / "toy.onnx").write_bytes(scorer_graph(["N", "H", "W", 3]))
    out = tmp_path / "out"
    command = ("neighbors", tmp_path / "made", "--reference", tmp_path / "true", "--scorer", tmp_path / "toy.onnx")
    code, output, errors = igan_zoo(*command, "--out", out, "--rows", 2)
    assert code == 0, errors
    assert output == "1 of 5 samples (20.0%) are near copies\n"
    lines = [json.loads(line) for line in (out / "neighbors.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    assert lines[0]["sample"].endswith("3.png")
    assert lines[0]["near_copy"]
    assert lines[0]["nearest"][0]["distance"] == 0
    assert lines[0]["nearest"][0]["image"].endswith("05.png")
    assert not any(line["near_copy"] or line["sample"].endswith("1.png") for line in lines[1:])
    with Image.open(out / "neighbors.png") as sheet:
        assert sheet.size[0] // 96 == 4
        assert sheet.size[1] // 96 == 2
    code, _, errors = igan_zoo(*command, "--out", out)
    assert code == 1
    assert "already exists" in errors
