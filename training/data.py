"""Labelled images from a Hub id, a local copy in the Hub's layout, or an image folder, through ``datasets``.

Nothing here imports torch: ``igan-zoo evaluate`` reads its images through this module too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, MissingExtraError, first_line
from igan_zoo.images import conform
from igan_zoo.progress import Progress


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 ``[N, H, W, C]``, labels int64 ``[N]`` and the class names that the labels index."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def load_images(source: str, split: str, *, height: int, width: int, channels: int) -> LabelledImages:
    """Loads one split of a data set whole, every image brought to the given shape.

    ``source`` is a Hub id (``ylecun/mnist``), a directory in the Hub's layout, or a folder of images in class folders.

    Raises:
        DataError: the source, the split, the images or the labels are missing.
        MissingExtraError: ``datasets`` is not installed.
    """
    rows = _load(source, split)
    image_column, label_column = _columns(source, rows)
    classes = tuple(str(name) for name in rows.features[label_column].names)
    images = np.empty((len(rows), height, width, channels), np.uint8)
    with Progress(f"reading {source}", len(rows), unit="images") as progress:
        for index, image in enumerate(rows[image_column]):
            images[index] = conform(image, height=height, width=width, channels=channels)
            progress.advance(1)
    return LabelledImages(images, np.asarray(rows[label_column], np.int64), classes)


def _load(source: str, split: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("Reading data sets needs the data extra: pip install 'igan-zoo[data]'.") from None
    if not Path(source).exists() and source.count("/") != 1:
        raise DataError(f"There is no data at {source}: give a folder, or a Hub id such as ylecun/mnist.")
    try:
        rows = datasets.load_dataset(source, split=split)
    except ValueError as error:
        raise DataError(f"{source} has no split {split!r}: {first_line(error)}") from error
    except (OSError, datasets.exceptions.DatasetsError) as error:
        reason = first_line(error).rstrip(".")
        raise DataError(f"Cannot load {source} ({reason}); check name and network, or give a folder.") from error
    if len(rows) == 0:
        raise DataError(f"The split {split!r} of {source} is empty.")
    return rows


def _columns(source: str, rows: Any) -> tuple[str, str]:
    import datasets

    def column_of(kind: type) -> str:
        for name, feature in rows.features.items():
            if isinstance(feature, kind):
                return str(name)
        raise DataError(f"{source} has no {kind.__name__} column; it has {', '.join(rows.features)}.")

    return column_of(datasets.Image), column_of(datasets.ClassLabel)


def labelled_subset(labels: NDArray[np.int64], count: int, classes: int, seed: int) -> NDArray[np.int64]:
    """Returns the indices of ``count`` examples, equally many of every class, in class order.

    As in the 2016 code: a seeded permutation, of which the first of each class are taken.

    Raises:
        DataError: ``count`` is not a multiple of the classes, or a class has too few examples.
    """
    per_class, remainder = divmod(count, classes)
    if remainder or per_class == 0:
        raise DataError(f"{count} labels cannot be spread evenly over {classes} classes; use a multiple of {classes}.")
    order = _generator(seed, "labels").permutation(len(labels))
    chosen = []
    for label in range(classes):
        members = order[labels[order] == label][:per_class]
        if len(members) < per_class:
            raise DataError(f"Class {label} has {len(members)} examples, but {per_class} labels of each are needed.")
        chosen.append(members)
    return np.concatenate(chosen)


def validation_subset(total: int, labelled: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Returns the indices of ``count`` training images outside ``labelled``, whose labels only validation sees.

    The images themselves stay in the unlabelled set, which is the complete training set as in the 2016 code.
    """
    order = _generator(seed, "validation").permutation(total)
    unseen = order[~np.isin(order, labelled)]
    if len(unseen) < count:
        raise DataError(f"{count} validation images were asked for, but only {len(unseen)} are not labelled.")
    return unseen[:count]


def epoch_order(total: int, seed: int, epoch: int, stream: str) -> NDArray[np.int64]:
    """Returns a permutation of ``0..total-1`` that depends on nothing but the arguments, so runs resume anywhere."""
    return _generator(seed, stream, epoch).permutation(total)


def tiled_order(labelled: int, total: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Returns ``total`` indices into the labelled set: independent permutations of all of it, one after the other."""
    generator = _generator(seed, "tiles", epoch)
    return np.concatenate([generator.permutation(labelled) for _ in range(-(-total // labelled))])[:total]


def batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Yields consecutive full batches; a remainder smaller than ``size`` is left out, as in the 2016 code."""
    for start in range(0, len(order) - size + 1, size):
        yield order[start : start + size]


def _generator(seed: int, stream: str, epoch: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, int.from_bytes(stream.encode(), "little")])
