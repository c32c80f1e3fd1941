"""Features as the networks see them: standardized, of length 1, and rotated to their principal components."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_EPSILON = 1e-6


class Preparation(nn.Module):
    """Maps features ``[N, F]`` to ``[N, D]`` of mean 0 and mean square 1, by statistics that :meth:`fit` measured.

    Standardized by dimension, scaled to length 1 by photo, centered, and projected to the first ``D`` principal
    components, each divided by the square root of its deviation: half way to white, so that small components are
    heard and noise is not as loud as they are.
    """

    mean: Tensor
    deviation: Tensor
    center: Tensor
    components: Tensor

    def __init__(self, features: int, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("center", torch.zeros(features))
        self.register_buffer("components", torch.zeros(features, dimensions))

    @staticmethod
    @torch.no_grad()
    def fit(features: Tensor, dimensions: int) -> Preparation:
        """Returns the preparation of all photos' features ``[N, F]``; ``dimensions`` are at most ``N`` and ``F``."""
        made = Preparation(features.shape[1], min(dimensions, *features.shape))
        made.mean.copy_(features.mean(dim=0))
        made.deviation.copy_(features.std(dim=0, correction=0) + _EPSILON)
        rows = made.directions(features)
        made.center.copy_(rows.mean(dim=0))
        rows = rows - made.center
        variances, vectors = torch.linalg.eigh(rows.T.double() @ rows.double() / len(rows))
        kept = made.components.shape[1]
        variances, vectors = variances.flip(0)[:kept].clamp(min=1e-12), vectors.flip(1)[:, :kept]
        # The sign of an eigenvector is whatever the library makes it: its largest entry is positive here.
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
        # A component with variance v has the deviation v^1/2, and v^1/4 of it is left.
        whitened = vectors * variances.pow(-0.25)
        made.components.copy_(whitened / variances.sqrt().mean().sqrt())
        return made

    def directions(self, features: Tensor) -> Tensor:
        """Returns standardized features of length 1, ``[N, F]``."""
        standardized = (features - self.mean) / self.deviation
        norm: Tensor = torch.linalg.vector_norm(standardized, dim=1, keepdim=True)
        return standardized / norm.clamp(min=_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        return (self.directions(features) - self.center) @ self.components
