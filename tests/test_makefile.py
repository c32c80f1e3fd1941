"""What the Makefile does where a step fails."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def executable(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_runtime_for_browsers_is_there_whole_or_not_at_all(tmp_path: Path, works: bool) -> None:
    for name in (
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "setup.py",
        "deploy/locks/cpu.txt",
        "tests/environments/environments.mk",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name in FILES:
            archive.addfile(tarfile.TarInfo(f"package/dist/{name}"))
    (tmp_path / "package.tgz").write_bytes(content.getvalue())
    # npm pack --silent --pack-destination build/web NAME@VERSION
    executable(tmp_path / "bin" / "npm", 'cp package.tgz "$4/$(echo "$5" | tr @ -).tgz"')
    # The last step asks where onnxruntime's license is.
    executable(tmp_path / "venv" / "bin" / "python", "echo pyproject.toml" if works else "exit 1")
    (tmp_path / "venv" / ".installed-cpu").touch()
    vendor = tmp_path / "page" / "vendor"
    vendor.parent.mkdir()
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    command = ["make", "web", "VENV=venv", f"VENDOR={vendor}", f"ORT_WEB_SHA256={sha256}"]
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == works, done.stderr
    found = sorted(path.name for path in vendor.iterdir()) if vendor.exists() else []
    assert len(found) == (4 if works else 0)
    assert not works or set(FILES) < set(found)


@pytest.mark.parametrize(
    ("here", "installs", "said"),
    [
        (["node", "npm", "chromium", "strace"], False, ""),
        (["node", "npm", "google-chrome", "strace"], False, ""),
        (["node", "npm", "strace"], True, ""),
        (["node", "npm", "strace"], False, "install them as root: apt-get install chromium strace."),
        (["node", "npm", "chromium"], False, "install them as root: apt-get install chromium strace."),
        (["chromium", "strace"], True, "node and npm are not here"),
    ],
)
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_program_that_cannot_be_had_is_an_error(tmp_path: Path, here: list[str], installs: bool, said: str) -> None:
    for name in here:
        executable(tmp_path / "bin" / name, "")
    executable(tmp_path / "bin" / "apt-get", "exit 0" if installs else "exit 1")
    command = [str(shutil.which("make")), "programs"]
    environment = {**os.environ, "PATH": str(tmp_path / "bin")}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (done.returncode == 0) == (said == ""), done.stderr
    assert said in done.stdout + done.stderr
