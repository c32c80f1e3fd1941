"""Every command of the README runs, and prints what the README says.

Trainings run at a tiny setting on small data. Two commands are run by `.ci/run` and not here: `make test` (it runs this
very file) and the installing half of `make demo`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from igan_zoo.models.interface import SCORER_KEY
from tests.conftest import REPOSITORY, TINY
from tests.serving.tiny_scorer import tiny_scorer

README = (REPOSITORY / "README.md").read_text()
SERVERS = {"serve", "turing"}
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


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
    digits = REPOSITORY / "docs" / "digits"
    own = sources["your own images"]
    small = {**sources, "my_photos": own, "new_photos": digits, "samples": digits, "photos": own}
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({SCORER_KEY: "tiny"}))
    for command in commands():
        arguments = [str(small.get(word, word)) for word in shlex.split(command)]
        if arguments[0] == "curl" or arguments[1] in SERVERS:
            continue
        if arguments[1:3] == ["reproduce", "table1"]:
            arguments.append("--dry-run")
        if arguments[1] == "score" and "--scorer" not in arguments:
            arguments += ["--scorer", "tiny.onnx", "--subset-size", "2"]
        if arguments[1:3] == ["train", "custom"]:
            arguments += ["--set", "steps=20"]
        elif arguments[1] == "train":
            narrow = [] if arguments[2].startswith("mnist") else ["network_width=0.0625", "epoch_images=40"]
            arguments += [word for setting in [*TINY, "epochs=2", *narrow] for word in ("--set", setting)]
            arguments = ["20" if word == "4000" else word for word in arguments]
        run(arguments, tmp_path)
    assert (tmp_path / "samples.npz").exists()
    assert len(list((tmp_path / "pictures").iterdir())) == 100
    assert (tmp_path / "models" / "my-mnist" / "onnx" / "classifier.onnx").exists()
    assert (tmp_path / "toy-game" / "toy-game.png").exists()


def test_the_servers_start_and_curl_gets_its_answers(tmp_path: Path, sources: dict[str, Path]) -> None:
    """The same, with free ports."""
    answers = {}
    addresses = []
    with contextlib.ExitStack() as servers:
        for command in commands():
            arguments = [str(sources.get(word, word)) for word in shlex.split(command)]
            if arguments[0] == "curl":
                words = [word.replace("http://127.0.0.1:8000", addresses[0]) for word in arguments]
                words = [str(tmp_path / word) if word == "grid.png" else word for word in words]
                answers[words[-1]] = run(["curl", "--silent", "--fail-with-body", *words[1:]], REPOSITORY)
            elif arguments[1] in SERVERS:
                addresses.append(servers.enter_context(served([*arguments[1:], "--port", "0"], tmp_path)))
    (classified,) = (answer for answer in answers.values() if answer)
    assert json.loads(classified)[0]["classes"][0]["name"] == "7"
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")
    assert addresses[1].endswith("#turing/cifar10-ssl")


def origin(address: str) -> str:
    return "/".join(address.split("/")[:3])


@contextlib.contextmanager
def served(arguments: list[str], folder: Path) -> Iterator[str]:
    """Runs a command that serves until SIGTERM, and yields the address that it prints."""
    words = [str(REPOSITORY / word) if word.startswith("models/") else word for word in arguments]
    command = [sys.executable, "-m", "igan_zoo", *words]
    process = subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    try:
        said = ""
        while not (match := re.search(r"http://[^\s;,)]+", said)) and process.poll() is None:
            said += process.stdout.readline()
        assert match, said
        address = match[0]
        patient = ["curl", "--silent", "--fail", "--retry", "60", "--retry-delay", "1", "--retry-all-errors"]
        run([*patient, f"{origin(address)}/v2/health/ready"], folder)
        yield address
    finally:
        process.terminate()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said


def test_the_client_without_igan_zoo_reads_the_seven() -> None:
    (script,) = [block for block in blocks("python") if "import igan_zoo" not in block]
    assert len(script.strip().splitlines()) <= 10
    assert run([sys.executable, "-c", script], REPOSITORY).startswith("digit 7, probability ")


def test_the_lines_of_python_print_answers_and_scores() -> None:
    classified, scored = [
        run([sys.executable, "-c", block], REPOSITORY) for block in blocks("python") if "import igan_zoo" in block
    ]
    assert classified.startswith("(('7', 0.9")
    score, error = map(float, scored.split())
    assert 5 < score < 10, "of the ten classes"
    assert 0 < error < 0.5


def test_every_page_of_the_documentation_is_in_the_index_and_on_the_site() -> None:
    docs = REPOSITORY / "docs"
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"README.md", "digits/README.md"}
    assert pages <= set(re.findall(r"\]\(([^)#]+)\)", (docs / "README.md").read_text()))
    assert pages <= set(re.findall(r": docs/(\S+)", (REPOSITORY / "mkdocs.yml").read_text()))


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
    assert shown[0] == ".venv/bin/igan-zoo sample --n 50000 --out demo/samples.npz --force"
    indented = [line for line in README.splitlines() if line.startswith("    ")]
    for line in shown:
        assert any(agree(line, promised) for promised in indented), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists() or target.startswith("https://"), target
