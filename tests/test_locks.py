"""The locks in ``deploy/locks``: whole, hashed, of the versions of ``constraints.txt``, and what is installed."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY

LOCKS = REPOSITORY / "deploy" / "locks"
ENVIRONMENTS = sorted((REPOSITORY / "tests" / "environments").glob("*.txt"))
# Which extras a lock is of. PyTorch has locks of its own: the Makefile says why.
EXTRAS = {
    "cpu": ["cpu"],
    "serve": ["cpu", "serve"],
    "cuda": ["gpu", "serve"],
    "dev": ["cpu", "train", "heic", "serve", "grpc", "tracing", "dask", "ray", "dev"],
}
ELSEWHERE = {"torch", "igan-zoo"}
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def locked(path: Path) -> dict[str, tuple[str, list[str]]]:
    """Version and sums of each package of a lock."""
    text = re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        head, *sums = re.split(r"\s+--hash=", line)
        requirement = Requirement(head)
        ((operator, version),) = [(one.operator, one.version) for one in requirement.specifier]
        assert operator == "=="
        found[canonicalize_name(requirement.name)] = (version, [one.strip() for one in sums])
    return found


def constraints() -> dict[str, str]:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("path", [*sorted(LOCKS.iterdir()), *ENVIRONMENTS], ids=lambda path: path.stem)
def test_every_package_has_one_version_and_sums_and_no_address(path: Path) -> None:
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"^(--|-[a-z])", text, re.MULTILINE)
    # Other programs need not take what we do.
    found, pinned = locked(path), {} if path in ENVIRONMENTS else constraints()
    for name, (version, sums) in found.items():
        assert sums, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in sums)
        # CUDA's packages are as onnxruntime or PyTorch wants them.
        assert version.removesuffix("+cpu") == pinned.get(name, version)


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_what_its_extras_ask_for(name: str) -> None:
    found = locked(LOCKS / f"{name}.txt")
    asked = [*PYPROJECT["dependencies"], "setuptools"]
    asked += [line for extra in EXTRAS[name] for line in PYPROJECT["optional-dependencies"][extra]]
    for requirement in map(Requirement, asked):
        if canonicalize_name(requirement.name) not in ELSEWHERE:
            version, _ = found[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), requirement
    assert "torch" not in found


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_an_environment_has_what_it_is_made_for(path: Path) -> None:
    found = locked(path)
    for requirement in map(Requirement, path.with_suffix(".in").read_text().splitlines()):
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)][0]), requirement


def test_the_other_scoring_tools_are_installed_beside_our_packages() -> None:
    """Their lock leaves out what these bring, and torchvision is the one for our PyTorch."""
    found = locked(LOCKS.parent.parent / "tests" / "environments" / "oracle.txt")
    assert not found.keys() & (locked(LOCKS / "dev.txt").keys() | locked(LOCKS / "torch.txt").keys())
    _, torch_minor, _ = constraints()["torch"].split(".")
    _, vision_minor, _ = found["torchvision"][0].split(".")
    assert int(vision_minor) == int(torch_minor) + 15


def test_packages_from_npm_have_versions_and_sums_and_no_address() -> None:
    text = (REPOSITORY / "tests" / "environments" / "node" / "package-lock.json").read_text()
    assert "://" not in re.sub(r'"url": ".*"', "", text)
    packages = json.loads(text)["packages"]
    asked = packages.pop("")["dependencies"]
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert {name: packages[f"node_modules/{name}"]["version"] for name in asked} == asked


@pytest.mark.parametrize("name", ["torch", "torch-cpu"])
def test_pytorch_is_the_tested_one_by_its_sums(name: str) -> None:
    version, _ = locked(LOCKS / f"{name}.txt")["torch"]
    assert version.removesuffix("+cpu") == constraints()["torch"]


def test_installations_are_made_from_the_locks() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "LOCKED := $(PIP) --require-hashes --only-binary :all: --requirement $(LOCKS)" in makefile
    for name in ("cpu", "serve", "dev", "torch", "torch-cpu", "tools"):
        assert f"$(LOCKED)/{name}.txt" in makefile
    # Nothing is installed by its version alone.
    assert "--constraint" not in makefile.replace("--constraint constraints.txt \\\n\t--generate-hashes", "")
    for dockerfile, name in (("Dockerfile", "serve"), ("Dockerfile.cuda", "cuda")):
        text = (REPOSITORY / "deploy" / dockerfile).read_text()
        assert f"--require-hashes --only-binary :all: --requirement locks/{name}.txt" in text
        assert "--no-deps" in text


def test_the_document_of_materials_and_the_audit_name_locks() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    ((audited,),) = [
        re.findall(r"addsuffix .txt,(.*?)\)", line) for line in makefile.splitlines() if "addsuffix" in line
    ]
    assert set(audited.split()) == {path.stem for path in LOCKS.iterdir()}
