"""Real clients of the Open Inference Protocol, as their makers ship them, against a server in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from igan_zoo.latents import latents
from igan_zoo.models.store import resolve
from igan_zoo.serving.engine import load_engine
from tests.conftest import REPOSITORY
from tests.environments import python_of
from tests.serving.server.conftest import MODEL
from tests.serving.server.protocol.triton_matrix import NAMES
from tests.serving.server.running import Running, serving
from tests.serving.tiny_scorer import tiny_scorer

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(resolve(MODEL).path, folder / "twins" / "1")
    shutil.copytree(REPOSITORY / "models" / "mnist-mbd", folder / "twins" / "2")
    (folder / "tiny.onnx").write_bytes(tiny_scorer({}))
    models = (MODEL, folder / "twins", folder / "tiny.onnx")
    with serving(folder, *models, "--allow-load", "--threads", 1, "--reload", 0) as running:
        yield running


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("expected") / "expected.npz"
    engine = load_engine(resolve(MODEL), ["generator", "classifier"], threads=1)
    z = latents(100, "uniform", seed=7, start=0, count=3)
    images = engine.run("generator", {"latent": z})["images"]
    np.savez(path, z=z, images=images, probabilities=engine.run("classifier", {"images": images})["probabilities"])
    return path


def run(python: str, script: str, *arguments: object) -> dict[str, str]:
    """Returns the outcome of every check of a script, run by another Python."""
    command = [python, str(HERE / script), *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    return {line["check"]: line["outcome"] for line in lines}


@pytest.fixture(scope="module")
def triton(server: Running, expected: Path) -> dict[str, str]:
    if importlib.util.find_spec("tritonclient") is None:
        pytest.skip("needs tritonclient[http,grpc]")
    return run(sys.executable, "triton_matrix.py", server.http, server.grpc, expected)


@pytest.fixture(scope="module")
def other_triton(server: Running, expected: Path) -> dict[str, str]:
    return run(python_of("triton"), "triton_matrix.py", server.http, server.grpc, expected)


@pytest.mark.parametrize("check", NAMES)
def test_tritonclient_is_answered(triton: dict[str, str], check: str) -> None:
    assert triton[check] == "ok", triton[check]


@pytest.mark.parametrize("check", NAMES)
def test_another_tritonclient_is_answered(other_triton: dict[str, str], check: str) -> None:
    assert other_triton[check] == "ok", other_triton[check]


def test_kserve_is_answered(server: Running, expected: Path) -> None:
    outcomes = run(python_of("kserve"), "kserve_matrix.py", server.http, server.grpc, expected)
    assert set(outcomes.values()) == {"ok"}, outcomes
    assert len(outcomes) > 5


def test_the_log_and_the_metrics_have_what_came_over_grpc(server: Running, triton: dict[str, str]) -> None:
    import urllib.request

    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    calls = [line for line in lines if line.get("method") == "gRPC"]
    assert {line["status"] for line in calls} >= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE"}
    assert all(line["id"] and line["seconds"] > 0 for line in calls)
    assert not [line for line in lines if line["event"] == "failure"]
    with urllib.request.urlopen(f"http://{server.http}/metrics") as answer:
        text = answer.read().decode()
    assert 'model="mnist-ssl-generator",route="/inference.GRPCInferenceService/ModelInfer",status="OK"' in text
