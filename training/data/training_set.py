"""The training images as the steps want them: batches on the device, as the networks see pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igan_zoo.counts import counted
from igan_zoo.errors import DataError
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.images.loading import load_images
from igan_zoo.images.pixels import ImageArray
from igan_zoo.training.data.subsets import labelled_subset, validation_subset
from igan_zoo.training.recipes.settings import PIXEL_RANGES, Recipe

# Larger sets stay where they are (memory-mapped) and are read batch by batch.
_MOST_BYTES_ON_DEVICE = 4 * 2**30


@dataclass(frozen=True)
class TrainingSet:
    """Images uint8 ``[N, H, W, C]``, the labels, and who sees which of them.

    # Differs from the 2016 code: that keeps floats, four times the memory.

    ``labelled`` and ``validation`` are indices; training sees the labels of the first only. ``taught`` are the logits
    of a teacher, float32 ``[N, K]`` on the device, where the recipe has one.
    """

    recipe: Recipe
    images: Tensor | ImageArray
    labels: Tensor  # int64 [N] on the device, -1 where none is known
    known: Tensor  # the same, -1 also where training may not see it
    labelled: NDArray[np.int64]
    validation: NDArray[np.int64]
    device: str
    taught: Tensor | None = None

    @staticmethod
    def create(recipe: Recipe, data: LabeledImages, device: str = "cpu") -> TrainingSet:
        """Chooses the labelled and the validation examples of ``recipe``.

        Raises:
            DataError: there are fewer images or labels than the recipe needs.
        """
        if len(data) < recipe.batch_size:
            raise DataError(f"The data has {counted(len(data), 'image')}, fewer than one batch of {recipe.batch_size}.")
        labelled = labelled_subset(data.labels, recipe.labels, data.classes, recipe.subset_seed)
        # Without labels there is no classifier to validate.
        count = recipe.validation_images if recipe.labels != "0" else 0
        validation = validation_subset(data.labels, labelled, count, recipe.subset_seed)
        images: Tensor | ImageArray = data.images
        height, width, channels = data.images.shape[1:]
        if len(data) * height * width * channels <= _MOST_BYTES_ON_DEVICE:
            images = torch.from_numpy(data.images[np.arange(len(data))]).to(device)
        known = np.full_like(data.labels, -1)
        known[labelled] = data.labels[labelled]
        labels = torch.from_numpy(data.labels).to(device)
        return TrainingSet(recipe, images, labels, torch.from_numpy(known).to(device), labelled, validation, device)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def on_device(self) -> bool:
        """Whether all images are there; else each batch is read from where they are."""
        return isinstance(self.images, Tensor)

    def pixels(self, indices: Tensor) -> Tensor:
        """Returns the images at ``indices`` as they are, uint8 ``[n, H, W, C]`` on the device."""
        if isinstance(self.images, Tensor):
            return self.images[indices.to(self.device)]
        return self.uploaded(self.read(indices.cpu().numpy()))

    def read(self, indices: NDArray[np.int64]) -> Tensor:
        """Reads images that are not on the device, uint8 ``[n, H, W, C]``, into memory that a GPU can copy from."""
        read = torch.from_numpy(np.asarray(self.images[indices]))
        return read.pin_memory() if self.device == "cuda" else read

    def uploaded(self, read: Tensor) -> Tensor:
        """Brings what :meth:`read` returned to the device, without waiting for it."""
        return read.to(self.device, non_blocking=True)

    def batch(self, indices: NDArray[np.int64]) -> Tensor:
        """Returns the images at ``indices`` as the networks see them."""
        return to_network(self.pixels(torch.from_numpy(indices)), self.recipe)

    def labels_at(self, indices: Tensor) -> Tensor:
        """Returns the labels at ``indices``, int64 ``[n]`` on the device."""
        return self.labels[indices.to(self.device)]

    def known_labels(self, indices: Tensor) -> Tensor:
        """Returns the labels that training may see, int64 ``[n]``, -1 for the others."""
        return self.known[indices.to(self.device)]


def to_network(pixels: Tensor, recipe: Recipe) -> Tensor:
    """Maps uint8 ``[N, H, W, C]`` to what the networks see, float32: ``[N, H*W*C]`` or ``[N, C, H, W]``."""
    offset, scale = PIXEL_RANGES[recipe.pixel_range]
    values = (pixels.float() - offset) / scale if offset else pixels.float() / scale
    if recipe.network == "mnist-dense":
        return values.flatten(start_dim=1)  # (N, H*W*C)
    # The memory keeps its order, channels last, which is the faster one for convolutions on CPUs and tensor cores.
    return values.permute(0, 3, 1, 2)  # (N, C, H, W)


def views(pixels: Tensor, recipe: Recipe) -> list[Tensor]:
    """Returns what an answer for uint8 ``[N, H, W, C]`` is the mean over: the images, also mirrored by some recipes."""
    return [pixels, pixels.flip(2)] if recipe.mirrored_answers else [pixels]


def to_pixels(images: Tensor, recipe: Recipe) -> NDArray[np.uint8]:
    """Maps what a generator makes to uint8 ``[N, H, W, C]``."""
    offset, scale = PIXEL_RANGES[recipe.pixel_range]
    levels = (images * scale + offset).clamp(0, 255).round().to(torch.uint8)
    if recipe.network != "mnist-dense":
        levels = levels.permute(0, 2, 3, 1)  # (N, H, W, C)
    shaped: NDArray[np.uint8] = levels.cpu().numpy().reshape(-1, recipe.height, recipe.width, recipe.channels)
    return shaped


def load_for_recipe(
    recipe: Recipe,
    source: str,
    split: str,
    *,
    labels_file: Path | None = None,
    labeled_only: bool = False,
    strict: bool = False,
    check: Callable[[NDArray[np.int64], Sequence[str]], None] | None = None,
) -> LabeledImages:
    """Returns one split of a data set in the shape that a recipe's networks take; the rest as :func:`load_images`."""
    return load_images(
        source,
        split,
        height=recipe.height,
        width=recipe.width,
        channels=recipe.channels,
        crop=recipe.crop,
        labels_file=labels_file,
        labeled_only=labeled_only,
        strict=strict,
        check=check,
    )
