"""TensorFlow 1's bilinear resize, which the 2016 scores went through, of operators that any image size runs through."""

from __future__ import annotations

import torch
from torch import Tensor


def tf1_bilinear(images: Tensor, size: int) -> Tensor:
    """Returns images uint8 ``[N, H, W, C]`` as float32 ``[N, C, size, size]``, grey levels 0 to 255.

    Output pixel i lies at i * H / size (``ResizeBilinear`` with ``align_corners=False``, before half-pixel centres
    came), also when shrinking: nothing is averaged. The operations and their order, all in float32, are those of
    TensorFlow and torch-fidelity, so that the result equals theirs bit by bit; ONNX's own Resize comes only near it.
    """
    _, height, width, _ = images.shape
    pixels = images.permute(0, 3, 1, 2).to(torch.float32)  # (N, C, H, W)
    low, high, fraction = _neighbours(width, size)
    left, right = pixels.index_select(3, low), pixels.index_select(3, high)
    rows = left + (right - left) * fraction  # (N, C, H, size)
    low, high, fraction = _neighbours(height, size)
    top, bottom = rows.index_select(2, low), rows.index_select(2, high)
    return top + (bottom - top) * fraction[:, None]  # (N, C, size, size)


def _neighbours(extent: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the two source indices of every output index, and how far between them it lies, each ``[size]``."""
    # A tensor, not a number: in an exported graph the extent is known only when it runs.
    step = torch.scalar_tensor(extent, dtype=torch.float32) / size
    position = torch.arange(size, dtype=torch.float32) * step
    low = position.to(torch.int64)
    return low, (low + 1).clamp(max=extent - 1), position - low.to(torch.float32)
