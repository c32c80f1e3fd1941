"""The Vendi score (Friedman and Dieng, 2023): how many different images a set has, without a reference.

It is the exponential of the entropy of the eigenvalues of ``K / N``, where ``K`` holds the cosines between the features
of N images: 1 where all are alike, N where all are at right angles. The features are not centered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ScoringError


def vendi_score(features: NDArray[np.float32]) -> float:
    """Returns the score of features ``[N, F]``, in float64.

    Raises:
        ScoringError: an image has no features but 0, which have no direction.
    """
    unit = _directions(features)
    # Both products have the same eigenvalues above 0.
    product = unit.T @ unit if len(unit) > unit.shape[1] else unit @ unit.T
    return _score(np.asarray(np.linalg.eigvalsh(product / len(unit)), np.float64))


def vendi_score_reference(features: NDArray[np.float32]) -> float:
    """The same by the singular values of the directions themselves."""
    unit = _directions(features)
    return _score(np.square(np.linalg.svd(unit, compute_uv=False)) / len(unit))


def _directions(features: NDArray[np.float32]) -> NDArray[np.float64]:
    wide = features.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not lengths.all():
        raise ScoringError(
            f"The features of {counted(int((lengths == 0).sum()), 'image')} are all 0, so they have no "
            "cosine: remove these images, or use another scorer."
        )
    return np.asarray(wide / lengths)


def _score(eigenvalues: NDArray[np.float64]) -> float:
    present = eigenvalues[eigenvalues > 0]
    return float(np.exp(-(present * np.log(present)).sum()))
