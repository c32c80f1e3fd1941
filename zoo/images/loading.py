"""Images brought to one shape and into memory with their labels, and what becomes of those that cannot be used."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted, none_usable
from igan_zoo.errors import DataError, ImageError, SmallImageError
from igan_zoo.images.batches import decode_ahead
from igan_zoo.images.formats.shards import ShardSource
from igan_zoo.images.labeled import LabeledImages, labeled_indices
from igan_zoo.images.pixels import Shape, quiet_pillow
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import Indices, LabeledSource
from igan_zoo.images.summary import log_summary
from igan_zoo.machine.progress import Progress

if TYPE_CHECKING:
    from igan_zoo.images.given import GivenImage

_LOG = logging.getLogger(__name__)
_REPORTED = 5
# So many images must have been seen before a source is given up in the middle for having too many small ones.
_JUDGED_AFTER = 100


@dataclass
class UsableImages:
    """Goes through the images ``order[start:]`` of a source, and keeps a sentence for each unusable one.

    Images that cannot be decoded are skipped, and so are those that would have to be enlarged as long as they are no
    more than half of all. With ``strict`` the first of either kind is an error.

    # Differs from the 2016 code: its conversion of ImageNet enlarges small images.
    """

    source: LabeledSource
    order: Indices
    shape: Shape
    strict: bool = False
    start: int = 0
    skipped: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yields index in the source and pixels, uint8 ``[H, W, C]``.

        Raises:
            ImageError: an image cannot be used, and ``strict`` is true.
            DataError: more than half of the images are smaller than the shape, none can be used, or the source broke.
        """
        small: list[str] = []
        seen, usable = 0, self.start > 0
        title = f"reading {self.source.reference}"
        with (
            Progress(title, len(self.order), unit="images", done=self.start) as progress,
            quiet_pillow(),
            closing(decode_ahead(self.source, self.order[self.start :], self.shape)) as decoded,
        ):
            for seen, (index, result) in enumerate(decoded, start=1):
                progress.advance(1)
                if not isinstance(result, ImageError):
                    usable = True
                    yield index, result
                    continue
                if self.strict:
                    raise result
                self.skipped.append(str(result).encode("utf-8", "replace").decode())
                if isinstance(result, SmallImageError):
                    small.append(str(result))
                    self._judge(small, seen, at_least=_JUDGED_AFTER)
        self._judge(small, seen)
        if not usable:
            count, reference = len(self.order), self.source.reference
            raise DataError(f"{none_usable(count, 'image', reference)}: {self.skipped[0]}")

    def _judge(self, small: list[str], seen: int, at_least: int = 0) -> None:
        if seen >= at_least and 2 * len(small) > seen:
            raise DataError(
                f"Of {counted(seen, 'image')} of {self.source.reference} {len(small):,} would have to be enlarged to "
                f"{self.shape} ({small[0].rstrip('.')}); choose a smaller size, since images are never enlarged."
            )


def report_skipped(skipped: Sequence[str]) -> None:
    """Logs the names of the first images that were skipped, and counts them."""
    for sentence in skipped[:_REPORTED]:
        _LOG.warning("Skipped: %s", sentence)
    if len(skipped) > _REPORTED:
        _LOG.warning("Skipped %s in all.", counted(len(skipped), "image"))


def load_images(
    source: str | Path | NDArray[Any] | Iterable[GivenImage],
    split: str,
    *,
    height: int,
    width: int,
    channels: int,
    crop: bool = False,
    labels_file: Path | None = None,
    labeled_only: bool = False,
    strict: bool = False,
    check: Callable[[NDArray[np.int64], Sequence[str]], None] | None = None,
) -> LabeledImages:
    """Returns one split of a data set, every image brought to the given shape.

    ``source`` and ``labels_file`` are as for ``open_source``. Shards are opened and not read; they were cropped or not
    when they were made. ``crop`` takes the central part of the wanted aspect ratio first. With ``labeled_only`` images
    without a label are left out. ``check`` gets labels and classes before the first image is decoded, and may raise.
    Unusable images are skipped, logged and named in the result; with ``strict`` the first one is an error.

    Raises:
        DataError: the source, the split, the images or the labels are missing or contradict each other, a class has no
            image that can be used, or the images need more memory than there is.
        ImageError: an image cannot be used, and ``strict`` is true.
        MissingExtraError: a package of the data extra is not installed.
    """
    shape = Shape(channels, height, width, crop, upscale=False)
    opened = open_source(source, split=split, labeled=True, labels_file=labels_file)
    log_summary(opened, opened.reference)
    if isinstance(opened, ShardSource):
        prepared = opened.in_shape(shape)
        return prepared.with_labels() if labeled_only else prepared
    known = opened.labels(range(len(opened)))
    if check is not None:
        check(known, opened.classes)
    # A folder may have very many photos beside the few that somebody has looked at: those are not even decoded.
    order = labeled_indices(known) if labeled_only else np.arange(len(opened))
    _refuse_what_memory_cannot_hold(len(order), shape)
    images = np.empty((len(order), height, width, channels), np.uint8)
    usable = UsableImages(opened, order, shape, strict)
    kept: list[int] = []
    for index, pixels in usable:
        images[len(kept)] = pixels
        kept.append(index)
    report_skipped(usable.skipped)
    refuse_lost_classes(known[order], known[kept], opened.classes, usable.skipped)
    places = np.array(kept, np.int64)
    return LabeledImages(images[: len(kept)], known[kept], opened.classes, tuple(usable.skipped), opened, places)


def refuse_lost_classes(
    wanted: NDArray[np.int64], kept: NDArray[np.int64], classes: Sequence[str], skipped: Sequence[str]
) -> None:
    """Refuses data whose images of some class were all skipped; ``wanted`` and ``kept`` are labels before and after.

    Raises:
        DataError: there is such a class.
    """
    for lost in np.setdiff1d(wanted[wanted >= 0], kept).tolist():
        name = classes[lost]
        why = next((sentence for sentence in skipped if name in sentence), skipped[0])
        raise DataError(f"{none_usable(int(np.sum(wanted == lost)), 'image', f'the class {name}')}: {why}")


def _refuse_what_memory_cannot_hold(count: int, shape: Shape) -> None:
    needed = count * (shape.height or 0) * (shape.width or 0) * shape.channels
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise DataError(
            f"{count} images of {shape} need {needed / 2**30:.1f} GiB, but this machine has {memory / 2**30:.1f}; make "
            "shards of them with igan-zoo prepare."
        )
