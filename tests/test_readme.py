"""Every command of the README runs, and prints what the README says.

Trainings run at a tiny setting on small data. Two commands are run by `.ci/run` and not here: `make test` (it runs this
very file) and the installing half of `make demo`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, TINY

README = (REPOSITORY / "README.md").read_text()
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines()]


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_commands_work_in_the_order_given(tmp_path: Path, sources: dict[str, Path]) -> None:
    """Data sets are replaced by small ones of the same format, and trainings by small ones of the same recipe."""
    for folder in ("docs", "models"):
        (tmp_path / folder).mkdir()
        for path in (REPOSITORY / folder).iterdir():
            (tmp_path / folder / path.name).symlink_to(path.resolve())
    small = {**sources, "my_photos": sources["your own images"]}
    for command in commands():
        arguments = [str(small.get(word, word)) for word in shlex.split(command)]
        if arguments[1] == "train":
            narrow = [] if arguments[2].startswith("mnist") else ["network_width=0.0625", "epoch_images=40"]
            arguments += [word for setting in [*TINY, "epochs=2", *narrow] for word in ("--set", setting)]
            arguments = ["20" if word == "4000" else word for word in arguments]
        run(arguments, tmp_path)
    assert (tmp_path / "samples.npz").exists()
    assert len(list((tmp_path / "pictures").iterdir())) == 100
    assert (tmp_path / "models" / "my-mnist" / "onnx" / "classifier.onnx").exists()
    assert (tmp_path / "toy-game" / "toy-game.png").exists()


def test_the_client_without_igan_zoo_reads_the_seven() -> None:
    (script,) = blocks("python")
    assert len(script.strip().splitlines()) <= 10
    assert run([sys.executable, "-c", script], REPOSITORY).startswith("digit 7, probability ")


def agree(line: str, promised: str) -> bool:
    """Word for word the same, but for probabilities that another processor rounds differently (0.001)."""
    words, others = line.split(), promised.split()
    if len(words) != len(others):
        return False
    fraction = re.compile(r"\d\.\d{4}")
    return all(
        word == other
        or (fraction.fullmatch(word) and fraction.fullmatch(other) and abs(float(word) - float(other)) < 1e-3)
        for word, other in zip(words, others, strict=True)
    )


def test_make_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The installing half is left out; figures that vary (seconds) are not compared."""
    installed = f"{sys.prefix}/.installed-cpu"
    make = ["make", "--no-print-directory", "--assume-old", installed, f"VENV={sys.prefix}", "demo"]
    shown = run(make, REPOSITORY).replace(f"{sys.prefix}/", ".venv/").splitlines()
    assert shown[0] == ".venv/bin/igan-zoo sample --n 50000 --out demo/samples.npz"
    indented = [line for line in README.splitlines() if line.startswith("    ")]
    for line in shown:
        assert any(agree(line, promised) for promised in indented), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists() or target.startswith("https://"), target
