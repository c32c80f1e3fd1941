"""The network of 2015 in one command: fetched, checked, converted and kept, where PyTorch cannot be imported."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from igan_zoo.export.scorers.inception import Inception
from igan_zoo.export.scorers.torch_scorers import TorchScorer
from igan_zoo.machine.files import sha256_of
from igan_zoo.serving.scoring.protocols import INCEPTION
from tests.export.calibrated import calibrate

STANDIN = Path(__file__).with_name("inception_standin.py")
PUBLISHED = "pt_inception-2015-12-05-6726825d.pth"
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibrated random weights in the format of the published file, which is older than torch's archives."""
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    network = Inception(divisor=16)
    calibrate(network, torch.rand(4, 3, 139, 139, generator=torch.Generator().manual_seed(0)) * 2 - 1)
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    return path


class Address(http.server.BaseHTTPRequestHandler):
    """Where the weights are published."""

    content = b""
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def address(weights: Path) -> Iterator[Any]:
    handler = type("Handler", (Address,), {"content": weights.read_bytes(), "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        handler.port = running.server_port  # type: ignore[attr-defined]
        yield handler
        running.shutdown()


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(0)
    paths = tmp_path / "a.npz", tmp_path / "b.npz"
    for path, darkest in zip(paths, (0, 60), strict=True):
        np.savez(path, images=random.integers(darkest, 256, (30, 20, 24, 3), np.uint8))
    return paths


def without_torch(weights: Path, port: int, *arguments: object, offline: bool = False) -> tuple[int, str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    command = [sys.executable, STANDIN, sha256_of(weights), str(port), *map(str, arguments)]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=environment | ({"HF_HUB_OFFLINE": "1"} if offline else {}),
    )
    return result.returncode, result.stdout, result.stderr


def home() -> Path:
    return Path(os.environ["IGAN_ZOO_HOME"]) / "scorers"


def test_one_command_fetches_converts_and_scores(weights: Path, address: Any, sets: tuple[Path, Path]) -> None:
    one, other = sets
    arguments = ("score", one, "--reference", other, "--metric", "is", "--metric", "fid", "--format", "csv")
    code, output, errors = without_torch(weights, address.port, *arguments)
    assert code == 0, errors
    assert f"Downloading the weights of {INCEPTION} (96 MB, once) from https://github.com/mseitzer/" in errors
    assert [line.split(",")[:3] for line in output.splitlines()[1:]] == [
        ["is30", "Inception score", "split mean"],
        ["is30", "Inception score", "unsplit"],
        ["is30", "Inception score", '"unsplit'],
        ["fid30", "FID", "distance"],
    ]
    assert {path.name for path in home().iterdir() if path.suffix in (".onnx", ".pth")} == {
        f"{INCEPTION}.onnx",
        PUBLISHED,
    }
    # The distance of the features that PyTorch computes with the same weights.
    network = Inception(divisor=16).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    with torch.no_grad():
        features = [
            TorchScorer(network, 139, 128)(torch.from_numpy(np.load(path)["images"]))[0].double() for path in sets
        ]
    means = [side.mean(dim=0) for side in features]
    roots = [(side - mean) / 29**0.5 for side, mean in zip(features, means, strict=True)]
    trace = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    expected = (means[0] - means[1]).square().sum() + sum(root.square().sum() for root in roots) - 2 * trace
    assert float(output.splitlines()[-1].split(",")[3]) == pytest.approx(float(expected), rel=1e-4)

    again = without_torch(weights, address.port, *arguments, "--no-cache")
    assert again[0] == 0
    assert "Fetching" not in again[2]
    assert len(address.asked) == 1


def test_offline_it_says_what_to_put_where_and_then_takes_it(weights: Path, sets: tuple[Path, Path]) -> None:
    code, output, errors = without_torch(weights, 9, "score", sets[0], offline=True)
    assert (code, output) == (1, "")
    sentence = errors.splitlines()[-1]
    assert sentence.startswith(
        "Error: HF_HUB_OFFLINE forbids downloading it: get https://github.com/mseitzer/pytorch-fid/"
    )
    assert sentence.endswith(f"on another machine and put it at {home() / PUBLISHED}, or give it with --weights FILE.")
    home().mkdir(parents=True, exist_ok=True)
    (home() / PUBLISHED).write_bytes(weights.read_bytes())
    code, output, errors = without_torch(weights, 9, "score", sets[0], offline=True)
    assert code == 0, errors
    assert output.splitlines()[1].startswith("Inception score  is30 ")


def test_an_unreachable_address_says_how_to_go_on(weights: Path, sets: tuple[Path, Path]) -> None:
    code, output, errors = without_torch(weights, 9, "score", sets[0])
    assert (code, output) == (1, "")
    assert "Connection refused" in errors.splitlines()[-1]
    assert errors.splitlines()[-1].endswith("or give it with --weights FILE.")


def test_other_bytes_at_the_address_or_in_the_cache_are_refused(
    weights: Path, address: Any, sets: tuple[Path, Path]
) -> None:
    address.content = b"<html>Not Found"
    code, _, errors = without_torch(weights, address.port, "score", sets[0])
    assert code == 1
    assert f"{PUBLISHED} is not the published file: its sha256 is" in errors
    assert not (home() / PUBLISHED).exists()
    (home() / PUBLISHED).write_bytes(b"<html>")
    code, _, errors = without_torch(weights, address.port, "score", sets[0])
    assert code == 1
    assert "delete it, and the next run fetches it again." in errors


def test_weights_may_be_given(weights: Path, sets: tuple[Path, Path], tmp_path: Path) -> None:
    code, output, errors = without_torch(weights, 9, "score", sets[0], "--weights", weights)
    assert code == 0, errors
    assert output.splitlines()[1].startswith("Inception score  is30 ")
    (tmp_path / "page.pth").write_bytes(b"<html>")
    for arguments, message in (
        (("--weights", tmp_path / "page.pth"), "page.pth is a web page, not the published file: its sha256"),
        (("--weights", tmp_path / "absent.pth"), "There is no file"),
    ):
        code, _, errors = without_torch(weights, 9, "score", sets[0], *arguments)
        assert code == 1
        assert message in errors


def test_weights_are_refused_next_to_another_scorer(igan_zoo: Cli, sets: tuple[Path, Path], weights: Path) -> None:
    code, _, errors = igan_zoo("score", sets[0], "--scorer", "mine.onnx", "--weights", weights)
    assert code == 2
    assert "--weights applies to inception-2015-12-05" in errors
    assert "not to mine.onnx" in errors
