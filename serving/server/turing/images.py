"""The images of visual Turing tests, real and generated brought to one form: nothing but what they show differs."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.pixels import Shape, to_pillow
from igan_zoo.images.stored import ImageSource, StoredImage
from igan_zoo.serving.server.turing.game import Round

# Of real images, so many are examples for a classifier, and of few images a tenth; no test shows them.
_EXAMPLES = 8
_SHARE = 10


class RealImages:
    """A source of real images that several threads may ask: some for examples, all others for tests."""

    def __init__(self, source: ImageSource) -> None:
        self.reference = source.reference
        self._source, self._lock = source, threading.Lock()
        count = min(_EXAMPLES, len(source) // _SHARE)
        self.examples = [position * len(source) // count for position in range(count)]
        self.for_tests: NDArray[np.int64] = np.setdiff1d(np.arange(len(source)), self.examples)

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        """Returns the images of these indices, not yet decoded.

        Raises:
            DataError: the source broke.
        """
        with self._lock:
            return self._source.fetch(indices)


def prepare(image: StoredImage, shape: tuple[int, int, int], *, crop: bool) -> NDArray[np.uint8]:
    """Returns an image as uint8 ``shape`` = ``(H, W, C)``; real and generated images come this one way.

    Raises:
        DataError: it cannot be decoded.
    """
    height, width, channels = shape
    try:
        return image.decode(Shape(channels, height, width, crop))
    except ImageError as error:
        raise DataError(f"A real image cannot be shown; take it out of the source: {error}") from error


def arrange(
    rounds: Sequence[Round], real: RealImages, generated: NDArray[np.uint8], *, crop: bool
) -> NDArray[np.uint8]:
    """Returns what the rounds show, uint8 ``[rounds, H, W, C]``; ``generated`` is uint8 ``[n, H, W, C]``.

    Raises:
        DataError: a real image cannot be had.
    """
    height, width, channels = generated.shape[1:]
    wanted = sorted(shown.index for shown in rounds if shown.kind == "real")
    fetched = dict(zip(wanted, real.fetch(wanted), strict=True))
    stored = [
        fetched[shown.index] if shown.kind == "real" else StoredImage(f"image {shown.index}", generated[shown.index])
        for shown in rounds
    ]
    return np.stack([prepare(image, (height, width, channels), crop=crop) for image in stored])


def encode_alike(image: NDArray[np.uint8]) -> bytes:
    """Returns a PNG that is not compressed, so that images of one shape are files of one size."""
    content = io.BytesIO()
    to_pillow(image).save(content, format="PNG", compress_level=0)
    return content.getvalue()
