"""The kernel distance (KID where the scorer is Inception): the squared maximum mean discrepancy, unbiased.

Kernel ``k(x, y) = (x·y / F + 1)³`` (Bińkowski et al., 2018); the other one, ``exp(-|x - y|² / 2σ²)`` with σ = 10, is
torch-fidelity's. As there the value is the mean over ``subsets`` pairs of random subsets, drawn by
``RandomState(seed)`` in turn from the first and the second set.

Standard error: with ``g(x) = mean_x' k(x, x') - mean_y k(x, y)`` over a subset, an image of the first set moves the
distance of ``n₁`` images by ``2 (g - mean g) / n₁`` to first order, one of the second alike; so the variance is ``4
Var(g₁) / n₁ + 4 Var(g₂) / n₂``, to which the choice of subsets adds their variance over their number. The spread over
subsets, which other tools print beside the value, is no error bar of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ScoringError
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.scoring.statistics import DEFAULT_SEED

Kernel = Literal["polynomial", "rbf"]
# torch-fidelity's.
RBF_SIGMA = 10.0
DEFAULT_SUBSETS = 100
DEFAULT_SUBSET_SIZE = 1000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KernelDistance:
    """``value``, its ``standard_error``, and the population ``deviation`` over subsets."""

    value: float
    standard_error: float
    deviation: float


def kernel_distance(
    features: NDArray[np.float32],
    reference: NDArray[np.float32],
    *,
    subsets: int = DEFAULT_SUBSETS,
    subset_size: int = DEFAULT_SUBSET_SIZE,
    seed: int = DEFAULT_SEED,
    kernel: Kernel = "polynomial",
) -> KernelDistance:
    """Returns the distance of features ``[N₁, F]`` from those of the reference ``[N₂, F]``, in float64.

    Where a subset is the whole of both sets there is one only.

    Raises:
        ScoringError: a set is smaller than a subset, subsets are smaller than 2, or the numbers of features differ.
    """
    _check(features, reference, subset_size, subsets)
    if subset_size == len(features) == len(reference):
        # Every subset is the whole.
        subsets = 1
    random = np.random.RandomState(seed)
    distances, spreads = np.empty(subsets), np.empty((subsets, 2))
    with Progress("kernel distance", subsets, unit="subsets") as bar:
        for index in range(subsets):
            x = features[random.choice(len(features), subset_size, replace=False)].astype(np.float64)
            y = reference[random.choice(len(reference), subset_size, replace=False)].astype(np.float64)
            distances[index], spreads[index] = _discrepancy(x, y, kernel)
            bar.advance(1)
    sampling = 4 * float((spreads.mean(axis=0) / [len(features), len(reference)]).sum())
    return KernelDistance(
        value=float(distances.mean()),
        standard_error=float(np.sqrt(sampling + distances.var() / subsets)),
        deviation=float(distances.std()),
    )


def discrepancy_reference(x: Array, y: Array, kernel: Kernel = "polynomial") -> float:
    """The unbiased squared discrepancy of x ``[m, F]`` and y ``[m, F]`` by its definition, pair by pair."""
    m = len(x)

    def k(a: Array, b: Array) -> float:
        if kernel == "rbf":
            return float(np.exp(-np.square(a - b).sum() / (2 * RBF_SIGMA**2)))
        return float((a @ b / len(a) + 1) ** 3)

    within = sum(k(s[i], s[j]) for s in (x, y) for i in range(m) for j in range(m) if i != j)
    return within / (m * (m - 1)) - 2 * sum(k(a, b) for a in x for b in y) / m**2


def _discrepancy(x: Array, y: Array, kernel: Kernel) -> tuple[float, tuple[float, float]]:
    """The same by matrix products, and the variances of g₁ and g₂."""
    m = len(x)
    values = _rbf_kernel if kernel == "rbf" else _polynomial_kernel
    between = values(x, y)
    within_x, within_y = _mean_of_others(values(x, x)), _mean_of_others(values(y, y))
    g_x, g_y = within_x - between.mean(axis=1), within_y - between.mean(axis=0)
    distance = within_x.mean() + within_y.mean() - 2 * between.sum() / m**2
    return float(distance), (float(g_x.var(ddof=1)), float(g_y.var(ddof=1)))


def _rbf_kernel(x: Array, y: Array) -> Array:
    distances = -2.0 * (x @ y.T)
    distances += np.einsum("nf,nf->n", x, x)[:, None]
    distances += np.einsum("nf,nf->n", y, y)
    # Rounding leaves equal images a little below 0.
    return np.asarray(np.exp(np.maximum(distances, 0.0) / (-2 * RBF_SIGMA**2)))


def _polynomial_kernel(x: Array, y: Array) -> Array:
    kernel = x @ y.T
    kernel /= x.shape[1]
    kernel += 1.0
    return np.asarray(kernel * kernel * kernel)


def _mean_of_others(kernel: Array) -> Array:
    return np.asarray((kernel.sum(axis=1) - kernel.diagonal()) / (len(kernel) - 1))


def _check(features: NDArray[np.float32], reference: NDArray[np.float32], subset_size: int, subsets: int) -> None:
    if features.shape[1] != reference.shape[1]:
        raise ScoringError(
            f"The two sides have {features.shape[1]} and {reference.shape[1]} features: score both with the same "
            "scorer."
        )
    if subset_size < 2 or subsets < 1:
        raise ScoringError(f"{subsets} subsets of {subset_size} images give no distance: take at least 1 of 2.")
    check_subset_size(subset_size, min(len(features), len(reference)))


def check_subset_size(subset_size: int, fewest: int) -> None:
    """Refuses subsets larger than the smaller side.

    Raises:
        ScoringError: ``fewest`` images are fewer than a subset.
    """
    if fewest < subset_size:
        raise ScoringError(
            f"A kernel distance takes subsets of {counted(subset_size, 'image')}, but one side has the features of "
            f"only {fewest}: score more images, or use smaller subsets with --subset-size."
        )
