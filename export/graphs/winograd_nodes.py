"""Winograd's form of a transposed convolution as ONNX nodes, equal to the numpy reference.

Maps come in and go out as ``[N, C, H, W]``. In between, places go first and channels last, ``[places, N, C]``: then the
products are matrix products with a constant on the right, which onnxruntime packs once, and moving a place is a copy of
consecutive numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import NodeProto, TensorProto, helper, numpy_helper

from igan_zoo.export.graphs import winograd
from igan_zoo.export.graphs.phases import Array, Axis

# Up to this many places one matrix transforms a whole map; of larger maps, the tiles are gathered first.
_WHOLE_MAP = 64


@dataclass(frozen=True)
class Layer:
    """A transposed convolution of a graph: its tensors by name (``bias`` is empty where there is none), and sizes."""

    x: str
    weight: str
    bias: str
    rows: Axis
    columns: Axis
    inputs: int
    outputs: int

    @property
    def phases(self) -> list[tuple[int, int]]:
        """The phases of the output, of rows and of columns."""
        return list(product(range(self.rows.stride), range(self.columns.stride)))

    @property
    def tiles(self) -> int:
        """Winograd's tiles of one image."""
        return winograd.tiles(self.rows) * winograd.tiles(self.columns)


@dataclass
class Nodes:
    """Nodes and constants of a graph under construction; every name begins with ``prefix``."""

    prefix: str
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, value: ArrayLike) -> str:
        """Adds a constant, float32 or int64, and returns its name."""
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = f"{self.prefix}constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def several(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Adds a node and returns the names of its outputs."""
        names = [f"{self.prefix}{operator}{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def one(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output and returns its name."""
        return self.several(operator, *inputs, outputs=1, **attributes)[0]

    def reshaped(self, name: str, *shape: int) -> str:
        """Adds a reshape; 0 keeps a size and -1 is what is left."""
        return self.one("Reshape", name, self.constant(shape))


def winograd_weights(nodes: Nodes, layer: Layer) -> list[str]:
    """Adds what transforms the weight: one matrix ``[I, O]`` a product, in the order of :func:`_products`."""
    transform = np.concatenate([_weight_rows(layer, *phase) for phase in layer.phases])  # (products, taps)
    flat = nodes.reshaped(layer.weight, layer.inputs * layer.outputs, -1)
    by_tap = nodes.one("Transpose", flat, perm=[1, 0])  # (taps, I * O)
    transformed = nodes.one("MatMul", nodes.constant(transform), by_tap)  # (products, I * O)
    stacked = nodes.reshaped(transformed, -1, layer.outputs)  # (products * I, O)
    return nodes.several("Split", stacked, axis=0, num_outputs=len(transform), outputs=len(transform))


def winograd_nodes(nodes: Nodes, layer: Layer, x: str, weights: Sequence[str]) -> str:
    """Adds ``transposed_convolution_by_winograd`` of the map ``x`` with what :func:`winograd_weights` returned."""
    seen = _transformed_input(nodes, layer, x)
    left = iter(weights)
    phases = []
    for r, c in layer.phases:
        points = _products(layer, r, c)
        products = [nodes.one("MatMul", seen[point], next(left)) for point in points]  # (tiles, N, O)
        if layer.bias:
            one = points.index(winograd.ONE * winograd.POINTS + winograd.ONE)
            products[one] = nodes.one("Add", products[one], layer.bias)
        together = nodes.reshaped(nodes.one("Concat", *products, axis=1), layer.tiles, len(points), -1)
        output = np.kron(winograd.OUTPUT, winograd.OUTPUT)[:, points]  # (16, points)
        phases.append(nodes.one("MatMul", nodes.constant(output), together))  # (tiles, 16, N * O)
    return _in_order(nodes, layer, nodes.one("Concat", *phases, axis=1))


def _products(layer: Layer, row_phase: int, column_phase: int) -> list[int]:
    """Returns the pairs of points, of 36, whose product a phase needs."""
    rows = winograd.weight_matrix(layer.rows, row_phase).any(axis=1)
    columns = winograd.weight_matrix(layer.columns, column_phase).any(axis=1)
    return [int(pair) for pair in np.flatnonzero(np.outer(rows, columns))]


def _weight_rows(layer: Layer, row_phase: int, column_phase: int) -> Array:
    """Returns the transform of the weight for one phase, ``[products, taps]``."""
    rows = winograd.weight_matrix(layer.rows, row_phase)
    columns = winograd.weight_matrix(layer.columns, column_phase)
    both = np.asarray(np.kron(rows, columns), np.float64)
    return both[_products(layer, row_phase, column_phase)]


def _transformed_input(nodes: Nodes, layer: Layer, x: str) -> list[str]:
    """Returns 36 tensors ``[tiles, N, I]``, one for each pair of points."""
    height, width, pairs = layer.rows.size, layer.columns.size, winograd.POINTS**2
    places = nodes.one("Transpose", nodes.reshaped(x, 0, 0, -1), perm=[2, 0, 1])  # (H * W, N, I)
    if height * width <= _WHOLE_MAP:
        rows, columns = winograd.input_matrix(layer.rows), winograd.input_matrix(layer.columns)
        whole = np.einsum("tpy,uqx->tupqyx", rows, columns).reshape(layer.tiles * pairs, height * width)
        seen = nodes.one("MatMul", nodes.constant(whole), nodes.reshaped(places, height * width, -1))
    else:
        tiles = _gathered_tiles(nodes, layer, nodes.reshaped(places, height, width, -1))
        seen = nodes.one("MatMul", nodes.constant(np.kron(winograd.INPUT, winograd.INPUT)), tiles)
    seen = nodes.reshaped(seen, layer.tiles, -1, layer.inputs)  # (tiles, 36 * N, I)
    return nodes.several("Split", seen, axis=1, num_outputs=pairs, outputs=pairs)


def _gathered_tiles(nodes: Nodes, layer: Layer, places: str) -> str:
    """Returns the inputs of every tile, ``[tiles, 36, N * I]``, of ``[H, W, N * I]``."""
    rows, columns = winograd.tile_inputs(layer.rows), winograd.tile_inputs(layer.columns)
    top, left = max(0, -int(rows.min())), max(0, -int(columns.min()))
    bottom = max(0, int(rows.max()) - layer.rows.size + 1)
    right = max(0, int(columns.max()) - layer.columns.size + 1)
    padded = nodes.one("Pad", places, nodes.constant([top, left, 0, bottom, right, 0]))
    width = left + layer.columns.size + right
    indices = (rows + top)[:, None, :, None] * width + (columns + left)[None, :, None, :]  # (tiles, tiles, 6, 6)
    flat = nodes.reshaped(padded, (top + layer.rows.size + bottom) * width, -1)
    return nodes.one("Gather", flat, nodes.constant(indices.reshape(layer.tiles, -1)), axis=0)


def _in_order(nodes: Nodes, layer: Layer, phases: str) -> str:
    """Returns the map ``[N, O, H', W']`` of ``[tiles, phases * 16, N * O]``."""
    rows, columns = winograd.tiles(layer.rows), winograd.tiles(layer.columns)
    stride, four = layer.rows.stride, winograd.OUTPUTS
    apart = nodes.reshaped(phases, rows, columns, stride, stride, four, four, -1)
    ordered = nodes.one("Transpose", apart, perm=[0, 4, 2, 1, 5, 3, 6])
    steps = (four * rows, four * columns)
    ordered = nodes.reshaped(ordered, steps[0] * stride, steps[1] * stride, -1)
    places = _cropped(nodes, layer, ordered, steps)
    height, width = layer.rows.output, layer.columns.output
    apart = nodes.reshaped(places, height * width, -1, layer.outputs)
    return nodes.reshaped(nodes.one("Transpose", apart, perm=[1, 2, 0]), 0, 0, height, width)


def _cropped(nodes: Nodes, layer: Layer, x: str, steps: tuple[int, int]) -> str:
    """Returns ``[H', W', N * O]`` of all phases of all ``steps``, some of which may not be in the output."""
    axes = (layer.rows, layer.columns)
    begin = [axis.skipped for axis in axes]
    end = [axis.skipped + axis.output for axis in axes]
    if begin == [0, 0] and end == [axis.stride * count for axis, count in zip(axes, steps, strict=True)]:
        return x
    return nodes.one("Slice", x, nodes.constant(begin), nodes.constant(end), nodes.constant([0, 1]))
