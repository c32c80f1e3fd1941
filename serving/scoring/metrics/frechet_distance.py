"""The Fréchet distance of two sets of features, each taken as a Gaussian (FID where the scorer is Inception).

``d = |μ₁ - μ₂|² + tr Σ₁ + tr Σ₂ - 2 tr (Σ₁ Σ₂)^½``. With any root ``RᵀR = Σ`` of either covariance, the last trace is
the sum of the singular values of ``R₁ R₂ᵀ``, or of the square roots of the eigenvalues of the symmetric ``R₁ Σ₂ R₁ᵀ``.
A Cholesky factor is a root; so are the centred features of few images, divided by ``√(N - 1)``, whose ``R₁ R₂ᵀ`` is
only ``N₁ × N₂``.

Differs from pytorch-fid and torch-fidelity: these take the square root, or the eigenvalues, of the product ``Σ₁ Σ₂``,
which is not symmetric: slower, and wrong by up to 1e-3 where there are fewer images than features, because the
product's eigenvalues that should be 0 come out as large as rounding allows, before their roots are taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.moments import FEATURE_STEPS, feature_steps
from igan_zoo.serving.scoring.statistics import Statistics, check_complete

Array = NDArray[np.float64]

_BLOCK = 256

# Of the traces. Equal sides come out at up to 1e-9 of them.
_ROUNDING = 1e-6
# Of the largest entry: a covariance of few float32 features has eigenvalues as far below 0.
_SHIFT = 1e-4


@dataclass(frozen=True)
class Gaussian:
    """``mean`` ``[F]`` and ``covariance`` ``[F, F]``, float64, and the ``root`` ``[N, F]`` where that is smaller."""

    mean: Array
    covariance: Array
    root: Array | None = None


def gaussian(statistics: Statistics, *, ddof: int = 1) -> Gaussian:
    """Returns the Gaussian of all images' features; the covariance is divided by ``N - ddof``.

    Raises:
        ScoringError: images are missing, or too few for a covariance.
    """
    check_complete(statistics)
    count = statistics.count
    if count <= ddof:
        raise ScoringError(f"A covariance needs more than {counted(ddof, 'image')}; {statistics.name} has {count}.")
    moments = statistics.feature_moments
    mean = moments[:-1, -1] / FEATURE_STEPS / count
    scatter = moments[:-1, :-1] / FEATURE_STEPS**2 - count * np.outer(mean, mean)
    root = None
    if count <= statistics.facts.features and len(statistics.kept_features) == count:
        root = (feature_steps(statistics.kept_features) / FEATURE_STEPS - mean) / np.sqrt(count - ddof)
    return Gaussian(mean, scatter / (count - ddof), root)


def gaussian_of(features: NDArray[np.float32] | Array) -> Gaussian:
    """Returns the Gaussian of features ``[N, F]`` themselves, in float64; the covariance is divided by N - 1."""
    wide = features.astype(np.float64)
    mean = wide.mean(axis=0)
    root = (wide - mean) / np.sqrt(len(wide) - 1)
    return Gaussian(mean, root.T @ root, root if len(root) <= len(mean) else None)


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """Returns the squared distance, 0 or more.

    Raises:
        ScoringError: the numbers of features differ, or a covariance is none, so that the distance is negative.
    """
    _check_features(one, other)
    return _distance(one, other, _trace_of_root(one, other))


def frechet_distance_reference(one: Gaussian, other: Gaussian) -> float:
    """The same by the eigenvalues of the product of the covariances, as torch-fidelity has it."""
    _check_features(one, other)
    eigenvalues = np.linalg.eigvals(one.covariance @ other.covariance).astype(np.complex128)
    return _distance(one, other, float(np.sqrt(eigenvalues).real.sum()))


def check_covariance(covariance: Array) -> str | None:
    """Returns what keeps a matrix ``[F, F]`` from being a covariance, but for rounding; None if nothing does."""
    scale = float(np.abs(covariance).max(initial=0.0))
    if np.abs(covariance - covariance.T).max(initial=0.0) > _ROUNDING * scale:
        return "is not symmetric"
    try:
        # Succeeds where no eigenvalue is below minus what is added: a fifth of the time of the eigenvalues.
        np.linalg.cholesky((covariance + covariance.T) / 2 + np.eye(len(covariance)) * (_SHIFT * scale or 1.0))
    except np.linalg.LinAlgError:
        return "has negative eigenvalues"
    return None


def _check_features(one: Gaussian, other: Gaussian) -> None:
    if one.mean.shape != other.mean.shape:
        raise ScoringError(
            f"The two sides have {len(one.mean)} and {len(other.mean)} features: score both with the same scorer."
        )


def _distance(one: Gaussian, other: Gaussian, trace_of_root: float) -> float:
    difference = one.mean - other.mean
    traces = one.covariance.trace() + other.covariance.trace()
    distance = float(difference @ difference + traces - 2 * trace_of_root)
    if not distance >= -_ROUNDING * abs(float(traces)):
        raise ScoringError(
            f"The squared Fréchet distance is {distance:.6g}, which is impossible: the mean or covariance "
            "of one side is damaged; compute it again."
        )
    return max(distance, 0.0)  # below it by rounding alone


def _trace_of_root(one: Gaussian, other: Gaussian) -> float:
    if one.root is None and other.root is not None:
        one, other = other, one
    root = _root(one.covariance) if one.root is None else one.root
    if other.root is not None:
        return float(np.linalg.svd(root @ other.root.T, compute_uv=False).sum())
    eigenvalues = np.linalg.eigvalsh(_lower_half(root, other.covariance))
    return float(np.sqrt(np.maximum(eigenvalues, 0.0)).sum())


def _lower_half(root: Array, covariance: Array) -> Array:
    """Returns ``R Σ Rᵀ``, of which only the lower triangle is right, as ``eigvalsh`` needs it.

    Where ``R`` is upper triangular, as Cholesky's, its zeros are left out block by block: half of the work.
    """
    if len(root) != len(covariance) or np.tril(root, -1).any():
        return root @ covariance @ root.T
    starts = range(0, len(root), _BLOCK)
    left = np.concatenate([root[start : start + _BLOCK, start:] @ covariance[start:] for start in starts])
    product = np.zeros_like(covariance)
    for start in starts:
        rows = slice(start, start + _BLOCK)
        product[start:, rows] = left[start:, start:] @ root[rows, start:].T
    return product


def _root(covariance: Array) -> Array:
    """Returns ``R`` ``[rank, F]`` with ``RᵀR = covariance``: Cholesky's, or of a singular matrix what is not 0."""
    try:
        return np.asarray(np.linalg.cholesky(covariance).T, np.float64)
    except np.linalg.LinAlgError:
        eigenvalues, vectors = np.linalg.eigh(covariance)
        # As numpy's matrix_rank counts.
        present = eigenvalues > eigenvalues[-1] * len(eigenvalues) * np.finfo(np.float64).eps
        return np.asarray((vectors[:, present] * np.sqrt(eigenvalues[present])).T)
