"""Contract 4: shards add up to the bits of one run, and what does not belong together is refused."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.accumulator import Accumulator
from igan_zoo.serving.scoring.statistics import (
    Statistics,
    check_complete,
    image_splits,
    kept_images,
    merge,
    shard_range,
)
from tests.serving.scoring.examples import batches, some_facts, some_features, some_logits, statistics_of

FACTS = some_facts()
FEATURES, LOGITS = some_features(200, 12, 1), some_logits(200, 7, 2)
WHOLE = statistics_of(FACTS, FEATURES, LOGITS)


def assert_same_bits(one: Statistics, other: Statistics) -> None:
    for field in fields(Statistics):
        if field.name not in ("shard", "name"):
            np.testing.assert_equal(getattr(one, field.name), getattr(other, field.name), field.name)


def shards(count: int, **changes: Any) -> list[Statistics]:
    facts = some_facts(**changes)
    return [
        statistics_of(facts, FEATURES, LOGITS, np.array(shard_range(facts.images, shard, count)), shard=(shard, count))
        for shard in range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_shards_merge_to_the_bits_of_one_run(count: int) -> None:
    assert_same_bits(merge(shards(count)), WHOLE)
    assert_same_bits(merge(shards(count)[::-1]), WHOLE)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(1, 80), min_size=1, max_size=4))
def test_neither_batch_sizes_nor_order_change_a_bit(seed: int, sizes: list[int]) -> None:
    order = np.random.default_rng(seed).permutation(200)
    assert_same_bits(statistics_of(FACTS, FEATURES, LOGITS, order, sizes=sizes), WHOLE)


def test_plain_float64_sums_do_depend_on_the_order() -> None:
    """What the grid is for."""
    x = FEATURES.astype(np.float64)
    assert not np.array_equal(x.T @ x, x[:100].T @ x[:100] + x[100:].T @ x[100:])


def test_a_run_that_stopped_is_finished_by_a_partial_merge() -> None:
    images = np.arange(200)
    parts = [statistics_of(FACTS, FEATURES, LOGITS, some) for some in (images[:90], images[90:120], images[120:])]
    begun = merge(parts[:2], partial=True)
    assert begun.count == 120
    assert not begun.complete
    assert_same_bits(merge([begun, parts[2]]), WHOLE)


def test_splits_are_tenths_of_the_shuffled_order_of_torch_fidelity() -> None:
    order = np.random.RandomState(2020).permutation(205)
    splits = image_splits(some_facts(images=205))
    for split in range(10):
        assert set(np.flatnonzero(splits == split)) == set(order[split * 205 // 10 : (split + 1) * 205 // 10])


def test_kept_features_are_those_of_a_seeded_choice_in_the_order_of_the_images() -> None:
    chosen = kept_images(FACTS)
    assert len(set(chosen)) == 40
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(WHOLE.kept_features, FEATURES[chosen])
    assert not np.array_equal(chosen, kept_images(some_facts(seed=1)))


def test_feature_sums_are_those_of_the_features_within_their_rounding() -> None:
    x = np.column_stack([FEATURES, np.ones(200)]).astype(np.float64)
    steps = np.append(np.full(12, 2.0**14), 1)
    # 200 images, each rounded by at most 2⁻¹⁵, times features of at most 4.
    np.testing.assert_allclose(WHOLE.feature_moments / np.outer(steps, steps), x.T @ x, atol=200 * 2**-15 * 8)


CHANGES: dict[str, Any] = {
    "scorer_sha256": "b" * 64,
    "resize": "half-pixel",
    "precision": "int8",
    "source": "another",
    "kept": 39,
    "splits": 5,
    "seed": 1,
}


@pytest.mark.parametrize("field", CHANGES)
def test_statistics_of_different_facts_do_not_merge(field: str) -> None:
    one, other = shards(2)[0], shards(2, **{field: CHANGES[field]})[1]
    with pytest.raises(ScoringError, match=f"(?s)different .*{str(CHANGES[field])[:20]}") as refusal:
        merge([one, other])
    assert str(refusal.value).startswith(f"Statistics of a different {'scorer' if 'scorer' in field else ''}")


def test_overlapping_shards_do_not_merge() -> None:
    one = shards(2)[0]
    with pytest.raises(ScoringError, match="Images 0 to 99 of these statistics appear twice"):
        merge([one, one])


def test_missing_shards_are_named() -> None:
    some = shards(7)
    with pytest.raises(ScoringError, match=r"Shard 2/7, 5/7 of folder is missing"):
        merge([some[index] for index in (0, 2, 3, 5, 6)])


def test_missing_images_are_named_where_there_are_no_shards() -> None:
    part = statistics_of(FACTS, FEATURES, LOGITS, np.arange(20, 190))
    for refused in (lambda: merge([part]), lambda: check_complete(part)):
        with pytest.raises(ScoringError, match=r"Images 0 to 19, 190 to 199 of folder is missing"):
            refused()


def test_nothing_does_not_merge() -> None:
    with pytest.raises(ScoringError, match="no statistics to merge"):
        merge([])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 1, "splits": 1, "kept": 0}, "needs 2 to"),
        ({"images": 9, "kept": 0}, "9 images cannot be divided into 10 splits"),
        ({"splits": 0}, "0 splits"),
        ({"images": 2**25, "splits": 2}, "too many for 2 splits"),
        ({"features": -1}, "-1 features"),
        ({"features": 2**14}, "16384 features"),
        ({"classes": 0, "features": 0}, "has neither features nor classes"),
        ({"classes": 2**20}, "1048576 classes"),
        ({"kept": 201}, "201 images cannot be kept"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_impossible_facts_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        Accumulator(some_facts(**changes))


@pytest.mark.parametrize("shard", [(0, 3), (4, 3), (1, 201)])
def test_impossible_shards_are_refused(shard: tuple[int, int]) -> None:
    with pytest.raises(ScoringError, match="no shard"):
        shard_range(200, *shard)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["features", "logits"])
def test_what_is_not_finite_is_refused_by_the_number_of_its_image(which: str, value: float) -> None:
    arrays = {"features": FEATURES[:8].copy(), "logits": LOGITS[:8].copy()}
    arrays[which][3, 2] = value
    accumulator = Accumulator(FACTS)
    with pytest.raises(ScoringError, match=f"{which} that are not finite for image 13"):
        accumulator.add(np.arange(10, 18), arrays["features"], arrays["logits"])
    assert accumulator.statistics().count == 0


@pytest.mark.parametrize(
    ("images", "message"),
    [([0, 1, 1], "scored twice"), ([5, 6, 7], "scored twice"), ([198, 199, 200], "of a set of 200"), ([0, 1], "shape")],
)
def test_impossible_batches_are_refused(images: list[int], message: str) -> None:
    accumulator = Accumulator(FACTS)
    accumulator.add(np.array([7]), FEATURES[:1], LOGITS[:1])
    with pytest.raises(ScoringError, match=message):
        accumulator.add(np.array(images), FEATURES[:3], LOGITS[:3])


def test_features_too_large_for_exact_sums_are_refused() -> None:
    with pytest.raises(ScoringError, match="a feature of size 4096"):
        Accumulator(FACTS).add(np.arange(3), np.full((3, 12), 4096, np.float32), LOGITS[:3])


def test_skipped_images_are_done_but_not_in_the_sums() -> None:
    good = np.delete(np.arange(200), [3, 120])
    parts = []
    for shard in (1, 2):
        numbers = np.array(shard_range(200, shard, 2))
        accumulator = Accumulator(FACTS, shard=(shard, 2))
        accumulator.skip(np.setdiff1d(numbers, good))
        chosen = np.intersect1d(numbers, good)
        accumulator.add(chosen, FEATURES[chosen], LOGITS[chosen])
        assert accumulator.done == 100
        parts.append(accumulator.statistics())
    merged = merge(parts)
    check_complete(merged)
    assert merged.count == merged.split_counts.sum() == 198
    assert list(np.flatnonzero(merged.skipped)) == [3, 120]
    assert merged.feature_moments[-1, -1] == 198
    with pytest.raises(ScoringError, match="appear twice"):
        merge([*parts, parts[1]])


def test_an_image_is_either_skipped_or_scored() -> None:
    accumulator = Accumulator(FACTS)
    accumulator.skip(np.array([4]))
    for again in (accumulator.skip, lambda images: accumulator.add(images, FEATURES[:1], LOGITS[:1])):
        with pytest.raises(ScoringError, match="scored twice"):
            again(np.array([4]))


def test_a_set_of_which_fewer_than_two_images_decode_has_no_score() -> None:
    accumulator = Accumulator(some_facts(images=3, splits=1, kept=0))
    accumulator.skip(np.array([0, 2]))
    accumulator.add(np.array([1]), FEATURES[:1], LOGITS[:1])
    with pytest.raises(ScoringError, match="needs 2 images or more; 1 of folder decode"):
        check_complete(accumulator.statistics())


def test_a_source_is_known_by_its_contents_where_they_are_known() -> None:
    """The same folder lies elsewhere on another machine."""
    parts = shards(2, fingerprint="f" * 64)
    elsewhere = shards(2, fingerprint="f" * 64, source="another place")
    assert merge([parts[0], elsewhere[1]]).complete
    with pytest.raises(ScoringError, match="different fingerprint"):
        merge([parts[0], shards(2, fingerprint="e" * 64)[1]])


def test_an_empty_batch_adds_nothing() -> None:
    accumulator = Accumulator(FACTS)
    for chosen in [np.arange(0), *batches(np.arange(200), [50])]:
        accumulator.add(chosen, FEATURES[chosen], LOGITS[chosen])
    assert_same_bits(accumulator.statistics(), WHOLE)
