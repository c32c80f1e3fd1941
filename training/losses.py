"""The losses of the paper, as functions of logits or features. All are means over the minibatch.

``logits`` are the K class logits ``l``; ``Z(x) = Σ_k exp l_k`` and ``D(x) = Z / (Z + 1)`` (paper, section 5).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's usual name


def labelled_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the K real classes: ``L_supervised`` of section 5."""
    return F.cross_entropy(logits, labels)


def unlabelled_loss(logits_real: Tensor, logits_fake: Tensor) -> Tensor:
    """Half the sum of ``-log D(x)`` over real and ``-log(1 - D(G(z)))`` over generated images.

    # Differs from the paper: the factor one half is the 2016 code's ("half of our data is real and half generated").
    """
    log_z_real = torch.logsumexp(logits_real, dim=1)
    log_z_fake = torch.logsumexp(logits_fake, dim=1)
    # -log D = softplus(-log Z) and -log(1 - D) = softplus(log Z).
    return 0.5 * (F.softplus(-log_z_real).mean() + F.softplus(log_z_fake).mean())


def feature_matching_loss(features_real: Tensor, features_fake: Tensor) -> Tensor:
    """Mean over features of the squared difference of the minibatch means (section 3.1).

    # Differs from the paper: the 2016 MNIST code averages over the features where the paper sums.
    """
    return (features_real.mean(dim=0) - features_fake.mean(dim=0)).square().mean()
