"""What both published networks are made of, as ONNX nodes: TensorFlow 1's resize, convolutions with folded norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.serving.scorers.weights import Weights

# TensorFlow's networks add it to a norm's variance.
EPSILON = 1e-3


def tf1_bilinear(graph: OnnxGraph, images: str, size: int) -> str:
    """Returns images uint8 ``[N, H, W, C]`` as float32 ``[N, C, size, size]``, gray levels 0 to 255.

    Output pixel i lies at i * H / size (``ResizeBilinear`` with ``align_corners=False``, before half-pixel centers
    came), also when shrinking: nothing is averaged. The operations and their order, all in float32, are those of
    TensorFlow and torch-fidelity, so that the result equals theirs bit by bit; ONNX's own Resize comes only near it.
    """

    def resized(graph: OnnxGraph, pixels: str) -> str:
        rows = _interpolated(graph, pixels, graph.node("Shape", images, start=2, end=3), size, axis=3)
        return _interpolated(graph, rows, graph.node("Shape", images, start=1, end=2), size, axis=2)

    return _unless_of_size(graph, images, graph.constant([size, size]), resized)


def _unless_of_size(graph: OnnxGraph, images: str, sizes: str, resized: Callable[[OnnxGraph, str], str]) -> str:
    """Returns images uint8 ``[N, H, W, C]`` as float32 ``[N, C, *sizes]``, by ``resized`` where they have other sizes.

    Both resizes leave images of that size as they are, to the bit, and take 5 % of Inception's time to do so.
    """
    pixels = graph.node("Cast", graph.node("Transpose", images, perm=[0, 3, 1, 2]), to=1)  # (N, C, H, W)
    missing = graph.node("Abs", graph.node("Sub", graph.node("Shape", images, start=1, end=3), sizes))
    same = graph.node("Equal", graph.node("ReduceSum", missing, keepdims=0), graph.constant(0))
    return graph.either(
        same,
        lambda branch: branch.node("Identity", pixels),
        lambda branch: resized(branch, pixels),
        ["N", "C", "rows", "columns"],
    )


def _interpolated(graph: OnnxGraph, pixels: str, extent: str, size: int, axis: int) -> str:
    """Resizes one axis, whose ``extent`` is int64 ``[1]``."""
    step = graph.node("Div", graph.node("Cast", extent, to=1), graph.constant(float(size)))
    position = graph.node("Mul", graph.constant(np.arange(size, dtype=np.float32)), step)
    low = graph.node("Cast", position, to=7)
    last = graph.node("Sub", extent, graph.constant(1))
    high = graph.node("Min", graph.node("Add", low, graph.constant(1)), last)
    fraction = graph.node("Sub", position, graph.node("Cast", low, to=1))
    if axis == 2:
        fraction = graph.node("Unsqueeze", fraction, graph.constant([1]))  # (size, 1)
    before = graph.node("Gather", pixels, low, axis=axis)
    after = graph.node("Gather", pixels, high, axis=axis)
    return graph.node("Add", before, graph.node("Mul", graph.node("Sub", after, before), fraction))


def pillow_resize(graph: OnnxGraph, images: str, sizes: str, *, cubic: bool, rounded: bool = True) -> str:
    """Returns images uint8 ``[N, H, W, C]`` as levels, float32 ``[N, C, *sizes]``; ``sizes`` is int64 ``[2]``.

    As Pillow and torchvision's transforms of its images do it: antialiased, columns first, each pass ``rounded`` to
    whole levels. Without, only the end is held to 0..255, as clean-fid does with Pillow's images of floats. ONNX's
    own ``Resize`` with ``antialias`` is off by up to 20 levels in onnxruntime 1.31.
    """

    def resized(graph: OnnxGraph, pixels: str) -> str:
        extents = graph.node("Shape", images)
        height, width = (graph.node("Gather", extents, graph.constant(axis), axis=0) for axis in (1, 2))
        rows, columns = (graph.node("Gather", sizes, graph.constant(axis), axis=0) for axis in (0, 1))
        across = graph.node("Transpose", _pillow_weights(graph, width, columns, cubic=cubic), perm=[1, 0])
        narrow = graph.node("MatMul", pixels, across)  # (N, C, H, columns)
        if rounded:
            narrow = _levels(graph, narrow, rounded=True)
        small = graph.node("MatMul", _pillow_weights(graph, height, rows, cubic=cubic), narrow)
        return _levels(graph, small, rounded=rounded)

    return _unless_of_size(graph, images, sizes, resized)


def _pillow_weights(graph: OnnxGraph, extent: str, size: str, *, cubic: bool) -> str:
    """Returns how much of each of ``extent`` pixels is in each of ``size``, ``[size, extent]``; both are scalars."""
    zero, one, half = graph.constant(0), graph.constant(1), graph.constant(0.5)
    scale = graph.node("Div", graph.node("Cast", extent, to=1), graph.node("Cast", size, to=1))

    def middles(count: str) -> str:
        return graph.node("Add", graph.node("Cast", graph.node("Range", zero, count, one), to=1), half)

    centers = graph.node("Unsqueeze", graph.node("Mul", middles(size), scale), graph.constant([1]))
    distances = graph.node("Abs", graph.node("Sub", middles(extent), centers))
    # When shrinking, the filter is as wide as the pixels that become one.
    x = graph.node("Div", distances, graph.node("Max", scale, graph.constant(1.0)))
    weights = _keys_cubic(graph, x) if cubic else _triangle(graph, x)
    return graph.node("Div", weights, graph.node("ReduceSum", weights, graph.constant([1]), keepdims=1))


def _triangle(graph: OnnxGraph, x: str) -> str:
    return graph.node("Relu", graph.node("Sub", graph.constant(1.0), x))


def _keys_cubic(graph: OnnxGraph, x: str) -> str:
    """Keys' cubic with a = -1/2: ``(1.5 x - 2.5) x² + 1`` below 1, ``((-0.5 x + 2.5) x - 4) x + 2`` below 2."""

    def polynomial(*coefficients: float) -> str:
        value = graph.constant(coefficients[0])
        for coefficient in coefficients[1:]:
            value = graph.node("Add", graph.node("Mul", value, x), graph.constant(coefficient))
        return value

    def where_below(limit: float, value: str, otherwise: str) -> str:
        return graph.node("Where", graph.node("Less", x, graph.constant(limit)), value, otherwise)

    outer = where_below(2.0, polynomial(-0.5, 2.5, -4.0, 2.0), graph.constant(0.0))
    return where_below(1.0, polynomial(1.5, -2.5, 0.0, 1.0), outer)


