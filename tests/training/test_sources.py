"""Where images and labels come from, and one sentence for everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import DataError
from igan_zoo.training.sources import LabelledImages, load_images
from tests.conftest import REAL_MNIST, synthetic_digits

GREY = {"height": 28, "width": 28, "channels": 1}
TINY = {"height": 8, "width": 8, "channels": 1}


def picture(path: Path, brightness: int = 100, size: tuple[int, int] = (10, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, brightness).save(path)


def read(root: Path, split: str = "train", **more: object) -> LabelledImages:
    return load_images(str(root), split, **TINY, **more)  # type: ignore[arg-type]


def names_of(data: LabelledImages) -> list[str | None]:
    return [data.classes[label] if label >= 0 else None for label in data.labels]


def test_a_directory_in_the_hubs_layout_is_read_bit_for_bit(data_directory: Path) -> None:
    images, labels = synthetic_digits(100, 2)
    data = load_images(str(data_directory), "test", **GREY)
    np.testing.assert_array_equal(data.images[:][..., 0], images)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.classes == tuple("0123456789")
    assert data.skipped == ()


def test_a_folder_of_class_folders_is_read_and_brought_to_the_shape(tmp_path: Path) -> None:
    for name, colour in (("cat", "white"), ("dog", "black")):
        (tmp_path / "train" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (40, 30), colour).save(tmp_path / "train" / name / f"{index}.jpg")
    data = load_images(str(tmp_path), "train", **GREY)
    assert data.classes == ("cat", "dog")
    assert data.images.shape == (6, 28, 28, 1)
    assert data.images[data.labels == 0].min() > 250
    assert data.images[data.labels == 1].max() < 5


def test_what_is_missing_is_named(data_directory: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'validation'; it has train, test"):
        load_images(str(data_directory), "validation", **GREY)
    with pytest.raises(DataError, match="no data at nowhere"):
        load_images("nowhere", "train", **GREY)
    with pytest.raises(DataError, match="Cannot load"):
        load_images("nobody/nothing", "train", **GREY)
    with pytest.raises(DataError, match="no PNG or JPEG file in"):
        read(tmp_path)


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason=f"needs real MNIST in the Hub's layout at {REAL_MNIST}")
def test_real_mnist_has_its_known_first_labels() -> None:
    data = load_images(str(REAL_MNIST), "test", **GREY)
    assert len(data) == 10_000
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(data.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
