"""What is read off a classifier's answers, against numbers counted by hand and definitions written out plainly."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import OutputError
from igan_zoo.evaluation.calibration import expected_calibration_error, fitted_temperature, probabilities_of
from igan_zoo.evaluation.confusion import draw_confusion, errors_by_class
from igan_zoo.evaluation.evaluation import Evaluation
from igan_zoo.evaluation.report import write_report

Cli = Callable[..., tuple[int, str, str]]
REPOSITORY = Path(__file__).parents[3]

# Six images of three classes; the fourth and the sixth are taken for another.
LOGITS = np.log(
    np.array(
        [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.2, 0.6, 0.2], [0.3, 0.5, 0.2]],
        np.float32,
    )
)
FOUND = Evaluation(("cat", "dog", "emu"), [f"{i}.jpg" for i in range(6)], np.array([0, 0, 1, 1, 1, 0]), LOGITS)


def test_errors_are_counted_by_class() -> None:
    assert (FOUND.wrong, FOUND.total, FOUND.error) == (2, 6, pytest.approx(1 / 3))
    assert FOUND.confusion.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    rows = [(row.name, row.images, row.wrong, row.taken_for, row.times) for row in FOUND.by_class]
    assert rows == [("cat", 3, 1, "dog", 1), ("dog", 3, 1, "cat", 1)]


def test_a_class_without_an_error_is_taken_for_none() -> None:
    (row,) = errors_by_class(np.array([[3, 0], [0, 0]]), ("cat", "dog"))
    assert (row.taken_for, row.times, row.error) == (None, 0, 0)


def test_wrong_files_come_surest_first_with_both_probabilities() -> None:
    first, second = FOUND.wrong_files
    assert (first.file, first.label, first.answer) == ("3.jpg", "dog", "cat")
    assert (first.probability, first.label_probability) == (pytest.approx(0.9), pytest.approx(0.05))
    assert (second.file, second.label, second.answer) == ("5.jpg", "cat", "dog")


def test_the_calibration_error_is_the_weighted_gap_of_its_bins() -> None:
    # Bins of a tenth: [0.8, 0.8] right twice, [0.6, 0.6] right twice, 0.9 wrong, 0.5 wrong.
    expected = (2 * 0.2 + 2 * 0.4 + 0.9 + 0.5) / 6
    probabilities = probabilities_of(LOGITS)
    assert expected_calibration_error(probabilities, FOUND.labels, bins=10) == pytest.approx(expected, abs=1e-6)
    assert expected_calibration_error(np.eye(3)[[0, 1]], np.array([0, 1])) == 0


def test_the_temperature_that_made_answers_too_sure_is_found_again() -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 1.5, (20_000, 5)).astype(np.float32)
    shares = probabilities_of(honest)
    labels = (shares.cumsum(axis=1) < generator.random((len(shares), 1))).sum(axis=1)
    assert fitted_temperature(3 * honest, labels) == pytest.approx(3, rel=0.03)
    sure = Evaluation(tuple("abcde"), [""] * len(labels), labels, 3 * honest)
    found = sure.calibration
    assert found.error > 0.2
    assert found.error_at_temperature is not None
    assert found.error_at_temperature < 0.02


@pytest.mark.parametrize("labels", [[0, 0, 1, 0, 1, 1], [1, 1, 0, 1, 0, 0]], ids=["all right", "all wrong"])
def test_no_temperature_is_made_up_where_the_images_cannot_tell(labels: list[int]) -> None:
    found = Evaluation(FOUND.classes, FOUND.names, np.array(labels), LOGITS).calibration
    assert (found.temperature, found.error_at_temperature) == (None, None)


@pytest.mark.parametrize("classes", [3, 41])
def test_the_picture_shows_every_cell(classes: int) -> None:
    matrix = np.eye(classes, dtype=np.int64) * 5
    matrix[0, 1] = 5
    picture = draw_confusion(matrix, [f"class {number}" for number in range(classes)])
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    colors = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    assert {(255, 255, 255), (90, 130, 185)} <= colors, "white where there is none, blue where all are right"


def test_the_report_is_three_files(tmp_path: Path) -> None:
    write_report(tmp_path / "report", FOUND)
    with (tmp_path / "report" / "wrong.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "file": "3.jpg", "label": "dog", "answer": "cat", "probability": "0.9000", "probability_of_label": "0.0500"
    }  # fmt: skip
    assert (tmp_path / "report" / "confusion.csv").read_text().splitlines()[:2] == ["label,cat,dog,emu", "cat,2,1,0"]
    with Image.open(tmp_path / "report" / "confusion.png") as picture:
        assert picture.size[0] > 3 * 40
    with pytest.raises(OutputError, match="already exists"):
        write_report(tmp_path / "report", FOUND)


@pytest.fixture
def heldout(tmp_path: Path) -> Path:
    """Digits in class folders without splits, one of them in the wrong folder."""
    for digit in (0, 1, 2, 4, 7):
        folder = tmp_path / "heldout" / str(digit)
        folder.mkdir(parents=True)
        (folder / "one.png").write_bytes((REPOSITORY / "docs" / "digits" / f"{digit}.png").read_bytes())
    (tmp_path / "heldout" / "4" / "seven.png").write_bytes((REPOSITORY / "docs" / "digits" / "7.png").read_bytes())
    return tmp_path / "heldout"


def test_a_folder_of_classes_is_test_data_without_a_split(igan_zoo: Cli, heldout: Path, tmp_path: Path) -> None:
    code, out, _ = igan_zoo("evaluate", "mnist-ssl", "--data", heldout, "--out", tmp_path / "report")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "1 error of 6 (16.67%)"
    assert next(line for line in lines if line.startswith("4 ")).split() == ["4", "2", "1", "50.00%", "7", "(1)"]
    assert lines[-1].startswith("calibration: ")
    assert "4/seven.png,4,7," in (tmp_path / "report" / "wrong.csv").read_text()
    assert igan_zoo("evaluate", "mnist-ssl", "--data", heldout, "--out", tmp_path / "report")[0] == 1

    found = json.loads(igan_zoo("evaluate", "mnist-ssl", "--data", heldout, "--json")[1])
    assert (found["wrong"], found["total"]) == (1, 6)
    assert found["confusion"]["counts"][4][7] == 1
    assert [row["file"] for row in found["wrong_files"]] == ["4/seven.png"]


def test_splits_mean_what_they_meant_where_there_are_some(igan_zoo: Cli, heldout: Path) -> None:
    assert "no split 'test'" in igan_zoo("evaluate", "mnist-ssl", "--data", heldout, "--split", "test")[2]
    heldout.rename(heldout.parent / "val")
    (heldout.parent / "train" / "0").mkdir(parents=True)
    (heldout.parent / "train" / "0" / "x.png").write_bytes((heldout.parent / "val" / "0" / "one.png").read_bytes())
    assert igan_zoo("evaluate", "mnist-ssl", "--data", heldout.parent)[1].startswith("1 error of 6 ")
