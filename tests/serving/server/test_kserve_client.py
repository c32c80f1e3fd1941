"""KServe's REST client, which is too large to be installed for the tests: it runs with another Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from igan_zoo.serving.server.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.serving.server.conftest import CLASSIFIER, MODEL
from tests.serving.server.live import running

PYTHON = os.environ.get("IGAN_ZOO_KSERVE_PYTHON")


@pytest.mark.skipif(PYTHON is None, reason="needs IGAN_ZOO_KSERVE_PYTHON, a Python that has kserve")
def test_kserves_rest_client_infers(tmp_path: Path, hosted: Repository) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    expected = hosted.graph(CLASSIFIER).engine.run("classifier", {"images": images})
    np.savez(tmp_path / "expected.npz", images=images, **expected)
    script = Path(__file__).with_name("kserve_client.py")
    with running(Repository.open([MODEL], ServerSettings(threads=1))) as port:
        command = [str(PYTHON), script, f"http://127.0.0.1:{port}", CLASSIFIER, tmp_path / "expected.npz"]
        result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
