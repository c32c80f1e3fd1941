"""Labelled images from wherever they are: a Hub id, a directory in its layout, image folders.

Nothing here imports torch: ``igan-zoo evaluate`` reads its images through this module too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from igan_zoo.errors import DataError
from igan_zoo.images import ImageArray
from igan_zoo.training.decoding import UsableImages
from igan_zoo.training.hub_data import list_hub_data
from igan_zoo.training.image_folders import list_folder, list_labelled_folder
from igan_zoo.training.listings import LabelledImages, Listing, Shape

__all__ = ["ImageArray", "LabelledImages", "list_images", "load_images", "report_skipped"]

_REPORTED = 5


def load_images(
    source: str,
    split: str,
    *,
    height: int,
    width: int,
    channels: int,
    crop: bool = False,
    labels_file: Path | None = None,
    strict: bool = False,
) -> LabelledImages:
    """Loads one split of a data set, every image brought to the given shape; ``docs/data.md`` shows every source.

    ``source`` is a Hub id (``ylecun/mnist``, ``owner/name:configuration``), a directory in the Hub's layout, or a
    folder of images; ``labels_file`` a CSV file of labels for it. ``crop`` takes the central part of the wanted aspect
    ratio first. Unusable images are skipped, named on stderr and in the result; with ``strict`` the first one is an
    error.

    Raises:
        DataError: the source, the split, the images or the labels are missing or contradict each other.
        ImageError: an image cannot be used, and ``strict`` is true.
        MissingExtraError: a package of the data extra is not installed.
    """
    listing = list_images(source, split, labels_file=labels_file)
    shape = Shape(height, width, channels, crop)
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
        raise DataError(f"None of the {len(listing)} images of {source} can be used: {usable.skipped[0]}")
    return LabelledImages(images[:kept], labels[:kept], listing.classes, tuple(usable.skipped))


def list_images(source: str, split: str, *, labels_file: Path | None = None) -> Listing:
    """Lists one split of a source without decoding an image.

    Raises:
        DataError: as for ``load_images``.
        MissingExtraError: a package of the data extra is not installed.
    """
    root = Path(source)
    if root.is_dir() and not _is_hub_layout(root):
        return list_labelled_folder(root, split, labels_file) if labels_file else list_folder(root, split)
    return list_hub_data(source, split, labels_file)


def report_skipped(skipped: Sequence[str]) -> None:
    """Names on stderr the first images that were skipped, and counts them."""
    for sentence in skipped[:_REPORTED]:
        sys.stderr.write(f"Skipped: {sentence}\n")
    if len(skipped) > _REPORTED:
        sys.stderr.write(f"Skipped {len(skipped)} images in all.\n")


def _is_hub_layout(root: Path) -> bool:
    return any(any(root.glob(pattern)) for pattern in ("*.parquet", "*/*.parquet"))


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
