"""What the metrics need to know of a set of images, small and mergeable: shards add up to the bits of one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.moments import check_total

# torch-fidelity's seed: with it, splits and subsets are the same images as there.
DEFAULT_SEED = 2020
DEFAULT_SPLITS = 10

_LARGEST_SIZE = 2**13
_LARGEST_COUNT = 2**31


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What statistics must have in common to be merged.

    ``images`` is the number of images of the whole, not of a shard; ``kept`` of them keep their features. ``features``
    is 0 for a classifier that gives none, ``classes`` for an encoder. ``source`` is what messages call the images; what
    they are says ``fingerprint``, where it is known.
    """

    scorer: str
    scorer_sha256: str
    resize: str
    precision: str = "fp32"
    source: str
    fingerprint: str = ""
    images: int
    features: int
    classes: int
    kept: int = 0
    splits: int = DEFAULT_SPLITS
    seed: int = DEFAULT_SEED
    format: int = 1


@dataclass(frozen=True)
class Statistics:
    """Exact sums over the covered images of a set.

    ``covered``: bool ``[images]``, which images are in the sums.
    ``skipped``: bool ``[images]``, which were left out because they do not decode.
    ``split_counts``: int64 ``[splits]``.
    ``split_probabilities``: int64 ``[splits, classes]``, Σ p in steps of 2⁻⁴⁰.
    ``split_entropies``: int64 ``[splits]``, Σ Σₖ pₖ log pₖ in steps of 2⁻⁴⁰.
    ``class_moments``: int64 ``[classes + 2, classes + 2]``, Σ v vᵀ of v = (p in steps of 2⁻²⁰, Σₖ pₖ log pₖ in steps of
    2⁻¹⁷, 1), over all splits.
    ``feature_moments``: int64 ``[features + 1, features + 1]``, Σ v vᵀ of v = (features in steps of 2⁻¹⁴, 1).
    ``kept_features``: float32 ``[K, features]``, as the scorer gave them, of those of :func:`kept_images` that are
    covered, in their order.
    ``shard``: which part of how many this is, counted from 1; None for anything else.
    ``name``: what messages call it.
    """

    facts: Facts
    covered: NDArray[np.bool_]
    skipped: NDArray[np.bool_]
    split_counts: NDArray[np.int64]
    split_probabilities: NDArray[np.int64]
    split_entropies: NDArray[np.int64]
    class_moments: NDArray[np.int64]
    feature_moments: NDArray[np.int64]
    kept_features: NDArray[np.float32]
    shard: tuple[int, int] | None = None
    name: str = "these statistics"

    @property
    def count(self) -> int:
        """How many images are covered."""
        return int(self.covered.sum())

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which images are covered or skipped, bool ``[images]``."""
        return self.covered | self.skipped

    @property
    def complete(self) -> bool:
        """Whether every image of the set is covered or skipped."""
        return bool(self.done.all())


def check_facts(facts: Facts) -> None:
    """Refuses numbers with which nothing can be computed.

    Raises:
        ScoringError: names the number.
    """
    if not 2 <= facts.images <= _LARGEST_COUNT:
        raise ScoringError(f"A score needs 2 to {_LARGEST_COUNT} images, not {facts.images}.")
    if facts.splits < 1 or facts.images < facts.splits:
        raise ScoringError(
            f"{counted(facts.images, 'image')} cannot be divided into {counted(facts.splits, 'split')}: use more "
            "images or fewer splits."
        )
    # The largest split's Σ Σₖ pₖ log pₖ in steps of 2⁻⁴⁰ must fit int64.
    if -(-facts.images // facts.splits) * max(1.0, np.log(max(facts.classes, 1))) >= 2**22:
        raise ScoringError(
            f"{counted(facts.images, 'image')} are too many for {counted(facts.splits, 'split')}: use more splits."
        )
    for size, least, what in ((facts.features, 0, "features"), (facts.classes, 0, "classes")):
        if not least <= size <= _LARGEST_SIZE:
            raise ScoringError(
                f"The scorer {facts.scorer} has {size} {what}; {least} to {_LARGEST_SIZE} can be summed."
            )
    if facts.features == facts.classes == 0:
        raise ScoringError(f"The scorer {facts.scorer} has neither features nor classes.")
    if not 0 <= facts.kept <= facts.images:
        raise ScoringError(
            f"The features of {counted(facts.kept, 'image')} cannot be kept of {counted(facts.images, 'image')}."
        )
    if not 0 <= facts.seed < 2**32:
        raise ScoringError(f"The seed is {facts.seed}; it must be in 0..{2**32 - 1}.")


def shuffled_images(facts: Facts) -> NDArray[np.int64]:
    """Returns the images in shuffled order, int64 ``[images]``, as torch-fidelity shuffles them.

    ``RandomState`` is numpy's frozen generator: the order will not change with a version.
    """
    return np.random.RandomState(facts.seed).permutation(facts.images).astype(np.int64)


def image_splits(facts: Facts) -> NDArray[np.int64]:
    """Returns every image's split, int64 ``[images]``: ``[i N // splits, (i + 1) N // splits)`` of the shuffle."""
    # Differs from the 2016 code: it splits the images as they come; in the order of their classes they score low.
    ends = [(split + 1) * facts.images // facts.splits for split in range(facts.splits)]
    splits = np.empty(facts.images, np.int64)
    splits[shuffled_images(facts)] = np.searchsorted(ends, np.arange(facts.images), side="right")
    return splits


def kept_images(facts: Facts) -> NDArray[np.int64]:
    """Returns the images whose features are kept, int64 ``[kept]``, ascending: the first of the shuffled order."""
    return np.sort(shuffled_images(facts)[: facts.kept])


def shard_range(images: int, shard: int, shards: int) -> range:
    """Returns the images of shard ``shard`` of ``shards``, counted from 1.

    Raises:
        ScoringError: there is no such shard.
    """
    if not 1 <= shard <= shards <= images:
        raise ScoringError(
            f"There is no shard {shard}/{shards} of {counted(images, 'image')}: give 1/{shards} and so on."
        )
    return range((shard - 1) * images // shards, shard * images // shards)


def merge(parts: Sequence[Statistics], *, partial: bool = False) -> Statistics:
    """Returns the statistics of all images of the parts, the same bits whatever the parts were.

    With ``partial`` images may still be missing, as when a run is resumed.

    Raises:
        ScoringError: parts that differ in scorer, protocol or source, that overlap, or images that are missing.
    """
    if not parts:
        raise ScoringError("There are no statistics to merge: name at least one file.")
    first = parts[0]
    for part in parts[1:]:
        _check_same(first, part)
    done = _union(parts)
    if not partial and not done.all():
        raise ScoringError(_what_is_missing(parts, done))
    covered = np.any([part.covered for part in parts], axis=0)
    return Statistics(
        facts=first.facts,
        covered=covered,
        skipped=np.any([part.skipped for part in parts], axis=0),
        split_counts=_added([part.split_counts for part in parts]),
        split_probabilities=_added([part.split_probabilities for part in parts]),
        split_entropies=_added([part.split_entropies for part in parts]),
        class_moments=_added_moments([part.class_moments for part in parts]),
        feature_moments=_added_moments([part.feature_moments for part in parts]),
        kept_features=_kept_together(parts, covered),
        shard=first.shard if len(parts) == 1 and not done.all() else None,
        name=first.name if len(parts) == 1 else "the merged statistics",
    )


def check_complete(statistics: Statistics) -> None:
    """Refuses statistics that lack images: a score of them would not be what its name says.

    Raises:
        ScoringError: names what is missing.
    """
    if not statistics.complete:
        raise ScoringError(_what_is_missing([statistics], statistics.done))
    if statistics.count < 2:
        raise ScoringError(f"A score needs 2 images or more; {statistics.count} of {statistics.facts.source} decode.")


def _check_same(one: Statistics, other: Statistics) -> None:
    words = {"scorer_sha256": "scorer", "images": "number of images", "kept": "number of kept features"}
    for field in ("scorer_sha256", *Facts.__struct_fields__):
        if field == "source" and one.facts.fingerprint and one.facts.fingerprint == other.facts.fingerprint:
            continue
        values = getattr(one.facts, field), getattr(other.facts, field)
        if values[0] != values[1]:
            raise ScoringError(
                f"Statistics of a different {words.get(field, field)} cannot be merged: {values[0]} in {one.name}, "
                f"{values[1]} in {other.name}."
            )


def _union(parts: Sequence[Statistics]) -> NDArray[np.bool_]:
    done = np.zeros_like(parts[0].covered)
    for part in parts:
        twice = done & part.done
        if twice.any():
            raise ScoringError(f"{_ranges(twice)} of {part.name} appear twice: merge each shard once.")
        done |= part.done
    return done


def _what_is_missing(parts: Sequence[Statistics], done: NDArray[np.bool_]) -> str:
    there = {part.shard for part in parts}
    counts = {shard[1] if shard else None for shard in there}
    number = counts.pop() if len(counts) == 1 else None
    absent = [f"{shard}/{number}" for shard in range(1, (number or 0) + 1) if (shard, number) not in there]
    what = f"Shard {', '.join(absent)}" if absent else _ranges(~done)
    return f"{what} of {parts[0].facts.source} is missing: score it too, then merge all."


def _ranges(chosen: NDArray[np.bool_]) -> str:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], chosen, [False])).astype(np.int8)))
    ranges = [f"{start} to {stop - 1}" for start, stop in edges.reshape(-1, 2)]  # (ranges, start and stop)
    more = f" and {len(ranges) - 3} more ranges" if len(ranges) > 3 else ""
    return f"Images {', '.join(ranges[:3])}{more}"


def _added(sums: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.asarray(np.sum(sums, axis=0, dtype=np.int64))


def _added_moments(totals: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    together = totals[0].copy()
    for total in totals[1:]:
        together += total
        check_total(together)
    return together


def _kept_together(parts: Sequence[Statistics], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    kept = kept_images(parts[0].facts)
    together = np.empty((len(kept), parts[0].facts.features), np.float32)
    for part in parts:
        together[part.covered[kept]] = part.kept_features
    return together[covered[kept]]
