"""Data sources, labelled subsets and the orders of an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from igan_zoo.errors import DataError
from igan_zoo.training.data import (
    batches,
    epoch_order,
    labelled_subset,
    load_images,
    tiled_order,
    validation_subset,
)
from tests.conftest import REAL_MNIST, synthetic_digits

GREY = {"height": 28, "width": 28, "channels": 1}


def test_a_directory_in_the_hubs_layout_is_read_bit_for_bit(data_directory: Path) -> None:
    images, labels = synthetic_digits(100, 2)
    data = load_images(str(data_directory), "test", **GREY)
    np.testing.assert_array_equal(data.images[..., 0], images)
    np.testing.assert_array_equal(data.labels, labels)
    assert data.classes == tuple("0123456789")


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
    with pytest.raises(DataError, match="no split 'validation'"):
        load_images(str(data_directory), "validation", **GREY)
    with pytest.raises(DataError, match="no data at nowhere"):
        load_images("nowhere", "train", **GREY)
    with pytest.raises(DataError, match="Cannot load"):
        load_images("nobody/nothing", "train", **GREY)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        load_images(str(tmp_path / "empty"), "train", **GREY)


@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason=f"needs real MNIST in the Hub's layout at {REAL_MNIST}")
def test_real_mnist_has_its_known_first_labels() -> None:
    data = load_images(str(REAL_MNIST), "test", **GREY)
    assert len(data) == 10_000
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(data.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


LABELS = np.random.default_rng(0).integers(0, 10, 3000)


@pytest.mark.parametrize("count", [20, 50, 100, 200])
def test_labelled_subsets_are_balanced_in_class_order_and_fixed_by_the_seed(count: int) -> None:
    chosen = labelled_subset(LABELS, count, 10, seed=1)
    assert len(set(chosen.tolist())) == count
    np.testing.assert_array_equal(LABELS[chosen], np.repeat(np.arange(10), count // 10))
    np.testing.assert_array_equal(chosen, labelled_subset(LABELS, count, 10, seed=1))
    assert set(chosen.tolist()) != set(labelled_subset(LABELS, count, 10, seed=2).tolist())


def test_a_larger_subset_contains_a_smaller_one_of_the_same_seed() -> None:
    assert set(labelled_subset(LABELS, 20, 10, 1).tolist()) < set(labelled_subset(LABELS, 50, 10, 1).tolist())


@pytest.mark.parametrize(("count", "message"), [(25, "evenly"), (5, "evenly"), (10_000, "Class 0 has")])
def test_impossible_subsets_are_refused(count: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled_subset(LABELS, count, 10, seed=1)


def test_validation_images_are_never_labelled_ones() -> None:
    labelled = labelled_subset(LABELS, 100, 10, seed=1)
    validation = validation_subset(len(LABELS), labelled, 500, seed=1)
    assert len(set(validation.tolist())) == 500
    assert not set(validation.tolist()) & set(labelled.tolist())
    with pytest.raises(DataError, match="only 2900"):
        validation_subset(len(LABELS), labelled, 2901, seed=1)


def test_orders_are_permutations_that_differ_by_player_epoch_and_seed() -> None:
    orders = [
        epoch_order(50, seed, epoch, player)
        for seed in (1, 2)
        for epoch in (0, 1)
        for player in ("discriminator", "generator")
    ]
    for order in orders:
        assert sorted(order.tolist()) == list(range(50))
    assert len({tuple(order.tolist()) for order in orders}) == len(orders)


@pytest.mark.parametrize(("labelled", "total"), [(20, 600), (7, 30), (100, 100)])
def test_the_labelled_set_is_tiled_by_whole_permutations(labelled: int, total: int) -> None:
    order = tiled_order(labelled, total, seed=1, epoch=0)
    assert len(order) == total
    for start in range(0, total - labelled + 1, labelled):
        assert sorted(order[start : start + labelled].tolist()) == list(range(labelled))


def test_batches_are_full() -> None:
    assert [batch.tolist() for batch in batches(np.arange(7), 3)] == [[0, 1, 2], [3, 4, 5]]
