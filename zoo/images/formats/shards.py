"""Shards: a data set decoded once into memory-mapped files, for data that memory cannot hold.

A directory of shards has ``images-00000.npy`` (uint8 ``[n, H, W, C]``), ``labels-00000.npy`` (int64 ``[n]``, -1 if
unknown) and so on, and ``manifest.json``, which names them with their sums. The manifest is rewritten after each shard,
so that an interrupted preparation goes on behind the last whole one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ChecksumError, DataError
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.images.memory import MemorySource
from igan_zoo.images.pixels import Shape
from igan_zoo.images.splits import means_split
from igan_zoo.machine.files import open_regular, sha256_of

MANIFEST = "manifest.json"

_Count = Annotated[int, Meta(ge=1)]
_FileName = Annotated[str, Meta(pattern=r"^(images|labels)-[0-9]{5,}\.npy$")]
_Sum = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Shard(Struct, frozen=True, forbid_unknown_fields=True):
    """One pair of files: ``count`` images, which end before index ``end`` of the source, ``skipped`` of it left out."""

    images: _FileName
    images_sha256: _Sum
    labels: _FileName
    labels_sha256: _Sum
    count: _Count
    end: _Count
    skipped: Annotated[int, Meta(ge=0)]


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the shards were made from, and all that are whole; ``complete`` when none is to come."""

    format: Literal["igan-zoo-shards-1"] = "igan-zoo-shards-1"
    source: str
    split: str
    fingerprint: str
    height: _Count
    width: _Count
    channels: _Count
    crop: bool
    classes: tuple[str, ...]
    complete: bool = False
    skipped: tuple[str, ...] = ()
    shards: tuple[Shard, ...] = ()

    @property
    def shape(self) -> Shape:
        """The shape of every image."""
        return Shape(self.channels, self.height, self.width, self.crop, upscale=False)

    @property
    def count(self) -> int:
        """How many images the shards hold."""
        return sum(shard.count for shard in self.shards)


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of a directory of shards.

    Raises:
        DataError: it is missing, or no manifest of shards.
    """
    try:
        with open_regular(path / MANIFEST) as file:
            return msgspec.json.decode(file.read(), type=Manifest)
    except FileNotFoundError:
        raise DataError(f"{path} holds no shards: it has no {MANIFEST}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path / MANIFEST} is not the manifest of shards: {error}.") from error


def verify_shard(path: Path, shard: Shard) -> None:
    """Checks every byte of one shard.

    Raises:
        ChecksumError: a file is missing, or its sum is not the promised one.
    """
    for name, promised in ((shard.images, shard.images_sha256), (shard.labels, shard.labels_sha256)):
        if not (path / name).is_file() or sha256_of(path / name) != promised:
            raise ChecksumError(f"{path / name} is missing or damaged; repeat the same igan-zoo prepare to restore it.")


class ShardedImages:
    """The arrays ``parts``, each uint8 ``[n, H, W, C]``, one after the other as uint8 ``[N, H, W, C]``.

    An index copies what it asks for and nothing else, so that memory maps stay on disk.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, parts: Sequence[NDArray[np.uint8]]) -> None:
        # A view as a plain array: indexing the class memmap itself is several times slower.
        self._parts = tuple(np.asarray(part) for part in parts)
        lengths = np.array([len(part) for part in self._parts])
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *self._parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: NDArray[np.int64] | slice, /) -> NDArray[np.uint8]:
        """Returns the images of a slice or of integers ``[n]`` in their order, uint8 ``[n, H, W, C]``.

        Raises:
            IndexError: an integer is out of range, or the index is neither.
        """
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index)
        if index.ndim != 1 or not (np.issubdtype(index.dtype, np.integer) or index.size == 0):
            raise IndexError(f"images are chosen by a slice or by integers [n], not by {index.dtype} {index.shape}")
        index = np.where(index < 0, index + len(self), index).astype(np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"an index is out of the range of {len(self)} images")
        chosen = np.empty((len(index), *self.shape[1:]), np.uint8)
        owners = np.searchsorted(self._ends, index, side="right")
        within = index - self._starts[owners]
        for place, (owner, row) in enumerate(zip(owners.tolist(), within.tolist(), strict=True)):
            chosen[place] = self._parts[owner][row]
        return chosen


class ShardSource(MemorySource):
    """The images of a directory of shards, which stay on disk until they are asked for, and their labels."""

    def __init__(self, path: Path, manifest: Manifest, images: ShardedImages, labels: NDArray[np.int64]) -> None:
        super().__init__(images, str(path), [path / MANIFEST], labels, manifest.classes)
        self.path, self.manifest = path, manifest

    def fingerprint(self) -> str:
        """Returns the sha256 over the sums of the shards, which are those of their files unless they are damaged."""
        sums = [f"{shard.images_sha256} {shard.labels_sha256}" for shard in self.manifest.shards]
        return hashlib.sha256("\n".join(sums).encode()).hexdigest()

    def everything(self) -> LabeledImages:
        """Returns all images and labels."""
        return LabeledImages(self.images, self.labels(range(len(self))), self.classes, self.manifest.skipped, self)

    def in_shape(self, shape: Shape) -> LabeledImages:
        """Returns all images and labels, which have to have ``shape``.

        Raises:
            DataError: they have another one.
        """
        has = self.manifest.shape
        if (has.height, has.width, has.channels) != (shape.height, shape.width, shape.channels):
            raise DataError(f"{self.path} holds images of {has}, not {shape}; prepare {self.manifest.source} again.")
        return self.everything()


def open_shards(path: Path, split: str | None = None) -> ShardSource:
    """Opens a directory of shards, those of ``split`` if it is given; nothing is read.

    Shapes and sizes are checked, sums are not: they would read all of it.

    Raises:
        DataError: the directory holds no shards, not all of them or another split, or a file is not what the manifest
            says.
    """
    manifest = _read_complete(path)
    if split is not None and not means_split(manifest.split, split):
        raise DataError(f"{path} holds the split {manifest.split!r} of {manifest.source}, not {split!r}.")
    parts, labels = [], []
    for shard in manifest.shards:
        images_shape = (shard.count, manifest.height, manifest.width, manifest.channels)
        parts.append(_open_array(path / shard.images, images_shape, np.uint8))
        labels.append(_open_array(path / shard.labels, (shard.count,), np.int64))
    joined = np.concatenate(labels)
    if not -1 <= joined.min() <= joined.max() < len(manifest.classes):
        raise DataError(f"{path} has labels outside its {counted(len(manifest.classes), 'class')}; prepare it again.")
    return ShardSource(path, manifest, ShardedImages(parts), joined)


def _read_complete(path: Path) -> Manifest:
    manifest = read_manifest(path)
    if not manifest.complete or not manifest.shards:
        raise DataError(
            f"{path} holds only {counted(manifest.count, 'image')} so far; run igan-zoo prepare again to continue."
        )
    return manifest


def _open_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is missing or damaged; repeat the same igan-zoo prepare to restore it.") from error
    if array.shape != shape or array.dtype != dtype:
        raise DataError(f"{path} is {array.dtype} {list(array.shape)}, but the manifest says {list(shape)}.")
    return array
