"""Decoding image files safely: sizes are looked at first, and whatever Pillow raises becomes one sentence."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import io
import re
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError, first_line, pip_install
from igan_zoo.images.files.eighth import eighth
from igan_zoo.images.files.kinds import SNIFFED_BYTES, image_format, why_no_image
from igan_zoo.images.files.repair import ORIENTATION, noted_orientation, repaired
from igan_zoo.images.pixels import COLOR, MAX_PIXELS, Shape, central_box, conform, refuse_small
from igan_zoo.machine.files import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

# An encoded image of 16 million pixels with every bit of 16-bit RGBA and nothing compressed.
MAX_ENCODED_BYTES = 128 * 2**20
# So many pixels are decoded, and so many may a JPEG have of which libjpeg decodes a smaller version.
MAX_DECODED, MAX_REDUCED = 50_000_000, 200_000_000
# Of a JPEG in several scans libjpeg keeps all coefficients at any size, 2 bytes each: those of 200 megapixels whose
# colors have half the width and height, as cameras and telephones write them, or of 100 with all colors.
MAX_COEFFICIENTS = 300_000_000
# A smaller version keeps twice the pixels that are wanted, so that the filter of the last resize decides how it looks;
# images below so many pixels are decoded whole.
# Differs from the 2016 code: its conversion of ImageNet resizes every photo from the whole.
_SPARE, _WORTH_REDUCING = 2, 2_000_000
_BYTES_AT_ONCE = 2**20
# A progressive JPEG has some ten scans; each goes over the whole image, however few bytes it has.
_MOST_SCANS, _SCAN = 64, b"\xff\xda"
# Four images above MAX_PIXELS are in memory at a time, with 4 bytes a pixel and a copy, or one above MAX_DECODED.
_AT_ONCE = 4
_LARGE, _ALONE = threading.BoundedSemaphore(_AT_ONCE), threading.Lock()

_CLASSES = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "HEIC": ("pillow_heif", "HeifImageFile"),
}


def read_image(path: Path, shape: Shape = COLOR) -> NDArray[np.uint8]:
    """Returns the image file as uint8 ``[H, W, C]``, brought to ``shape`` as ``conform`` does.

    What the first bytes say counts, not the suffix. PNG, JPEG, WebP, TIFF, BMP, GIF, AVIF, and with the extra heic HEIC
    are decoded, the first picture where there are several, and only after the header promises at most 50 million
    pixels. A JPEG may have 200 million where fewer do for ``shape``: it is then decoded at a half, a quarter or an
    eighth, at least twice as large as ``shape``. A progressive one may have 100 million if no color is reduced. A
    camera's note of how it was held (EXIF) is followed. A JPEG that lacks only its end is whole, and damaged notes
    beside the pixels are left out.

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


def turned(image: Image) -> Image:
    """Returns Pillow's image as its camera was held: the orientation is all of EXIF that is read."""
    how = _turn(image)
    return image if how is None else image.transpose(how)


def _decode(file: IO[bytes], name: str, shape: Shape) -> NDArray[np.uint8]:
    kind = None
    try:
        start = file.read(SNIFFED_BYTES)
        kind = image_format(start)
        if kind is None:
            raise ImageError(f"{name} {why_no_image(start)}.")
        file.seek(0)
        return _read(kind, file, name, shape)
    except ImageError:
        raise
    except Exception as error:
        # Pillow raises whatever a damaged file makes it stumble over.
        return _read_repaired(kind, file, name, shape, error)


def _read_repaired(kind: str | None, file: IO[bytes], name: str, shape: Shape, error: Exception) -> NDArray[np.uint8]:
    """Tries what is left of a file without the parts that do not matter for its pixels."""
    file.seek(0)
    content = file.read(MAX_ENCODED_BYTES + 1) if kind in ("PNG", "JPEG") else b""
    for contents in repaired(kind, content) if len(content) <= MAX_ENCODED_BYTES else ():
        seen: list[bytes] = []
        try:
            pixels = [_read(str(kind), io.BytesIO(one), name, shape, seen) for one in contents]
        except ImageError:
            raise
        except Exception as again:
            error = again if isinstance(again, MemoryError) else error
        else:
            if len(set(seen)) == 1:
                return pixels[0]
    # How many bytes were left over when the file ended says nothing, and would tell equal faults apart.
    said = re.sub(r" \(\d+ bytes not processed\)", "", first_line(error))
    reason = "it needs more memory than is available." if isinstance(error, MemoryError) else said
    raise ImageError(f"{name} cannot be decoded: {reason}") from error