def _levels(graph: OnnxGraph, x: str, *, rounded: bool) -> str:
    if rounded:
        # Pillow rounds halves up.
        x = graph.node("Floor", graph.node("Add", x, graph.constant(0.5)))
    return graph.node("Clip", x, graph.constant(0.0), graph.constant(255.0))


def convolution(
    graph: OnnxGraph,
    weights: Weights,
    x: str,
    names: tuple[str, str],
    shape: tuple[int, int, int, int],
    *,
    strides: int = 1,
    pads: Sequence[int] = (0, 0, 0, 0),
    group: int = 1,
) -> str:
    """Adds a convolution without a bias and the batch norm behind it, as one convolution.

    ``names`` are the prefixes of its and of its norm's weights, ``shape`` is ``[outputs, inputs / group, height,
    width]``, ``pads`` top, left, bottom, right. Folded in float64 and rounded once.
    """
    weight = weights.take(f"{names[0]}.weight", *shape)
    scale, shift, mean, variance = (
        weights.take(f"{names[1]}.{part}", shape[0]) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale /= np.sqrt(variance + EPSILON)
    kernel = graph.constant(weight * scale[:, None, None, None])
    bias = graph.constant(shift - mean * scale)
    return graph.node(
        "Conv", x, kernel, bias, kernel_shape=shape[2:], strides=[strides, strides], pads=pads, group=group
    )


def means(graph: OnnxGraph, x: str) -> str:
    """Adds the means over all places of maps ``[N, C, H, W]``, ``[N, C]``."""
    return graph.node("ReduceMean", x, graph.constant([2, 3]), keepdims=0)
