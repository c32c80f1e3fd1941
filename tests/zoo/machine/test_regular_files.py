"""Only regular files of the promised size are read: a pipe would wait for ever, and a device never end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from igan_zoo.errors import ChecksumError, DataError, ImageError, ModelDirectoryError
from igan_zoo.images.files.decoding import read_image
from igan_zoo.images.formats.shards import MANIFEST, read_manifest
from igan_zoo.images.pixels import Shape
from igan_zoo.machine.files import sha256_of
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import CONFIG
from igan_zoo.serving.server.turing.results import read_results
from tests.conftest import REPOSITORY

BUNDLED = REPOSITORY / "zoo" / "bundled" / "mnist-ssl"
GRAPH = Path("onnx") / "classifier.onnx"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "igan_zoo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLED, tmp_path / "model"))


def endless(path: Path, kind: str) -> Path:
    """Puts a pipe that nobody writes, or a device without an end, in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_no_command_waits_for_a_graph_that_never_ends(kind: str, model: Path) -> None:
    endless(model / GRAPH, kind)
    for arguments in (("verify", "--sums-only", model), ("classify", model, REPOSITORY / "docs" / "digits" / "7.png")):
        result = run(*arguments)
        assert (result.returncode, result.stderr.count("Error: ")) == (1, 1)
        assert "It is not a regular file" in result.stderr


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_no_command_waits_for_an_image_or_array_that_never_ends(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(REPOSITORY / "docs" / "digits" / "7.png", folder / "a.png")
    shutil.copy(REPOSITORY / "docs" / "digits" / "7.png", folder / "b.png")
    endless(folder / "c.png", kind)
    result = run("classify", folder)
    assert (result.returncode, result.stderr.count("Error: ")) == (1, 1)
    assert f"{folder / 'c.png'} cannot be read: It is not a regular file." in result.stderr
    result = run("score", folder, "--scorer", "mnist-ssl", "--splits", "1")
    assert (result.returncode, "Left out:" in result.stderr) == (0, True)
    for suffix in (".npz", ".npy", ".tar", ".parquet"):
        result = run("score", endless(tmp_path / f"x{suffix}", kind), "--scorer", "mnist-ssl")
        assert (result.returncode, result.stderr.count("Error: ")) == (1, 1)
        assert "is not a regular file" in result.stderr or "but a special file" in result.stderr


def test_no_results_run_or_shards_that_never_end_are_waited_for(tmp_path: Path) -> None:
    pipe = endless(tmp_path / "answers.jsonl", "pipe")
    with pytest.raises(DataError, match="regular file"):
        read_results([pipe])
    endless(tmp_path / MANIFEST, "pipe")
    with pytest.raises(OSError, match="regular file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_functions_that_read_refuse_it(kind: str, tmp_path: Path, model: Path) -> None:
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(endless(tmp_path / "x.png", kind), Shape(1))
    with pytest.raises(OSError, match="not a regular file"):
        sha256_of(tmp_path / "x.png")
    endless(model / CONFIG, kind)
    with pytest.raises(ModelDirectoryError, match="not a model directory"):
        ModelDirectory.open(model)


def test_a_file_of_another_size_is_refused_before_it_is_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (model / GRAPH).open("r+b") as file:
        file.truncate(2**40)
    directory = ModelDirectory.open(model)
    for attempt in (directory.verify, lambda: directory.read(str(GRAPH))):
        with pytest.raises(ChecksumError, match=r"size is 1099511627776 bytes, but config\.json lists 6157420"):
            attempt()


def test_whole_files_are_read(model: Path, tmp_path: Path) -> None:
    assert ModelDirectory.open(model).read(str(GRAPH)) == (BUNDLED / GRAPH).read_bytes()
    (tmp_path / "link").symlink_to(BUNDLED / GRAPH)
    assert sha256_of(tmp_path / "link") == sha256_of(BUNDLED / GRAPH)
    assert read_image(REPOSITORY / "docs" / "digits" / "7.png", Shape(1)).dtype == np.uint8
