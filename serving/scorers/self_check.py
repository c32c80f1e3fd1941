"""Known images through a known network to known scores: whether this installation computes them as ours did.

The images are PNG files, the network a small one with Inception's resize and a convolution, so that decoding, the
engine, sums and every metric take part. The weights of Inception do not: what is checked is what runs them.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from igan_zoo.images.pixels import write_image
from igan_zoo.images.sources import open_source
from igan_zoo.models.interface import RESIZE_KEY, SCORER_KEY
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.scorers.layers import means, tf1_bilinear
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.serving.scoring.gathering import Manner, gather_statistics
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.numbers import METRICS, Reference
from igan_zoo.serving.scoring.plan import Plan, results

_IMAGES = 60
# How dark the two sets may be.
_SIDES = {"a": 0, "b": 8}
_FEATURES, _CLASSES, _SIZE = 12, 8, 16
# Of numbers of neighbors: one image more or less where float32 rounds a boundary the other way.
_ONE_IMAGE = 1.5 / _IMAGES
_NEAREST = frozenset({"precision", "recall", "density", "coverage"})

# Measured once, with numpy 2.4, onnxruntime 1.31 and Pillow 13 on x86-64; a test holds the metrics to their references.
EXPECTED = {
    "is60 split mean": 1.41052011,
    "is60 unsplit": 1.57489276,
    "is60 unsplit, corrected": 1.58817936,
    "fd60 distance": 0.230656102,
    "kd60 distance": 0.144234148,
    "pr60 precision": 0.433333333,
    "pr60 recall": 0.666666667,
    "dc60 density": 0.266666667,
    "dc60 coverage": 0.483333333,
    "is-inf60 extrapolated": 1.59395529,
    "fd-inf60 extrapolated": -0.0369996908,
    "kd-rbf60 distance": 0.00141917525,
    "vendi60 score": 1.84737595,
}


@dataclass(frozen=True)
class Figure:
    """A score of the known images: what it is here, and what it should be within ``tolerance``."""

    name: str
    here: float
    expected: float
    tolerance: float

    @property
    def right(self) -> bool:
        """Whether it is what it should be."""
        return abs(self.here - self.expected) <= self.tolerance


def self_check() -> list[Figure]:
    """Scores the known images by every metric.

    Raises:
        OutputError: there is no room for temporary files.
        MissingExtraError: onnxruntime is not installed.
    """
    network = _network()
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(METRICS, cached=False)
        sides = [open_source(str(_write_images(Path(folder) / name, darkest))) for name, darkest in _SIDES.items()]
        facts = plan.facts(sides[0], network), plan.reference_facts(sides[1], network)
        statistics = [
            gather_statistics(side, network, known, manner=Manner(shown=False))
            for side, known in zip(sides, facts, strict=True)
        ]
        records = results(METRICS, statistics[0], Reference("b", statistics=statistics[1]), subset_size=20)
    figures = []
    for record in records:
        name = f"{record.protocol.removesuffix(f'-{network.name}')} {record.quantity}"
        expected = EXPECTED[name]
        tolerance = _ONE_IMAGE if record.quantity in _NEAREST else 1e-4 * max(abs(expected), 1e-2)
        figures.append(Figure(name, record.value, expected, tolerance))
    return figures


def _write_images(folder: Path, darkest: int) -> Path:
    """Writes images of 20 x 24 pixels, no darker than ``darkest``, each brighter in one channel."""
    folder.mkdir()
    random = np.random.RandomState(darkest)
    for index in range(_IMAGES):
        pixels = random.randint(darkest, 200, (20, 24, 3))
        pixels[..., index % 3] += 55
        write_image(folder / f"{index:02}.png", pixels.astype(np.uint8))
    return folder


def _network() -> Network:
    random = np.random.RandomState(0)
    graph = OnnxGraph()
    levels = tf1_bilinear(graph, graph.input("images", np.uint8, ["N", "H", "W", 3]), _SIZE)
    x = graph.node("Div", graph.node("Sub", levels, graph.constant(128.0)), graph.constant(128.0))
    kernel = graph.constant(random.standard_normal((_FEATURES, 3, 3, 3)).astype(np.float32))
    features = means(graph, graph.node("Relu", graph.node("Conv", x, kernel, kernel_shape=[3, 3])))
    matrix = graph.constant(random.standard_normal((_FEATURES, _CLASSES)).astype(np.float32) * 4)
    graph.output("features", features, ["N", _FEATURES])
    graph.output("logits", graph.node("MatMul", features, matrix), ["N", _CLASSES])
    content = graph.to_bytes({SCORER_KEY: "self-check", RESIZE_KEY: f"tf1-bilinear-{_SIZE}"})
    return Network("self-check", "0" * 64, Engine({"scorer": content}), shape=None)
