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
# The inner layers that the features of photos have: blocks, numbered from 0, and cells a side.
_CELLS_OF, _WIDE_OF, _CELLS = 10, 13, 4


def inner_features(size: int) -> int:
    """Returns how many features there are with ``inner``, of images of ``size`` pixels per side."""
    return FEATURES + 112 * min(_CELLS, size // 16) ** 2 + 1152


def efficientnet_lite0(
    graph: OnnxGraph, weights: Weights, x: str, size: int = SIZE, *, inner: bool = False
) -> tuple[str, str]:
    """Adds the network: images float32 ``[N, 3, size, size]`` in [-1, 1] to features ``[N, 1280]`` and logits.

    The features are pooled, the logits ``[N, 1000]`` have their bias. With ``inner`` two inner layers are appended to
    the features, ``[N, 4224]`` from 64 pixels on: what the network knew before it had ImageNet's classes in mind. One
    is pooled in 4 x 4 cells, and says where things are; the other is as wide as it gets.

    Raises:
        WeightsError: a weight is missing, or not as the network has it.
    """
    network, found = _Network(graph, weights), []
    x, size = network.layer(x, size, ("_conv_stem", "_bn0"), (32, 3, 3, 3), stride=2)
    inputs, number = 32, 0
    for kernel, stride, expansion, outputs, repeats in STAGES:
        for index in range(repeats):
            step = stride if index == 0 else 1
            x, size, wide = network.block(x, size, f"_blocks.{number}", inputs, outputs, kernel, step, expansion)
            if inner and number == _CELLS_OF:
                found.append(_cells(graph, x, size))
            if inner and number == _WIDE_OF:
                found.append(means(graph, wide))
            inputs, number = outputs, number + 1
    x, _ = network.layer(x, size, ("_conv_head", "_bn1"), (FEATURES, inputs, 1, 1))
    pooled = means(graph, x)
    features = graph.node("Concat", pooled, *found, axis=1) if found else pooled
    matrix = graph.constant(weights.take("_fc.weight", CLASSES, FEATURES))
    bias = graph.constant(weights.take("_fc.bias", CLASSES))
    return features, graph.node("Gemm", pooled, matrix, bias, transB=1)


def _cells(graph: OnnxGraph, x: str, size: int) -> str:
    """Adds the means of maps ``[N, C, size, size]`` over up to 4 x 4 cells, ``[N, C * cells * cells]``."""
    cells = min(_CELLS, size)
    stride = size // cells
    kernel = size - (cells - 1) * stride
    return graph.node(
        "Flatten", graph.node("AveragePool", x, kernel_shape=[kernel, kernel], strides=[stride, stride]), axis=1
    )


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
    ) -> tuple[str, int, str]:
        """An inverted residual: 1x1 to more channels, a depthwise convolution, 1x1 to ``outputs``, the shortcut.

        The last string is the depthwise layer.
        """
        inner = inputs * expansion
        y = x
        if expansion > 1:
            y, _ = self.layer(y, size, (f"{name}._expand_conv", f"{name}._bn0"), (inner, inputs, 1, 1))
        wide, small = self.layer(
            y, size, (f"{name}._depthwise_conv", f"{name}._bn1"), (inner, 1, kernel, kernel), stride=stride
        )
        names = f"{name}._project_conv", f"{name}._bn2"
        y = convolution(self.graph, self.weights, wide, names, (outputs, inner, 1, 1))
        return (self.graph.node("Add", x, y) if inputs == outputs and stride == 1 else y), small, wide
