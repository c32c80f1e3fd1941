"""``igan-zoo turing``: a server with the page opened at the test, and the sums of earlier answers."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from igan_zoo.serving.server.turing.game import TuringTest, choose_rounds
from igan_zoo.serving.server.turing.results import append_answer, last_answer
from tests.conftest import igan_zoo_process

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A file of one test of four rounds that was answered "real" throughout, and one that was given up."""
    path = tmp_path / "answers.jsonl"
    for rounds, answers in [(4, 4), (6, 1)]:
        shown = choose_rounds(rounds, real=np.arange(9), seed=0)
        test = TuringTest(f"test{rounds}", "tiny", False, 0, shown, np.zeros((rounds, 1, 1, 1), np.uint8))
        for number in range(1, answers + 1):
            test.answer(number, "real")
            append_answer(path, last_answer(test, generator="", real="photos", day="2026-11-22"))
    return path


def test_sums_are_printed_as_a_table_or_as_json(igan_zoo: Command, results: Path) -> None:
    code, out, _ = igan_zoo("turing", "--summary", results)
    assert code == 0
    headings, row = out.splitlines()
    assert headings.split()[:3] == ["model", "feedback", "tests"]
    assert row.split() == ["tiny", "no", "1", "1", "2", "of", "4", "50.0%", "(15.0%", "to", "85.0%)", "100.0%"]
    (summary,) = json.loads(igan_zoo("turing", "--summary", results, "--json")[1])
    assert (summary["tests"], summary["unfinished"], summary["errors"], summary["fooled"]) == (1, 1, 2, 1.0)


def test_what_is_missing_or_wrong_is_said_in_a_sentence(igan_zoo: Command, tmp_path: Path) -> None:
    code, _, err = igan_zoo("turing")
    assert (code, "Give real images with --real SOURCE" in err) == (2, True)
    code, _, err = igan_zoo("turing", "--summary", tmp_path / "nothing.jsonl")
    assert (code, "Cannot read the results" in err) == (1, True)
    code, _, err = igan_zoo("turing", "--real", tmp_path / "no" / "images", "--port", 0)
    assert (code, "There are no images at" in err) == (1, True)


def test_the_page_is_served_at_the_printed_address(tmp_path: Path) -> None:
    np.save(tmp_path / "real.npy", np.zeros((30, 28, 28, 1), np.uint8))
    process = igan_zoo_process(
        *("turing", "--real", tmp_path / "real.npy", "--model", "mnist-ssl", "--rounds", 8, "--port", 0),
        *("--results", tmp_path / "answers.jsonl"),
    )
    try:
        assert process.stdout is not None
        address, _, view = process.stdout.readline().strip().partition("#")
        assert view == "turing/mnist-ssl"
        with urllib.request.urlopen(address) as answer:
            assert b"Real or generated?" in answer.read()
        with urllib.request.urlopen(f"{address}turing") as answer:
            assert json.load(answer)["rounds"] == 8
    finally:
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert str(tmp_path / "answers.jsonl") in err
