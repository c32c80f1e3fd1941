"""One version everywhere: the package, the changelog, the citation and the images of the manifests."""

from __future__ import annotations

import re
import tomllib

import pytest

import igan_zoo
from tests.conftest import REPOSITORY

VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


def test_the_package_has_the_version_of_the_project() -> None:
    assert igan_zoo.__version__ == VERSION


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("CHANGELOG.md", r"^## ([\d.]+)$"),
        ("CITATION.cff", r"^version: (\S+)$"),
        ("deploy/kubernetes.yaml", r"image: igan-zoo:(\S+)$"),
        ("deploy/kserve.yaml", r"image: igan-zoo:(\S+)$"),
    ],
)
def test_files_name_the_version(file: str, pattern: str) -> None:
    match = re.search(pattern, (REPOSITORY / file).read_text(), flags=re.MULTILINE)
    assert match is not None
    assert match[1] == VERSION
