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

_FILTERS = threading.Lock()


class ImageArray(Protocol):
    """Images uint8 ``[N, H, W, C]`` that need not all be in memory: an ndarray, a memory map, or shards."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: NDArray[np.int64] | slice, /) -> NDArray[np.uint8]: ...


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Pillow from warning of damaged camera notes: the pixels are whole.

    The filters of warnings belong to the whole process, so this goes around a loop over images and not around each.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


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
        found += [prefix + name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)


def read_image(
    path: Path,
    *,
    channels: int,
    height: int | None = None,
    width: int | None = None,
    crop: bool = False,
    upscale: bool = True,
    as_stored: bool = False,
) -> NDArray[np.uint8]:
    """Returns the image file as uint8 ``[height, width, channels]``, brought to that shape as ``conform`` does.

    Without ``height`` and ``width`` the image keeps its own.
    Only PNG and JPEG are decoded, and only after the header promises at most 16 million pixels. A camera's note of how
    it was held (EXIF) is followed. ``as_stored`` gives the pixels of the file, as ``convert("RGB")`` alone does: not
    turned, not resized, and with whatever color transparent ones have.

    Raises:
        ImageError: missing, not an image, truncated, or too large; the message names the file.
        SmallImageError: the image is smaller than the shape, and ``upscale`` is false.
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
        return _decode(file, str(path), height, width, channels, crop, upscale, as_stored)


def decode_image(
    content: bytes,
    name: str,
    *,
    channels: int,
    height: int | None = None,
    width: int | None = None,
    crop: bool = False,
    upscale: bool = True,
    as_stored: bool = False,
) -> NDArray[np.uint8]:
    """Does what ``read_image`` does with the bytes of a file; errors call it ``name``."""
    return _decode(io.BytesIO(content), name, height, width, channels, crop, upscale, as_stored)


def _decode(
    file: IO[bytes],
    name: str,
    height: int | None,
    width: int | None,
    channels: int,
    crop: bool,
    upscale: bool,
    as_stored: bool,
) -> NDArray[np.uint8]:
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
            if as_stored:
                pixels = np.asarray(image.convert({1: "L", 3: "RGB"}[channels]), np.uint8)
                return pixels.reshape(image.height, image.width, channels)
            ImageOps.exif_transpose(image, in_place=True)
            height, width = height or image.height, width or image.width
            if not upscale:
                refuse_small(image.width, image.height, name, height=height, width=width)
            return conform(image, height=height, width=width, channels=channels, crop=crop)
    except UnidentifiedImageError:
        raise ImageError(f"{name} is not a PNG or JPEG image.") from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{name} cannot be decoded: {str(error).rstrip('.')}.") from error


def _too_large(name: str) -> ImageError:
    return ImageError(f"{name} has more than {MAX_PIXELS:,} pixels; make it smaller first.")


def refuse_small(has_width: int, has_height: int, name: str, *, height: int, width: int) -> None:
    """Checks that an image need not be enlarged.

    Raises:
        SmallImageError: it is narrower or lower than ``width`` and ``height``.
    """
    if has_width < width or has_height < height:
        raise SmallImageError(f"{name} is {has_width}x{has_height}, smaller than {width}x{height}.")


def conform(image: Image.Image, *, height: int, width: int, channels: int, crop: bool = False) -> NDArray[np.uint8]:
    """Returns a decoded image as uint8 ``[height, width, channels]``.

    Transparent pixels are laid on black. ``crop`` first takes the largest central rectangle of the wanted aspect ratio,
    for a square as in the 2016 conversion of ImageNet; without it the aspect ratio is not kept. Another size is resized
    with Pillow's bilinear filter (area-weighted when shrinking), also as there.
    """
    from PIL import Image

    mode = {1: "L", 3: "RGB"}[channels]
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    # Differs from the 2016 code: its conversion of ImageNet drops the fourth channel.
    if "A" in image.getbands() or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    if image.mode != mode:
        image = image.convert(mode)
    if crop:
        image = image.crop(_central(image.width, image.height, width, height))
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


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


def with_channels(image: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Returns uint8 ``[H, W, C]`` with 1 or 3 channels, made as ``conform`` makes them of a decoded image."""
    height, width, has_channels = image.shape
    if has_channels == channels:
        return image
    if has_channels == 1:
        return np.repeat(image, channels, axis=2)
    return conform(to_pillow(image), height=height, width=width, channels=channels)


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
