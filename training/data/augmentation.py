"""Random changes of images that keep their class. The 2016 code has none.

Images are float32 ``[N, C, H, W]`` as the networks see them. Every change is differentiable: real and generated images
pass through the same ones, or the generator learns to draw what only real images have (Zhao et al., *Differentiable
Augmentation*, 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.training.recipes.settings import Recipe

# The strong view: share of the images that are warped, and the largest changes, all uniform around none.
_WARPED = 0.6
_ROTATION = 0.4  # radians
_SCALE = 0.2
_SHEAR = 0.3
_BRIGHTNESS = 0.5  # added, in the networks' units
_CONTRAST = 0.6  # of the logarithm
_SATURATION = 0.8  # of the logarithm
_GAINS = 0.2  # of each channel


def weak_view(images: Tensor, recipe: Recipe) -> Tensor:
    """Returns ``images``, ``[N, C, H, W]`` or ``[N, H * W * C]``, mirrored, shifted and cut out as ``recipe`` says."""
    if not (recipe.flips or recipe.shifts or recipe.cutout):
        return images
    maps = _as_maps(images, recipe)
    if recipe.flips:
        maps = mirrored(maps)
    if recipe.shifts:
        maps = shifted(maps, recipe.shifts)
    if recipe.cutout:
        maps = cut_out(maps, recipe.cutout)
    return _like(maps, images)


def strong_view(images: Tensor, recipe: Recipe) -> Tensor:
    """Returns ``images``, ``[N, C, H, W]`` or ``[N, H * W * C]``, warped, recolored and cut out as ``recipe`` says."""
    maps = warped(_as_maps(images, recipe))
    if recipe.consistency_colors:
        maps = recolored(maps)
    if recipe.consistency_cutout:
        maps = cut_out(maps, recipe.consistency_cutout)
    return _like(maps, images)


def _as_maps(images: Tensor, recipe: Recipe) -> Tensor:
    """Returns ``images`` as ``[N, C, H, W]``."""
    if images.ndim == 4:
        return images
    return images.view(-1, recipe.height, recipe.width, recipe.channels).permute(0, 3, 1, 2)


def _like(maps: Tensor, images: Tensor) -> Tensor:
    """Returns ``maps``, ``[N, C, H, W]``, in the shape of ``images``."""
    return maps if images.ndim == 4 else maps.permute(0, 2, 3, 1).flatten(start_dim=1)


def mirrored(images: Tensor) -> Tensor:
    """Returns ``images`` with every second one at random mirrored left to right."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(chosen, images.flip(3), images)


def shifted(images: Tensor, most: int) -> Tensor:
    """Returns ``images``, each moved by up to ``most`` pixels along each axis at random.

    The image's own reflection moves in from beyond an edge. ``most`` is less than H and W.
    """
    count, _, height, width = images.shape
    rows = _reflected(torch.arange(height, device=images.device) + _offsets(count, most, images), height)  # (N, H)
    columns = _reflected(torch.arange(width, device=images.device) + _offsets(count, most, images), width)  # (N, W)
    which = torch.arange(count, device=images.device)[:, None, None]
    # Channels are the last dimension in memory: whole pixels move.
    pixels = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    return pixels.permute(0, 3, 1, 2)


def cut_out(images: Tensor, side: int) -> Tensor:
    """Returns ``images``, a square of ``side`` pixels of each one at random set to zero.

    The square's center is anywhere in the image, so part of it may lie outside (DeVries and Taylor, 2017).
    """
    count, _, height, width = images.shape
    rows = _within(count, height, side, images)[:, None, :, None]  # (N, 1, H, 1)
    columns = _within(count, width, side, images)[:, None, None, :]  # (N, 1, 1, W)
    return images.masked_fill(rows & columns, 0.0)


def warped(images: Tensor) -> Tensor:
    """Returns ``images``, six in ten of them rotated, scaled and sheared at random."""
    count = len(images)
    chosen = (torch.rand(count, device=images.device) < _WARPED).to(images.dtype)
    angle, scale, shear = (chosen * most * _around_zero(count, images) for most in (_ROTATION, _SCALE, _SHEAR))
    cosine, sine = angle.cos() * (1 + scale), angle.sin() * (1 + scale)
    nothing = torch.zeros_like(angle)
    rows = torch.stack([cosine, shear - sine, nothing, sine, cosine, nothing], dim=1)
    field = F.affine_grid(rows.view(count, 2, 3), list(images.shape), align_corners=False)
    # grid_sample is several times as fast where each channel is one plane in memory.
    moved = F.grid_sample(images.contiguous(), field, padding_mode="reflection", align_corners=False)
    return moved.contiguous(memory_format=torch.channels_last)


def recolored(images: Tensor) -> Tensor:
    """Returns ``images`` with saturation, contrast, brightness and each channel's gain changed at random."""
    count, channels = images.shape[:2]

    def random(most: float, width: int = 1) -> Tensor:
        return most * _around_zero(count * width, images).view(count, width, 1, 1)

    gray = images.mean(dim=1, keepdim=True)
    saturated = gray + (images - gray) * random(_SATURATION).exp()
    mean = saturated.mean(dim=(1, 2, 3), keepdim=True)
    contrasted = mean + (saturated - mean) * random(_CONTRAST).exp()
    return contrasted * (1 + random(_GAINS, channels)) + random(_BRIGHTNESS)


def _around_zero(count: int, images: Tensor) -> Tensor:
    """Returns uniform numbers in [-1, 1), ``[count]``."""
    return (torch.rand(count, device=images.device) * 2 - 1).to(images.dtype)


def _within(count: int, size: int, side: int, images: Tensor) -> Tensor:
    """Returns which of ``size`` positions lie in an interval of ``side`` around a random center, bool [N, size]."""
    first = torch.randint(size, (count, 1), device=images.device) - side // 2
    positions = torch.arange(size, device=images.device)
    return (positions >= first) & (positions < first + side)


def _offsets(count: int, most: int, images: Tensor) -> Tensor:
    return torch.randint(-most, most + 1, (count, 1), device=images.device)


def _reflected(positions: Tensor, size: int) -> Tensor:
    """Maps positions beyond 0 and ``size`` - 1 back inside, the edge itself not repeated."""
    return (size - 1) - ((size - 1) - positions.abs()).abs()
