"""Precision and recall by the manifolds of nearest neighbours (Kynkäänniemi et al., 2019).

A set's manifold is the union of balls around its images, each as wide as the distance to its ``k``-th nearest
neighbour, itself not counted. Precision is the share of the generated images that lie in the manifold of the real
ones; recall the share of the real images that lie in that of the generated ones. A boundary belongs to its ball.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igan_zoo.machine.progress import Progress
from igan_zoo.serving.scoring.metrics.nearest import blocks, exact_steps, radii, squared_distances

DEFAULT_NEIGHBOURS = 3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PrecisionRecall:
    """Shares in 0..1, with the binomial standard errors that they have for these two manifolds."""

    precision: float
    recall: float
    precision_standard_error: float
    recall_standard_error: float


def precision_recall(
    generated: NDArray[np.float32],
    real: NDArray[np.float32],
    *,
    neighbours: int = DEFAULT_NEIGHBOURS,
    block: int = 2048,
) -> PrecisionRecall:
    """Returns precision and recall of generated features ``[N₁, F]`` against real ones ``[N₂, F]``.

    Holds a few blocks of ``block × block`` distances at a time beside the features in float64.

    Raises:
        ScoringError: a set is too small or too large in value, or the numbers of features differ.
    """
    made, true = exact_steps(generated, real, neighbours)
    counts = -(-len(made) // block), -(-len(true) // block)
    with Progress("nearest neighbors", sum(counts) + counts[0], unit="blocks") as bar:
        radii_made = radii(made, neighbours, block, bar)
        radii_true = radii(true, neighbours, block, bar)
        made_inside, true_inside = np.zeros(len(made), np.bool_), np.zeros(len(true), np.bool_)
        for rows in blocks(len(made), block):
            for columns in blocks(len(true), block):
                distances = squared_distances(made[rows], true[columns])
                made_inside[rows] |= (distances <= radii_true[columns]).any(axis=1)
                true_inside[columns] |= (distances <= radii_made[rows, None]).any(axis=0)
            bar.advance(1)
    return _shares(made_inside, true_inside)


def precision_recall_reference(
    generated: NDArray[np.float32], real: NDArray[np.float32], *, neighbours: int = DEFAULT_NEIGHBOURS
) -> PrecisionRecall:
    """The same from all distances at once, each as the sum of squared differences."""
    made, true = exact_steps(generated, real, neighbours)

    def distances(a: Array, b: Array) -> Array:
        return np.asarray(((a[:, None] - b) ** 2).sum(axis=2))

    radii_made = np.sort(distances(made, made), axis=1)[:, neighbours]
    radii_true = np.sort(distances(true, true), axis=1)[:, neighbours]
    between = distances(made, true)
    made_inside: NDArray[np.bool_] = np.any(between <= radii_true, axis=1)
    true_inside: NDArray[np.bool_] = np.any(between <= radii_made[:, None], axis=0)
    return _shares(made_inside, true_inside)


def _shares(made_inside: NDArray[np.bool_], true_inside: NDArray[np.bool_]) -> PrecisionRecall:
    precision, recall = float(made_inside.mean()), float(true_inside.mean())
    return PrecisionRecall(
        precision=precision,
        recall=recall,
        precision_standard_error=float(np.sqrt(precision * (1 - precision) / len(made_inside))),
        recall_standard_error=float(np.sqrt(recall * (1 - recall) / len(true_inside))),
    )
