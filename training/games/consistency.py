"""Consistency on unlabeled images: a strongly changed view is to get the class that an averaged network gives a weakly
changed one (FixMatch, Sohn et al. 2020; the averaged teacher of Tarvainen and Valpola, 2017), or that an earlier model
gives the image (self-training with noise, Xie et al. 2020).

# Differs from the paper and the 2016 code: neither has it; there, unlabeled images are only told from generated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's usual name

# The temperature of the average's own answers: those of a network that learned from soft ones are too soft.
_SHARPENING = 0.6


@dataclass(frozen=True)
class PseudoLabels:
    """What the student is to answer: ``targets``, classes int64 ``[N]`` or probabilities ``[N, K]``, and how much each
    image counts, ``weights [N]``.
    """

    targets: Tensor
    weights: Tensor


def pseudo_labels(logits: Tensor, confidence: float) -> PseudoLabels:
    """Returns the likeliest classes of the teacher's ``logits [N, K]``; only those above ``confidence`` count."""
    probability, classes = logits.softmax(dim=1).max(dim=1)
    return PseudoLabels(classes, (probability > confidence).float())


def taught_labels(teacher: Tensor, average: Tensor | None, *, temperature: float, sure: float) -> PseudoLabels:
    """Returns probabilities that a teacher's logits ``[N, K]`` give at ``temperature``; every image counts.

    Where the teacher's likeliest class is below ``sure``, half of the answer is that of the ``average``, logits
    ``[N, K]`` as well, sharpened.
    """
    targets = (teacher / temperature).softmax(dim=1)
    if average is not None:
        mixed = (targets + (average / _SHARPENING).softmax(dim=1)) / 2
        unsure = teacher.softmax(dim=1).amax(dim=1, keepdim=True) < sure
        targets = torch.where(unsure, mixed, targets)
    return PseudoLabels(targets, torch.ones_like(targets[:, 0]))


def consistency_loss(logits: Tensor, labels: PseudoLabels) -> Tensor:
    """Cross-entropy of the student's ``logits [N, K]`` with pseudo-labels, a mean over all images, counted or not."""
    return (F.cross_entropy(logits, labels.targets, reduction="none") * labels.weights).mean()
