"""Classifying image files, and counting the errors of a classifier on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.pixels import WORTH_THREADS, ImageArray, image_files, quiet_pillow, read_image
from igan_zoo.machine.progress import Progress
from igan_zoo.machine.threads import map_ahead
from igan_zoo.serving.engine import Arrays, Engine

# How many files are one piece of work for a thread.
_FILES_AT_ONCE = 8

_ReadFile = tuple[Path, NDArray[np.uint8] | ImageError]


@dataclass(frozen=True)
class Classification:
    """The answer for one image: classes with their probabilities, best first, and D(x) = Z / (Z + 1)."""

    file: str
    classes: tuple[tuple[str, float], ...]
    realness: float


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Returns the files named, and for folders every PNG and JPEG file below them, sorted.

    Raises:
        ImageError: a folder without images.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = image_files(path)
            if not inside:
                raise ImageError(f"There is no PNG or JPEG file in {path}.")
            found += [path / name for name in inside]
        else:
            found.append(path)
    return found


def classify(
    engine: Engine,
    names: tuple[str, ...],
    files: Sequence[Path],
    *,
    top: int,
    crop: bool = False,
    batch_size: int = 100,
) -> Iterator[Classification | ImageError]:
    """Yields the answer for each file in order, or the error of a file that is no usable image.

    ``crop`` takes the largest central part of the classifier's aspect ratio before resizing. Files are decoded on all
    cores while the batch before is being answered, if the first is large enough for that to pay.
    """
    height, width, channels = engine.graphs["classifier"].input_shape

    def read(file: Path) -> _ReadFile:
        try:
            return file, read_image(file, height=height, width=width, channels=channels, crop=crop)
        except ImageError as error:
            return file, error

    with (
        Progress("classifying", len(files), unit="images") as progress,
        quiet_pillow(),
        closing(_each(read, files)) as decoded,
    ):
        while batch := list(islice(decoded, batch_size)):
            yield from _answers(engine, names, batch, top)
            progress.advance(len(batch))


def _each(read: Callable[[Path], _ReadFile], files: Sequence[Path]) -> Generator[_ReadFile]:
    if files and files[0].is_file() and files[0].stat().st_size >= WORTH_THREADS:
        return map_ahead(read, files, at_once=_FILES_AT_ONCE)
    return (read(file) for file in files)


def _answers(
    engine: Engine, names: tuple[str, ...], batch: list[_ReadFile], top: int
) -> Iterator[Classification | ImageError]:
    images = [image for _, image in batch if not isinstance(image, ImageError)]
    outputs = engine.run("classifier", {"images": np.stack(images)}) if images else {}
    row = 0
    for file, image in batch:
        if isinstance(image, ImageError):
            yield image
        else:
            yield answer(names, str(file), outputs, row, top)
            row += 1


def answer(names: tuple[str, ...], file: str, outputs: Arrays, row: int, top: int) -> Classification:
    """Returns the answer for the image in ``row`` of a classifier's outputs: its ``top`` classes by ``names``."""
    probabilities = outputs["probabilities"][row]
    best = np.argsort(-probabilities, kind="stable")[:top]
    classes = tuple((names[index], float(probabilities[index])) for index in best)
    return Classification(file, classes, float(outputs["realness"][row]))


def count_errors(engine: Engine, images: ImageArray, labels: NDArray[np.int64], *, batch_size: int = 500) -> int:
    """Returns how many of the labelled images, uint8 ``[N, H, W, C]``, the classifier gets wrong.

    Raises:
        DataError: a label is not among the classifier's classes.
    """
    (classes,) = engine.graphs["classifier"].output_shape
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise DataError(f"The data has labels up to {labels.max()}, but the classifier has {classes} classes.")
    wrong = start = 0
    for logits in logit_batches(engine, images, batch_size=batch_size, title="evaluating"):
        wrong += int((logits.argmax(axis=1) != labels[start : start + len(logits)]).sum())
        start += len(logits)
    return wrong


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
