"""The published classifiers as PyTorch runs them, nothing folded: what a converted scorer is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from igan_zoo.export.scorers import efficientnet, inception
from igan_zoo.export.scorers.resize import tf1_bilinear
from igan_zoo.serving.scorers.converting import ScorerKind
from igan_zoo.serving.scorers.weights import WeightsFile, read_weights

# Each network by its kind, and what turns the published names into its own.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]]] = {
    "inception": (inception.Inception, dict),
    "efficientnet-lite0": (efficientnet.EfficientNetLite0, efficientnet.renamed),
}


class TorchScorer(nn.Module):
    """Contract 2's scorer: ``images`` uint8 ``[N, H, W, 3]`` to ``features`` ``[N, F]`` and ``logits`` ``[N, K]``."""

    def __init__(self, network: nn.Module, size: int, offset: float) -> None:
        super().__init__()
        self.network = network
        self.size, self.offset = size, offset

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.network((tf1_bilinear(images, self.size) - self.offset) / 128)
        return features, logits


def torch_scorer(kind: ScorerKind, file: WeightsFile) -> TorchScorer:
    """Returns the network of a file of weights, in evaluation mode.

    Raises:
        WeightsError: the file is damaged.
        RuntimeError: the weights are another network's; ``convert`` refuses those with a sentence.
    """
    build, renamed = NETWORKS[kind.kind]
    weights = {name: torch.from_numpy(np.array(array)) for name, array in read_weights(file).items()}
    network = build().eval().requires_grad_(False)
    missing, unknown = network.load_state_dict(dict(renamed(weights)), strict=False)
    if unknown or any(not name.endswith(".num_batches_tracked") for name in missing):
        raise RuntimeError(f"{file.name} lacks {missing} and has {unknown}")
    return TorchScorer(network, kind.size, kind.offset)
