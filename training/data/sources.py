"""Labelled images from wherever they are: the Hub, a directory in its layout, SVHN's files, image folders, shards.

Nothing here imports torch: ``igan-zoo evaluate`` reads its images through this module too.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from igan_zoo.errors import DataError
from igan_zoo.images.pixels import ImageArray
from igan_zoo.training.data.decoding import UsableImages, report_skipped
from igan_zoo.training.data.image_folders import FolderListing, split_names
from igan_zoo.training.data.labelled_images import LabelledImages, Listing, Shape
from igan_zoo.training.data.listing import list_images
from igan_zoo.training.data.shards import MANIFEST, open_shards, read_manifest
from igan_zoo.training.settings import Recipe

__all__ = ["ImageArray", "LabelledImages", "load_for_recipe", "load_images"]


def load_for_recipe(
    recipe: Recipe,
    source: str,
    split: str,
    *,
    labels_file: Path | None = None,
    labelled_only: bool = False,
    strict: bool = False,
) -> LabelledImages:
    """Returns one split of a data set in the shape that a recipe's networks take; the rest as :func:`load_images`."""
    return load_images(
        source,
        split,
        height=recipe.height,
        width=recipe.width,
        channels=recipe.channels,
        crop=recipe.crop,
        labels_file=labels_file,
        labelled_only=labelled_only,
        strict=strict,
    )


def load_images(
    source: str,
    split: str,
    *,
    height: int,
    width: int,
    channels: int,
    crop: bool = False,
    labels_file: Path | None = None,
    labelled_only: bool = False,
    strict: bool = False,
) -> LabelledImages:
    """Returns one split of a data set, every image brought to the given shape; ``docs/data.md`` shows every source.

    ``source`` and ``labels_file`` are as for ``list_images``, or ``source`` is a directory of shards, which are opened
    and not read, have all their labels and were cropped or not when they were made. ``crop`` takes the central part of
    the wanted aspect ratio first. With ``labelled_only`` images without a label are left out. Unusable images are
    skipped, named on stderr and in the result; with ``strict`` the first one is an error.

    Raises:
        DataError: the source, the split, the images or the labels are missing or contradict each other, or the images
            need more memory than there is.
        ImageError: an image cannot be used, and ``strict`` is true.
        MissingExtraError: a package of the data extra is not installed.
    """
    shape = Shape(height, width, channels, crop)
    for root in (Path(source), Path(source) / split):
        if (root / MANIFEST).is_file():
            if labels_file is not None:
                raise DataError(f"{root} has labels of its own; give {labels_file} to igan-zoo prepare instead.")
            prepared = _open_prepared(root, split, shape)
            return prepared.with_labels() if labelled_only else prepared
    listing = list_images(source, split, labels_file=labels_file)
    if labelled_only and isinstance(listing, FolderListing):
        # A folder may have very many photos beside the few that somebody has looked at: those are not even decoded.
        listing = listing.with_labels()
    _refuse_what_memory_cannot_hold(listing, shape)
    images = np.empty((len(listing), height, width, channels), np.uint8)
    labels = np.empty(len(listing), np.int64)
    usable = UsableImages(listing, shape, strict)
    kept = 0
    for _, picture, pixels in usable:
        images[kept], labels[kept] = pixels, picture.label
        kept += 1
    report_skipped(usable.skipped)
    if kept == 0:
        raise usable.nothing_usable()
    loaded = LabelledImages(images[:kept], labels[:kept], listing.classes, tuple(usable.skipped))
    return loaded.with_labels() if labelled_only else loaded


def _open_prepared(root: Path, split: str, shape: Shape) -> LabelledImages:
    manifest = read_manifest(root)
    if manifest.split not in split_names(split):
        raise DataError(f"{root} holds the split {manifest.split!r} of {manifest.source}, not {split!r}.")
    if (manifest.height, manifest.width, manifest.channels) != (shape.height, shape.width, shape.channels):
        raise DataError(f"{root} holds images of {manifest.shape}, not {shape}; prepare {manifest.source} once more.")
    return open_shards(root)


def _refuse_what_memory_cannot_hold(listing: Listing, shape: Shape) -> None:
    needed = len(listing) * shape.height * shape.width * shape.channels
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise DataError(
            f"{len(listing)} images of {shape} need {needed / 2**30:.1f} GiB, but this machine has "
            f"{memory / 2**30:.1f}; make shards of them with igan-zoo prepare."
        )
