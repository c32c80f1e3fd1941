"""What is wrong with the arguments of a training is said before the first photo is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from igan_zoo.commands.training.prepare import prepare
from igan_zoo.errors import DataError, OutputError, TrainingError
from igan_zoo.images import loading
from igan_zoo.images.pixels import write_image
from igan_zoo.machine.files import refuse_unwritable
from igan_zoo.training.features.runs import FACTS, FeatureRun
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from igan_zoo.training.start import start_training


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve photos of two classes, none of which may be decoded."""
    for index in range(12):
        write_image(tmp_path / "photos" / "ab"[index % 2] / f"{index}.png", np.full((32, 32, 3), index, np.uint8))

    def never(*arguments: Any) -> Any:
        raise AssertionError("a photo is decoded")

    monkeypatch.setattr(loading, "decode_ahead", never)
    return tmp_path / "photos"


def train(photos: Path, out: Path, labels: str = "all", *, labels_file: Path | None = None, batch: int = 4) -> None:
    recipe = customize(find_recipe("custom"), [f"labels={labels}", f"batch_size={batch}", "height=32", "width=32"])
    start_training(recipe, str(photos), out, labels_file=labels_file)


def test_a_place_that_cannot_be_written_is_refused_first(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"Cannot write .*file/run: .*file is not a folder; choose another --out"):
        train(photos, tmp_path / "file" / "run")
    with pytest.raises(OutputError, match="is not a folder"):
        FeatureRun(tmp_path / "file" / "run").refuse_start(resume=False)
    answer = CliRunner().invoke(prepare, [str(photos), "--size", "8", "--out", str(tmp_path / "file" / "shards")])
    assert isinstance(answer.exception, OutputError)
    refuse_unwritable(tmp_path / "new" / "run")
    assert not (tmp_path / "new").exists()


def test_a_run_on_features_that_is_there_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / FACTS).write_text("{}")
    with pytest.raises(TrainingError, match="holds a run already"):
        FeatureRun(tmp_path).refuse_start(resume=False)
    FeatureRun(tmp_path).refuse_start(resume=True)


def test_labels_and_images_that_are_too_few_are_refused_first(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("file,label\na/99.png,cat\n")
    for arguments, sentence in (
        ({"labels": "100"}, "but 50 per class were requested"),
        ({"batch": 50}, "12 images, fewer than one batch of 50"),
        ({"labels_file": tmp_path / "labels.csv"}, r"names 'a/99\.png', but there is no such image"),
    ):
        with pytest.raises(DataError, match=sentence):
            train(photos, tmp_path / "run", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