def _read(kind: str, file: IO[bytes], name: str, shape: Shape, seen: list[bytes] | None = None) -> NDArray[np.uint8]:
    """Returns an image brought to ``shape``; ``seen``, of a file that was repaired, gets a hash of its pixels before.

    What is missing from a file may change no pixel of the size of a network.
    """
    with _opened(kind, file, name) as image:
        width, height = image.size
        in_scans = kind == "JPEG" and not _in_rows(image)
        _refuse_large(image, kind, name, shape, in_scans=in_scans)
        # Pillow turns a TIFF itself.
        how = None if kind == "TIFF" or shape.as_stored else _turn(image)
        sideways = how is not None and int(how) > 1 and int(how) != 3
        picture: Image = image
        if kind == "JPEG" and not shape.as_stored:
            picture = _reduced(image, file, shape, sideways=sideways, regular=not in_scans and seen is None)
        decoded = picture.width * picture.height
        if decoded > MAX_DECODED:
            raise _too_large(name, picture)
        with ExitStack() as turns:
            for turn in _turns(width * height if in_scans else decoded):
                turns.enter_context(turn)
            refuse_small(*((height, width) if sideways else (width, height)), name, shape)
            picture.load()
            if seen is not None:
                seen.append(hashlib.sha256(picture.tobytes()).digest())
            if shape.as_stored:
                pixels = np.asarray(image.convert({1: "L", 3: "RGB"}[shape.channels]), np.uint8)
                return pixels.reshape(image.height, image.width, shape.channels)
            return conform(picture if how is None else picture.transpose(how), shape, name)


