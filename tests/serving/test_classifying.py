"""Classifying files, and logits of arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import ImageError
from igan_zoo.images.pixels import WORTH_THREADS
from igan_zoo.images.sources import open_given
from igan_zoo.models import store
from igan_zoo.serving.classifying import Classification, classify, logit_batches
from igan_zoo.serving.engine import Engine, load_engine
from tests.conftest import synthetic_digits

NAMES = tuple("0123456789")


@pytest.fixture(scope="module")
def engine(exported_model: Path) -> Engine:
    return load_engine(store.resolve(str(exported_model)), ["classifier"])


def test_files_are_answered_in_order_and_a_bad_one_does_not_stop_the_rest(engine: Engine, tmp_path: Path) -> None:
    images, labels = synthetic_digits(7, 9)
    files = []
    for index, image in enumerate(images):
        files.append(tmp_path / f"{index}.png")
        Image.fromarray(image).save(files[-1])
    files.insert(3, tmp_path / "none.png")
    answers = list(classify(engine, NAMES, open_given(files), top=3, batch_size=2))
    bad = answers.pop(3)
    assert isinstance(bad, ImageError)
    for answer, label, file in zip(answers, labels, [file for file in files if file.exists()], strict=True):
        assert isinstance(answer, Classification)
        assert answer.file == str(file)
        assert answer.classes[0][0] == str(label)
        shares = [share for _, share in answer.classes]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) == 3
        assert 0 <= answer.realness <= 1


def test_large_files_are_answered_in_order_by_threads(engine: Engine, tmp_path: Path) -> None:
    images, _ = synthetic_digits(30, 7)
    noise = np.random.default_rng(0).integers(0, 20, (30, 112, 112), np.uint8)
    files = [tmp_path / f"{index}.png" for index in range(30)]
    for file, image, dirt in zip(files, images, noise, strict=True):
        Image.fromarray(image.repeat(4, axis=0).repeat(4, axis=1) // 2 + dirt).save(file)
    assert files[0].stat().st_size >= WORTH_THREADS
    files[20].write_bytes(b"no image")
    answers = list(classify(engine, NAMES, open_given(files), top=1, batch_size=7))
    alone = [answer for file in files for answer in classify(engine, NAMES, open_given(file), top=1)]
    assert isinstance(answers[20], ImageError)
    for together, single, file in zip(answers, alone, files, strict=True):
        if isinstance(together, Classification) and isinstance(single, Classification):
            assert (together.file, together.classes[0][0]) == (str(file), single.classes[0][0])
            assert together.classes[0][1] == pytest.approx(single.classes[0][1], abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 30, 1000])
def test_logits_are_those_of_every_image_whatever_the_batch_size(engine: Engine, batch_size: int) -> None:
    images, labels = synthetic_digits(100, 2)
    batches = list(logit_batches(engine, images[..., None], batch_size=batch_size, title="testing"))
    assert max(map(len, batches)) == min(batch_size, 100)
    assert (np.concatenate(batches).argmax(axis=1) != labels).sum() < 10
