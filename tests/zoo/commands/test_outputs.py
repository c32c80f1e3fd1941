"""Outputs never destroy inputs, asked to or not, and replace nothing without --force."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import OutputError
from igan_zoo.machine.files import keep_inputs

Cli = Callable[..., tuple[int, str, str]]
MODEL = "mnist-ssl"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path, model: Path) -> Path:
    """A folder of photos in a folder of its own, an .npz of images, and a model."""
    photos = tmp_path / "all" / "photos"
    (photos / "more").mkdir(parents=True)
    generator = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(generator.integers(0, 256, (28, 28), np.uint8)).save(photos / "more" / f"{index}.png")
    np.savez(tmp_path / "x.npz", images=generator.integers(0, 256, (20, 28, 28, 1), np.uint8))
    (tmp_path / "link").symlink_to(photos)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "rank all/photos --scorer MODEL --out all/photos",
        "rank all/photos --scorer MODEL --out all/photos/more",
        "rank all/photos --scorer MODEL --out all",
        "rank all/photos/ --scorer MODEL --out all/../link",
        "rank x.npz --scorer MODEL --out x.npz",
        "rank x.npz --scorer tiny --out tiny/onnx",
        "score x.npz --scorer MODEL --splits 1 --save-statistics x.npz",
        "score x.npz --scorer MODEL --splits 1 --out x.npz",
        "score all/photos --scorer MODEL --splits 1 --out all/photos/more/0.png",
        "score x.npz --scorer tiny --splits 1 --out tiny/config.json",
        "score x.npz --scorer MODEL --metric fid --reference s.safetensors --out s.safetensors",
        "merge-scores s.safetensors --out s.safetensors",
        "merge-scores s.safetensors --save-statistics s.safetensors",
        "sample tiny --out tiny",
        "sample tiny/onnx/generator.onnx --out tiny",
        "pull tiny --from tiny --to tiny/..",
        "train custom --data all/photos --out all/photos",
        "train custom --data all/photos --out all",
    ],
)
def test_no_command_destroys_what_it_reads(
    command: str, place: Path, igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    if "s.safetensors" in command:
        Path("s.safetensors").write_bytes(b"statistics")
    before = contents(place)
    force = [] if command.startswith(("pull", "train")) else ["--force"]
    code, said, errors = igan_zoo(*command.replace("MODEL", MODEL).split(), *force)
    assert (code, said) == (1, "")
    assert "would overwrite" in errors or "already exists" in errors
    assert contents(place) == before


def test_an_export_does_not_replace_its_run(
    finished_run: Path, tmp_path: Path, igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "runs" / "run"))
    before = contents(run)
    for out in (run, run.parent):
        code, _, errors = igan_zoo("export", run, "--out", out, "--force")
        assert (code, "would overwrite" in errors) == (1, True)
    assert contents(run) == before


def test_a_pull_does_not_replace_a_folder_around_its_source(
    model: Path, igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = model.parent / "home"
    monkeypatch.setenv("IGAN_ZOO_HOME", str(home))
    inner = Path(shutil.copytree(model, home / "models" / "tiny" / "backup"))
    before = contents(inner)
    code, _, errors = igan_zoo("pull", "tiny", "--from", inner)
    assert (code, "would overwrite" in errors) == (1, True)
    assert contents(inner) == before


@pytest.mark.parametrize("out", ["a.npz", "a.tar", "a.parquet", "folder"])
def test_samples_replace_nothing_without_force(out: str, tmp_path: Path, igan_zoo: Cli) -> None:
    command = ["sample", MODEL, "--n", 3, "--out", tmp_path / out]
    assert igan_zoo(*command)[0] == 0
    before = contents(tmp_path)
    code, _, errors = igan_zoo(*command, "--seed", 1)
    assert (code, f"{tmp_path / out} already exists" in errors) == (1, True)
    assert contents(tmp_path) == before
    assert igan_zoo(*command, "--seed", 1, "--force")[0] == 0
    assert contents(tmp_path).keys() == before.keys()
    assert contents(tmp_path) != before


@pytest.mark.parametrize("engine", [[], ["--workers", "1"]])
def test_the_picture_next_to_samples_replaces_nothing_either(
    engine: list[object], tmp_path: Path, igan_zoo: Cli
) -> None:
    (tmp_path / "a-grid.png").write_bytes(b"mine")
    code, _, errors = igan_zoo("sample", MODEL, "--n", 3, "--out", tmp_path / "a.npz", *engine)
    assert (code, "a-grid.png already exists" in errors) == (1, True)
    assert contents(tmp_path) == {tmp_path / "a-grid.png": b"mine"}


def test_an_output_that_destroys_nothing_is_taken(place: Path) -> None:
    photos = place / "all" / "photos"
    keep_inputs([place / "all" / "photos-ranked", photos / "ranked.json", None], [photos, None, place / "nowhere"])
    with pytest.raises(OutputError, match=r"Writing .*/all would overwrite .*/photos"):
        keep_inputs([place / "all"], [photos])


def test_data_that_are_being_prepared_lose_no_file(tmp_path: Path, place: Path, igan_zoo: Cli) -> None:
    photos = place / "all" / "photos"
    (photos / ".mine.part").write_bytes(b"mine")
    before = contents(photos)
    code, _, errors = igan_zoo("prepare", photos, "--size", 28, "--out", photos)
    assert code == 1
    assert contents(photos) == before, errors