def _reduced(image: ImageFile, file: IO[bytes], shape: Shape, *, sideways: bool, regular: bool) -> Image:
    """Returns a JPEG that libjpeg decodes at the part of its size that is enough, or at an eighth what is decoded."""
    # Pillow hands libjpeg 64 KiB at a time otherwise, at each end of which it takes the slow way.
    image.decodermaxblock = _BYTES_AT_ONCE
    width, height = image.size
    part = _reduction(height, width, shape) if sideways else _reduction(width, height, shape)
    # An eighth may have its colors at a sixteenth.
    if regular and (part == 16 or (part == 8 and shape.channels == 1)):
        small = eighth(file, image, shape.channels, MAX_ENCODED_BYTES)
        if small is not None:
            return small
    part = min(part, 8)
    if part > 1:
        # Of grey the brightness alone is decoded.
        image.draft("L" if shape.channels == 1 else None, (width // part, height // part))
    return image


def _opened(kind: str, file: IO[bytes], name: str) -> ImageFile:
    """Opens a file as ``kind`` without decoding it.

    The format's class is called itself: ``Image.open`` has a limit of pixels of its own, which is that of the process.
    """
    if kind == "TIFF":
        _quiet_libtiff()
    module, title = _CLASSES[kind]
    try:
        opened: ImageFile = getattr(importlib.import_module(module), title)(file)
    except ImportError:
        if kind == "HEIC":
            raise ImageError(f"{name} is a HEIC photo: save it as JPEG, or {pip_install('heic')}.") from None
        raise ImageError(f"{name} is a {kind} image, which this version of Pillow cannot read: upgrade it.") from None
    return opened


@functools.cache
def _quiet_libtiff() -> None:
    """Keeps libtiff from printing each fault of a file: the error says it. Pillow itself turns its warnings off."""
    from PIL import _imaging

    # Where libtiff is a part of Pillow's own file, as on Windows, it cannot be reached.
    with suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def _turn(image: Image) -> Any:
    """Returns how ``transpose`` sets an image upright, or None."""
    from PIL.Image import Transpose

    try:
        noted = image.getexif().get(ORIENTATION)
    except Exception:
        # What a camera wrote beside the picture need not be readable: Pillow gives up at the first odd tag.
        noted = noted_orientation(image.info.get("exif", b""))
    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return turns.get(noted) if isinstance(noted, int) else None


def _reduction(width: int, height: int, shape: Shape) -> int:
    """Returns at which part of its size, 1, 2, 4, 8 or 16, a JPEG of ``width`` x ``height`` has pixels enough."""
    if shape.may_shrink and shape.width is None:
        return next((part for part in (1, 2, 4) if width * height <= MAX_DECODED * part**2), 8)
    if width * height < _WORTH_REDUCING or shape.width is None or shape.height is None:
        return 1
    left, top, right, bottom = central_box(width, height, shape) if shape.crop else (0, 0, width, height)
    spare = min((right - left) // shape.width, (bottom - top) // shape.height) // _SPARE
    return next(part for part in (16, 8, 4, 2, 1) if part <= max(1, spare))


def _turns(pixels: int) -> Sequence[AbstractContextManager[Any]]:
    """Returns what an image of so many pixels, or coefficients, has to wait for before it takes memory."""
    if pixels <= MAX_PIXELS:
        return ()
    return (_LARGE,) if pixels <= MAX_DECODED else (_ALONE, *[_LARGE] * _AT_ONCE)


def _refuse_large(image: ImageFile, kind: str, name: str, shape: Shape, *, in_scans: bool) -> None:
    pixels = image.width * image.height
    if kind != "JPEG" and pixels > MAX_DECODED:
        raise _too_large(name, image, "" if shape.width is None else ", or save it as JPEG")
    if pixels > MAX_REDUCED:
        raise ImageError(f"{name} has {image.width}x{image.height} pixels; a JPEG may have {MAX_REDUCED:,}.")
    if not in_scans:
        return
    if _coefficients(image) > MAX_COEFFICIENTS:
        raise ImageError(
            f"{name} has {image.width}x{image.height} pixels, too many for a progressive JPEG: save it as a baseline "
            "JPEG, or make it smaller."
        )
    # So many, but no more work for all together than in an image that is decoded whole.
    most = min(_MOST_SCANS, _MOST_SCANS * MAX_DECODED // pixels)
    if (scans := _scans(image)) > most:
        raise ImageError(f"{name} has {scans} scans, too many for its size: save it as a baseline JPEG.")


def _coefficients(image: ImageFile) -> float:
    """Returns about how many coefficients a JPEG has: those of a color that is stored smaller are fewer."""
    sizes: list[int] = [across * down for _, across, down, _ in getattr(image, "layer", ())]
    return image.width * image.height * sum(sizes) / max(sizes, default=1)


def _scans(image: ImageFile) -> int:
    """Returns about how many scans a JPEG has: entropy-coded data never looks like the marker of one.

    Pillow has read the header of the first.
    """
    file: Any = image.fp
    behind = file.tell()
    count = 1 + int(file.read(MAX_ENCODED_BYTES).count(_SCAN))
    file.seek(behind)
    return count


def _too_large(name: str, image: Image, otherwise: str = "") -> ImageError:
    return ImageError(
        f"{name} has {image.width}x{image.height} pixels; at most {MAX_DECODED:,} are decoded: make it smaller"
        f"{otherwise}."
    )


def _in_rows(image: ImageFile) -> bool:
    """Tells whether libjpeg decodes a JPEG row by row: else it keeps the coefficients of the whole, at any size."""
    file: Any = image.fp
    layers = getattr(image, "layers", 0)
    behind = file.tell()
    # Pillow has read the header of the first scan: is it that of all components?
    file.seek(max(0, behind - 8 - 2 * layers))
    begins = file.read(5)
    file.seek(behind)
    return "progressive" not in image.info and begins == bytes((0xFF, 0xDA, 0, 6 + 2 * layers, layers))
