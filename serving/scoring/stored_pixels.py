"""Images as other tools read them: ``Image.open(file).convert("RGB")``, and nothing else.

torch-fidelity, pytorch-fid and clean-fid leave an image on its side where its camera says how it was held, and take
whatever color its transparent pixels happen to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.images.pixels import decode_image, read_image
from igan_zoo.serving.stored_images import ImageSource, StoredImage

# What the resize of a record says then, so that such numbers do not compare with others.
AS_STORED = ", pixels as stored"


@dataclass(frozen=True)
class StoredPixels:
    """A source whose images are decoded as they are stored; arrays have nothing that could be ignored."""

    source: ImageSource

    @property
    def reference(self) -> str:
        return self.source.reference

    @property
    def encoded(self) -> bool:
        return self.source.encoded

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        return [_AsStored(image.name, image.content) for image in self.source.fetch(indices)]

    def fingerprint(self) -> str:
        return self.source.fingerprint()


@dataclass(frozen=True)
class _AsStored(StoredImage):
    def decode(self, channels: int) -> NDArray[np.uint8]:
        if isinstance(self.content, Path):
            return read_image(self.content, channels=channels, as_stored=True)
        if isinstance(self.content, bytes):
            return decode_image(self.content, self.name, channels=channels, as_stored=True)
        return super().decode(channels)
