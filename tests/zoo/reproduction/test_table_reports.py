"""Reports made for real: from runs and models that are there, and from trainings of seconds, also unfinished ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from igan_zoo.models.store import bundled_store
from igan_zoo.reproduction import trainings
from igan_zoo.reproduction.answers import count_wrong, mean_probabilities
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.start import start_training

Cli = Callable[..., tuple[int, str, str]]

# An epoch of the small data is three steps.
SMALL = ["validation_images=50", "initialization_images=50"]


@pytest.fixture
def two_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All recipes that rows want, six steps long."""
    short = [*SMALL, "epochs=2", "sigmoid_from=none"]
    monkeypatch.setattr(trainings, "find_recipe", lambda name: customize(find_recipe(name), short))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, data_directory: Path) -> Path:
    """Three runs of one recipe, 20 labels: seeds 1 and 2 on the labels of seed 1, and seed 3."""
    folder = tmp_path_factory.mktemp("members")
    for seed, subset in ((1, 1), (2, 1), (3, 3)):
        settings = [*SMALL, "epochs=1", "labels=20", f"seed={seed}", f"data_seed={subset}"]
        recipe = customize(find_recipe("mnist-ssl-softplus"), settings)
        start_training(recipe, str(data_directory), folder / f"seed{seed}", threads=1)
    return folder


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def cells_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {cell["row"]: cell for cell in report_of(folder)["cells"]}


def test_finished_runs_are_matched_tested_and_reported(
    igan_zoo: Cli, tmp_path: Path, data_directory: Path, members: Path
) -> None:
    out = tmp_path / "report"
    code, output, errors = igan_zoo(
        "reproduce", "table1", "--rows", "20,50,ensemble-20", "--runs", members, "--data", data_directory,
        "--out", out, "--note", "Synthetic digits.",
    )  # fmt: skip
    assert code == 0, errors
    assert "MNIST, permutation invariant" in output
    cells = cells_of(out)

    # Every number is that of `evaluate`.
    wrong = {}
    for seed in (1, 2, 3):
        counted = igan_zoo("evaluate", members / f"seed{seed}", "--data", data_directory, "--json")[1]
        wrong[seed] = json.loads(counted)["wrong"]
    single = cells["20"]
    assert [one["value"] for one in single["groups"][0]["measured"]] == [wrong[1], wrong[3]]
    assert single["ours"]["mean"] == (wrong[1] + wrong[3]) / 2
    assert single["ours"]["deviation"] == pytest.approx(abs(wrong[1] - wrong[3]) / 2**0.5)
    assert single["paper"] == {"value": 1677, "deviation": 452, "runs": 10}
    assert not single["full_protocol"]
    assert {"1 of 300 epochs", "2 seeds of 10"} <= set(single["shortfalls"])

    # The ensemble is of the two that share their labels; that of others stands beside the table.
    (ensemble,) = cells["ensemble-20"]["groups"][0]["measured"]
    assert (ensemble["members"], ensemble["seeds"]) == (2, [1, 2])
    assert report_of(out)["mixed_ensembles"]["ensemble-20"].popitem()[1]["seeds"] == [1, 3]
    assert cells["50"]["ours"] is None
    assert "--budget" in cells["50"]["empty_because"]
    assert report_of(out)["test_images"] == 100

    page = (out / "report.md").read_text()
    for piece in (
        "| 20 labels | 1677 ± 452 | **",
        "| 50 labels | 221 ± 136 | – |",
        "**Synthetic digits.**",
        "- 20 labels: 1 of 300 epochs; ",
        "100 test images instead of 10,000",
        "## Ensembles over different labeled images",
        "    igan-zoo train mnist-ssl-softplus --data ylecun/mnist --labels 20 --seed 3",
        "pictures/validation-errors.png",
        "pictures/20-seed1-samples.png",
        "torch 2.",
    ):
        assert piece in page
    for name in report_of(out)["pictures"].values():
        assert (out / name).stat().st_size > 500


