"""Labelled and validation subsets, and the orders of an epoch."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from igan_zoo.errors import DataError
from igan_zoo.training.data.subsets import epoch_order, labelled_subset, tiled_order, validation_subset

LABELS = np.random.default_rng(0).integers(0, 10, 3000)
DIGITS = tuple("0123456789")


@pytest.mark.parametrize("request_", ["20", "50", "100", "200", "3-per-class", "25-per-class"])
def test_labelled_subsets_are_balanced_in_class_order_and_fixed_by_the_seed(request_: str) -> None:
    chosen = labelled_subset(LABELS, request_, DIGITS, seed=1)
    each = int(request_.removesuffix("-per-class")) if "per" in request_ else int(request_) // 10
    assert len(set(chosen.tolist())) == each * 10
    np.testing.assert_array_equal(LABELS[chosen], np.repeat(np.arange(10), each))
    np.testing.assert_array_equal(chosen, labelled_subset(LABELS, request_, DIGITS, seed=1))
    assert set(chosen.tolist()) != set(labelled_subset(LABELS, request_, DIGITS, seed=2).tolist())


def test_a_count_and_the_same_count_per_class_choose_the_same() -> None:
    np.testing.assert_array_equal(
        labelled_subset(LABELS, "50", DIGITS, 1), labelled_subset(LABELS, "5-per-class", DIGITS, 1)
    )


def test_a_larger_subset_contains_a_smaller_one_of_the_same_seed() -> None:
    small, large = (set(labelled_subset(LABELS, request, DIGITS, 1).tolist()) for request in ("20", "50"))
    assert small < large


def test_all_takes_whatever_has_a_label_and_zero_takes_nothing() -> None:
    labels = np.array([-1, 1, 0, -1, 1])
    assert labelled_subset(labels, "all", ("cat", "dog"), 1).tolist() == [1, 2, 4]
    assert labelled_subset(labels, "0", ("cat", "dog"), 1).tolist() == []
    assert labelled_subset(np.full(5, -1), "0", (), 1).dtype == np.int64


def test_images_without_a_label_are_never_chosen() -> None:
    labels = np.where(np.arange(3000) % 2, LABELS, -1)
    chosen = labelled_subset(labels, "100", DIGITS, 1)
    np.testing.assert_array_equal(labels[chosen], np.repeat(np.arange(10), 10))
    assert labels[validation_subset(labels, chosen, 1000, 1)].min() == 0


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("25", "25 labels cannot be spread evenly over 10 classes"),
        ("5", "evenly"),
        ("10000", r"Class '0' has \d+ labeled images, but 1000 per class"),
        ("400-per-class", r"Class '0' has \d+ labeled images, but 400 per class"),
        ("0-per-class", "Cannot understand the labels '0-per-class'"),
        ("-10", "Cannot understand"),
        ("ten", "Cannot understand"),
        ("", "Cannot understand"),
        ("10 per class", "Cannot understand"),
    ],
)
def test_impossible_requests_are_refused(request_: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled_subset(LABELS, request_, DIGITS, seed=1)


def test_the_class_that_falls_short_is_called_by_its_name() -> None:
    with pytest.raises(DataError, match="Class 'dog' has 1 labeled images, but 2 per class"):
        labelled_subset(np.array([0, 0, 1, -1]), "4", ("cat", "dog"), 1)


@pytest.mark.parametrize("request_", ["10", "1-per-class", "all"])
def test_labels_of_fewer_than_two_classes_teach_nothing(request_: str) -> None:
    with pytest.raises(DataError, match=r"only the class 'cat'.* use --labels 0"):
        labelled_subset(np.zeros(20, np.int64), request_, ("cat",), 1)
    with pytest.raises(DataError, match="no labels"):
        labelled_subset(np.full(20, -1), request_, (), 1)


def test_validation_images_are_never_labelled_ones() -> None:
    labelled = labelled_subset(LABELS, "100", DIGITS, seed=1)
    validation = validation_subset(LABELS, labelled, 500, seed=1)
    assert len(set(validation.tolist())) == 500
    assert not set(validation.tolist()) & set(labelled.tolist())


def test_there_are_as_many_validation_images_as_labels_are_left() -> None:
    labelled = labelled_subset(LABELS, "100", DIGITS, seed=1)
    assert len(validation_subset(LABELS, labelled, 2901, seed=1)) == 2900
    assert len(validation_subset(LABELS, np.arange(3000), 10, seed=1)) == 0


def test_the_choices_are_those_of_the_published_models() -> None:
    """A change of these bits would train other models from the recipes that have results."""
    chosen = (
        labelled_subset(LABELS, "100", DIGITS, 1),
        validation_subset(LABELS, np.arange(100), 500, 1),
        epoch_order(3000, 1, 2, "generator"),
        tiled_order(100, 3000, 1, 2),
    )
    sums = [hashlib.sha256(order.astype("<i8").tobytes()).hexdigest()[:16] for order in chosen]
    assert sums == ["73ec03f54b95f293", "9bbc99cf0a7a10d8", "1396aab4405b440b", "1b2af9e515c1798f"]


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
