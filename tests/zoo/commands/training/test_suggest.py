"""The loop label, train, suggest by the command line: what it writes can be filled in, and errors are one sentence."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.images.sources import open_source
from tests.serving.tiny_classifier import tiny_classifier
from tests.serving.tiny_scorer import tiny_scorer

Cli = Callable[..., tuple[int, str, str]]
# Between red and blue or green, from the most doubtful on; the second has the same pixels as the first.
DOUBTFUL = [(120, 20, 118), (120, 20, 118), (110, 115, 10), (90, 10, 60), (150, 20, 70)]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "colors.onnx"
    path.write_bytes(tiny_classifier())
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three labeled photos of each color, of which one red one lies among the blue ones, and five others."""
    for number in range(3):
        for name, color in (("red", (200, 20, 30)), ("green", (20, 190, 30)), ("blue", (30, 20, 210))):
            save(tmp_path / "photos" / name / f"{number}.png", color, number)
    save(tmp_path / "photos" / "blue" / "wrong.png", (220, 20, 30), 7)
    for number, color in enumerate(DOUBTFUL):
        save(tmp_path / "photos" / "unlabeled" / f"{number}.png", color, 9)
    return tmp_path / "photos"


def save(path: Path, color: tuple[int, int, int], seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 3, (18, 24, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(color) + noise).astype(np.uint8)).save(path)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_has_a_sheet_labels_to_fill_in_and_suspicious_ones(
    igan_zoo: Cli, model: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "next"
    code, printed, _ = igan_zoo("suggest", model, "--data", photos, "--n", 3, "--out", out)
    assert code == 0
    rows = rows_of(out / "labels.csv")
    assert [row["label"] for row in rows] == ["blue"] * 4 + ["green"] * 3 + ["red"] * 3 + [""] * 3
    new = rows[-3:]
    assert [row["number"] for row in new] == ["1", "2", "3"]
    assert new[0] == {"file": "unlabeled/0.png", "label": "", "predicted": "red", "number": "1"}
    assert "unlabeled/1.png" not in [row["file"] for row in new]
    (doubt,) = rows_of(out / "suspicious.csv")
    assert (doubt["file"], doubt["label"], doubt["predicted"]) == ("blue/wrong.png", "blue", "red")
    assert float(doubt["probability"]) > 0.99
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.size == (3 * 212, 250)
        # The photo itself, above its captions.
        assert np.abs(np.array(sheet.getpixel((106, 106))) - DOUBTFUL[0]).max() <= 3
    for text in ("unlabeled/0.png", "red 0.5", "blue/wrong.png", "3 photos to label", "1 label to look at again"):
        assert text in printed


def test_what_was_filled_in_is_read_and_not_suggested_again(
    igan_zoo: Cli, model: Path, photos: Path, tmp_path: Path
) -> None:
    suggest = ("suggest", model, "--data", photos, "--n", 2, "--json")
    code, printed, _ = igan_zoo(*suggest, "--out", tmp_path / "first")
    first = [one["file"] for one in json.loads(printed)["picks"]]
    labels = tmp_path / "first" / "labels.csv"
    before = open_source(photos, labels_file=labels)
    assert (before.classes, int((before.labels(range(len(before))) >= 0).sum())) == (("blue", "green", "red"), 10)
    text = labels.read_text()
    for file in first:
        text = text.replace(f"{file},,", f"{file},red,")
    labels.write_text(text)
    after = open_source(photos, labels_file=labels)
    assert int((after.labels(range(len(after))) >= 0).sum()) == 12

    code, printed, _ = igan_zoo(*suggest, "--labels", labels, "--out", tmp_path / "second")
    second = [one["file"] for one in json.loads(printed)["picks"]]
    assert (code, len(second), set(first) & set(second)) == (0, 2, set())
    kept = rows_of(tmp_path / "second" / "labels.csv")
    assert [(row["file"], row["label"]) for row in kept[:12]] == [
        (row["file"], row["label"]) for row in rows_of(labels) if row["label"]
    ]
    assert [row["file"] for row in kept[12:]] == second


def test_the_same_call_writes_the_same_bytes(igan_zoo: Cli, model: Path, photos: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert igan_zoo("suggest", model, "--data", photos, "--out", tmp_path / name)[0] == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_photos_in_a_tar_archive_and_a_damaged_one(igan_zoo: Cli, model: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "unlabeled" / "0.png").write_bytes(b"no image")
    (tmp_path / "labels.csv").write_text("class,path\nred,red/0.png\n")
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.add(path, path.relative_to(photos))
    suggest = ("suggest", model, "--data", tmp_path / "photos.tar", "--labels", tmp_path / "labels.csv", "--n", 1)
    code, _, errors = igan_zoo(*suggest, "--out", tmp_path / "next")
    assert (code, "unlabeled/0.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image" in errors) == (0, True)
    assert [row["file"] for row in rows_of(tmp_path / "next" / "labels.csv")] == ["red/0.png", "unlabeled/1.png"]


def test_a_class_that_the_classifier_has_not_seen_is_said(
    igan_zoo: Cli, model: Path, photos: Path, tmp_path: Path
) -> None:
    save(photos / "violet" / "0.png", (150, 20, 150), 1)
    code, _, errors = igan_zoo("suggest", model, "--data", photos, "--out", tmp_path / "next")
    assert (code, "does not know the class violet: train it again" in errors) == (0, True)
    assert len(rows_of(tmp_path / "next" / "suspicious.csv")) == 1


def test_a_model_needs_no_torch(model: Path, photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from igan_zoo.cli import main; "
        f"main(['suggest', {str(model)!r}, '--data', {str(photos)!r}, '--out', {str(tmp_path / 'next')!r}])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (tmp_path / "next" / "sheet.png").is_file()


def refuse(igan_zoo: Cli, message: str, *arguments: object, code: int = 1) -> None:
    found, _, errors = igan_zoo("suggest", *arguments)
    (sentence,) = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert (found, message in sentence) == (code, True), errors


def test_nothing_is_replaced_or_put_among_the_photos(igan_zoo: Cli, model: Path, photos: Path, tmp_path: Path) -> None:
    suggest = (model, "--data", photos, "--out", tmp_path / "next")
    assert igan_zoo("suggest", *suggest)[0] == 0
    refuse(igan_zoo, "next already exists; choose another --out, or add --force", *suggest)
    assert igan_zoo("suggest", *suggest, "--force")[0] == 0
    labels = tmp_path / "next" / "labels.csv"
    refuse(igan_zoo, "would overwrite", *suggest, "--labels", labels, "--force")
    refuse(igan_zoo, "is inside", model, "--data", photos, "--out", photos / "next")
    assert not (photos / "next").exists()


def test_what_cannot_be_suggested_is_one_sentence(igan_zoo: Cli, model: Path, photos: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "next")
    np.savez(tmp_path / "x.npz", images=np.zeros((3, 8, 8, 3), np.uint8))
    refuse(igan_zoo, "have no names that labels could refer to", model, "--data", tmp_path / "x.npz", *out)
    (tmp_path / "one.onnx").write_bytes(tiny_classifier(("blue",)))
    refuse(igan_zoo, "knows the class blue only", tmp_path / "one.onnx", "--data", photos, *out)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    refuse(igan_zoo, "is a run on pixels: export it", tmp_path / "run", "--data", photos, *out)
    for path in (photos / "unlabeled").iterdir():
        path.rename(photos / "red" / f"more-{path.name}")
    (photos / "unlabeled").rmdir()
    refuse(igan_zoo, "already has a label", model, "--data", photos, *out)
    assert not (tmp_path / "next").exists()


def test_a_name_that_no_file_of_labels_can_have_is_refused(
    igan_zoo: Cli, model: Path, photos: Path, tmp_path: Path
) -> None:
    save(photos / "red" / "two\nlines.png", (200, 20, 30), 1)
    refuse(igan_zoo, r"cannot name 'red/two\nlines.png'", model, "--data", photos, "--out", tmp_path / "next")
    assert not (tmp_path / "next").exists()


def test_a_run_on_features_suggests_what_its_model_does_not_know(igan_zoo: Cli, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    encoder, run, out = tmp_path / "tiny.onnx", tmp_path / "run", tmp_path / "next"
    encoder.write_bytes(tiny_scorer({"igan_zoo.resize": "bilinear-16"}))
    train = ("train", "custom", "--features", encoder, "--data", photos, "--set", "steps=40", "--ensemble", 2)
    refuse(igan_zoo, "no model", run, "--data", photos, "--out", out)
    assert igan_zoo(*train, "--out", run)[0] == 0
    refuse(igan_zoo, "--device applies to exported models", run, "--data", photos, "--device", "cuda", code=2)
    code, printed, _ = igan_zoo("suggest", run, "--data", photos, "--n", 2, "--out", out, "--json")
    found = json.loads(printed)["picks"]
    assert (code, len(found)) == (0, 2)
    assert all(one["file"].startswith("unlabeled/") and 0 <= one["margin"] <= 1 for one in found)
    again = (*train, "--labels", out / "labels.csv", "--out", tmp_path / "again")
    assert igan_zoo(*again)[0] == 0
    (run / "result.json").unlink()
    refuse(igan_zoo, "the run is not finished; add --resume", run, "--data", photos, "--out", tmp_path / "third")
