"""The Inception network of 2015-12-05, with which the 2016 code and everyone after it scores generated images.

Names are those of torchvision, pytorch-fid and torch-fidelity. Where TensorFlow's network is not torchvision's, a
comment says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from igan_zoo.serving.scorers.layers import convolution, means
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.serving.scorers.weights import Weights

CLASSES = 1008
SIZE = 299
FEATURES = 2048
SPATIAL_MAPS = 7
SPATIAL_FEATURES = SPATIAL_MAPS * 17 * 17
BIAS = "fc.bias"


@dataclass(frozen=True)
class Layer:
    """A convolution, its norm and rectifier. Without ``pad`` the map shrinks by what the kernel covers."""

    name: str
    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    pad: bool = True


# A branch's layers in their order; a tuple of two takes the same input, and both outputs are the branch's.
Branch = tuple[Layer | tuple[Layer, Layer], ...]
MAX, AVERAGE = "MaxPool", "AveragePool"

STEM: tuple[Layer | str, ...] = (
    Layer("Conv2d_1a_3x3", 32, (3, 3), stride=2, pad=False),
    Layer("Conv2d_2a_3x3", 32, (3, 3), pad=False),
    Layer("Conv2d_2b_3x3", 64, (3, 3)),
    MAX,
    Layer("Conv2d_3b_1x1", 80),
    Layer("Conv2d_4a_3x3", 192, (3, 3), pad=False),
    MAX,
)


@dataclass(frozen=True)
class Block:
    """Branches side by side, and a pool behind which ``pool_outputs`` channels remain, or all (0) of half the size."""

    name: str
    branches: tuple[Branch, ...]
    pool: str
    pool_outputs: int


def block_a(name: str, pool_outputs: int) -> Block:
    """35x35: 1x1, 5x5, two 3x3, and a pool."""
    branches: tuple[Branch, ...] = (
        (Layer("branch1x1", 64),),
        (Layer("branch5x5_1", 48), Layer("branch5x5_2", 64, (5, 5))),
        (Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, (3, 3)), Layer("branch3x3dbl_3", 96, (3, 3))),
    )
    return Block(name, branches, AVERAGE, pool_outputs)


def block_b(name: str) -> Block:
    """From 35x35 to 17x17."""
    double = Layer("branch3x3dbl_1", 64), Layer("branch3x3dbl_2", 96, (3, 3)), halving("branch3x3dbl_3", 96)
    return Block(name, ((halving("branch3x3", 384),), double), MAX, 0)


def block_c(name: str, inner: int) -> Block:
    """17x17: 1x1, 7x7 as 1x7 and 7x1, the same twice, and a pool."""
    row, column = (1, 7), (7, 1)
    branches: tuple[Branch, ...] = (
        (Layer("branch1x1", 192),),
        (Layer("branch7x7_1", inner), Layer("branch7x7_2", inner, row), Layer("branch7x7_3", 192, column)),
        (
            Layer("branch7x7dbl_1", inner),
            Layer("branch7x7dbl_2", inner, column),
            Layer("branch7x7dbl_3", inner, row),
            Layer("branch7x7dbl_4", inner, column),
            Layer("branch7x7dbl_5", 192, row),
        ),
    )
    return Block(name, branches, AVERAGE, 192)


def block_d(name: str) -> Block:
    """From 17x17 to 8x8."""
    seven = (
        Layer("branch7x7x3_1", 192),
        Layer("branch7x7x3_2", 192, (1, 7)),
        Layer("branch7x7x3_3", 192, (7, 1)),
        halving("branch7x7x3_4", 192),
    )
    return Block(name, ((Layer("branch3x3_1", 192), halving("branch3x3_2", 320)), seven), MAX, 0)


def block_e(name: str, pool: str) -> Block:
    """8x8: 1x1, 3x3 split into 1x3 next to 3x1, the same after another 3x3, and ``pool``."""
    row, column = (1, 3), (3, 1)
    branches: tuple[Branch, ...] = (
        (Layer("branch1x1", 320),),
        (Layer("branch3x3_1", 384), (Layer("branch3x3_2a", 384, row), Layer("branch3x3_2b", 384, column))),
        (
            Layer("branch3x3dbl_1", 448),
            Layer("branch3x3dbl_2", 384, (3, 3)),
            (Layer("branch3x3dbl_3a", 384, row), Layer("branch3x3dbl_3b", 384, column)),
        ),
    )
    return Block(name, branches, pool, 192)


def halving(name: str, outputs: int) -> Layer:
    """A 3x3 convolution that halves the map."""
    return Layer(name, outputs, (3, 3), stride=2, pad=False)


BLOCKS = (
    block_a("Mixed_5b", 32),
    block_a("Mixed_5c", 64),
    block_a("Mixed_5d", 64),
    block_b("Mixed_6a"),
    block_c("Mixed_6b", 128),
    block_c("Mixed_6c", 160),
    block_c("Mixed_6d", 160),
    block_c("Mixed_6e", 192),
    block_d("Mixed_7a"),
    block_e("Mixed_7b", AVERAGE),
    # TensorFlow's last block has a max pool where all others have an average pool.
    block_e("Mixed_7c", MAX),
)


def inception(
    graph: OnnxGraph, weights: Weights, x: str, *, divisor: int = 1, spatial: bool = False
) -> tuple[str, str]:
    """Adds the network: images float32 ``[N, 3, 299, 299]`` in [-1, 1) to features ``[N, 2048]`` and logits.

    The features are ``pool_3``; the logits ``[N, 1008]`` have no bias, as in the 2016 code: it multiplies ``pool_3`` by
    the weights alone. With the bias the score of CIFAR-10's test images is 11.23 and not 10.95. ``divisor`` makes every
    layer that much narrower, for tests.

    With ``spatial`` the features are those of sFID (Nash et al., 2021), ``[N, 2023]``: the first seven maps of the
    17x17 layer that TensorFlow calls ``mixed_6/conv``.

    Raises:
        WeightsError: a weight is missing, or not as the network has it.
    """
    network = _Network(graph, weights, divisor)
    channels = 3
    for step in STEM:
        if isinstance(step, Layer):
            x, channels = network.layer(x, channels, step, step.name)
        else:
            x = network.halving_pool(x)
    for block in BLOCKS:
        x, channels = network.block(x, channels, block)
        if block.name == "Mixed_6d":
            middle = x
    features = means(graph, x)
    matrix = weights.take("fc.weight", CLASSES, channels)
    logits = graph.node("MatMul", features, graph.constant(matrix.T))
    if spatial:
        # That layer ends the first branch of its block.
        maps = graph.node("Slice", middle, *(graph.constant([value]) for value in (0, SPATIAL_MAPS, 1)))
        features = graph.node("Flatten", maps, axis=1)
    return features, logits


@dataclass(frozen=True)
class _Network:
    """Adds layers and returns their output with its channels."""

    graph: OnnxGraph
    weights: Weights
    divisor: int

    def layer(self, x: str, channels: int, layer: Layer, name: str) -> tuple[str, int]:
        outputs = layer.outputs // self.divisor
        pads = [(size - 1) // 2 if layer.pad else 0 for size in layer.kernel] * 2
        y = convolution(
            self.graph,
            self.weights,
            x,
            (f"{name}.conv", f"{name}.bn"),
            (outputs, channels, *layer.kernel),
            strides=layer.stride,
            pads=pads,
        )
        return self.graph.node("Relu", y), outputs

    def block(self, x: str, channels: int, block: Block) -> tuple[str, int]:
        ends = [end for branch in block.branches for end in self.branch(x, channels, branch, block.name)]
        if block.pool_outputs:
            last = Layer("branch_pool", block.pool_outputs)
            ends.append(self.layer(self.pool(x, block.pool), channels, last, f"{block.name}.branch_pool"))
        else:
            ends.append((self.halving_pool(x), channels))
        return self.graph.node("Concat", *(name for name, _ in ends), axis=1), sum(outputs for _, outputs in ends)

    def branch(self, x: str, channels: int, branch: Branch, block: str) -> Sequence[tuple[str, int]]:
        ends = [(x, channels)]
        for step in branch:
            layers = (step,) if isinstance(step, Layer) else step
            ends = [self.layer(*ends[0], layer, f"{block}.{layer.name}") for layer in layers]
        return ends

    def pool(self, x: str, operator: str) -> str:
        how: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}
        if operator == MAX:
            return self.graph.node(MAX, x, **how)
        # TensorFlow averages over the pixels there are; torchvision counts the padding's zeros too.
        return self.graph.node(AVERAGE, x, count_include_pad=0, **how)

    def halving_pool(self, x: str) -> str:
        return self.graph.node(MAX, x, kernel_shape=[3, 3], strides=[2, 2])
