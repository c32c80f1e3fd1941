"""Statistics gathered in shards: the bytes of one process, of stored images and of a model's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.serving.scoring.statistics_file import load_statistics
from tests.conftest import igan_zoo_process
from tests.serving.shards.losing import Losing
from tests.serving.shards.work import MODEL
from tests.serving.tiny_scorer import tiny_scorer

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """60 PNG files of two sizes, two of which do not decode."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(1)
    for index in range(60):
        shape = (6, 5, 3) if index % 3 else (9, 4, 3)
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / f"{index:02}.png")
    for index in (7, 33):
        (folder / f"{index:02}.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def scorer(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_scorer({}))
    return path


def score(igan_zoo: Cli, source: Path, scorer: Path, kept: Path, *options: object) -> tuple[str, bytes]:
    """Returns the numbers that are printed, and the bytes of the statistics."""
    command = ["score", source, "--scorer", scorer, "--no-cache", "--save-statistics", kept, "--splits", 3]
    code, out, err = igan_zoo(*command, "--metric", "is", *options)
    assert code == 0, err
    return out, kept.read_bytes()


@pytest.mark.parametrize("count", [(), ("--n", 50)])
def test_a_folder_with_damaged_files_has_the_bytes_of_one_process(
    count: tuple[object, ...], igan_zoo: Cli, photos: Path, scorer: Path, tmp_path: Path
) -> None:
    expected = score(igan_zoo, photos, scorer, tmp_path / "one.safetensors", *count)
    engine = ("--executor", "processes", "--workers", 2, "--shard-size", 7)
    assert score(igan_zoo, photos, scorer, tmp_path / "many.safetensors", *count, *engine) == expected
    assert not list(tmp_path.glob("*.shards"))
    assert load_statistics(tmp_path / "many.safetensors").complete


def test_a_models_images_have_the_bytes_of_one_process(igan_zoo: Cli, tmp_path: Path) -> None:
    of_model = ("--n", 450, "--model-seed", 5)
    expected = score(igan_zoo, MODEL, MODEL, tmp_path / "one.safetensors", *of_model)
    engine = ("--workers", 2, "--shard-size", 130)
    assert score(igan_zoo, MODEL, MODEL, tmp_path / "many.safetensors", *of_model, *engine) == expected


def test_a_lost_worker_changes_no_bit(
    igan_zoo: Cli, photos: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from igan_zoo.serving.shards import executors

    find = executors.find_executor
    monkeypatch.setattr(
        executors, "find_executor", lambda engine, workers: Losing(find(engine, workers), tmp_path / "marks")
    )
    expected = score(igan_zoo, photos, scorer, tmp_path / "one.safetensors")
    engine = ("--executor", "processes", "--workers", 1, "--shard-size", 7)
    assert score(igan_zoo, photos, scorer, tmp_path / "many.safetensors", *engine) == expected
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_the_last_rank_prints_the_score(igan_zoo: Cli, photos: Path, scorer: Path, tmp_path: Path) -> None:
    out, expected = score(igan_zoo, photos, scorer, tmp_path / "one.safetensors")
    kept = tmp_path / "many.safetensors"
    command = ["score", photos, "--scorer", scorer, "--no-cache", "--save-statistics", kept, "--splits", 3]
    command += ["--executor", "ranks", "--shard-size", 7]
    said = []
    for rank in (1, 0):
        process = igan_zoo_process(*command, env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "2"})
        said.append(process.communicate()[0])
        assert process.returncode == 0
    assert said == ["", out]
    assert kept.read_bytes() == expected


def test_finished_statistics_are_not_gathered_again(
    igan_zoo: Cli, photos: Path, scorer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["score", photos, "--scorer", scorer, "--splits", 3, "--executor", "processes", "--workers", 1]
    assert igan_zoo(*command)[0] == 0
    monkeypatch.setattr("igan_zoo.serving.shards.processes.Processes.run", None)
    assert igan_zoo(*command)[0] == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--executor", "spark"], 2, "'spark' is not an executor: give processes, dask"),
        (["--shard-size", 7], 2, "--shard-size needs --executor or --workers"),
        (["--executor", "ranks", "--workers", 2], 2, "every rank is one worker"),
        (["--executor", "dask://here:8786", "--workers", 2], 2, "which has its own"),
        (
            ["--executor", "processes", "--shard", "1/2", "--out", "x"],
            2,
            "remove --shard, --compare-conventions",
        ),
        (["--executor", "processes"], 1, "name these with --save-statistics"),
        (["--executor", "ranks", "--metric", "fid", "--reference", "."], 2, "a file from --save-statistics"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    options: list[object], code: int, message: str, igan_zoo: Cli, photos: Path, scorer: Path
) -> None:
    options = [photos if option == "." else option for option in options]
    found, _, err = igan_zoo("score", photos, "--scorer", scorer, "--splits", 3, "--no-cache", *options)
    assert (found, message in err) == (code, True), err
