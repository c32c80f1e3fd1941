"""Bringing images to a model's shape, writing them, and arranging them in a grid.

Arrays are uint8 ``[H, W, C]`` or ``[N, H, W, C]`` with C = 1 (grey) or 3 (RGB). Pillow is imported where it is used.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError, SmallImageError
from igan_zoo.machine.files import atomic_file

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 16_000_000
# Decoding a smaller file is mostly Python's work, which threads only slow down.
WORTH_THREADS = 5000


class ImageArray(Protocol):
    """Images uint8 ``[N, H, W, C]`` that need not all be in memory: an ndarray, a memory map, or shards."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: NDArray[np.int64] | slice, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class Shape:
    """What images are decoded to: 1 (grey) or 3 (RGB) channels, and a height and a width, or their own where None.

    ``crop`` first takes the largest central part of that aspect ratio. Without ``upscale`` an image that would have to
    grow is an error. ``as_stored`` takes the pixels of a file as ``convert("RGB")`` alone does: not turned, not
    resized, and with whatever color transparent ones have. With ``may_shrink`` a JPEG of more pixels than are decoded
    comes at a half or a quarter of its own size.
    """

    channels: int = 3
    height: int | None = None
    width: int | None = None
    crop: bool = False
    upscale: bool = True
    as_stored: bool = False
    may_shrink: bool = False

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.channels}"


COLOR = Shape(3)
# For people, to whom a smaller photo is the same photo.
PREVIEW = Shape(3, may_shrink=True)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Pillow from warning of damaged camera notes: the pixels are whole.

    The filters of warnings belong to the whole process, so this goes around a loop over images and not around each.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def conform(image: Image.Image, shape: Shape, name: str = "The image") -> NDArray[np.uint8]:
    """Returns a decoded image as uint8 ``[H, W, C]`` of ``shape``; errors call it ``name``.

    Transparent pixels become black. A crop to a square is that of the 2016 conversion of ImageNet; without one the
    aspect ratio changes. Another size is resized with Pillow's bilinear filter (area-weighted when shrinking), also as
    there.

    Raises:
        SmallImageError: the image is smaller than the shape, which does not upscale.
    """
    from PIL import Image

    height, width = shape.height or image.height, shape.width or image.width
    mode = {1: "L", 3: "RGB"}[shape.channels]
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image, name)
    # Differs from the 2016 code: its conversion of ImageNet drops the fourth channel.
    if "A" in image.getbands() or "transparency" in image.info:
        drawn = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(drawn, mask=drawn)
    if image.mode != mode:
        image = image.convert(mode)
    if shape.crop:
        image = image.crop(central_box(image.width, image.height, shape))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, shape.channels)


def conform_pixels(image: NDArray[np.uint8], shape: Shape, name: str = "The image") -> NDArray[np.uint8]:
    """Does what ``conform`` does with pixels, uint8 ``[H, W, C]``; those that have the shape are returned as they are.

    Raises:
        SmallImageError: as ``conform``.
    """
    height, width, channels = image.shape
    refuse_small(width, height, name, shape)
    if (height, width) == (shape.height or height, shape.width or width):
        if channels == shape.channels:
            return image
        if channels == 1:
            return np.repeat(image, shape.channels, axis=2)
    return conform(to_pillow(image), shape, name)


def refuse_small(width: int, height: int, name: str, shape: Shape) -> None:
    """Refuses an image that would have to grow where ``shape`` does not upscale.

    Raises:
        SmallImageError: it would.
    """
    if not shape.upscale and (width < (shape.width or 0) or height < (shape.height or 0)):
        raise SmallImageError(f"{name} is {width}x{height}, smaller than {shape.width}x{shape.height}.")


def central_box(has_width: int, has_height: int, shape: Shape) -> tuple[int, int, int, int]:
    """Returns left, top, right, bottom of the largest central rectangle with the aspect ratio of ``shape``."""
    width, height = shape.width or has_width, shape.height or has_height
    inner_width = max(1, min(has_width, has_height * width // height))
    inner_height = max(1, min(has_height, has_width * height // width))
    left, top = (has_width - inner_width) // 2, (has_height - inner_height) // 2
    return left, top, left + inner_width, top + inner_height


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Converts 16-bit grey to 8-bit: Pillow's own conversion clips at 255."""
    from PIL import Image

    if not image.mode.startswith("I;16"):
        raise ImageError(f"{name} has 32 bits per pixel, whose range is unknown; save it with 8 or 16.")
    values = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes uint8 ``[H, W, C]`` as a PNG, whole or not at all."""
    with atomic_file(path) as temporary:
        encode_png(temporary, image)


def encode_png(target: Path | IO[bytes], image: NDArray[np.uint8]) -> None:
    """Writes uint8 ``[H, W, C]`` to a path or an open file as a PNG, whatever the suffix."""
    to_pillow(image).save(target, format="PNG")


def to_pillow(image: NDArray[np.uint8]) -> Image.Image:
    """Returns uint8 ``[H, W, C]`` as Pillow's image."""
    from PIL import Image

    return Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)


def grid(images: NDArray[np.uint8], columns: int | None = None, *, border: int = 1) -> NDArray[np.uint8]:
    """Arranges uint8 ``[N, H, W, C]`` row by row in one image, white lines of ``border`` pixels between."""
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + border) + border, columns * (width + border) + border, channels), 255, np.uint8)
    for index, image in enumerate(images):
        top = border + (index // columns) * (height + border)
        left = border + (index % columns) * (width + border)
        sheet[top : top + height, left : left + width] = image
    return sheet
