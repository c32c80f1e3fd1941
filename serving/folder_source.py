"""Images to score from a folder of PNG and JPEG files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from igan_zoo.errors import DataError
from igan_zoo.images.pixels import image_files
from igan_zoo.machine.files import sha256_of
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.stored_images import StoredImage, check_indices


@dataclass(frozen=True)
class FolderSource:
    """Files relative to ``root``, in sorted order."""

    root: Path
    files: tuple[str, ...]
    encoded = True

    @property
    def reference(self) -> str:
        return str(self.root)

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return self.files[index]

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        check_indices(indices, len(self))
        return [StoredImage(self.files[index], self.root / self.files[index]) for index in indices]

    def fingerprint(self) -> str:
        """Returns the sha256 over the name and the sha256 of every file, all of which are read."""
        digest = hashlib.sha256()
        with Progress(f"checking {self.root}", len(self), unit="images") as progress:
            for file in self.files:
                try:
                    content = sha256_of(self.root / file)
                except OSError:
                    content = "unreadable"
                digest.update(f"{file}\0{content}\n".encode("utf-8", "surrogateescape"))
                progress.advance(1)
        return digest.hexdigest()


def open_folder(root: Path) -> FolderSource:
    """Lists the PNG and JPEG files anywhere below ``root``, as ``image_files`` does.

    Raises:
        DataError: there is none.
    """
    files = tuple(image_files(root))
    if not files:
        raise DataError(f"There is no PNG or JPEG file in {root}.")
    return FolderSource(root, files)
