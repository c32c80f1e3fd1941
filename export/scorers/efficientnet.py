"""EfficientNet-Lite0, an ImageNet classifier whose weights a small package brings: a scorer to try things with.

Source: Tan and Le, "EfficientNet", 2019, without squeeze and excitation and with ReLU6 ("lite"); the layers and the
preprocessing are those of TensorFlow's ``efficientnet-lite0`` checkpoint, from which the package's weights come. Its
scores are not Inception scores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.functional import pad

from igan_zoo.export.scorers.convolutions import Convolution

SIZE = 224
FEATURES = 1280

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

# Names in the package's state dict, and here.
RENAMED = (
    (r"^_blocks\.(\d+)\._(expand|depthwise|project)_conv\.", r"blocks.\1.\2.conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.bn."),
    (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.bn."),
    (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.bn."),
    (r"^_conv_(stem|head)\.", r"\1.conv."),
    (r"^_bn0\.", "stem.bn."),
    (r"^_bn1\.", "head.bn."),
    (r"^_fc\.", "fc."),
)


class EfficientNetLite0(nn.Module):
    """Images float32 ``[N, 3, 224, 224]`` in [-1, 1] to pooled features ``[N, 1280]`` and logits ``[N, 1000]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConvolution(3, 32, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        inputs = 32
        for kernel, stride, expansion, outputs, repeats in STAGES:
            for index in range(repeats):
                blocks.append(Block(inputs, outputs, kernel, stride if index == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConvolution(inputs, FEATURES, kernel=1)
        self.fc = nn.Linear(FEATURES, 1000)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.head(self.blocks(self.stem(x))).mean(dim=(2, 3))
        return features, self.fc(features)


class Block(nn.Module):
    """An inverted residual: 1x1 to more channels, a depthwise convolution, 1x1 to ``outputs``, and the shortcut."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = SameConvolution(inputs, inner, kernel=1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConvolution(inner, inner, kernel, stride, groups=inner)
        self.project = Convolution(inner, outputs, nn.Identity(), kernel_size=1)
        self.shortcut = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class SameConvolution(Convolution):
    """A convolution of square images with TensorFlow's SAME padding, whose odd row and column come at the end."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, nn.ReLU6(), kernel_size=kernel, stride=stride, groups=groups)
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[3]
        outputs = -(-size // self.stride)
        total = max((outputs - 1) * self.stride + self.kernel - size, 0)
        before, after = total // 2, total - total // 2
        return super().forward(pad(x, (before, after, before, after)))


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the package's state dict with the names of this network; unknown names stay as they are."""
    result = {}
    for name, tensor in weights.items():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        result[name] = tensor
    return result
