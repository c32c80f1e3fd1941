"""Pixels as they are stored: as torch-fidelity, pytorch-fid and clean-fid read files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import ScoringError
from igan_zoo.images.pixels import Shape
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import StoredImage, read
from igan_zoo.serving.scoring.conventions import compare_conventions
from igan_zoo.serving.scoring.network import open_network
from tests.serving.tiny_scorer import tiny_scorer

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images on their side, whose transparent half has a color."""
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x112] = 6
    for index in range(12):
        pixels = random.integers(0, 256, (6, 8, 4), np.uint8)
        pixels[:3, :, 3], pixels[3:, :, 3] = 0, 255
        Image.fromarray(pixels).save(folder / f"{index:02}.png", exif=exif)
    return folder


def plainly(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())]


def test_files_come_as_other_tools_read_them(folder: Path) -> None:
    source, shape = open_source(str(folder)), Shape(as_stored=True)
    for pixels, expected in zip(read(source, range(12), shape), plainly(folder), strict=True):
        np.testing.assert_array_equal(pixels, expected)
    (turned,) = read(source, [0])
    assert turned.shape == (8, 6, 3)
    assert (turned[:, 3:] == 0).all()
    content = next(folder.iterdir()).read_bytes()
    assert StoredImage("x", content).decode(Shape(1, as_stored=True)).shape == (6, 8, 1)
    array = np.zeros((2, 3, 3), np.uint8)
    assert StoredImage("x", array).decode(shape) is array


def test_the_score_is_that_of_the_plain_pixels_and_says_so(igan_zoo: Cli, folder: Path, tmp_path: Path) -> None:
    scorer = tmp_path / "tiny.onnx"
    scorer.write_bytes(tiny_scorer({"igan_zoo.scorer": "tiny", "igan_zoo.resize": "none"}))
    np.savez(tmp_path / "plain.npz", images=np.stack(plainly(folder)))

    def unsplit(*arguments: object) -> dict[str, object]:
        code, output, errors = igan_zoo("score", *arguments, "--scorer", scorer, "--splits", 1, "--format", "json")
        assert code == 0, errors
        return dict(json.loads(output.splitlines()[1]))

    plain, stored, turned = unsplit(tmp_path / "plain.npz"), unsplit(folder, "--as-stored"), unsplit(folder)
    assert stored["value"] == plain["value"] != turned["value"]
    assert (stored["resize"], turned["resize"]) == ("none, pixels as stored", "none")
    rows = compare_conventions(open_network(str(scorer)), open_source(str(folder))).rows
    (row,) = [row for row in rows if row.convention.as_stored]
    assert row.value != rows[0].value
    code, _, errors = igan_zoo("score", folder, folder, "--scorer", scorer, "--as-stored", "--format", "json")
    assert code == 0, errors


def test_a_classifier_of_the_zoo_always_turns_images(model: Path) -> None:
    with pytest.raises(ScoringError, match="--as-stored is for scorers"):
        open_network(str(model)).take_as_stored()
