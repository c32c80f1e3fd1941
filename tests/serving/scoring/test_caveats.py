"""When a metric of some images means little, and when nothing is to be said."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from igan_zoo.images.sources import open_source
from igan_zoo.serving.scoring.caveats import caveats
from igan_zoo.serving.scoring.metrics.frechet_distance import Gaussian
from igan_zoo.serving.scoring.numbers import Reference
from igan_zoo.serving.scoring.protocols import INCEPTION
from igan_zoo.serving.scoring.statistics import Facts
from tests.serving.scoring.examples import some_facts

COLORED = np.random.default_rng(0).integers(0, 256, (30, 4, 4, 3), np.uint8)
GRAY = COLORED[..., :1].repeat(3, axis=3)
MANY = some_facts(images=50_000, features=2048, classes=1008)


def said(
    tmp_path: Path,
    metric: Any,
    facts: Facts = MANY,
    reference: Reference | Facts | None = None,
    *,
    pixels: NDArray[np.uint8] = COLORED,
    scorer: str = INCEPTION,
) -> str:
    np.save(tmp_path / "images.npy", pixels)
    network: Any = SimpleNamespace(name=scorer)
    source = open_source(str(tmp_path / "images.npy"), split=None)
    return " ".join(caveats((metric,), network, source, facts, reference))


@pytest.mark.parametrize(
    ("images", "classes", "few"), [(4_999, 1008, "5,000"), (5_000, 1008, ""), (49, 10, "50"), (50, 10, "")]
)
def test_a_score_of_few_images_is_said_to_be_low(tmp_path: Path, images: int, classes: int, few: str) -> None:
    text = said(tmp_path, "is", some_facts(images=images, classes=classes))
    assert (f"is{images} is biased low with fewer than {few} images" in text) is bool(few)


@pytest.mark.parametrize(
    ("images", "others", "few"), [(2_048, 9_000, True), (9_000, 2_048, True), (2_049, 2_049, False)]
)
def test_a_distance_of_few_images_is_said_to_be_high(tmp_path: Path, images: int, others: int, few: bool) -> None:
    facts = some_facts(images=images, features=2_048, classes=1008)
    text = said(tmp_path, "fid", facts, some_facts(images=others, features=2_048))
    assert ("is biased high with 2,048 images, no more than the 2,048 features" in text) is few


def test_a_gaussian_of_unknown_origin_is_said_to_be_one(tmp_path: Path) -> None:
    reference = Reference("their.npz", gaussian=Gaussian(np.zeros(2048), np.eye(2048)))
    assert "their.npz does not say how it was made: pytorch-fid scales" in said(tmp_path, "fid", MANY, reference)
    assert said(tmp_path, "fid", MANY, reference, scorer="another") == ""


def test_gray_images_are_no_photos(tmp_path: Path) -> None:
    assert "looks gray throughout" in said(tmp_path, "is", pixels=GRAY)
    assert said(tmp_path, "is", pixels=GRAY, scorer="a classifier of digits") == ""
    one_colored = GRAY.copy()
    one_colored[7, 0, 0, 0] ^= 1
    assert said(tmp_path, "is", pixels=one_colored) == ""


def test_nothing_is_said_of_a_score_as_it_should_be(tmp_path: Path) -> None:
    assert said(tmp_path, "is") == said(tmp_path, "fid", MANY, MANY) == said(tmp_path, "kid") == ""
