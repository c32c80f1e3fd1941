"""Features as the networks see them: roots, standardized, of length 1, rotated to their principal components."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

_EPSILON = 1e-6
# Minimum number of photos for statistics, evenly spread over all.
_MEASURED = 10_000
_BLOCK = 4096
# Of its variance, between clusters, is what no feature has less of: it would be divided by.
_LEAST_SHARE = 1e-3


class Preparation(nn.Module):
    """Maps features ``[N, F]`` to ``[N, D]`` with mean 0 and mean square 1, by statistics that :meth:`fit` measured.

    Their signed roots (pooled features have long tails; Perronnin et al., *Improving the Fisher Kernel*, 2010) are
    standardized by dimension, scaled to length 1 by photo, centered, and projected to the first ``D`` principal
    components, each divided by the square root of its deviation: halfway to whitening, so that small components count
    but noise counts less.
    """

    root_mean: Tensor
    deviation: Tensor
    center: Tensor
    components: Tensor

    def __init__(self, features: int, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("root_mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("center", torch.zeros(features))
        self.register_buffer("components", torch.zeros(features, dimensions))

    @staticmethod
    @torch.no_grad()
    def fit(features: Tensor, dimensions: int, weights: Tensor | None = None) -> Preparation:
        """Returns the preparation of all photos' features ``[N, F]``; ``dimensions`` are at most ``N`` and ``F``.

        The standardized features are multiplied by ``weights``, positive float32 ``[F]``.
        """
        made = Preparation(features.shape[1], min(dimensions, *features.shape))
        features = _measured(features)
        roots = _roots(features)
        made.root_mean.copy_(roots.mean(dim=0))
        made.deviation.copy_(roots.std(dim=0, correction=0) + _EPSILON)
        if weights is not None:
            made.deviation /= weights
        rows = made.directions(features)
        made.center.copy_(rows.mean(dim=0))
        rows = rows - made.center
        kept = made.components.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            # Computing all components of thousands of features would take longer than a game.
            _, values, vectors = torch.svd_lowrank(rows, min(2 * kept, *rows.shape), niter=4)
        variances, vectors = (values[:kept].square() / len(rows)).clamp(min=1e-8), vectors[:, :kept]
        # The sign of an eigenvector depends on the library; here, its largest entry is made positive.
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
        # A component with variance v has the deviation v^1/2, and v^1/4 of it is left.
        whitened = vectors * variances.pow(-0.25)
        # In 16 bits, to halve their size in an exported file.
        made.components.copy_((whitened / variances.sqrt().mean().sqrt()).half())
        return made

    def directions(self, features: Tensor) -> Tensor:
        """Returns standardized roots of length 1, ``[N, F]``."""
        standardized = (_roots(features) - self.root_mean) / self.deviation
        norm: Tensor = torch.linalg.vector_norm(standardized, dim=1, keepdim=True)
        return standardized / norm.clamp(min=_EPSILON)

    @torch.no_grad()
    def between(self, features: Tensor, clusters: Tensor) -> Tensor:
        """Returns the share of each feature's variance that is between clusters, ``[F]``.

        ``clusters`` are the probabilities ``[N, K]`` of the photos; the preparation was fitted without weights.
        """
        standardized = (_roots(_measured(features)) - self.root_mean) / self.deviation
        shares = _measured(clusters)
        sizes = shares.sum(dim=0)
        means = shares.T @ standardized / sizes[:, None].clamp(min=_EPSILON)
        return ((sizes / len(shares))[:, None] * means.square()).sum(dim=0).clamp(min=_LEAST_SHARE)

    def forward(self, features: Tensor) -> Tensor:
        return (self.directions(features) - self.center) @ self.components


def in_blocks(compute: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Returns what ``compute`` makes of some rows, for all; those of 50,000 photos at once would take gigabytes."""
    return torch.cat([compute(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)])


def _measured(rows: Tensor) -> Tensor:
    return rows[:: max(1, len(rows) // _MEASURED)]


def _roots(features: Tensor) -> Tensor:
    return features.sign() * features.abs().sqrt()
