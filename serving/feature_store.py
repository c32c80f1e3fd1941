"""Features of photos, computed once: kept by the content of the photo and the name of the encoder.

A folder has two files that only grow: ``keys.bin``, 16 bytes a photo, and ``rows.f16``, its features in float16. What a
killed process wrote last and not wholly is cut off by the next.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError, OutputError
from igan_zoo.machine.files import alone

_KEY_BYTES = 16
# Layers of so many photos stay in the processor's caches.
_BATCH = 8

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Photo:
    """A photo that may not have been decoded: its name, a key of its content, and how to decode it."""

    name: str
    key: bytes
    decode: Callable[[], Pixels]


def content_key(content: bytes) -> bytes:
    """Returns the key of a photo with these bytes."""
    return hashlib.sha256(content).digest()[:_KEY_BYTES]


@dataclass
class FeatureStore:
    """The features that a folder keeps; use it as a context manager, which only one process at a time may.

    Raises:
        OutputError: another process is at work there, or the folder cannot be written.
    """

    folder: Path
    width: int
    strict: bool = False
    skipped: list[str] = field(default_factory=list)
    computed: int = 0

    def __enter__(self) -> Self:
        busy = OutputError(f"Another process computes features in {self.folder}; wait for it.")
        self._alone = alone(self.folder, busy)
        self._alone.__enter__()
        try:
            self._keys, self._rows = self._open("keys.bin"), self._open("rows.f16")
            whole = min(self._size(self._keys) // _KEY_BYTES, self._size(self._rows) // (2 * self.width))
            self._keys.truncate(whole * _KEY_BYTES)
            self._rows.truncate(whole * 2 * self.width)
            self._keys.seek(0)
            known = self._keys.read()
        except BaseException:
            self._alone.__exit__(None, None, None)
            raise
        self._count = whole
        self._index = {known[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]: row for row in range(whole)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._keys.close()
        self._rows.close()
        self._alone.__exit__(kind, error, trace)

    def rows_of(
        self, photos: Iterable[Photo], encode: Callable[[Pixels], Rows], advance: Callable[[int], None]
    ) -> tuple[Rows, list[int]]:
        """Returns features float32 ``[n, width]`` of the usable photos, and where among ``photos`` those stand.

        ``encode`` maps photos uint8 ``[n, H, W, 3]`` to features; ``advance`` hears of every photo. ``skipped`` gets a
        sentence for each photo that cannot be decoded.

        Raises:
            ImageError: a photo cannot be decoded, and the store is ``strict``.
            OutputError: the disk is full.
        """
        places: list[int] = []
        rows: list[int] = []
        usable = self._usable(enumerate(photos), advance)
        while batch := list(islice(usable, _BATCH)):
            new = [(photo.key, pixels) for _, photo, pixels in batch if pixels is not None]
            if new:
                self._append([key for key, _ in new], encode(np.stack([pixels for _, pixels in new])))
            places += [place for place, _, _ in batch]
            rows += [self._index[photo.key] for _, photo, _ in batch]
        self._rows.flush()
        shape = (self._count, self.width)
        kept = np.memmap(self._rows.name, np.float16, "r", shape=shape) if rows else np.empty((0, self.width))
        return kept[np.array(rows, int)].astype(np.float32), places

    def _usable(
        self, photos: Iterable[tuple[int, Photo]], advance: Callable[[int], None]
    ) -> Iterator[tuple[int, Photo, Pixels | None]]:
        """Yields each photo with its pixels, or without where its features are known already."""
        for place, photo in photos:
            advance(1)
            pixels = None
            if photo.key not in self._index:
                try:
                    pixels = photo.decode()
                except ImageError as error:
                    if self.strict:
                        raise
                    self.skipped.append(str(error))
                    continue
            yield place, photo, pixels

    def _append(self, keys: list[bytes], features: Rows) -> None:
        # Rows first: a key without its row would be believed.
        try:
            self._rows.write(features.astype("<f2").tobytes())
            self._rows.flush()
            os.fsync(self._rows.fileno())
            self._keys.write(b"".join(keys))
            self._keys.flush()
        except OSError as error:
            raise OutputError(f"Cannot write {self.folder}: {error.strerror}.") from error
        for key in keys:
            self._index[key] = self._count
            self._count += 1
        self.computed += len(keys)

    def _open(self, name: str) -> IO[bytes]:
        try:
            return (self.folder / name).open("ab+")
        except OSError as error:
            raise OutputError(f"Cannot write {self.folder / name}: {error.strerror}.") from error

    @staticmethod
    def _size(file: IO[bytes]) -> int:
        return file.seek(0, 2)
