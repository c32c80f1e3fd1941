"""Classifying images: answers for people, and logits for what counts errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError
from igan_zoo.images.batches import decode_ahead
from igan_zoo.images.pixels import ImageArray, Shape, quiet_pillow
from igan_zoo.images.stored import ImageSource
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.engine import Arrays, Engine
from igan_zoo.serving.notes import Expected, notes_on

_UNKNOWN = Expected()
# Index and pixels of an image of a source.
_Decoded = tuple[int, NDArray[np.uint8] | ImageError]


@dataclass(frozen=True)
class Classification:
    """The answer for one image: classes with their probabilities, best first, and D(x) = Z / (Z + 1).

    ``file`` is the image's name: its path, or its place among those that were given, such as ``image 0``. ``note`` says
    where the image is hardly of the model's kind.
    """

    file: str
    classes: tuple[tuple[str, float], ...]
    realness: float
    note: str | None = None


def classify(
    engine: Engine,
    names: tuple[str, ...],
    images: ImageSource,
    *,
    top: int,
    crop: bool = False,
    batch_size: int = 100,
    expected: Expected = _UNKNOWN,
) -> Iterator[Classification | ImageError]:
    """Yields the answer for each image in order, or the error of one that cannot be used.

    ``crop`` takes the largest central part of the classifier's aspect ratio before resizing. Files are decoded on all
    cores while the batch before is being answered, if the first is large enough for that to pay. ``expected`` is what
    the model's own images are like, for the notes.
    """
    for batch, outputs in answered(engine, images, "classifying", crop=crop, batch_size=batch_size):
        usable = [pixels for _, pixels in batch if not isinstance(pixels, ImageError)]
        notes = iter(notes_on(np.stack(usable), outputs["realness"], expected) if usable else ())
        row = 0
        for index, pixels in batch:
            if isinstance(pixels, ImageError):
                yield pixels
            else:
                yield replace(answer(names, images.name(index), outputs, row, top), note=next(notes))
                row += 1


def realness_of(
    engine: Engine, images: ImageSource, *, crop: bool = False, batch_size: int = 100
) -> NDArray[np.float32]:
    """Returns D(x) = Z / (Z + 1) of every image, float32 ``[N]`` in [0, 1].

    Raises:
        ImageError: an image cannot be used.
    """
    found = [np.zeros(0, np.float32)]
    for batch, outputs in answered(engine, images, "judging", crop=crop, batch_size=batch_size):
        for _, pixels in batch:
            if isinstance(pixels, ImageError):
                raise pixels
        found.append(outputs["realness"])
    return np.concatenate(found)


def answered(
    engine: Engine, images: ImageSource, title: str, *, crop: bool = False, batch_size: int = 100
) -> Iterator[tuple[list[_Decoded], Arrays]]:
    """Yields batches of images, decoded or with their errors, and the classifier's outputs for those that decode.

    ``title`` is what stands before the progress.
    """
    height, width, channels = engine.graphs["classifier"].image_shape
    shape = Shape(channels, height, width, crop)
    with (
        Progress(title, len(images), unit="images") as progress,
        quiet_pillow(),
        closing(decode_ahead(images, range(len(images)), shape, engine.threads)) as decoded,
    ):
        while batch := list(islice(decoded, batch_size)):
            usable = [pixels for _, pixels in batch if not isinstance(pixels, ImageError)]
            yield batch, engine.run("classifier", {"images": np.stack(usable)}) if usable else {}
            progress.advance(len(batch))


def answer(names: tuple[str, ...], file: str, outputs: Arrays, row: int, top: int) -> Classification:
    """Returns the answer for the image in ``row`` of a classifier's outputs: its ``top`` classes by ``names``."""
    probabilities = outputs["probabilities"][row]
    best = np.argsort(-probabilities, kind="stable")[:top]
    classes = tuple((names[index], float(probabilities[index])) for index in best)
    return Classification(file, classes, float(outputs["realness"][row]))


def logit_batches(
    engine: Engine, images: ImageArray, *, batch_size: int = 500, title: str
) -> Iterator[NDArray[np.float32]]:
    """Yields the classifier's logits ``[n, K]`` of images uint8 ``[N, H, W, C]``, a batch at a time, in order.

    ``title`` is what stands before the progress.
    """
    with Progress(title, len(images), unit="images") as bar:
        for start in range(0, len(images), batch_size):
            logits = engine.run("classifier", {"images": images[start : start + batch_size]})["logits"]
            yield logits
            bar.advance(len(logits))
