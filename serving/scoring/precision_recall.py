"""Precision and recall by the manifolds of nearest neighbours (Kynkäänniemi et al., 2019).

A set's manifold is the union of balls around its images, each as wide as the distance to its ``k``-th nearest
neighbour, itself not counted. Precision is the share of the generated images that lie in the manifold of the real
ones; recall the share of the real images that lie in that of the generated ones. A boundary belongs to its ball.

Distances are squared and exact: features are rounded to the grid of 2⁻¹⁴, and float64 holds every sum on the way. So
neither block sizes nor processors decide whether an image lies on a boundary, and copies of an image lie at distance
0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ScoringError
from igan_zoo.progress import Progress
from igan_zoo.serving.scoring.moments import feature_steps

DEFAULT_NEIGHBOURS = 3

# Squared norms below this in steps: a squared distance, at most four times as large, is then exact in float64.
_LARGEST_SQUARED_NORM = 2.0**51

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
    made, true = _checked(generated, real, neighbours)
    blocks = -(-len(made) // block), -(-len(true) // block)
    with Progress("nearest neighbours", sum(blocks) + blocks[0], unit="blocks") as bar:
        radii_made = _radii(made, neighbours, block, bar)
        radii_true = _radii(true, neighbours, block, bar)
        made_inside, true_inside = np.zeros(len(made), np.bool_), np.zeros(len(true), np.bool_)
        for rows in _blocks(len(made), block):
            for columns in _blocks(len(true), block):
                distances = _squared_distances(made[rows], true[columns])
                made_inside[rows] |= (distances <= radii_true[columns]).any(axis=1)
                true_inside[columns] |= (distances <= radii_made[rows, None]).any(axis=0)
            bar.advance(1)
    return _shares(made_inside, true_inside)


def precision_recall_reference(
    generated: NDArray[np.float32], real: NDArray[np.float32], *, neighbours: int = DEFAULT_NEIGHBOURS
) -> PrecisionRecall:
    """The same from all distances at once, each as the sum of squared differences."""
    made, true = _checked(generated, real, neighbours)

    def distances(a: Array, b: Array) -> Array:
        return np.asarray(((a[:, None] - b) ** 2).sum(axis=2))

    radii_made = np.sort(distances(made, made), axis=1)[:, neighbours]
    radii_true = np.sort(distances(true, true), axis=1)[:, neighbours]
    between = distances(made, true)
    made_inside: NDArray[np.bool_] = np.any(between <= radii_true, axis=1)
    true_inside: NDArray[np.bool_] = np.any(between <= radii_made[:, None], axis=0)
    return _shares(made_inside, true_inside)


def _checked(generated: NDArray[np.float32], real: NDArray[np.float32], neighbours: int) -> tuple[Array, Array]:
    if generated.shape[1] != real.shape[1]:
        raise ScoringError(
            f"The two sides have {generated.shape[1]} and {real.shape[1]} features: score both with the same scorer."
        )
    for features in (generated, real):
        if not 1 <= neighbours < len(features):
            raise ScoringError(
                f"Precision and recall look at the {neighbours} nearest neighbours of each image, and a side keeps the "
                f"features of {len(features)} images: score more."
            )
    made, true = feature_steps(generated), feature_steps(real)
    # Written so that NaN is refused too.
    if not all(_squared_norms(steps).max() < _LARGEST_SQUARED_NORM for steps in (made, true)):
        raise ScoringError("The features are too large for exact distances; use a scorer with smaller features.")
    return made, true


def _radii(features: Array, neighbours: int, block: int, bar: Progress) -> Array:
    radii = np.empty(len(features))
    for rows in _blocks(len(features), block):
        # The nearest so far, itself at distance 0 among them.
        nearest = np.full((len(features[rows]), neighbours + 1), np.inf)
        for columns in _blocks(len(features), block):
            candidates = np.concatenate([nearest, _squared_distances(features[rows], features[columns])], axis=1)
            nearest = np.partition(candidates, neighbours, axis=1)[:, : neighbours + 1]
        radii[rows] = nearest.max(axis=1)
        bar.advance(1)
    return radii


def _squared_distances(a: Array, b: Array) -> Array:
    distances = a @ b.T
    distances *= -2.0
    distances += _squared_norms(a)[:, None]
    distances += _squared_norms(b)
    return np.asarray(distances)


def _squared_norms(features: Array) -> Array:
    return np.asarray(np.einsum("nf,nf->n", features, features))


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _shares(made_inside: NDArray[np.bool_], true_inside: NDArray[np.bool_]) -> PrecisionRecall:
    precision, recall = float(made_inside.mean()), float(true_inside.mean())
    return PrecisionRecall(
        precision=precision,
        recall=recall,
        precision_standard_error=float(np.sqrt(precision * (1 - precision) / len(made_inside))),
        recall_standard_error=float(np.sqrt(recall * (1 - recall) / len(true_inside))),
    )
