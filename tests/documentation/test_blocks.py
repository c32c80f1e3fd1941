"""Every block of the documentation is run, or is text, or is on a short list with the reason why it is not run.

The README, the tutorial and the page on Python have tests of their own. Commands that are not run are parsed
all the same, so that a renamed command or option is noticed.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from igan_zoo.models.interface import SCORER_KEY
from tests.conftest import REPOSITORY
from tests.serving.tiny_scorer import tiny_scorer

Run = Callable[..., tuple[int, str, str]]

OWN_TESTS = {"tutorial.md", "api.md"}
PAGES = sorted(page for page in (REPOSITORY / "docs").rglob("*.md") if page.name not in OWN_TESTS)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)

# Commands that are parsed and not run, by what they begin with.
NOT_RUN = {
    "train": "hours; the tests of training and of the README train small ones",
    "reproduce": "hours; the README's test plans a table",
    "export": "needs a finished run or downloaded weights; the tests of the tutorial and of export have them",
    "evaluate": "needs a trained model; the README's test evaluates one",
    "suggest": "needs a trained run; the tutorial's test has one",
    "serve": "does not end; the README's test and the tutorial's start servers",
    "turing": "does not end",
    "doctor": "fails where the machine has a problem",
    "bench": "a minute for each graph",
    "merge-scores": "needs the shards of three machines; the tests of merge-scores have them",
    "pull ORG": "asks the Hub",
    "info ORG": "asks the Hub",
    "search": "asks the Hub",
    "list 'mnist-*' --remote": "asks the Hub",
    "publish": "asks the Hub",
    "catalogue": "changes the catalogue",
    "classify DIR": "needs a model with variants",
    "classify models/photos.onnx": "needs a trained model; the tutorial's test has one",
    "sample mnist-ssl --precision bf16": "needs bfloat16 arithmetic",
    "score photos --precision bf16": "needs bfloat16 arithmetic",
    "score SOURCE --precision int8": "needs an int8 scorer",
    "sample cifar10-ssl --n 1000000": "needs a cluster",
    "score cifar10-ssl --n 1000000": "needs a cluster",
}
# Pages whose commands and scripts of Python are not run, and why.
PYTHON_NOT_RUN = {
    "requests.md": "asks a server, as tests/serving/server/protocol/test_clients.py does",
    "scorers.md": "downloads networks",
    "reproduce.md": "a minute; tests/training/games/test_toy_game.py plays shorter games",
}
LARGE = re.compile(r"^\d{4,}$")


def blocks(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text())


def commands(page: Path) -> list[str]:
    """Lines of shell, those that a backslash cuts joined."""
    lines = "".join(block for language, block in blocks(page) if language == "sh").replace("\\\n", " ")
    return [line for line in lines.splitlines() if line.strip()]


def own(page: Path) -> list[str]:
    """What follows ``igan-zoo`` in the lines that call it."""
    return [line.removeprefix("igan-zoo ") for line in commands(page) if line.startswith("igan-zoo ")]


def reason(command: str) -> str | None:
    return next((why for begin, why in NOT_RUN.items() if command.startswith(begin)), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page: Path) -> None:
    text = page.read_text()
    assert {language for language, _ in blocks(page)} <= {"sh", "python", "json", "text"}
    assert text.count("```") == 2 * len(blocks(page))
    assert not re.search(r"\n\n    \S", FENCE.sub("", text)), "indented: fence it"
    for language, block in blocks(page):
        if language == "json":
            json.loads(block)


@pytest.mark.parametrize("page", [page for page in PAGES if own(page)], ids=lambda page: page.name)
def test_every_command_and_option_exists(
    page: Path, igan_zoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs", "models"):  # some options ask for folders that exist
        (tmp_path / name).mkdir()
    monkeypatch.setattr(click.Command, "invoke", lambda _command, _context: None)
    for command in own(page):
        code, _, errors = igan_zoo(*shlex.split(command, comments=True))
        assert code == 0, f"{command}: {errors}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_commands_name_exist(page: Path) -> None:
    for command in commands(page):
        for word in re.findall(r"(?:benchmarks|tests|deploy)/[\w/.-]+", command):
            assert (REPOSITORY / word).exists(), word


@pytest.fixture
def folder(tmp_path: Path, sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages take for granted: photos in two classes and parts, samples, and a scorer."""
    generator = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for index in range(4):
                pixels = generator.integers(0, 256, (130, 140, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{part}{index}.jpg")
    (tmp_path / "samples").mkdir()
    arrays = generator.integers(0, 256, (12, 32, 32, 3), np.uint8)
    for index, pixels in enumerate(arrays):
        Image.fromarray(pixels).save(tmp_path / "samples" / f"{index:08}.png")
    np.savez(tmp_path / "samples.npz", images=arrays)
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({SCORER_KEY: "tiny"}))
    shutil.copytree(REPOSITORY / "docs" / "digits", tmp_path / "docs" / "digits")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made_small(words: list[str], sources: dict[str, Path]) -> list[str]:
    """The same command on small data, few samples, and with a scorer that nobody has to download."""
    words = [str(sources.get(word, word)) for word in words]
    words = ["60" if LARGE.match(word) else "tiny.onnx" if word == "dinov2.onnx" else word for word in words]
    words = ["samples.npz" if word == "SOURCE" else word for word in words]
    if words[0] in ("score", "rank", "neighbors") and not {"--scorer", "--self-check"} & set(words):
        words += ["--scorer", "tiny.onnx"]
    if any("kid" in word for word in words):
        words += ["--subset-size", "5"]
    if words[0] in ("sample", "rank", "score", "neighbors") and "cifar10-ssl" in words and "--n" not in words:
        words += ["--n", "20"]
    return words


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(not reason(command) for command in own(page))], ids=lambda page: page.name
)
def test_the_commands_run(page: Path, folder: Path, sources: dict[str, Path], igan_zoo: Run) -> None:
    for command in own(page):
        if not reason(command):
            code, _, errors = igan_zoo(*made_small(shlex.split(command, comments=True), sources))
            assert code == 0, f"{command}: {errors}"


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if page.name not in PYTHON_NOT_RUN and any(language == "python" for language, _ in blocks(page))
    ],
    ids=lambda page: page.name,
)
def test_the_python_runs(page: Path, folder: Path) -> None:
    names: dict[str, object] = {}
    for language, block in blocks(page):
        if language == "python":
            exec(compile(block, page.name, "exec"), names)


def test_the_exceptions_are_needed() -> None:
    every = [command for page in PAGES for command in own(page)]
    assert [begin for begin in NOT_RUN if not any(command.startswith(begin) for command in every)] == []
    assert all((REPOSITORY / "docs" / name).exists() for name in PYTHON_NOT_RUN)
