"""Consistency on unlabeled images: a strongly augmented view should get the class that an averaged network gives a
weakly augmented one (FixMatch, Sohn et al. 2020; the averaged teacher of Tarvainen and Valpola, 2017), or that an
earlier model gives the image (self-training with noise, Xie et al. 2020).

# Differs from the paper and the 2016 code: neither has it; there, unlabeled images are only told from generated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's usual name

# The temperature for the average's own predictions: a network that learned from soft targets predicts too softly.
_SHARPENING = 0.6


@dataclass(frozen=True)
class PseudoLabels:
    """The student's targets: ``targets``, classes int64 ``[N]`` or probabilities ``[N, K]``, and the weight of each
    image, ``weights [N]``.
    """

    targets: Tensor
    weights: Tensor


def pseudo_labels(logits: Tensor, confidence: float) -> PseudoLabels:
    """Returns the most likely classes of the teacher's ``logits [N, K]``; only those above ``confidence`` count."""
    probability, classes = logits.softmax(dim=1).max(dim=1)
    return PseudoLabels(classes, (probability > confidence).float())


def taught_labels(teacher: Tensor, average: Tensor | None, *, temperature: float, sure: float) -> PseudoLabels:
    """Returns the probabilities of a teacher's logits ``[N, K]`` at ``temperature``; every image counts.

    If the teacher's most likely class is below ``sure``, half of the target comes from the ``average``, also logits
    ``[N, K]``, sharpened.
    """
    targets = (teacher / temperature).softmax(dim=1)
    if average is not None:
        mixed = (targets + (average / _SHARPENING).softmax(dim=1)) / 2
        unsure = teacher.softmax(dim=1).amax(dim=1, keepdim=True) < sure
        targets = torch.where(unsure, mixed, targets)
    return PseudoLabels(targets, torch.ones_like(targets[:, 0]))


def consistency_loss(logits: Tensor, labels: PseudoLabels) -> Tensor:
    """Cross-entropy of the student's ``logits [N, K]`` with pseudo-labels, averaged over all images, whether they count
    or not.
    """
    return (F.cross_entropy(logits, labels.targets, reduction="none") * labels.weights).mean()
