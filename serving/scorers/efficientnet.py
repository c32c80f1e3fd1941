"""EfficientNet-Lite0, an ImageNet classifier whose weights a small package brings: a scorer to try things with.

Source: Tan and Le, "EfficientNet", 2019, without squeeze and excitation and with ReLU6 ("lite"); the layers and the
preprocessing are those of TensorFlow's ``efficientnet-lite0`` checkpoint, from which the package's weights come. Its
scores are not Inception scores.
"""

from __future__ import annotations

from dataclasses import dataclass

from igan_zoo.serving.scorers.layers import convolution, means
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.serving.scorers.weights import Weights

SIZE = 224
FEATURES = 1280
CLASSES = 1000

# Kernel, stride, expansion, outputs, repeats.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def efficientnet_lite0(graph: OnnxGraph, weights: Weights, x: str) -> tuple[str, str]:
    """Adds the network: images float32 ``[N, 3, 224, 224]`` in [-1, 1] to features ``[N, 1280]`` and logits.

    The features are pooled, the logits ``[N, 1000]`` have their bias.

    Raises:
        WeightsError: a weight is missing, or not as the network has it.
    """
    network = _Network(graph, weights)
    x, size = network.layer(x, SIZE, ("_conv_stem", "_bn0"), (32, 3, 3, 3), stride=2)
    inputs, number = 32, 0
    for kernel, stride, expansion, outputs, repeats in STAGES:
        for index in range(repeats):
            step = stride if index == 0 else 1
            x, size = network.block(x, size, f"_blocks.{number}", inputs, outputs, kernel, step, expansion)
            inputs, number = outputs, number + 1
    x, _ = network.layer(x, size, ("_conv_head", "_bn1"), (FEATURES, inputs, 1, 1))
    features = means(graph, x)
    matrix = graph.constant(weights.take("_fc.weight", CLASSES, FEATURES))
    bias = graph.constant(weights.take("_fc.bias", CLASSES))
    return features, graph.node("Gemm", features, matrix, bias, transB=1)


@dataclass(frozen=True)
class _Network:
    """Adds layers to square maps and returns their output with its size."""

    graph: OnnxGraph
    weights: Weights

    def layer(
        self, x: str, size: int, names: tuple[str, str], shape: tuple[int, int, int, int], stride: int = 1
    ) -> tuple[str, int]:
        """A convolution with TensorFlow's SAME padding, whose odd row and column come at the end, and ReLU6."""
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + shape[2] - size, 0)
        before, after = total // 2, total - total // 2
        group = shape[0] if shape[1] == 1 else 1
        pads = (before, before, after, after)
        y = convolution(self.graph, self.weights, x, names, shape, strides=stride, pads=pads, group=group)
        return self.graph.node("Clip", y, self.graph.constant(0.0), self.graph.constant(6.0)), outputs

    def block(
        self, x: str, size: int, name: str, inputs: int, outputs: int, kernel: int, stride: int, expansion: int
    ) -> tuple[str, int]:
        """An inverted residual: 1x1 to more channels, a depthwise convolution, 1x1 to ``outputs``, the shortcut."""
        inner = inputs * expansion
        y, small = x, size
        if expansion > 1:
            y, _ = self.layer(y, size, (f"{name}._expand_conv", f"{name}._bn0"), (inner, inputs, 1, 1))
        y, small = self.layer(
            y, size, (f"{name}._depthwise_conv", f"{name}._bn1"), (inner, 1, kernel, kernel), stride=stride
        )
        names = f"{name}._project_conv", f"{name}._bn2"
        y = convolution(self.graph, self.weights, y, names, (outputs, inner, 1, 1))
        return (self.graph.node("Add", x, y) if inputs == outputs and stride == 1 else y), small
