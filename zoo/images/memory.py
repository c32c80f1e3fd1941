"""Images that are in memory, or listed one by one, as a source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError
from igan_zoo.images.findings import Finding
from igan_zoo.images.given import stored_images
from igan_zoo.images.pixels import ImageArray
from igan_zoo.images.stored import Content, LabeledSource, StoredImage

if TYPE_CHECKING:
    from igan_zoo.images.given import GivenImage, GivenImages


class MemorySource(LabeledSource):
    """Images of one size, uint8 ``[N, H, W, C]``: an array, or something that is indexed like one."""

    encoded = False

    def __init__(
        self,
        images: ImageArray,
        reference: str = "the array",
        paths: Sequence[Path] = (),
        labels: NDArray[np.int64] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        super().__init__(reference, paths, labels, classes)
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        return list(self.images[np.asarray(indices, np.int64)])

    def fingerprint(self) -> str:
        """Returns the sha256 over the shape and all pixels."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        for start in range(0, len(self), 1000):
            digest.update(self.images[start : start + 1000].tobytes())
        return digest.hexdigest()


class ListedImages(LabeledSource):
    """Images of any sizes, one by one: files, bytes of files, or pixels."""

    def __init__(self, images: Sequence[StoredImage], reference: str) -> None:
        super().__init__(reference)
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return self.images[index].name

    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        return [self.images[index].content for index in indices]

    def fingerprint(self) -> str:
        """Returns the sha256 over every file, or shape and pixels."""
        digest = hashlib.sha256()
        for image in self.images:
            content = image.content
            if isinstance(content, np.ndarray):
                digest.update(repr(content.shape).encode() + content.tobytes())
            else:
                content = content.read_bytes() if isinstance(content, Path) and content.is_file() else content
                digest.update(hashlib.sha256(content if isinstance(content, bytes) else b"unreadable").digest())
        return digest.hexdigest()


class JoinedSource(LabeledSource):
    """Several sources as one, in their order."""

    def __init__(self, sources: Sequence[LabeledSource]) -> None:
        super().__init__(", ".join(source.reference for source in sources))
        self.sources = sources
        self.findings = tuple(finding for source in sources for finding in source.findings)
        self.encoded = any(source.encoded for source in sources)
        self._starts = np.cumsum([0, *map(len, sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def name(self, index: int) -> str:
        source, inside = self._place(index)
        return source.name(inside)

    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        return [source.fetch([inside])[0].content for source, inside in map(self._place, indices)]

    def _place(self, index: int) -> tuple[LabeledSource, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.sources[number], int(index - self._starts[number])

    def fingerprint(self) -> str:
        """Returns the sha256 over those of the sources."""
        return hashlib.sha256("\n".join(source.fingerprint() for source in self.sources).encode()).hexdigest()


def list_given(images: GivenImages) -> ListedImages:
    """Lists what ``stored_images`` takes; the source is called by the folders among it, and has their findings.

    Raises:
        ImageError: a folder without images, or something that is no image.
    """
    given = images if isinstance(images, list | tuple) else [images]
    folders = [str(one) for one in given if isinstance(one, str | PathLike) and Path(one).is_dir()]
    findings: list[Finding] = []
    source = ListedImages(stored_images(images, findings), ", ".join(folders) or "the images")
    source.findings = tuple(findings)
    return source


def open_memory(images: NDArray[Any] | Iterable[GivenImage]) -> MemorySource | ListedImages:
    """Opens an array, uint8 ``[N, H, W, C]`` or ``[N, H, W]``, or an iterable of images, which is kept in memory.

    Raises:
        DataError: the array is another one, or there is no image.
        ImageError: an image is nothing that ``stored_images`` takes.
    """
    if isinstance(images, np.ndarray):
        array = images[..., None] if images.ndim == 3 else images
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
            raise DataError(
                f"The array is {images.dtype} {list(images.shape)}; give uint8 [N, H, W, C] with C = 1 or 3, or "
                "[N, H, W]."
            )
        return MemorySource(array)
    listed = list_given(images)
    if not len(listed):
        raise DataError("There are no images to read.")
    return listed
