"""A model directory is checked byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from igan_zoo.errors import ChecksumError, ModelDirectoryError
from igan_zoo.machine.files import sha256_of
from igan_zoo.models.directory import ModelDirectory


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_exported_directory_verifies(model: Path) -> None:
    assert ModelDirectory.open(model).verify() == []


@pytest.mark.parametrize(
    "name", ["onnx/classifier.onnx", "onnx/generator.onnx", "README.md", "parity.json", "samples.png"]
)
def test_one_flipped_bit_is_named_with_both_sums(model: Path, name: str) -> None:
    promised = sha256_of(model / name)
    flip_one_bit(model / name)
    directory = ModelDirectory.open(model)
    for check in (directory.verify, lambda: directory.read(name)):
        with pytest.raises(ChecksumError) as caught:
            check()
        for part in (name, promised, sha256_of(model / name)):
            assert part in str(caught.value)


def test_a_missing_file_is_named(model: Path) -> None:
    (model / "onnx" / "classifier.onnx").unlink()
    with pytest.raises(ModelDirectoryError, match=r"classifier\.onnx cannot be read"):
        ModelDirectory.open(model).verify()
    with pytest.raises(ModelDirectoryError, match=r"classifier\.onnx cannot be read"):
        ModelDirectory.open(model).read("onnx/classifier.onnx")


def test_a_file_too_many_is_named(model: Path) -> None:
    (model / "weights.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelDirectoryError, match=r"weights\.pkl is not named"):
        ModelDirectory.open(model).verify()


def test_training_weights_may_be_left_out_but_not_damaged(model: Path) -> None:
    flip_one_bit(model / "model.safetensors")
    with pytest.raises(ChecksumError):
        ModelDirectory.open(model).verify()
    (model / "model.safetensors").unlink()
    assert ModelDirectory.open(model).verify() == ["model.safetensors"]
