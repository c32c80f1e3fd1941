"""Table 3: scores by the zoo's classifiers always, and a column that only the network of 2015 fills."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from igan_zoo.models.interface import SCORER_KEY, WEIGHTS_KEY
from igan_zoo.models.store import bundled_store
from igan_zoo.reproduction.scores import is_inception
from igan_zoo.serving.scoring.protocols import INCEPTION, INCEPTION_WEIGHTS
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from igan_zoo.training.start import start_training
from tests.serving.tiny_scorer import tiny_scorer
from tests.zoo.test_cli import fails

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory, sources: dict[str, Path]) -> Path:
    """A run of the row -L, of two steps of networks an eighth as wide."""
    folder = tmp_path_factory.mktemp("generators")
    settings = ["network_width=0.125", "batch_size=10", "epochs=1", "epoch_images=20", "initialization_images=20"]
    recipe = customize(find_recipe("cifar10-table3-l"), settings)
    start_training(recipe, str(sources["uoft-cs/cifar10"]), folder / "run", threads=1)
    return folder


@pytest.fixture
def inception(tmp_path: Path) -> Path:
    """A network of a few numbers that says it is the one of 2015."""
    path = tmp_path / "inception.onnx"
    path.write_bytes(tiny_scorer({SCORER_KEY: INCEPTION, WEIGHTS_KEY: INCEPTION_WEIGHTS}))
    return path


@pytest.fixture
def bundled() -> Path:
    """The folder of the MNIST model in the package."""
    return bundled_store().root / "mnist-ssl"


def report_of(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_the_column_of_the_inception_score_waits_for_its_weights(
    igan_zoo: Cli, tmp_path: Path, generators: Path, inception: Path, sources: dict[str, Path], bundled: Path
) -> None:
    out = tmp_path / "out"
    arguments = (
        "reproduce", "table3", "--rows", "real,l,ours", "--runs", generators, "--data", sources["uoft-cs/cifar10"],
        "--models", bundled, "--n", "60", "--out", out,
    )  # fmt: skip
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_scorer({}))
    code, _, errors = igan_zoo(*arguments, "--scorer", other)
    assert code == 0, errors
    report = report_of(out)
    assert [cell["ours"] for cell in report["cells"]] == [None, None, None]
    assert all("--inception FILE" in cell["empty_because"] for cell in report["cells"])
    assert {score["subject"] for score in report["scores"]} == {"cifar10-table3-l, seed 1", "real data"}
    for score in report["scores"]:
        assert score["metric"].startswith("classifier score (other-")
        assert 1 <= score["value"] <= 3
        assert score["images"] == 60
    assert any("mnist-ssl has no score: no classifier of ylecun/mnist was found" in said for said in report["left_out"])
    page = (out / "report.md").read_text()
    assert "**not Inception scores**" in page
    assert "| -L | 4.36 ± 0.04 | – |" in page

    # With the network of 2015 the same call fills it; the run is not exported a second time.
    exported = {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*.onnx")}
    code, _, errors = igan_zoo(*arguments, "--inception", inception, "--scorer", other)
    assert code == 0, errors
    real, ours, without_labels = report_of(out)["cells"]
    assert real["row"] == "real"
    assert 1 < real["ours"]["mean"] <= 3
    assert real["ours"]["deviation"] > 0
    assert without_labels["ours"]["numbers"] == 1
    assert 1 <= without_labels["ours"]["mean"] <= 3
    assert without_labels["shortfalls"][0] == "1 of 400 epochs"
    assert ours["empty_because"].startswith("nothing was trained for it")
    assert {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*.onnx")} == exported


def test_another_network_never_stands_in_the_papers_column(igan_zoo: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(tiny_scorer({}))
    where = ("--budget", "3", "--out", tmp_path / "out")
    fails(igan_zoo("reproduce", "table3", *where, "--inception", other), 1, "is not inception-2015-12-05", "--scorer")
    assert not (tmp_path / "out").exists()
    assert [is_inception(name) for name in (INCEPTION, "inception-tensorflow-abc", "inception-custom-abc", "x")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_generator_is_scored_by_the_zoos_classifier_of_its_data(igan_zoo: Cli, tmp_path: Path, bundled: Path) -> None:
    out = tmp_path / "out"
    arguments = ("reproduce", "table3", "--rows", "l", "--models", bundled, "--n", "100", "--out", out)
    code, _, errors = igan_zoo(*arguments)
    assert code == 0, errors
    (score,) = report_of(out)["scores"]
    assert (score["subject"], score["scorer"]) == ("mnist-ssl, seed 1", "mnist-ssl")
    # It is the number of `igan-zoo score`.
    said = igan_zoo("score", "mnist-ssl", "--scorer", "mnist-ssl", "--n", "100", "--format", "json")[1]
    records = {record["quantity"]: record["value"] for record in map(json.loads, said.splitlines())}
    assert (score["value"], score["unsplit"]) == (records["split mean"], records["unsplit"])
    assert score["own_classifier"]
    assert "`mnist-ssl` (its own classifier)" in (out / "report.md").read_text()
