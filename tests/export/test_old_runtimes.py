"""The published graphs in the oldest onnxruntime that they are for, and in the oldest that the package takes."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from igan_zoo.models.directory import ModelDirectory
from tests.conftest import REPOSITORY
from tests.export.runtimes import OLD_RUNTIMES, check_runtimes, old_runtime

PUBLISHED = sorted(path.parent.name for path in (REPOSITORY / "models").glob("*/config.json"))


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("runtime", OLD_RUNTIMES)
def test_a_published_model_answers_in_an_old_runtime(name: str, runtime: str, tmp_path: Path) -> None:
    directory = ModelDirectory.open(REPOSITORY / "models" / name)
    check_runtimes({runtime: partial(old_runtime, name=runtime)}, directory, tmp_path)


def test_the_old_runtimes_are_those_that_we_name() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (asked,) = [one for one in map(Requirement, extras["cpu"]) if one.name == "onnxruntime"]
    assert str(asked.specifier) == f">={OLD_RUNTIMES[1].removeprefix('onnxruntime-')}"
    assert "onnxruntime 1.17 or later" in (REPOSITORY / "docs" / "graphs.md").read_text()
