"""Contract 1: ``config.json`` is read strictly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from igan_zoo.errors import ModelDirectoryError, SpecificationError
from igan_zoo.models.spec import encode_spec, read_spec


def test_a_written_specification_reads_back_the_same(model: Path) -> None:
    content = (model / "config.json").read_bytes()
    assert encode_spec(read_spec(model / "config.json")) == content


def test_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelDirectoryError, match=r"has no config\.json"):
        read_spec(tmp_path / "config.json")


CHANGES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (lambda config: config.pop("name"), "missing required field `name`"),
    (lambda config: config.update(colour="red"), "unknown field `colour`"),
    (lambda config: config.update(format=2), "Invalid enum value 2"),
    (lambda config: config.update(name="../up"), "matching regex"),
    (lambda config: config["image"].update(channels=4), "Invalid enum value 4"),
    (lambda config: config["image"].update(height=0), "`int` >= 1"),
    (lambda config: config["latent"].update(distribution="cauchy"), "Invalid enum value 'cauchy'"),
    (lambda config: config.update(latent=None, classes=None), "a generator, a classifier or both"),
    (lambda config: config["files"].pop("onnx/generator.onnx"), "names no file onnx/generator.onnx"),
    (lambda config: config["files"].pop("parity.json"), "names no file parity.json"),
    (lambda config: config["files"]["README.md"].update(sha256="0"), "matching regex"),
    (lambda config: config["files"].update({"../x": config["files"]["README.md"]}), "does not stay inside"),
    (lambda config: config["files"].update({"/x": config["files"]["README.md"]}), "does not stay inside"),
    (lambda config: config["files"].update({"a/./b": config["files"]["README.md"]}), "does not stay inside"),
]


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[message for _, message in CHANGES])
def test_every_departure_is_refused_in_one_sentence(
    model: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    path = model / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(SpecificationError) as caught:
        read_spec(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1}'])
def test_what_is_not_a_specification_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(SpecificationError, match="not a valid model specification"):
        read_spec(tmp_path / "config.json")
