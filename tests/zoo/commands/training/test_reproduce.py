"""``igan-zoo reproduce``; whether the results are the paper's is tested beside their code."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.zoo.test_cli import fails

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def small_game(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four starts and fifty steps."""
    from igan_zoo.training.games import toy_game

    monkeypatch.setattr(toy_game, "ToyGame", functools.partial(toy_game.ToyGame, steps=50, side=2))


@pytest.mark.usefixtures("small_game")
def test_the_toy_game_prints_a_table(igan_zoo: Cli) -> None:
    code, output, errors = igan_zoo("reproduce", "toy-game")
    assert code == 0, errors
    settings, head, descent, averaging = output.splitlines()
    assert settings.startswith("4 starts, 50 steps of size 0.015")
    assert " ".join(head.split()) == (
        "method converged final median final largest last fifth smallest last fifth largest"
    )
    assert descent.startswith("gradient descent ")
    assert averaging.startswith("historical averaging, weight 0.15  0 of 4 ")


@pytest.mark.usefixtures("small_game")
def test_json_has_the_settings_and_the_same_numbers(igan_zoo: Cli, tmp_path: Path) -> None:
    code, output, errors = igan_zoo("reproduce", "toy-game", "--json", "--out", tmp_path / "out")
    assert code == 0, errors
    record = json.loads(output)
    assert {key: record[key] for key in ("table", "learning_rate", "weight", "steps")} == {
        "table": "toy-game",
        "learning_rate": 0.015,
        "weight": 0.15,
        "steps": 50,
    }
    table = igan_zoo("reproduce", "toy-game")[1]
    for numbers in record["methods"].values():
        assert f"{numbers['converged']} of {numbers['starts']}" in table
        assert f"{numbers['median_final_distance']:.4f}" in table
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == record


@pytest.mark.usefixtures("small_game")
def test_a_second_run_writes_the_same_files_again(igan_zoo: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    runs = []
    for _ in range(2):
        code, output, _ = igan_zoo("reproduce", "toy-game", "--out", tmp_path)
        assert code == 0
        assert f"{tmp_path / 'report.md'}, {tmp_path / 'report.json'}, {tmp_path / 'toy-game.png'}" in output
        runs.append({path.name: path.read_bytes() for path in tmp_path.iterdir()})
    assert runs[0] == runs[1]
    assert runs[0].keys() == {"mine.txt", "toy-game.png", "report.md", "report.json"}
    assert "| gradient descent | 0 of 4 |" in (tmp_path / "report.md").read_text()
    with Image.open(tmp_path / "toy-game.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.usefixtures("small_game")
def test_a_place_that_cannot_be_written_is_named(igan_zoo: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("keep")
    code, _, errors = igan_zoo("reproduce", "toy-game", "--out", tmp_path / "file")
    assert code == 1
    assert errors.splitlines()[-1].startswith(f"Error: Cannot write {tmp_path / 'file' / 'toy-game.png'}: ")
    assert "Traceback" not in errors
    assert (tmp_path / "file").read_text() == "keep"


def test_unknown_names_are_usage_errors_or_answered_with_the_nearest(igan_zoo: Cli) -> None:
    fails(igan_zoo("reproduce", "table4"), 2, "No such command 'table4'", "reproduce --help")
    fails(
        igan_zoo("reproduce", "table1", "--rows", "20,ensemble100"),
        1,
        "table1 has no row 'ensemble100'",
        "ensemble-100",
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table1", "--inception", "x.onnx"], "No such option"),
        (["toy-game", "--budget", "3"], "No such option"),
        (["turing", "--rows", "20"], "No such option"),
        (["table1", "--dry-run"], "prints what --budget would run"),
        (["table1", "--budget", "0"], "neither a number of minutes nor full"),
        (["table1", "--budget", "an hour"], "neither a number of minutes nor full"),
        (["table1", "--runs", "nowhere"], "does not exist"),
    ],
)
def test_wrong_options_are_refused(igan_zoo: Cli, arguments: list[str], sentence: str) -> None:
    fails(igan_zoo("reproduce", *arguments), 2, sentence, "--help")


def test_without_the_training_stack_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; from igan_zoo.cli import main; main(['reproduce', 'toy-game'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    fails((result.returncode, result.stdout, result.stderr), 1, "pip install '.[train,cpu]'")
