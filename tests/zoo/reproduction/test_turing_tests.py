"""The visual Turing test: what is prepared for it, and what its answers amount to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.zoo.test_cli import fails

Cli = Callable[..., tuple[int, str, str]]


def answers(test: str, given: str, *, rounds: int = 4, feedback: bool = False) -> str:
    """Lines as the server writes them: R and G are right about real and generated images, r and g wrong."""
    lines = []
    for number, letter in enumerate(given, 1):
        kind = "real" if letter in "Rr" else "generated"
        other = "generated" if kind == "real" else "real"
        lines.append(
            {"test": test, "day": "2026-01-01", "model": "m", "generator": "0" * 64, "real": "photos"}
            | {"feedback": feedback, "rounds": rounds, "round": number}
            | {"kind": kind, "answer": kind if letter.isupper() else other, "seed": 1, "index": 0}
        )
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_answers_are_summed_by_model_and_condition_and_unfinished_tests_do_not_count(
    igan_zoo: Cli, tmp_path: Path
) -> None:
    file, more = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_text(answers("one", "RGgr") + answers("begun", "RG") + '{"test": "torn')
    more.write_text(answers("two", "RGGR") + answers("three", "gggg", feedback=True))
    out = tmp_path / "out"
    code, output, errors = igan_zoo("reproduce", "turing", "--results", file, "--results", more, "--out", out, "--json")
    assert code == 0, errors
    record = json.loads(output)
    assert json.loads((out / "report.json").read_text()) == record
    without, with_feedback = record["ours"]
    assert (without["tests"], without["answers"], without["errors"], without["error_rate"]) == (2, 8, 2, 0.25)
    assert without["fooled"] == 0.25
    assert (with_feedback["feedback"], with_feedback["error_rate"], with_feedback["fooled"]) == (True, 1, 1)
    page = (out / "report.md").read_text()
    assert "| the paper: MNIST, minibatch discrimination, on MTurk | 52.4 % | 2,000 |" in page
    assert "| ours: m, without feedback | **75.0%** (40.9% to 92.9%) | 8 in 2 tests |" in page
    assert not (out / "real").exists()
    _, output, _ = igan_zoo("reproduce", "turing", "--results", file, "--out", out)
    assert "m, without feedback: 50.0% right (15.0% to 85.0%) of 4 answers" in output


def test_what_is_no_answer_is_refused_by_its_line(igan_zoo: Cli, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(answers("one", "R") + '{"test": "x", "answer": "maybe"}\n')
    fails(igan_zoo("reproduce", "turing", "--results", file, "--out", tmp_path), 1, "Line 2 of", "is not an answer")
    missing = tmp_path / "none.jsonl"
    fails(igan_zoo("reproduce", "turing", "--results", missing, "--out", tmp_path), 1, "Cannot read the results")


def test_images_of_both_kinds_and_the_command_are_prepared(igan_zoo: Cli, tmp_path: Path, data_directory: Path) -> None:
    out = tmp_path / "out"
    arguments = ("--model", "mnist-ssl", "--data", data_directory, "--n", "12", "--out", out)
    code, output, errors = igan_zoo("reproduce", "turing", *arguments)
    assert code == 0, errors
    assert f"igan-zoo turing --real {out / 'real'} --model " in output
    for kind in ("real", "generated"):
        files = sorted((out / kind).glob("*.png"))
        assert len(files) == 12
        with Image.open(files[0]) as image:
            assert (image.size, image.mode) == ((28, 28), "L")
    assert "Nobody has taken the test yet" in (out / "report.md").read_text()
    fails(igan_zoo("reproduce", "turing", *arguments[:4], "--n", "101", "--out", out), 1, "The source has 100 images")
