"""What to say beside an answer to an image that is hardly of the model's kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FRAME = 2
_HALF = 127.5
UNLIKE = "unlike the training images"
INVERTED = "dark on light; the model expects light on dark"


@dataclass(frozen=True)
class Expected:
    """What a model's own images are like: at least so real, None where that is not known, and light on dark or not."""

    least_realness: float | None = None
    light_on_dark: bool = False


def notes_on(images: NDArray[np.uint8], realness: NDArray[np.float32], expected: Expected) -> list[str | None]:
    """Returns a note on each image uint8 ``[N, H, W, C]`` with its realness ``[N]``; None where there is none to make.

    An image is dark on light if the frame around it, two pixels wide, is lighter than the middle gray.
    """
    unlike = realness < (-np.inf if expected.least_realness is None else expected.least_realness)
    inverted = np.array([expected.light_on_dark and _frame(image).mean() > _HALF for image in images], bool)
    return [
        INVERTED if dark_on_light else UNLIKE if odd else None
        for dark_on_light, odd in zip(inverted.tolist(), unlike.tolist(), strict=True)
    ]


def _frame(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    inside = np.zeros(image.shape[:2], bool)
    inside[_FRAME:-_FRAME, _FRAME:-_FRAME] = True
    return image[~inside]
