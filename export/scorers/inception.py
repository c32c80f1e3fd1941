"""The Inception network of 2015-12-05, with which the 2016 code and everyone after it scores generated images.

Module names are those of torchvision, pytorch-fid and torch-fidelity, so that their state dict fits. Where TensorFlow's
network is not torchvision's, a comment says so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from igan_zoo.export.scorers.convolutions import Convolution

CLASSES = 1008
SIZE = 299
FEATURES = 2048


class Inception(nn.Module):
    """Images float32 ``[N, 3, 299, 299]`` in [-1, 1) to features ``[N, 2048]`` (``pool_3``) and logits ``[N, 1008]``.

    The logits have no bias, as in the 2016 code: it multiplies ``pool_3`` by the weights alone. With the bias the score
    of CIFAR-10's test images is 11.23 and not 10.95. ``divisor`` makes every layer that much narrower, for tests.
    """

    def __init__(self, *, divisor: int = 1) -> None:
        super().__init__()

        def wide(channels: int) -> int:
            return channels // divisor

        self.Conv2d_1a_3x3 = _convolution(3, wide(32), kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = _convolution(wide(32), wide(32), kernel_size=3)
        self.Conv2d_2b_3x3 = _convolution(wide(32), wide(64), kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = _convolution(wide(64), wide(80), kernel_size=1)
        self.Conv2d_4a_3x3 = _convolution(wide(80), wide(192), kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = BlockA(wide(192), wide(32), divisor)
        self.Mixed_5c = BlockA(wide(256), wide(64), divisor)
        self.Mixed_5d = BlockA(wide(288), wide(64), divisor)
        self.Mixed_6a = BlockB(wide(288), divisor)
        self.Mixed_6b = BlockC(wide(768), wide(128), divisor)
        self.Mixed_6c = BlockC(wide(768), wide(160), divisor)
        self.Mixed_6d = BlockC(wide(768), wide(160), divisor)
        self.Mixed_6e = BlockC(wide(768), wide(192), divisor)
        self.Mixed_7a = BlockD(wide(768), divisor)
        # TensorFlow's last block has a max pool where all others have an average pool.
        self.Mixed_7b = BlockE(wide(1280), _average_pool(), divisor)
        self.Mixed_7c = BlockE(wide(2048), nn.MaxPool2d(3, stride=1, padding=1), divisor)
        self.fc = nn.Linear(wide(FEATURES), CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """Returns the mean over all places of the last block's output, ``[N, 2048]``."""
        # The children stand in the order in which they act; the last is the matrix of the logits.
        for layer in list(self.children())[:-1]:
            x = layer(x)
        return x.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.features(x)
        return features, linear(features, self.fc.weight)


class BlockA(nn.Module):
    """35x35: 1x1, 5x5, two 3x3, and a pool."""

    def __init__(self, inputs: int, pool_outputs: int, divisor: int) -> None:
        super().__init__()
        n64, n48, n96 = (channels // divisor for channels in (64, 48, 96))
        self.branch1x1 = _convolution(inputs, n64, kernel_size=1)
        self.branch5x5_1 = _convolution(inputs, n48, kernel_size=1)
        self.branch5x5_2 = _convolution(n48, n64, kernel_size=5, padding=2)
        self.branch3x3dbl_1 = _convolution(inputs, n64, kernel_size=1)
        self.branch3x3dbl_2 = _convolution(n64, n96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = _convolution(n96, n96, kernel_size=3, padding=1)
        self.pool = _average_pool()
        self.branch_pool = _convolution(inputs, pool_outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, dim=1)


class BlockB(nn.Module):
    """From 35x35 to 17x17."""

    def __init__(self, inputs: int, divisor: int) -> None:
        super().__init__()
        n64, n96, n384 = (channels // divisor for channels in (64, 96, 384))
        self.branch3x3 = _convolution(inputs, n384, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = _convolution(inputs, n64, kernel_size=1)
        self.branch3x3dbl_2 = _convolution(n64, n96, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = _convolution(n96, n96, kernel_size=3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, self.pool(x)], dim=1)


class BlockC(nn.Module):
    """17x17: 1x1, 7x7 as 1x7 and 7x1, the same twice, and a pool."""

    def __init__(self, inputs: int, inner: int, divisor: int) -> None:
        super().__init__()
        n192 = 192 // divisor
        row: dict[str, Any] = {"kernel_size": (1, 7), "padding": (0, 3)}
        column: dict[str, Any] = {"kernel_size": (7, 1), "padding": (3, 0)}
        self.branch1x1 = _convolution(inputs, n192, kernel_size=1)
        self.branch7x7_1 = _convolution(inputs, inner, kernel_size=1)
        self.branch7x7_2 = _convolution(inner, inner, **row)
        self.branch7x7_3 = _convolution(inner, n192, **column)
        self.branch7x7dbl_1 = _convolution(inputs, inner, kernel_size=1)
        self.branch7x7dbl_2 = _convolution(inner, inner, **column)
        self.branch7x7dbl_3 = _convolution(inner, inner, **row)
        self.branch7x7dbl_4 = _convolution(inner, inner, **column)
        self.branch7x7dbl_5 = _convolution(inner, n192, **row)
        self.pool = _average_pool()
        self.branch_pool = _convolution(inputs, n192, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branches = [
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, dim=1)


class BlockD(nn.Module):
    """From 17x17 to 8x8."""

    def __init__(self, inputs: int, divisor: int) -> None:
        super().__init__()
        n192, n320 = (channels // divisor for channels in (192, 320))
        self.branch3x3_1 = _convolution(inputs, n192, kernel_size=1)
        self.branch3x3_2 = _convolution(n192, n320, kernel_size=3, stride=2)
        self.branch7x7x3_1 = _convolution(inputs, n192, kernel_size=1)
        self.branch7x7x3_2 = _convolution(n192, n192, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _convolution(n192, n192, kernel_size=(7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _convolution(n192, n192, kernel_size=3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), self.branch7x7x3_4(seven), self.pool(x)], dim=1)


class BlockE(nn.Module):
    """8x8: 1x1, 3x3 split into 1x3 beside 3x1, the same after another 3x3, and ``pool``."""

    def __init__(self, inputs: int, pool: nn.Module, divisor: int) -> None:
        super().__init__()
        n192, n320, n384, n448 = (channels // divisor for channels in (192, 320, 384, 448))
        row: dict[str, Any] = {"kernel_size": (1, 3), "padding": (0, 1)}
        column: dict[str, Any] = {"kernel_size": (3, 1), "padding": (1, 0)}
        self.branch1x1 = _convolution(inputs, n320, kernel_size=1)
        self.branch3x3_1 = _convolution(inputs, n384, kernel_size=1)
        self.branch3x3_2a = _convolution(n384, n384, **row)
        self.branch3x3_2b = _convolution(n384, n384, **column)
        self.branch3x3dbl_1 = _convolution(inputs, n448, kernel_size=1)
        self.branch3x3dbl_2 = _convolution(n448, n384, kernel_size=3, padding=1)
        self.branch3x3dbl_3a = _convolution(n384, n384, **row)
        self.branch3x3dbl_3b = _convolution(n384, n384, **column)
        self.pool = pool
        self.branch_pool = _convolution(inputs, n192, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(single),
            self.branch3x3_2b(single),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, dim=1)


def _convolution(inputs: int, outputs: int, **how: Any) -> Convolution:
    return Convolution(inputs, outputs, nn.ReLU(), **how)


def _average_pool() -> nn.Module:
    # TensorFlow averages over the pixels there are; torchvision counts the padding's zeros too.
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
