"""Every command and every line of Python of the tutorial runs, one after the other, in one folder."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.test_readme import agree, run, served

PAGE = (REPOSITORY / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three photos, which their colors tell apart, and six without a label."""
    (tmp_path / "docs").symlink_to(REPOSITORY / "docs")
    generator = np.random.default_rng(0)
    for name, red, count in (("red", 200, 3), ("blue", 0, 3), ("unlabeled", 0, 6)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(count):
            color = (200 * (index % 2) if name == "unlabeled" else red, 60, 90)
            photo = np.clip(generator.integers(0, 50, (64, 64, 3)) + color, 0, 255).astype(np.uint8)
            Image.fromarray(photo).save(tmp_path / "photos" / name / f"{index}.jpg")
    return tmp_path


def promised(said: str, shown: str) -> bool:
    """Whether each line that does not depend on the photos, paths or times is one of those shown."""
    lines = [line for line in said.splitlines() if "/" not in line or line.startswith("docs/digits")]
    lines = [line for line in lines if not re.fullmatch(r"[\d.]+ s", line)]
    return bool(lines) and all(any(agree(line, other) for other in shown.splitlines()) for line in lines)


def test_everything_runs(folder: Path) -> None:
    said: list[str] = []
    with contextlib.ExitStack() as servers:
        for (language, block), (_, after) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True):
            if language == "python":
                assert "photos/unlabeled/0.jpg" in run([sys.executable, "-c", block], folder)
            if language != "sh":
                continue
            for command in block.splitlines():
                words = shlex.split(command)
                if words[0] == "pip":  # the environment of the tests has the extras
                    continue
                if words[:2] == ["igan-zoo", "serve"]:
                    address = servers.enter_context(served([*words[1:-1], "0"], folder))
                elif words[0] == "curl":
                    words[-1] = words[-1].replace("http://127.0.0.1:8000", address)
                    (answer,) = json.loads(run(words, folder))
                    (shown,) = json.loads(after)
                    assert [best["name"] for best in answer["classes"]] == [best["name"] for best in shown["classes"]]
                    assert answer["realness"] == pytest.approx(shown["realness"], abs=1e-3)
                else:
                    words += ["--set", "steps=20", "--ensemble", "2"] if words[1] == "train" else []
                    output = run(words, folder)
                    if words[1] in ("classify", "score") and "photos.onnx" not in words:
                        assert promised(output, after)
                    said.append(words[1])
    assert said == ["sample", "classify", "score", "rank", "inspect", "train", "export", "classify", "suggest"]
    assert (folder / "digits-grid.png").exists()
    assert len(list((folder / "best" / "images").iterdir())) == 10
    assert (folder / "next" / "sheet.png").exists()
