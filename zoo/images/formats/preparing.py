"""Decodes a data set once into shards, and goes on with an interrupted one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ChecksumError, DataError, OutputError
from igan_zoo.images.folders.source import FolderSource
from igan_zoo.images.formats.parquet import ParquetSource
from igan_zoo.images.formats.shards import MANIFEST, Manifest, Shard, open_shards, read_manifest, verify_shard
from igan_zoo.images.hub_data import HubFile
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.images.loading import UsableImages, refuse_lost_classes, report_skipped
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import LabeledSource
from igan_zoo.images.summary import log_summary
from igan_zoo.machine.files import alone, atomic_file, refuse_small_disk, refuse_unwritable, sha256_of
from igan_zoo.machine.progress import Progress

# 201 MB at 128x128x3.
SHARD_IMAGES = 4096


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
) -> LabeledImages:
    """Decodes one split of a source into shards of ``shard_images`` images in the directory ``out``, and opens them.

    ``source`` and ``labels_file`` are as for ``open_source``; images become ``size`` x ``size``, by default their
    central squares. If ``out`` has shards of the same already, those whose sums are right are kept, and everything from
    the first other one on is decoded.

    Raises:
        DataError: as for ``open_source``.
        OutputError: ``out`` holds something else, or cannot be written, or its disk is too small.
        DataError: no image of all, or of a class, can be used, or more than half are smaller than ``size``.
        ImageError: an image cannot be used, and ``strict`` is true.
    """
    if (Path(source) / MANIFEST).is_file():
        raise DataError(f"{source} holds shards already; give the source they were made from.")
    _refuse_other_contents(out)
    refuse_unwritable(out)
    opened = open_source(source, split=split, labeled=True, labels_file=labels_file, stream=True)
    log_summary(opened, opened.reference)
    new = Manifest(
        source=opened.reference,
        split=split,
        fingerprint=_fingerprint(opened, labels_file),
        height=size,
        width=size,
        channels=channels,
        crop=crop,
        classes=opened.classes,
    )
    with alone(out, OutputError(f"Another process is preparing {out}: wait for it, or choose another --out.")):
        manifest = _begin(out, new)
        if strict and manifest.skipped:
            raise DataError(f"{out} was prepared without --strict: {manifest.skipped[0]}")
        if not manifest.complete:
            manifest = _write_shards(opened, out, manifest, strict, shard_images)
    report_skipped(manifest.skipped)
    prepared = open_shards(out).everything()
    refuse_lost_classes(opened.labels(range(len(opened))), prepared.labels, opened.classes, manifest.skipped)
    return prepared


def _write_shards(source: LabeledSource, out: Path, manifest: Manifest, strict: bool, shard_images: int) -> Manifest:
    """Decodes what ``manifest`` does not have yet, and returns the complete one."""
    start = manifest.shards[-1].end if manifest.shards else 0
    refuse_small_disk(out, (len(source) - start) * manifest.height * manifest.width * manifest.channels)
    usable = UsableImages(source, range(len(source)), manifest.shape, strict, start, list(manifest.skipped))
    # One shard is in memory at a time.
    size = min(shard_images, len(source))
    images = np.empty((size, manifest.height, manifest.width, manifest.channels), np.uint8)
    indices: list[int] = []
    for index, pixels in usable:
        images[len(indices)] = pixels
        indices.append(index)
        if len(indices) == size:
            manifest = _add_shard(out, manifest, images, source.labels(indices), index + 1, usable.skipped)
            indices = []
    if indices:
        filled = images[: len(indices)]
        manifest = _add_shard(out, manifest, filled, source.labels(indices), len(source), usable.skipped)
    manifest = msgspec.structs.replace(manifest, complete=True, skipped=tuple(usable.skipped))
    _write_manifest(out, manifest)
    return manifest


def _begin(out: Path, new: Manifest) -> Manifest:
    """Returns the manifest to continue with: ``new``, or that of the shards in ``out`` which are whole."""
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


def _fingerprint(source: LabeledSource, labels_file: Path | None) -> str:
    """Returns a sum over names, sizes, labels and classes; images are not read for it."""
    digest = hashlib.sha256(f"{len(source)}\0{source.classes!r}\0".encode())
    parts: Sequence[Path | HubFile] = source.paths
    if isinstance(source, FolderSource):
        parts = [source.root / file for file in source.files]
    elif isinstance(source, ParquetSource):
        parts = source.parts
    for part in parts:
        size = part.size if isinstance(part, HubFile) else part.stat().st_size
        digest.update(f"{part.name}\0{size}\n".encode("utf-8", "surrogateescape"))
    streamed = any(isinstance(part, HubFile) for part in parts)
    if streamed:
        digest.update(source.fingerprint().encode())
    # A stream has its own labels in the files, whose sums the Hub knows.
    if not streamed or labels_file is not None:
        digest.update(source.labels(range(len(source))).tobytes())
    return digest.hexdigest()


def _whole_shards(out: Path, manifest: Manifest) -> tuple[Shard, ...]:
    """Returns the shards before the first damaged one."""
    kept = []
    with Progress(f"checking {out}", len(manifest.shards), unit="shards") as progress:
        for shard in manifest.shards:
            try:
                verify_shard(out, shard)
            except ChecksumError:
                break
            kept.append(shard)
            progress.advance(1)
    return tuple(kept)


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
