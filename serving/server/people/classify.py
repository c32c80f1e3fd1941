"""Classifying uploaded images as ``igan-zoo classify`` classifies files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import numpy as np

from igan_zoo.errors import ImageError
from igan_zoo.images.pixels import Shape
from igan_zoo.images.stored import StoredImage
from igan_zoo.models.class_words import readable
from igan_zoo.serving.classifying import Classification, answer
from igan_zoo.serving.notes import notes_on
from igan_zoo.serving.server.models.decoding import Decoder, Pixels
from igan_zoo.serving.server.models.hosted import HostedGraph

_AT_ONCE = 100

Answer = Classification | tuple[str, ImageError]


async def classify_uploads(
    graph: HostedGraph, images: AsyncIterator[StoredImage], decoder: Decoder, *, top: int
) -> list[Answer]:
    """Returns the answer for each image in order, or its name and the error of one that is no usable image.

    Raises:
        QueueFullError, DeadlineError: as ``HostedGraph.run``.
        UploadError: as ``images``.
    """
    names, crop = readable(graph.loaded.classes), graph.loaded.crop
    height, width, channels = graph.graph.image_shape
    shape = Shape(channels, height, width, crop)
    answers: list[Answer] = []
    batch: list[tuple[str, Pixels | ImageError]] = []

    async def finish() -> None:
        pixels = [image for _, image in batch if not isinstance(image, ImageError)]
        outputs = await graph.run({"images": np.stack(pixels)}) if pixels else {}
        notes = notes_on(np.stack(pixels), outputs["realness"], graph.loaded.expected) if pixels else []
        row = 0
        for name, image in batch:
            if isinstance(image, ImageError):
                answers.append((name, image))
            else:
                answers.append(replace(answer(names, name, outputs, row, top), note=notes[row]))
                row += 1
        batch.clear()

    async with aclosing(decoder.decoded(images, shape)) as decoded:
        async for image, result in decoded:
            batch.append((image.name, result))
            if len(batch) == _AT_ONCE:
                await finish()
    await finish()
    return answers
