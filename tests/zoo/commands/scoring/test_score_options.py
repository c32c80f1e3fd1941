"""What ``igan-zoo score`` makes of its arguments: metrics, pairs, files of statistics, and mistakes found at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.serving.test_engine import scorer_graph

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    """Features: the mean of every channel; logits: twice that."""
    path = tmp_path / "toy.onnx"
    path.write_bytes(scorer_graph(["N", "H", "W", 3]))
    return path


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.npz", tmp_path / "b.npz"
    for seed, path in enumerate(paths):
        np.savez(path, images=np.random.default_rng(seed).integers(0, 200 + 20 * seed, (60, 5, 6, 3), np.uint8))
    return paths


@pytest.fixture
def unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.serving.scoring.gathering.gather_statistics", lambda *_, **__: pytest.fail("scored"))


def numbers(result: tuple[int, str, str]) -> dict[str, float]:
    assert result[0] == 0, result
    records = [json.loads(line) for line in result[1].splitlines()]
    return {f"{record['protocol']} {record['quantity']}": record["value"] for record in records}


def sentence(result: tuple[int, str, str], code: int = 1) -> str:
    assert result[:2] == (code, ""), result
    (line,) = [line for line in result[2].splitlines() if line.startswith("Error: ")]
    return line


def test_two_sources_are_a_distance(igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path]) -> None:
    common = ("--scorer", scorer, "--format", "json")
    pair = numbers(igan_zoo("score", *sets, *common))
    assert [name[:9] for name in pair] == ["fd60-toy-"]
    assert pair == numbers(igan_zoo("score", sets[0], *common, "--reference", sets[1]))
    assert "give the reference only once" in sentence(igan_zoo("score", *sets, "--reference", sets[1]), 2)


def test_metrics_may_be_listed(igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path]) -> None:
    common = ("--scorer", scorer, "--format", "json", "--subset-size", 20)
    listed = numbers(igan_zoo("score", *sets, *common, "--metric", "is, fid", "--metric", "kid,is"))
    assert [name.split("-")[0] for name in listed] == [
        *(f"is60 {quantity}" for quantity in ("split mean", "unsplit", "unsplit, corrected")),
        *("fd60", "kd60"),
    ]
    assert "'foo' is not one of 'is', 'fid', 'kid', 'pr'" in sentence(igan_zoo("score", *sets, "--metric", "is,foo"), 2)


def test_all_is_what_both_sides_allow(
    igan_zoo: Cli, scorer: Path, model: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    common = ("--format", "json", "--metric", "all")

    def protocols(*arguments: object) -> set[str]:
        return {re.sub(r"60.*", "", name) for name in numbers(igan_zoo("score", *arguments, *common))}

    assert protocols(*sets, "--scorer", scorer) == {
        *("is", "fd", "kd", "pr", "dc"),
        *("is-inf", "fd-inf", "kd-rbf", "vendi"),
    }
    assert protocols(sets[0], "--scorer", scorer) == {"is", "is-inf", "vendi"}
    assert protocols(*sets, "--scorer", model) == {"is", "is-inf"}
    theirs = tmp_path / "theirs.npz"
    assert igan_zoo("score", sets[1], "--scorer", scorer, "--save-statistics", theirs)[0] == 0
    assert protocols(sets[0], theirs, "--scorer", scorer) == {"is", "fd", "is-inf", "fd-inf", "vendi"}


def test_a_reference_is_saved_without_another(
    igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "real.safetensors", tmp_path / "real.npz"
    for path in (ours, theirs):
        code, output, errors = igan_zoo(
            "score", sets[1], "--scorer", scorer, "--metric", "fid,kid", "--save-statistics", path
        )
        assert (code, output) == (0, "")
        assert f"{path}: statistics of 60 images" in errors
    common = ("--scorer", scorer, "--format", "json")
    expected = numbers(igan_zoo("score", *sets, *common))
    assert numbers(igan_zoo("score", sets[0], ours, *common)) == expected
    assert numbers(igan_zoo("score", sets[0], theirs, *common)) == expected
    (name,) = numbers(igan_zoo("score", sets[0], ours, *common, "--metric", "kid", "--subset-size", 9))
    assert name.startswith("kd60-toy-")
    with np.load(theirs, allow_pickle=False) as file:
        assert {name: file[name].shape for name in file.files} == {"mu": (3,), "sigma": (3, 3)}


@pytest.mark.usefixtures("unscored")
def test_what_would_fail_at_the_end_fails_before_the_first_image(
    igan_zoo: Cli, scorer: Path, model: Path, sets: tuple[Path, Path], tmp_path: Path
) -> None:
    theirs, wide, there = tmp_path / "theirs.npz", tmp_path / "wide.npz", tmp_path / "there.npz"
    np.savez(theirs, mu=np.zeros(3), sigma=np.eye(3))
    np.savez(wide, mu=np.zeros(4), sigma=np.eye(4))
    np.savez(there, images=np.load(sets[0])["images"])
    command = ("score", sets[0], "--scorer", scorer)
    for arguments, message in (
        ((sets[1], "--metric", "kid"), "takes subsets of 1,000 images, but one side has the features of only 60"),
        ((sets[1], "--metric", "kid", "--subset-size", 61), "takes subsets of 61 images"),
        ((theirs, "--metric", "pr"), "has a mean and a covariance only: name the reference images"),
        ((wide,), "wide.npz has 4 features and the scorer toy-"),
        (("--save-statistics", there), "there.npz already exists"),
        (("--save-statistics", tmp_path / "x.npz", "--scorer", model), "the classifier tiny gives only classes"),
    ):
        assert message in sentence(igan_zoo(*command, *arguments)), arguments
    assert "needs a name ending in .safetensors or .npz" in sentence(
        igan_zoo(*command, "--save-statistics", "x.txt"), 2
    )


@pytest.mark.parametrize(
    ("names", "mean"),
    [
        (("mu", "sigma"), np.arange(3.0)),
        (("mean", "cov"), np.arange(3.0)),
        (("ref_mu", "ref_sigma"), np.arange(3.0)[None]),
    ],
)
def test_other_tools_statistics_are_read(
    igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path], tmp_path: Path, names: tuple[str, str], mean: Any
) -> None:
    reference = tmp_path / "reference.npz"
    np.savez(reference, **dict(zip(names, (mean, np.eye(3)), strict=True)))
    expected = tmp_path / "expected.npz"
    np.savez(expected, mu=np.arange(3.0), sigma=np.eye(3))
    common = ("--scorer", scorer, "--format", "json")
    read = numbers(igan_zoo("score", sets[0], reference, *common))
    assert read == numbers(igan_zoo("score", sets[0], expected, *common))


@pytest.mark.usefixtures("unscored")
@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (-np.eye(3), "has negative eigenvalues, so it is not a covariance"),
        (np.diag([1.0, -0.01, 1.0]), "has negative eigenvalues"),
        (np.eye(3) + np.eye(3, k=1), "is not symmetric"),
        (np.eye(3) * np.nan, "contain values that are not numbers"),
        (np.eye(4), "mu [3] and sigma [4, 4]"),
    ],
)
def test_damaged_statistics_are_refused(
    igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path], tmp_path: Path, sigma: Any, message: str
) -> None:
    np.savez(tmp_path / "bad.npz", mu=np.zeros(3), sigma=sigma)
    text = sentence(igan_zoo("score", sets[0], tmp_path / "bad.npz", "--scorer", scorer))
    assert message in text
    assert str(tmp_path / "bad.npz") in text


def test_a_run_that_scores_nothing_says_so(igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path]) -> None:
    command = ("score", sets[0], "--scorer", scorer)
    assert "was scored before" not in igan_zoo(*command)[2]
    assert f"{sets[0]}[images] was scored before; using its statistics from " in igan_zoo(*command)[2]
    assert "was scored before" not in igan_zoo(*command, "--no-cache")[2]


def test_a_metric_that_means_little_is_said_to(igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path]) -> None:
    errors = igan_zoo("score", sets[0], "--scorer", scorer, "--n", 12, "--splits", 2)[2]
    assert "Note: is12 is biased low with fewer than 15 images" in errors
    assert "Note" not in igan_zoo("score", *sets, "--scorer", scorer)[2]


def test_the_page_names_the_options() -> None:
    page = (REPOSITORY / "docs" / "scoring.md").read_text()
    for words in ("--metric is,fid", "--metric all", "--save-statistics real.npz"):
        assert words in page


def test_a_bootstrap_gives_errors_that_no_formula_has(igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path]) -> None:
    common = ("--scorer", scorer, "--metric", "fid,vendi,kid-rbf,is-inf,fid-inf", "--subset-size", 30)
    errors = []
    for more in ((), ("--bootstrap", 5)):
        code, output, _ = igan_zoo("score", *sets, *common, *more, "--format", "json")
        assert code == 0
        records = {record["protocol"]: record for record in map(json.loads, output.splitlines())}
        assert [name.split("60")[0] for name in records] == ["fd", "vendi", "kd-rbf", "is-inf", "fd-inf"]
        errors.append({name.split("60")[0]: record["standard_error"] for name, record in records.items()})
    assert errors[0] == errors[1] | {"fd": None, "vendi": None}
    assert errors[1]["fd"] > 0
    assert errors[1]["vendi"] > 0


def test_what_cannot_be_extrapolated_is_said_before_any_image_is_scored(
    igan_zoo: Cli, scorer: Path, sets: tuple[Path, Path], unscored: None
) -> None:
    few = igan_zoo("score", *sets, "--scorer", scorer, "--metric", "fid-inf", "--n", 19)
    assert "19 images will not do: take 20 or more" in sentence(few)
    split = igan_zoo("score", sets[0], "--scorer", scorer, "--metric", "is-inf", "--splits", 2)
    assert "use more splits" in sentence(split)
