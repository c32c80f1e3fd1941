"""The two sides of a comparison before any image is scored: which metrics they allow, and what would fail later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.extrapolation import FEWEST_IMAGES, FEWEST_SPLITS
from igan_zoo.serving.scoring.metrics.kernel_distance import DEFAULT_SUBSET_SIZE, check_subset_size
from igan_zoo.serving.scoring.numbers import METRICS, Metric, Reference, check_comparable
from igan_zoo.serving.scoring.protocols import OF_CLASSES, OF_PAIRS, OF_SUBSETS, WITHOUT_REFERENCE
from igan_zoo.serving.scoring.statistics import Facts


@dataclass(frozen=True)
class Sizes:
    """What decides which metrics there are: a scorer's features and classes, the images, and their splits."""

    features: int
    classes: int
    images: int
    splits: int


def possible_metrics(sizes: Sizes, reference: Reference | None, *, compared: bool) -> tuple[Metric, ...]:
    """Returns every metric that these sizes allow.

    ``reference`` is None where images are compared with, or nothing.
    """
    unfit: set[Metric] = set()
    if sizes.classes == 0:
        unfit |= OF_CLASSES
    if sizes.features == 0:
        unfit |= set(METRICS) - OF_CLASSES
    if sizes.splits < FEWEST_SPLITS:
        unfit.add("is-inf")
    if sizes.images < FEWEST_IMAGES:
        unfit.add("fid-inf")
    if not compared:
        unfit |= set(METRICS) - WITHOUT_REFERENCE
    elif reference is not None and (reference.statistics is None or not len(reference.statistics.kept_features)):
        unfit |= OF_PAIRS
    return tuple(metric for metric in METRICS if metric not in unfit)


def largest_subset(facts: Facts, reference: Reference | Facts) -> int:
    """Returns the size of KID's subsets where it need not be the usual one: no more than either side has."""
    return max(2, min(DEFAULT_SUBSET_SIZE, facts.kept, _kept(reference)))


def check_before_scoring(
    metrics: Sequence[Metric], facts: Facts, reference: Reference | Facts, subset_size: int | None
) -> None:
    """Refuses what could not be computed once every image is scored; a reference may be facts of images yet to score.

    Raises:
        ScoringError: the two sides do not compare, or a metric looks at single images that a side has too few of.
    """
    if isinstance(reference, Reference):
        check_comparable(facts, reference)
        if reference.gaussian is not None and len(reference.gaussian.mean) != facts.features:
            raise ScoringError(
                f"{reference.name} has {len(reference.gaussian.mean)} features and the scorer {facts.scorer} "
                f"{facts.features}: score both with the same scorer."
            )
    for metric in metrics:
        if metric in OF_PAIRS:
            if isinstance(reference, Reference):
                _check_keeps_features(metric, reference)
            if metric in OF_SUBSETS:
                fewest = min(facts.kept, _kept(reference))
                check_subset_size(DEFAULT_SUBSET_SIZE if subset_size is None else subset_size, fewest)


def _check_keeps_features(metric: Metric, reference: Reference) -> None:
    if reference.statistics is None:
        raise ScoringError(
            f"{metric} compares the features of single images, and {reference.name} has a mean and a covariance only: "
            "name the reference images, or use --metric fid."
        )
    if len(reference.statistics.kept_features) == 0:
        raise ScoringError(
            f"{reference.name} keeps no features, which {metric} needs: score it again with --metric {metric}."
        )


def _kept(reference: Reference | Facts) -> int:
    if isinstance(reference, Facts):
        return reference.kept
    return 0 if reference.statistics is None else len(reference.statistics.kept_features)
