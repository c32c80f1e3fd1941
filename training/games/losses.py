"""The losses of the paper, as functions of logits or features. All are means over the minibatch.

``logits`` are the K class logits ``l``, and ``realness`` is ``log Z`` with ``Z(x) = Σ_k exp l_k``, less the logit of
the class "generated" where it has one: ``D(x) = sigmoid(realness)`` (paper, section 5).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's usual name


def realness_logits(logits: Tensor, *, explicit: bool) -> Tensor:
    """Returns the logit of D(x), ``[N]``, from ``[N, K]``, or from ``[N, K + 1]`` if the last class is "generated"."""
    if explicit:
        return torch.logsumexp(logits[:, :-1], dim=1) - logits[:, -1]
    return torch.logsumexp(logits, dim=1)


def labelled_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the real classes over the examples whose label is not -1: ``L_supervised`` of section 5."""
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels >= 0).sum().clamp(min=1)


def smoothed_binary_loss(realness: Tensor, target: float) -> Tensor:
    """Cross-entropy of D(x) with a constant target probability, minus the target's entropy, so the minimum is 0.

    One-sided label smoothing (section 3.4) gives real images a target below 1 and generated ones 0.
    """
    # -log D = softplus(-realness) and -log(1 - D) = softplus(realness).
    loss = torch.zeros((), device=realness.device)
    if target > 0:
        loss = loss + target * (F.softplus(-realness).mean() + math.log(target))
    if target < 1:
        loss = loss + (1 - target) * (F.softplus(realness).mean() + math.log(1 - target))
    return loss


def unlabelled_loss(realness_real: Tensor, realness_fake: Tensor, real_target: float = 1.0) -> Tensor:
    """Half the sum of ``-log D(x)`` over real and ``-log(1 - D(G(z)))`` over generated images.

    With ``real_target`` below 1, only the real images' part is smoothed (section 3.4).

    # Differs from the paper: the factor one half is the 2016 code's ("half of our data is real and half generated").
    """
    return 0.5 * (smoothed_binary_loss(realness_real, real_target) + smoothed_binary_loss(realness_fake, 0.0))


def feature_matching_loss(features_real: Tensor, features_fake: Tensor) -> Tensor:
    """Mean over features of the squared difference of the minibatch means (section 3.1).

    # Differs from the paper: the 2016 MNIST code averages over the features where the paper sums.
    """
    return (features_real.mean(dim=0) - features_fake.mean(dim=0)).square().mean()


def absolute_feature_matching_loss(features_real: Tensor, features_fake: Tensor) -> Tensor:
    """Mean over features of the absolute difference of the minibatch means.

    # Differs from the paper: the 2016 CIFAR-10 and SVHN code uses the absolute value, the paper the square.
    """
    return (features_real.mean(dim=0) - features_fake.mean(dim=0)).abs().mean()


def minimax_loss(realness_fake: Tensor) -> Tensor:
    """``log(1 - D(G(z)))``, which the generators of the 2016 minibatch-discrimination scripts minimize.

    # Differs from the paper, which does not say: this form saturates where D wins, and has weight 1 beside D's half.
    """
    return -F.softplus(realness_fake).mean()


def equilibrium_loss(realness_fake: Tensor, real_target: float) -> Tensor:
    """What the 2016 ImageNet generator minimizes: D's output should be ``real_target / 2``, its value in
    equilibrium.
    """
    return smoothed_binary_loss(realness_fake, real_target / 2)
