"""Running a model asks no other machine for anything, native code included, and leaves nothing in the home folder."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

# onnxruntime's first report comes about nine seconds after its import.
SECONDS_SERVED = 12
LOOPBACK = re.compile(r'inet_addr\("127\.|inet_pton\(AF_INET6, "::1"|sin6?_port=htons\(0\)')

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")


def traced(folder: Path, *arguments: str) -> tuple[list[str], Path, dict[str, str]]:
    """The command under strace, where strace writes, and an environment with a home that is empty."""
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    environment.pop("XDG_CACHE_HOME", None)
    trace = folder / "trace"
    strace = ["strace", "-f", "-qq", "-s", "100", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    return [*strace, sys.executable, "-m", "igan_zoo", *arguments], trace, environment


def to_others(trace: Path) -> list[str]:
    """The calls that send to an address that is not this machine, or to the service that looks up names."""
    return [
        line
        for line in trace.read_text().splitlines()
        if ("AF_INET" in line and not LOOPBACK.search(line)) or "nscd" in line or "resolve" in line
    ]


def left_in(folder: Path) -> list[Path]:
    return [path for name in ("home", "tmp") for path in (folder / name).rglob("*")]


@needs_strace
def test_sampling_asks_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command, trace, environment = traced(tmp_path, "sample", "mnist-ssl", "--n", "100", "--out", "x.npz")
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    assert to_others(trace) == []
    assert left_in(tmp_path) == []


@needs_strace
def test_a_server_asks_nobody_and_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="needs the serve extra")
    command, trace, environment = traced(tmp_path, "serve", "mnist-ssl", "--port", "0")
    log = tmp_path / "log"
    with log.open("wb") as stderr, subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=stderr) as strace:
        try:
            deadline = time.monotonic() + 60
            while "Serving at" not in log.read_text():
                assert strace.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            time.sleep(SECONDS_SERVED)
        finally:
            process = re.findall(r"\(process (\d+)\)", log.read_text())
            if process:
                os.kill(int(process[0]), signal.SIGTERM)
            else:
                strace.kill()
            strace.wait(60)
    assert to_others(trace) == []
    assert left_in(tmp_path) == []


def test_a_user_can_turn_the_reports_of_onnxruntime_on() -> None:
    code = "import igan_zoo, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in (("0", "0"), (None, "1")):
        environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
        environment |= {"ORT_DISABLE_TELEMETRY": given} if given else {}
        run = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
        assert run.stdout.strip() == expected


def test_whatever_imports_onnxruntime_has_turned_its_reports_off() -> None:
    """Modules of the package need nothing; the scripts import the package first, or are started by one that does."""
    scripts = [path for path in (REPOSITORY / "benchmarks").rglob("*.py") if path.parent.name != "servers"]
    assert "igan_zoo" in (REPOSITORY / "benchmarks" / "serve.py").read_text()
    importing = 0
    for path in scripts:
        lines = {}
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                lines.setdefault(name.split(".")[0], node.lineno)
        if "onnxruntime" in lines:
            importing += 1
            told = path.read_text().find("ORT_DISABLE_TELEMETRY")
            first = lines.get("igan_zoo", sys.maxsize) if told < 0 else path.read_text()[:told].count("\n")
            assert first < lines["onnxruntime"], f"{path} imports onnxruntime before it is told to report nothing"
    assert importing
