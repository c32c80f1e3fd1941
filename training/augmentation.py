"""Random changes of real images that leave their class as it is. The 2016 code has none."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(pixels: Tensor) -> Tensor:
    """Returns ``pixels`` ``[N, H, W, C]`` with every second image at random mirrored left to right."""
    chosen = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.5
    return torch.where(chosen, pixels.flip(2), pixels)


def shifted(pixels: Tensor, most: int) -> Tensor:
    """Returns ``pixels`` ``[N, H, W, C]``, each image moved by up to ``most`` pixels along each axis at random.

    What moves in from beyond an edge is the image's own reflection there. ``most`` is less than H and W.
    """
    count, height, width, _ = pixels.shape
    rows = _reflected(torch.arange(height, device=pixels.device) + _offsets(count, most, pixels), height)  # (N, H)
    columns = _reflected(torch.arange(width, device=pixels.device) + _offsets(count, most, pixels), width)  # (N, W)
    images = torch.arange(count, device=pixels.device)
    return pixels[images[:, None, None], rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)


def cut_out(pixels: Tensor, side: int, fill: int) -> Tensor:
    """Returns ``pixels`` ``[N, H, W, C]``, a square of ``side`` pixels of each image at random set to ``fill``.

    Its middle is anywhere in the image, so that the square may lie partly outside (DeVries and Taylor, 2017).
    """
    count, height, width, _ = pixels.shape
    rows = _within(count, height, side, pixels)[:, :, None, None]  # (N, H, 1, 1)
    columns = _within(count, width, side, pixels)[:, None, :, None]  # (N, 1, W, 1)
    return pixels.masked_fill(rows & columns, fill)


def _within(count: int, size: int, side: int, pixels: Tensor) -> Tensor:
    """Returns which of ``size`` positions lie in an interval of ``side`` around a middle at random, bool [N, size]."""
    first = torch.randint(size, (count, 1), device=pixels.device) - side // 2
    positions = torch.arange(size, device=pixels.device)
    return (positions >= first) & (positions < first + side)


def _offsets(count: int, most: int, pixels: Tensor) -> Tensor:
    return torch.randint(-most, most + 1, (count, 1), device=pixels.device)


def _reflected(positions: Tensor, size: int) -> Tensor:
    """Maps positions beyond 0 and ``size`` - 1 back inside, the edge itself not repeated."""
    return (size - 1) - ((size - 1) - positions.abs()).abs()
