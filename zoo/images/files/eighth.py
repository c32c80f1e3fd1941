"""JPEG photos at an eighth of their size, without libjpeg where the file is a regular one."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from igan_zoo.ops.jpeg_eighth import jpeg_eighth

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile


def eighth(file: IO[bytes], opened: ImageFile, channels: int, most: int) -> Image | None:
    """Returns a JPEG of up to ``most`` bytes at an eighth of its size, grey or in color; None if libjpeg has to do it.

    Grey is that of libjpeg to the bit. Colors that are stored at half the width or height are interpolated, where
    libjpeg decodes twice as many.
    """
    from PIL import Image

    layers = [layer[0] for layer in getattr(opened, "layer", ())]
    # Else three components need not be brightness and two colors.
    if layers not in ([1], [1, 2, 3]) or opened.info.get("adobe_transform", 1) != 1:
        return None
    behind = file.tell()
    file.seek(0)
    content = file.read(most + 1)
    file.seek(behind)
    planes = jpeg_eighth(content, opened.width, opened.height) if len(content) <= most else None
    if planes is None:
        return None
    grey, *colors = (Image.frombytes("L", (width, height), pixels) for width, height, pixels in planes)
    if channels == 1 or not colors:
        return grey
    return Image.merge("YCbCr", [grey, *(_as_large(color, grey) for color in colors)]).convert("RGB")


def _as_large(color: Image, grey: Image) -> Image:
    """Returns a color's plane at the size of the brightness: its last pixel may lie half beyond the edge."""
    from PIL.Image import Resampling

    width, height = (
        of_grey / 2 if of_color < of_grey else of_grey for of_color, of_grey in zip(color.size, grey.size, strict=True)
    )
    return color.resize(grey.size, Resampling.BILINEAR, box=(0, 0, width, height))
