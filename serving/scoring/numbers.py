"""What each metric says of a set of images: its numbers, with their errors, beside a reference where it has one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.bootstrap import bootstrap_error
from igan_zoo.serving.scoring.metrics.density_coverage import density_coverage
from igan_zoo.serving.scoring.metrics.extrapolation import frechet_distance_infinity, inception_score_infinity
from igan_zoo.serving.scoring.metrics.frechet_distance import Gaussian, frechet_distance, gaussian, gaussian_of
from igan_zoo.serving.scoring.metrics.inception_score import inception_score
from igan_zoo.serving.scoring.metrics.kernel_distance import DEFAULT_SUBSET_SIZE, Kernel, kernel_distance
from igan_zoo.serving.scoring.metrics.precision_recall import precision_recall
from igan_zoo.serving.scoring.metrics.vendi_score import vendi_score
from igan_zoo.serving.scoring.statistics import Facts, Statistics, check_complete

Metric = Literal["is", "fid", "kid", "pr", "dc", "is-inf", "fid-inf", "kid-rbf", "vendi"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class Reference:
    """What is compared with, by the ``name`` it has in records: statistics, or a Gaussian of unknown origin."""

    name: str
    statistics: Statistics | None = None
    gaussian: Gaussian | None = None


@dataclass(frozen=True)
class Number:
    """One number of a metric, by what it is the number of."""

    quantity: str
    value: float
    standard_error: float | None = None
    deviation: float | None = None


def check_comparable(facts: Facts, reference: Reference) -> None:
    """Refuses a reference that lacks images or was scored in another way than ``facts`` say.

    Raises:
        ScoringError: names the difference.
    """
    if reference.statistics is None:
        return
    check_complete(reference.statistics)
    for name in ("scorer_sha256", "resize", "precision"):
        values = getattr(facts, name), getattr(reference.statistics.facts, name)
        if values[0] != values[1]:
            raise ScoringError(
                f"The reference {reference.name} was scored with another {name}, {values[1]} and not "
                f"{values[0]}: score both the same way."
            )


@dataclass(frozen=True)
class Comparison:
    """One side, what it is compared with, and how."""

    statistics: Statistics
    reference: Reference | None
    subset_size: int = DEFAULT_SUBSET_SIZE
    bootstrap: int = 0

    def bootstrapped(self, score: Callable[..., float], *sides: NDArray[np.float32]) -> float | None:
        """Returns the standard error of a score of these features, None where no bootstrap is asked for."""
        if not self.bootstrap:
            return None
        return bootstrap_error(score, *sides, draws=self.bootstrap, seed=self.statistics.facts.seed)

    def bootstrapped_distance(self, other: Gaussian) -> float | None:
        """Returns the standard error of the distance; of a reference without single images only the other side's."""
        reference = None if self.reference is None else self.reference.statistics
        ours = self.statistics.kept_features
        for side in (self.statistics, reference):
            if self.bootstrap and side is not None and len(side.kept_features) < side.count:
                raise ScoringError(
                    f"{side.name} does not keep the features of all images, which --bootstrap needs: score the images "
                    "again with it."
                )
        if reference is None:
            return self.bootstrapped(lambda x: frechet_distance(gaussian_of(x), other), ours)
        return self.bootstrapped(
            lambda x, y: frechet_distance(gaussian_of(x), gaussian_of(y)), ours, reference.kept_features
        )

    def other_gaussian(self) -> Gaussian:
        if self.reference is not None and self.reference.gaussian is not None:
            return self.reference.gaussian
        return gaussian(self.other())

    def other(self) -> Statistics:
        if self.reference is None or self.reference.statistics is None:
            raise ScoringError(
                "This metric compares with the features of reference images: give such a reference (a file with a mean "
                "and covariance is enough for fid alone)."
            )
        check_comparable(self.statistics.facts, self.reference)
        return self.reference.statistics


def _is(comparison: Comparison) -> list[Number]:
    result = inception_score(comparison.statistics)
    count = len(result.splits)
    # Splits are disjoint, so their spread gives an error of their mean; it knows nothing of their bias.
    error = result.deviation / (count - 1) ** 0.5 if count > 1 else None
    return [
        Number("split mean", result.mean, error, result.deviation),
        Number("unsplit", result.unsplit, result.standard_error),
        Number("unsplit, corrected", result.corrected, result.standard_error),
    ]


def _is_inf(comparison: Comparison) -> list[Number]:
    result = inception_score_infinity(comparison.statistics)
    return [Number("extrapolated", result.value, result.standard_error)]


def _fid(comparison: Comparison) -> list[Number]:
    other = comparison.other_gaussian()
    distance = frechet_distance(gaussian(comparison.statistics), other)
    return [Number("distance", distance, comparison.bootstrapped_distance(other))]


def _fid_inf(comparison: Comparison) -> list[Number]:
    statistics = comparison.statistics
    result = frechet_distance_infinity(
        statistics.kept_features, comparison.other_gaussian(), seed=statistics.facts.seed
    )
    return [Number("extrapolated", result.value, result.standard_error)]


def _kid(comparison: Comparison, kernel: Kernel = "polynomial") -> list[Number]:
    result = kernel_distance(
        comparison.statistics.kept_features,
        comparison.other().kept_features,
        subset_size=comparison.subset_size,
        seed=comparison.statistics.facts.seed,
        kernel=kernel,
    )
    return [Number("distance", result.value, result.standard_error, result.deviation)]


def _vendi(comparison: Comparison) -> list[Number]:
    features = comparison.statistics.kept_features
    return [Number("score", vendi_score(features), comparison.bootstrapped(vendi_score, features))]


def _pr(comparison: Comparison) -> list[Number]:
    result = precision_recall(comparison.statistics.kept_features, comparison.other().kept_features)
    return [
        Number("precision", result.precision, result.precision_standard_error),
        Number("recall", result.recall, result.recall_standard_error),
    ]


def _dc(comparison: Comparison) -> list[Number]:
    result = density_coverage(comparison.statistics.kept_features, comparison.other().kept_features)
    return [
        Number("density", result.density, result.density_standard_error),
        Number("coverage", result.coverage, result.coverage_standard_error),
    ]


NUMBERS: Mapping[Metric, Callable[[Comparison], list[Number]]] = {
    "is": _is,
    "fid": _fid,
    "kid": _kid,
    "pr": _pr,
    "dc": _dc,
    "is-inf": _is_inf,
    "fid-inf": _fid_inf,
    "kid-rbf": functools.partial(_kid, kernel="rbf"),
    "vendi": _vendi,
}
