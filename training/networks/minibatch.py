"""Minibatch discrimination (paper, section 3.2) in its three forms: the 2016 layer, the paper's, and ImageNet's.

Each projects an example to ``kernels`` points in a space of ``dimensions`` and compares these, by the L1 distance, with
those of other examples: ``Σ_j exp(-‖M_i - M_j‖₁)`` per kernel. Activations are ``[N, kernels, dimensions]``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from igan_zoo.ops.minibatch_discrimination import minibatch_discrimination


def cross_similarity(activations: Tensor, others: Tensor) -> Tensor:
    """Returns ``Σ_j exp(-‖activations_i - others_j‖₁)``, ``[N, B]``, of ``[N, B, C]`` and ``[M, B, C]``.

    Built of operators that every runtime has, one of the ``others`` after the other.
    """
    return torch.stack([torch.exp(-(activations - other).abs().sum(dim=2)) for other in others]).sum(dim=0)


def joint_minibatch_features(activations_real: Tensor, activations_fake: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the features of the 2016 ImageNet discriminator, which compares real and generated examples.

    The first ``B`` features of an example are its similarities to the real examples, the next ``B`` those to the
    generated ones; an example is not compared with itself. Each half is divided by the number of all pairs that it
    sums over in the joint batch: 16 of each kind make ``32 · 16 - 16 = 496``.

    Shapes: ``[R, B, C]`` and ``[F, B, C]``; the results are ``[R, 2B]`` and ``[F, 2B]``.

    # Differs from the paper: that computes the features of real and of generated examples separately.
    """
    reals, fakes = len(activations_real), len(activations_fake)
    within_real = minibatch_discrimination(activations_real)
    within_fake = minibatch_discrimination(activations_fake)
    to_all = minibatch_discrimination(torch.cat([activations_real, activations_fake]))
    real_pairs = (reals + fakes) * reals - reals
    fake_pairs = (reals + fakes) * fakes - fakes
    real = torch.cat([(within_real - 1) / real_pairs, (to_all[:reals] - within_real) / fake_pairs], dim=1)
    fake = torch.cat([(to_all[reals:] - within_fake) / real_pairs, (within_fake - 1) / fake_pairs], dim=1)
    return real, fake


def frozen_minibatch_features(activations: Tensor, reference_real: Tensor, reference_fake: Tensor) -> Tensor:
    """Returns the features of each example compared with stored references only, so that none depends on its batch.

    No example is among the references, so each half sums over all of its references, and nothing is left out of the
    number of pairs: 16 of each kind make ``32 · 16 = 512``. On average over both halves that is the scale of
    :func:`joint_minibatch_features`, for an example that may be real or generated.

    Shapes: ``[N, B, C]``, ``[R, B, C]`` and ``[F, B, C]``; the result is ``[N, 2B]``.
    """
    reals, fakes = len(reference_real), len(reference_fake)
    real = cross_similarity(activations, reference_real) / ((reals + fakes) * reals)
    fake = cross_similarity(activations, reference_fake) / ((reals + fakes) * fakes)
    return torch.cat([real, fake], dim=1)


class MinibatchDiscrimination2016(nn.Module):
    """The layer of the 2016 CIFAR and SVHN code: ``x [N, inputs]`` to ``x`` and its ``kernels`` similarities.

    The columns of the projection have unit length times a learned scale, one per kernel and dimension; each similarity
    has a bias; an example is not compared with itself. ``theta ~ N(0, 0.05)``, scales 1, biases -1 until
    :meth:`initialize`. The result is ``[N, inputs + kernels]``, and depends on the composition of the batch.

    # Differs from the paper: the paper has neither the normalization nor the scale nor the bias, and counts the example
    # itself.
    """

    def __init__(self, inputs: int, kernels: int = 100, dimensions: int = 5) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.empty(inputs, kernels, dimensions).normal_(std=0.05))
        self.log_weight_scale = nn.Parameter(torch.zeros(kernels, dimensions))
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        similarity = minibatch_discrimination(self._activations(x)) - 1  # itself: exp(0)
        return torch.cat([x, similarity + self.bias], dim=1)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> Tensor:
        """Sets scales and biases on ``x``: nearest examples two apart on average, similarities of mean 0.

        Returns what :meth:`forward` then gives.

        Raises:
            ValueError: no two examples differ for some kernel, so there is no scale to set.
        """
        activations = self._activations(x)
        radius = 0.5 * _nearest_distances(activations).mean(dim=0)  # (kernels,)
        if not (radius > 0).all():
            raise ValueError(f"minibatch discrimination cannot be initialized on {len(x)} examples that do not differ")
        self.log_weight_scale.sub_(radius.log()[:, None])
        similarity = minibatch_discrimination(activations / radius[:, None]) - 1
        self.bias.copy_(-similarity.mean(dim=0))
        return torch.cat([x, similarity + self.bias], dim=1)

    def projection(self) -> Tensor:
        """Returns the tensor that :meth:`forward` multiplies with, ``[inputs, kernels, dimensions]``."""
        projection: Tensor = self.theta * self._scale()
        return projection

    def offset(self) -> Tensor:
        """Returns what is added to the sums over the whole batch, ``[kernels]``."""
        offset: Tensor = self.bias - 1  # itself: exp(0)
        return offset

    def _scale(self) -> Tensor:
        scale: Tensor = self.log_weight_scale.exp() / torch.linalg.vector_norm(self.theta, dim=0)
        return scale

    def _activations(self, x: Tensor) -> Tensor:
        inputs, kernels, dimensions = self.theta.shape
        activations: Tensor = (x @ self.theta.reshape(inputs, -1)).reshape(-1, kernels, dimensions) * self._scale()
        return activations


class PlainMinibatchDiscrimination(nn.Module):
    """The paper's layer: ``x [N, inputs]`` to ``x`` and ``o_ib = Σ_j exp(-‖M_ib - M_jb‖₁)``, ``[N, inputs + kernels]``.

    ``M = x · T`` with one tensor ``T``, and the sum runs over the whole batch, the example itself included. The paper
    does not say how ``T`` starts; here as in the 2016 layer, N(0, 0.05).
    """

    def __init__(self, inputs: int, kernels: int = 100, dimensions: int = 5) -> None:
        super().__init__()
        self.tensor = nn.Parameter(torch.empty(inputs, kernels, dimensions).normal_(std=0.05))

    def forward(self, x: Tensor) -> Tensor:
        inputs, kernels, dimensions = self.tensor.shape
        activations = (x @ self.tensor.reshape(inputs, -1)).reshape(-1, kernels, dimensions)
        return torch.cat([x, minibatch_discrimination(activations)], dim=1)

    def projection(self) -> Tensor:
        """Returns the tensor that :meth:`forward` multiplies with, ``[inputs, kernels, dimensions]``."""
        return self.tensor

    def offset(self) -> Tensor:
        """Returns what is added to the sums over the whole batch, ``[kernels]``."""
        return self.tensor.new_zeros(self.tensor.shape[1])


def _nearest_distances(activations: Tensor) -> Tensor:
    """Returns each example's L1 distance to the nearest other one, ``[N, B]`` of ``[N, B, C]``, kernel by kernel."""
    columns = []
    for points in activations.unbind(dim=1):  # (N, C)
        distances = torch.cdist(points, points, p=1)
        columns.append(distances.fill_diagonal_(torch.inf).amin(dim=1))
    return torch.stack(columns, dim=1)
