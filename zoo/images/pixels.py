"""Reading images safely, bringing them to a model's shape, and arranging them in a grid.

Arrays are uint8 ``[H, W, C]`` or ``[N, H, W, C]`` with C = 1 (grey) or 3 (RGB). Pillow is imported where it is used.
"""

from __future__ import annotations

import io
import math
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError, SmallImageError
from igan_zoo.machine.files import atomic_file, open_regular

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 16_000_000
FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
# Decoding a smaller file is mostly Python's work, which threads only slow down.
WORTH_THREADS = 5000

# How PNG and JPEG files begin, and compressed ones.
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}

_FILTERS = threading.Lock()


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
    resized, and with whatever color transparent ones have.
    """

    channels: int = 3
    height: int | None = None
    width: int | None = None
    crop: bool = False
    upscale: bool = True
    as_stored: bool = False

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.channels}"


COLOR = Shape(3)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Pillow from warning of damaged camera notes: the pixels are whole.

    The filters of warnings belong to the whole process, so this goes around a loop over images and not around each.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def is_image_name(name: str) -> bool:
    """Returns whether a path, with ``/`` between, is that of a PNG or JPEG file that is not hidden."""
    last = name.rpartition("/")[2]
    return last.lower().endswith(SUFFIXES) and not last.startswith(".")


def compression_of(start: bytes) -> str | None:
    """Returns what a file that starts like this is compressed with, if anything."""
    return next((name for magic, name in _COMPRESSIONS.items() if start.startswith(magic)), None)


def image_files(folder: Path) -> list[str]:
    """Returns the PNG and JPEG files anywhere below ``folder``: names relative to it with ``/`` between, sorted.

    Hidden files and folders are left out. Links to folders are followed, each folder once.
    """
    found, visited = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = Path(place).relative_to(folder).as_posix() + "/"
        prefix = "" if prefix == "./" else prefix
        found += [prefix + name for name in files if is_image_name(name)]
    return sorted(found)


def read_image(path: Path, shape: Shape = COLOR) -> NDArray[np.uint8]:
    """Returns the image file as uint8 ``[H, W, C]``, brought to ``shape`` as ``conform`` does.

    Only PNG and JPEG are decoded, and only after the header promises at most 16 million pixels. A camera's note of how
    it was held (EXIF) is followed.

    Raises:
        ImageError: missing, not an image, truncated, or too large; the message names the file.
        SmallImageError: the image is smaller than the shape, which does not upscale.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise ImageError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, not an image file.") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        return _decode(file, str(path), shape)


def decode_image(content: bytes, name: str, shape: Shape = COLOR) -> NDArray[np.uint8]:
    """Does what ``read_image`` does with the bytes of a file; errors call it ``name``."""
    return _decode(io.BytesIO(content), name, shape)


def _decode(file: IO[bytes], name: str, shape: Shape) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Pillow only warns up to twice its own limit; ours below is lower and an error. The filters of warnings belong
        # to the whole process, so that threads have to take turns here; decoding itself is outside.
        with _FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(file, formats=FORMATS)
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(name)
            image.load()
            if shape.as_stored:
                pixels = np.asarray(image.convert({1: "L", 3: "RGB"}[shape.channels]), np.uint8)
                return pixels.reshape(image.height, image.width, shape.channels)
            ImageOps.exif_transpose(image, in_place=True)
            return conform(image, shape, name)
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not a PNG or JPEG image.") from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{name} cannot be decoded: {str(error).rstrip('.')}.") from error


def _too_large(name: str) -> ImageError:
    return ImageError(f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller first.")


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
    _refuse_small(image.width, image.height, name, shape)
    mode = {1: "L", 3: "RGB"}[shape.channels]
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    # Differs from the 2016 code: its conversion of ImageNet drops the fourth channel.
    if "A" in image.getbands() or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    if image.mode != mode:
        image = image.convert(mode)
    if shape.crop:
        image = image.crop(_central(image.width, image.height, width, height))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, shape.channels)


def conform_pixels(image: NDArray[np.uint8], shape: Shape, name: str = "The image") -> NDArray[np.uint8]:
    """Does what ``conform`` does with pixels, uint8 ``[H, W, C]``; those that have the shape are returned as they are.

    Raises:
        SmallImageError: as ``conform``.
    """
    height, width, channels = image.shape
    _refuse_small(width, height, name, shape)
    if (height, width) == (shape.height or height, shape.width or width):
        if channels == shape.channels:
            return image
        if channels == 1:
            return np.repeat(image, shape.channels, axis=2)
    return conform(to_pillow(image), shape, name)


def _refuse_small(width: int, height: int, name: str, shape: Shape) -> None:
    if not shape.upscale and (width < (shape.width or 0) or height < (shape.height or 0)):
        raise SmallImageError(f"{name} is {width}x{height}, smaller than {shape.width}x{shape.height}.")


def _central(has_width: int, has_height: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Returns left, top, right, bottom of the largest central rectangle with the aspect ratio ``width / height``."""
    inner_width = max(1, min(has_width, has_height * width // height))
    inner_height = max(1, min(has_height, has_width * height // width))
    left, top = (has_width - inner_width) // 2, (has_height - inner_height) // 2
    return left, top, left + inner_width, top + inner_height


def _eight_bit(image: Image.Image) -> Image.Image:
    """Converts 16-bit grey to 8-bit: Pillow's own conversion clips at 255."""
    from PIL import Image

    values = np.asarray(image, dtype=np.float64)
    scale = 257.0 if values.max(initial=0) > 255 else 1.0
    return Image.fromarray(np.clip(values / scale + 0.5, 0, 255).astype(np.uint8))


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
