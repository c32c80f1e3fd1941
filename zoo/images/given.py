"""Images as a Python program has them: paths, bytes, Pillow images and arrays, one or many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError
from igan_zoo.images.files.decoding import turned
from igan_zoo.images.findings import Finding
from igan_zoo.images.folders.listing import list_images
from igan_zoo.images.pixels import Shape, conform
from igan_zoo.images.stored import StoredImage

if TYPE_CHECKING:
    from PIL.Image import Image

    # One image, or for a folder or an array of four axes several.
    GivenImage = str | PathLike[str] | bytes | Image | NDArray[np.uint8]
    GivenImages = GivenImage | Iterable[GivenImage]

_GRAY = ("1", "L", "LA", "La", "F")


def stored_images(images: GivenImages, findings: list[Finding] | None = None) -> list[StoredImage]:
    """Returns images as they are before decoding, in order.

    A folder stands for every image file below it, sorted by name; what it passes over is added to ``findings``. Bytes
    are those of an image file. Arrays are uint8 ``[H, W]``, ``[H, W, C]`` or ``[N, H, W, C]`` with C = 1 or 3. What is
    no file is called by its place.

    Raises:
        ImageError: a folder without images, or something that is none of these.
    """
    one = isinstance(images, str | PathLike | bytes | np.ndarray) or _is_pillow(images)
    given = [images] if one else cast("Iterable[GivenImage]", images)
    found: list[StoredImage] = []
    findings = [] if findings is None else findings
    for image in given:
        for name, content in _contents(image, findings):
            found.append(StoredImage(name or f"image {len(found)}", content))
    return found


def _contents(image: Any, findings: list[Finding]) -> Iterator[tuple[str | None, Path | bytes | NDArray[np.uint8]]]:
    """Yields the name, if it has one, and the content of each image that ``image`` stands for."""
    if isinstance(image, str | PathLike):
        path = Path(image)
        files = _files_below(path, findings) if path.is_dir() else [path]
        yield from ((str(file), file) for file in files)
    elif isinstance(image, bytes):
        yield None, image
    elif isinstance(image, np.ndarray):
        yield from ((None, pixels) for pixels in _rows(image))
    elif _is_pillow(image):
        yield None, _pixels(image)
    else:
        raise ImageError(
            f"An image is a path, the bytes of a file, a Pillow image or an array of uint8, not {type(image).__name__}."
        )


def _files_below(folder: Path, findings: list[Finding]) -> list[Path]:
    listing = list_images(folder)
    if not listing.files:
        unread = "".join(f"; it has {finding}" for finding in listing.findings if not finding.expected)
        raise ImageError(f"There is no image in {folder}{unread}.")
    findings += listing.findings
    return [folder / name for name in listing.files]


def _rows(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns an array of one image or several as ``[N, H, W, C]``."""
    shaped = array[None, :, :, None] if array.ndim == 2 else array[None] if array.ndim == 3 else array
    if array.dtype != np.uint8 or shaped.ndim != 4 or shaped.shape[3] not in (1, 3) or 0 in shaped.shape[1:]:
        raise ImageError(
            "An array of images is uint8 [H, W], [H, W, C] or [N, H, W, C] with C = 1 or 3; this one is "
            f"{array.dtype} {list(array.shape)}."
        )
    return shaped


def _pixels(image: Image) -> NDArray[np.uint8]:
    """Returns Pillow's image at its own size as a file's would be: turned as its camera noted, on black, of 8 bits."""
    image = turned(image)
    channels = 1 if image.mode in _GRAY or image.mode.startswith("I") else 3
    return conform(image, Shape(channels))


def _is_pillow(image: Any) -> bool:
    # Without importing Pillow: whoever has such an image has imported it.
    return any(kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(image).__mro__)