def test_models_are_tested_through_their_onnx_files(igan_zoo: Cli, tmp_path: Path, data_directory: Path) -> None:
    model = bundled_store().find("mnist-ssl")
    assert model is not None
    out = tmp_path / "report"
    where = ("--models", model, "--data", data_directory, "--out", out)
    code, _, errors = igan_zoo("reproduce", "table1", "--rows", "100", *where)
    assert code == 0, errors
    (training,) = report_of(out)["trainings"]
    counted = json.loads(igan_zoo("evaluate", model, "--data", data_directory, "--json")[1])
    assert (training["kind"], training["wrong"], training["epochs"]) == ("ONNX", counted["wrong"], 75)
    assert "75 of 300 epochs" in cells_of(out)["100"]["shortfalls"]
    assert (out / "pictures" / "100-seed1-samples.png").read_bytes() == (model / "samples.png").read_bytes()


def test_answers_are_asked_once(
    igan_zoo: Cli, tmp_path: Path, data_directory: Path, members: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("reproduce", "table1", "--rows", "20", "--runs", members, "--data", data_directory, "--out", tmp_path)
    assert igan_zoo(*arguments)[0] == 0
    first = cells_of(tmp_path)
    monkeypatch.setattr("igan_zoo.reproduction.answers.run_logits", None)
    assert igan_zoo(*arguments)[0] == 0
    assert cells_of(tmp_path) == first


def test_runs_of_other_classes_and_unfinished_ones_are_left_out_with_a_sentence(
    igan_zoo: Cli, tmp_path: Path, data_directory: Path, members: Path
) -> None:
    runs = Path(shutil.copytree(members, tmp_path / "runs"))
    recipe = runs / "seed1" / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"epochs": 1,', '"epochs": 2,'))
    recipe = runs / "seed2" / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"9"', '"nine"'))
    (runs / "seed3" / "recipe.json").write_text("{}")
    where = ("--runs", runs, "--data", data_directory, "--out", tmp_path / "out")
    code, _, errors = igan_zoo("reproduce", "table1", "--rows", "20", *where)
    assert code == 0, errors
    sentences = "\n".join(report_of(tmp_path / "out")["left_out"])
    assert "seed1 is not finished: 1 of 2 epochs, validation error" in sentences
    assert "seed2 is left out" in sentences
    assert "seed3/recipe.json is not a run's recipe" in sentences
    assert cells_of(tmp_path / "out")["20"]["groups"] == []


@pytest.mark.usefixtures("two_epochs")
def test_a_budget_trains_and_a_second_call_trains_nothing(
    igan_zoo: Cli, tmp_path: Path, data_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (
        "reproduce", "table1", "--rows", "20,ensemble-20", "--seeds", "2", "--budget", "25", "--threads", "1",
        "--data", data_directory, "--out", tmp_path,
    )  # fmt: skip
    code, commands, errors = igan_zoo(*arguments, "--dry-run", "--json")
    assert code == 0, errors
    to_do = {one["training"]: one["command"] for one in json.loads(commands)}
    assert list(to_do) == ["20/seed1", "20/seed2", "ensemble-20/seed2"]
    assert to_do["ensemble-20/seed2"].endswith(f"--out {tmp_path}/runs/ensemble-20/seed2 --resume")
    assert not any(tmp_path.iterdir())

    code, _, errors = igan_zoo(*arguments)
    assert code == 0, errors
    cells = cells_of(tmp_path)
    assert [cells[row]["ours"]["numbers"] for row in ("20", "ensemble-20")] == [2, 1]
    assert "2 of 300 epochs" in cells["20"]["shortfalls"]
    bytes_of = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}

    def unread(*_: object) -> None:
        raise AssertionError("the training images are not even read")

    monkeypatch.setattr(trainings, "load_for_recipe", unread)
    assert igan_zoo(*arguments, "--dry-run")[1] == ""
    assert igan_zoo(*arguments)[0] == 0
    assert {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()} == bytes_of
    assert cells_of(tmp_path) == cells


@pytest.mark.usefixtures("two_epochs")
def test_when_the_minutes_are_over_it_reports_what_there_is_and_more_minutes_go_on(
    igan_zoo: Cli, tmp_path: Path, data_directory: Path
) -> None:
    arguments = (
        "reproduce", "table1", "--rows", "20,50,ensemble-20", "--threads", "1", "--data", data_directory,
        "--out", tmp_path,
    )  # fmt: skip
    assert igan_zoo(*arguments, "--budget", "0.00001")[0] == 0
    cells = cells_of(tmp_path)
    assert cells["50"]["empty_because"].startswith("50/seed1 is at 0 of 2 epochs"), "50 is worth more than 20"
    assert cells["20"]["empty_because"].startswith("1e-05 minutes of training were over before it; the same command")
    assert "--seeds 2" in cells["ensemble-20"]["empty_because"]
    before = Run(tmp_path / "runs" / "50" / "seed1").seconds()
    assert before > 0

    assert igan_zoo(*arguments, "--budget", "60")[0] == 0
    cells = cells_of(tmp_path)
    assert [cells[row]["groups"][0]["epochs"] for row in ("20", "50")] == [2, 2]
    assert Run(tmp_path / "runs" / "50" / "seed1").seconds() > before
    assert (
        igan_zoo(*arguments, "--budget", "full", "--seeds", "1", "--dry-run")[1].count("igan-zoo train mnist-ssl ") == 2
    )


@pytest.mark.usefixtures("two_epochs")
def test_a_run_of_another_recipe_is_not_gone_on_with(igan_zoo: Cli, tmp_path: Path, data_directory: Path) -> None:
    where = ("reproduce", "table1", "--rows", "20", "--threads", "1", "--data", data_directory, "--out", tmp_path)
    assert igan_zoo(*where, "--budget", "0.00001")[0] == 0
    assert igan_zoo(*where, "--budget", "full", "--seeds", "1")[0] == 0
    assert "was made from other settings" in cells_of(tmp_path)["20"]["empty_because"]


def test_figure_3_shows_the_images_of_both_methods(
    igan_zoo: Cli, tmp_path: Path, data_directory: Path, members: Path
) -> None:
    runs = Path(shutil.copytree(members / "seed1", tmp_path / "runs" / "a"))
    recipe = runs / "recipe.json"
    text = recipe.read_text().replace('"labelled_images": 20', '"labelled_images": 100')
    recipe.write_text(text.replace('"labels": "20"', '"labels": "100"'))
    code, _, errors = igan_zoo(
        "reproduce", "figure3", "--runs", runs, "--data", data_directory, "--out", tmp_path / "out"
    )
    assert code == 0, errors
    cells = cells_of(tmp_path / "out")
    assert cells["feature-matching"]["groups"][0]["recipe"] == "mnist-ssl-softplus"
    assert cells["minibatch-discrimination"]["empty_because"] is not None
    assert (
        "| feature matching, during semi-supervised training | 1 | `mnist-ssl-softplus` | 1 |"
        in (tmp_path / "out" / "report.md").read_text()
    )
    assert (tmp_path / "out" / "pictures" / "feature-matching-seed1-samples.png").is_file()


def test_an_ensembles_probabilities_are_the_mean_of_the_members() -> None:
    generator = np.random.default_rng(0)
    logits = [generator.normal(0, 30, (50, 10)).astype(np.float32) for _ in range(3)]
    each = [np.exp(one.astype(float)) / np.exp(one.astype(float)).sum(axis=1, keepdims=True) for one in logits]
    np.testing.assert_allclose(mean_probabilities(logits), np.mean(each, axis=0), atol=1e-12)
    assert count_wrong(np.eye(4), np.array([0, 1, 2, 0])) == 1
