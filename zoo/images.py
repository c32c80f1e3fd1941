"""Reading images safely, bringing them to a model's shape, and arranging them in a grid.

Arrays are uint8 ``[H, W, C]`` or ``[N, H, W, C]`` with C = 1 (grey) or 3 (RGB). Pillow is imported where it is used.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError
from igan_zoo.files import atomic_file

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 16_000_000
FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")


def read_image(path: Path, *, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Returns the image file as uint8 ``[height, width, channels]``.

    Only PNG and JPEG are decoded, and only after the header promises at most 16 million pixels. A camera's note of how
    it was held (EXIF) is followed.

    Raises:
        ImageError: missing, not an image, truncated, or too large; the message names the file.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow only warns up to twice its own limit; ours below is lower and an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise _too_large(path)
                image.load()
                return conform(ImageOps.exif_transpose(image), height=height, width=width, channels=channels)
    except FileNotFoundError:
        raise ImageError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder, not an image file.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a PNG or JPEG image.") from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path} cannot be decoded: {str(error).rstrip('.')}.") from error


def _too_large(path: Path) -> ImageError:
    return ImageError(f"{path} has more than {MAX_PIXELS:,} pixels; make it smaller first.")


def conform(image: Image.Image, *, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Returns a decoded image as uint8 ``[height, width, channels]``.

    Transparent pixels are laid on black. Another size is resized with Pillow's bilinear filter (area-weighted when
    shrinking) without keeping the aspect ratio.
    """
    from PIL import Image

    mode = {1: "L", 3: "RGB"}[channels]
    if image.mode.startswith(("I", "F")):
        image = _eight_bit(image)
    if "A" in image.getbands() or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image.convert("RGBA"))
    if image.mode != mode:
        image = image.convert(mode)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


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


def encode_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Writes uint8 ``[H, W, C]`` to ``path`` as a PNG, whatever its suffix."""
    from PIL import Image

    Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image).save(path, format="PNG")


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
