"""Consistency on unlabeled images: a strongly changed view is to get the class that an averaged network, the teacher,
gives a weakly changed one (FixMatch, Sohn et al. 2020; the averaged teacher of Tarvainen and Valpola, 2017).

# Differs from the paper and the 2016 code: neither has it; there, unlabeled images are only told from generated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's usual name


@dataclass(frozen=True)
class PseudoLabels:
    """What the student is to answer: ``classes`` int64 ``[N]``, and how much each image counts, ``weights [N]``."""

    classes: Tensor
    weights: Tensor


def pseudo_labels(logits: Tensor, confidence: float) -> PseudoLabels:
    """Returns the likeliest classes of the teacher's ``logits [N, K]``; only those above ``confidence`` count."""
    probability, classes = logits.softmax(dim=1).max(dim=1)
    return PseudoLabels(classes, (probability > confidence).float())


def consistency_loss(logits: Tensor, labels: PseudoLabels) -> Tensor:
    """Cross-entropy of the student's ``logits [N, K]`` with pseudo-labels, a mean over all images, counted or not."""
    return (F.cross_entropy(logits, labels.classes, reduction="none") * labels.weights).mean()
