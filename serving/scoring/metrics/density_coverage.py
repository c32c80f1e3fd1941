"""Density and coverage (Naeem et al., 2020): precision and recall that few odd images do not move.

Every real image has a ball, as wide as the distance to its ``k``-th nearest real neighbor. Density is how many balls a
generated image lies in on average, over ``k``: 1 where both sets are alike, more where samples crowd. Coverage is the
share of real images whose ball holds a generated one. A boundary belongs to its ball.

Differs from the authors' package prdc: there a boundary does not, which matters for copies of the k-th neighbor only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igan_zoo.machine.progress import Progress
from igan_zoo.serving.scoring.metrics.nearest import blocks, exact_steps, radii, squared_distances

# The paper's.
DEFAULT_NEIGHBORS = 5


@dataclass(frozen=True)
class DensityCoverage:
    """``density`` 0 or more and ``coverage`` in 0..1, with their standard errors for these real images."""

    density: float
    coverage: float
    density_standard_error: float
    coverage_standard_error: float


def density_coverage(
    generated: NDArray[np.float32],
    real: NDArray[np.float32],
    *,
    neighbors: int = DEFAULT_NEIGHBORS,
    block: int = 2048,
) -> DensityCoverage:
    """Returns density and coverage of generated features ``[N₁, F]`` against real ones ``[N₂, F]``.

    Holds a few blocks of ``block × block`` distances at a time next to the features in float64.

    Raises:
        ScoringError: a set is too small or too large in value, or the numbers of features differ.
    """
    made, true = exact_steps(generated, real, neighbors)
    counts, covered = np.zeros(len(made), np.int64), np.zeros(len(true), np.bool_)
    with Progress("nearest neighbors", -(-len(made) // block) - (-len(true) // block), unit="blocks") as bar:
        reach = radii(true, neighbors, block, bar)
        for rows in blocks(len(made), block):
            for columns in blocks(len(true), block):
                inside = squared_distances(made[rows], true[columns]) <= reach[columns]
                counts[rows] += inside.sum(axis=1)
                covered[columns] |= inside.any(axis=0)
            bar.advance(1)
    return _shares(counts, covered, neighbors)


def density_coverage_reference(
    generated: NDArray[np.float32], real: NDArray[np.float32], *, neighbors: int = DEFAULT_NEIGHBORS
) -> DensityCoverage:
    """The same from all distances at once, each as the sum of squared differences."""
    made, true = exact_steps(generated, real, neighbors)
    within = ((true[:, None] - true) ** 2).sum(axis=2)
    inside = ((made[:, None] - true) ** 2).sum(axis=2) <= np.sort(within, axis=1)[:, neighbors]
    return _shares(inside.sum(axis=1), inside.any(axis=0), neighbors)


def _shares(counts: NDArray[np.int64], covered: NDArray[np.bool_], neighbors: int) -> DensityCoverage:
    coverage = float(covered.mean())
    return DensityCoverage(
        density=float(counts.mean() / neighbors),
        coverage=coverage,
        density_standard_error=float(counts.std(ddof=1) / neighbors / np.sqrt(len(counts))),
        coverage_standard_error=float(np.sqrt(coverage * (1 - coverage) / len(covered))),
    )
