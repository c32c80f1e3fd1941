"""Exact distances between features, block by block, and how far off nearest neighbors are.

Distances are squared and exact: features are rounded to the grid of 2⁻¹⁴, and float64 holds every sum on the way. So
neither block sizes nor processors decide whether an image lies on a boundary, and copies of an image lie at distance
0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ScoringError
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.scoring.metrics.moments import feature_steps

# Squared norms below this in steps: a squared distance, at most four times as large, is then exact in float64.
_LARGEST_SQUARED_NORM = 2.0**51

Array = NDArray[np.float64]


def exact_steps(generated: NDArray[np.float32], real: NDArray[np.float32], neighbours: int) -> tuple[Array, Array]:
    """Returns the features of both sets ``[N, F]`` in steps of the grid, whose distances are exact.

    Raises:
        ScoringError: a set is too small or too large in value, or the numbers of features differ.
    """
    if generated.shape[1] != real.shape[1]:
        raise ScoringError(
            f"The two sides have {generated.shape[1]} and {real.shape[1]} features: score both with the same scorer."
        )
    for features in (generated, real):
        if not 1 <= neighbours < len(features):
            raise ScoringError(
                f"This metric looks at the {neighbours} nearest neighbors of each image, but one side has the "
                f"features of only {counted(len(features), 'image')}: score more."
            )
    made, true = feature_steps(generated), feature_steps(real)
    # Written so that NaN is refused too.
    if not all(_squared_norms(steps).max() < _LARGEST_SQUARED_NORM for steps in (made, true)):
        raise ScoringError("The features are too large for exact distances; use a scorer with smaller features.")
    return made, true


def radii(features: Array, neighbours: int, block: int, bar: Progress) -> Array:
    """Returns every image's squared distance to its ``neighbours``-th nearest other, ``[N]``; ``bar`` counts blocks."""
    found = np.empty(len(features))
    for rows in blocks(len(features), block):
        # The nearest so far, itself at distance 0 among them.
        nearest = np.full((len(features[rows]), neighbours + 1), np.inf)
        for columns in blocks(len(features), block):
            candidates = np.concatenate([nearest, squared_distances(features[rows], features[columns])], axis=1)
            nearest = np.partition(candidates, neighbours, axis=1)[:, : neighbours + 1]
        found[rows] = nearest.max(axis=1)
        bar.advance(1)
    return found


def squared_distances(a: Array, b: Array) -> Array:
    """Returns the squared distances of features ``[N, F]`` and ``[M, F]`` in steps, ``[N, M]``, exact."""
    distances = a @ b.T
    distances *= -2.0
    distances += _squared_norms(a)[:, None]
    distances += _squared_norms(b)
    return np.asarray(distances)


def _squared_norms(features: Array) -> Array:
    return np.asarray(np.einsum("nf,nf->n", features, features))


def blocks(count: int, size: int) -> Iterator[slice]:
    """Cuts ``count`` rows into blocks of ``size``."""
    return (slice(start, start + size) for start in range(0, count, size))
