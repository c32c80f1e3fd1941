"""The directions of a generator's latent space along which its images change most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Images are averaged to about this many pixels per side first: what matters is visible at that size.
_SIDE = 16


@dataclass(frozen=True)
class Direction:
    """A direction of length 1, float32 ``[L]``.

    ``spread`` is the standard deviation of latents along it, ``explained`` its share of what a linear function of the
    latent explains of the images' variance.
    """

    direction: NDArray[np.float32]
    spread: float
    explained: float


def principal_directions(latents: NDArray[np.float32], images: NDArray[np.uint8], count: int) -> list[Direction]:
    """Returns the ``count`` most visible directions, strongest first, at right angles to each other.

    Latents ``[N, L]`` have independent components of equal variance, so images ``[N, H, W, C]`` regressed on them have
    the coefficients ``cov(latent, pixel) / variance``; the directions are the left singular vectors of those. The
    largest component of each is positive.
    """
    z = latents - latents.mean(axis=0)
    x = _small(images)
    x -= x.mean(axis=0)
    covariance = z.T @ x / len(z)  # (L, P)
    # The smaller of the two Gram matrices would do as well; P is at most 768 or so.
    eigenvalues, right = np.linalg.eigh((covariance.T @ covariance).astype(np.float64))
    best = np.argsort(-eigenvalues)[: min(count, len(latents[0]), len(eigenvalues))]
    total = float(eigenvalues.clip(min=0).sum())
    found = []
    for index in best:
        direction = covariance @ right[:, index].astype(np.float32)
        length = float(np.linalg.norm(direction))
        if length == 0:
            break
        direction *= np.sign(direction[np.abs(direction).argmax()]) / length
        found.append(Direction(direction, float((z @ direction).std()), float(eigenvalues[index]) / total))
    return found


def _small(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns images averaged over blocks as float32 ``[N, P]``; a rest at the right and bottom is left out."""
    count, height, width, channels = images.shape
    block = max(1, -(-min(height, width) // _SIDE))
    rows, columns = height // block, width // block
    cut = images[:, : rows * block, : columns * block].astype(np.float32)
    blocks = cut.reshape(count, rows, block, columns, block, channels)  # (N, rows, block, columns, block, C)
    averages: NDArray[np.float32] = blocks.mean(axis=(2, 4)).reshape(count, -1)
    return averages
