"""Shards: a data set decoded once into memory-mapped files, for data that memory cannot hold.

A directory of shards has ``images-00000.npy`` (uint8 ``[n, H, W, C]``), ``labels-00000.npy`` (int64 ``[n]``, -1 if
unknown) and so on, and ``manifest.json``, which names them with their sums. The manifest is rewritten after each shard,
so that an interrupted preparation goes on behind the last whole one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from igan_zoo.errors import ChecksumError, DataError, OutputError
from igan_zoo.machine.files import alone, atomic_file, refuse_small_disk, sha256_of
from igan_zoo.machine.progress import Progress
from igan_zoo.training.data.decoding import UsableImages, report_skipped
from igan_zoo.training.data.labelled_images import LabelledImages, Listing, Shape
from igan_zoo.training.data.listing import list_images
from igan_zoo.training.data.sharded_images import ShardedImages

MANIFEST = "manifest.json"
# 201 MB at 128x128x3.
SHARD_IMAGES = 4096

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
        return Shape(self.height, self.width, self.channels, self.crop)

    @property
    def count(self) -> int:
        """How many images the shards hold."""
        return sum(shard.count for shard in self.shards)


def prepare_shards(
    source: str,
    split: str,
    out: Path,
    *,
    size: int,
    channels: Literal[1, 3] = 3,
    crop: bool = True,
    labels_file: Path | None = None,
    strict: bool = False,
    shard_images: int = SHARD_IMAGES,
) -> LabelledImages:
    """Decodes one split of a source into shards of ``shard_images`` images in the directory ``out``, and opens them.

    ``source`` and ``labels_file`` are as for ``list_images``; images become ``size`` x ``size``, by default their
    central squares. If ``out`` has shards of the same already, those whose sums are right are kept, and everything from
    the first other one on is decoded.

    Raises:
        DataError: as for ``list_images``.
        OutputError: ``out`` holds something else, or cannot be written, or its disk is too small.
        DataError: no image can be used, or more than half are smaller than ``size``.
        ImageError: an image cannot be used, and ``strict`` is true.
    """
    if (Path(source) / MANIFEST).is_file():
        raise DataError(f"{source} holds shards already; give what they were made from.")
    listing = list_images(source, split, labels_file=labels_file, stream=True)
    shape = Shape(size, size, channels, crop)
    _refuse_other_contents(out)
    with alone(out, OutputError(f"Another process prepares {out}: wait for it, or choose another --out.")):
        manifest = _begin(listing, split, out, shape)
        if strict and manifest.skipped:
            raise DataError(f"{out} was prepared without --strict: {manifest.skipped[0]}")
        if not manifest.complete:
            manifest = _write_shards(listing, out, manifest, strict, shard_images)
    report_skipped(manifest.skipped)
    return open_shards(out)


def _write_shards(listing: Listing, out: Path, manifest: Manifest, strict: bool, shard_images: int) -> Manifest:
    """Decodes what ``manifest`` does not have yet, and returns the complete one."""
    shape = manifest.shape
    start = manifest.shards[-1].end if manifest.shards else 0
    refuse_small_disk(out, (len(listing) - start) * shape.height * shape.width * shape.channels)
    usable = UsableImages(listing, shape, strict, start, list(manifest.skipped))
    # One shard is in memory at a time.
    size = min(shard_images, len(listing))
    images = np.empty((size, shape.height, shape.width, shape.channels), np.uint8)
    labels = np.empty(size, np.int64)
    filled = 0
    for index, picture, pixels in usable:
        images[filled], labels[filled] = pixels, picture.label
        filled += 1
        if filled == size:
            manifest = _add_shard(out, manifest, images, labels, index + 1, usable.skipped)
            filled = 0
    if filled:
        manifest = _add_shard(out, manifest, images[:filled], labels[:filled], len(listing), usable.skipped)
    if not manifest.shards:
        raise usable.nothing_usable()
    manifest = msgspec.structs.replace(manifest, complete=True, skipped=tuple(usable.skipped))
    _write_manifest(out, manifest)
    return manifest


def _begin(listing: Listing, split: str, out: Path, shape: Shape) -> Manifest:
    """Returns the manifest that is to be gone on with: a new one, or that of the shards which are whole."""
    new = Manifest(
        source=listing.source,
        split=split,
        fingerprint=listing.fingerprint(),
        height=shape.height,
        width=shape.width,
        channels=shape.channels,
        crop=shape.crop,
        classes=listing.classes,
    )
    for rest in out.glob(".*.part"):
        rest.unlink()
    found = read_manifest(out) if (out / MANIFEST).exists() else new
    if not found.shards:
        _write_manifest(out, new)
        return new
    if msgspec.structs.replace(found, source=new.source, complete=False, skipped=(), shards=()) != new:
        raise OutputError(
            f"{out} holds shards of the split {found.split!r} of {found.source} as {found.shape}, made from other data "
            "or with other settings; choose another --out."
        )
    kept = _whole_shards(out, found)
    if len(kept) < len(found.shards) or not found.complete:
        skipped = found.skipped[: kept[-1].skipped] if kept else ()
        return msgspec.structs.replace(found, complete=False, skipped=skipped, shards=kept)
    return found


def _refuse_other_contents(out: Path) -> None:
    if not (out / MANIFEST).exists() and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} already exists and holds no shards; choose another --out.")


def _whole_shards(out: Path, manifest: Manifest) -> tuple[Shard, ...]:
    """Returns the shards before the first damaged one."""
    kept = []
    with Progress(f"checking {out}", len(manifest.shards), unit="shards") as progress:
        for shard in manifest.shards:
            try:
                _verify(out, shard)
            except ChecksumError:
                break
            kept.append(shard)
            progress.advance(1)
    return tuple(kept)


def _verify(out: Path, shard: Shard) -> None:
    for name, promised in ((shard.images, shard.images_sha256), (shard.labels, shard.labels_sha256)):
        if not (out / name).is_file() or sha256_of(out / name) != promised:
            raise ChecksumError(f"{out / name} is missing or damaged; the same igan-zoo prepare makes it again.")


def _add_shard(
    out: Path, manifest: Manifest, images: NDArray[np.uint8], labels: NDArray[np.int64], end: int, skipped: list[str]
) -> Manifest:
    """Writes a shard, then the manifest with it, each whole or not at all."""
    number = f"{len(manifest.shards):05d}"
    sums = []
    for kind, values in (("images", images), ("labels", labels)):
        path = out / f"{kind}-{number}.npy"
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.lib.format.write_array(file, values, allow_pickle=False)
        sums.append((path.name, sha256_of(path)))
    (images_name, images_sum), (labels_name, labels_sum) = sums
    shard = Shard(images_name, images_sum, labels_name, labels_sum, len(labels), end, len(skipped))
    manifest = msgspec.structs.replace(manifest, shards=(*manifest.shards, shard), skipped=tuple(skipped))
    _write_manifest(out, manifest)
    return manifest


def _write_manifest(out: Path, manifest: Manifest) -> None:
    with atomic_file(out / MANIFEST) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def read_manifest(path: Path) -> Manifest:
    """Reads the manifest of a directory of shards.

    Raises:
        DataError: it is missing, or no manifest of shards.
    """
    try:
        return msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise DataError(f"{path} holds no shards: it has no {MANIFEST}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path / MANIFEST} is not the manifest of shards: {error}.") from error


def verify_shards(path: Path) -> None:
    """Checks every byte of a directory of shards.

    Raises:
        DataError: the directory holds no shards, or not all.
        ChecksumError: a file is missing, or its sum is not the promised one.
    """
    for shard in _read_complete(path).shards:
        _verify(path, shard)


def open_shards(path: Path) -> LabelledImages:
    """Opens a directory of shards; the images stay on disk until they are asked for.

    Shapes and sizes are checked, sums are not: they would read all of it (``verify_shards`` does).

    Raises:
        DataError: the directory holds no shards or not all of them, or a file is not what the manifest says.
    """
    manifest = _read_complete(path)
    parts, labels = [], []
    for shard in manifest.shards:
        images_shape = (shard.count, manifest.height, manifest.width, manifest.channels)
        parts.append(_open_array(path / shard.images, images_shape, np.uint8))
        labels.append(_open_array(path / shard.labels, (shard.count,), np.int64))
    joined = np.concatenate(labels)
    if not -1 <= joined.min() <= joined.max() < len(manifest.classes):
        raise DataError(f"{path} has labels that are none of its {len(manifest.classes)} classes; prepare it again.")
    return LabelledImages(ShardedImages(parts), joined, manifest.classes, manifest.skipped)


def _read_complete(path: Path) -> Manifest:
    manifest = read_manifest(path)
    if not manifest.complete or not manifest.shards:
        raise DataError(f"{path} holds only {manifest.count} images so far; the same igan-zoo prepare goes on with it.")
    return manifest


def _open_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is missing or damaged; the same igan-zoo prepare makes it again.") from error
    if array.shape != shape or array.dtype != dtype:
        raise DataError(f"{path} is {array.dtype} {list(array.shape)}, but the manifest says {list(shape)}.")
    return array
