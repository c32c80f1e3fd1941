"""Drawing images from an exported generator by their address (seed, index), and writing them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import OutputError
from igan_zoo.files import atomic_directory, atomic_file
from igan_zoo.images import encode_png
from igan_zoo.latents import Distribution, latents
from igan_zoo.progress import Progress
from igan_zoo.serving.engine import Engine


def sample(
    engine: Engine, distribution: Distribution, *, seed: int, start: int, count: int, batch_size: int
) -> Iterator[NDArray[np.uint8]]:
    """Yields images ``start`` to ``start + count - 1`` of ``seed`` in batches, uint8 ``[n, H, W, C]``."""
    (size,) = engine.graphs["generator"].input_shape
    for first in range(start, start + count, batch_size):
        n = min(batch_size, start + count - first)
        z = latents(size, distribution, seed=seed, start=first, count=n)
        yield engine.run("generator", {"latent": z})["images"]


def write_samples(
    out: Path,
    batches: Iterator[NDArray[np.uint8]],
    *,
    image_shape: tuple[int, ...],
    seed: int,
    start: int,
    count: int,
    replace: bool,
) -> NDArray[np.uint8]:
    """Writes a stream of images to ``out`` in bounded memory and returns the first hundred, for a grid.

    A path that ends in ``.npz`` becomes an archive with ``images`` uint8 ``[N, H, W, C]``, ``seed`` and ``start``; one
    without a suffix a folder of PNG files named by index.

    Raises:
        OutputError: another suffix, an existing folder without ``replace``, or a place that cannot be written.
    """
    if out.suffix == ".npz":
        return _write_npz(out, batches, (count, *image_shape), seed=seed, start=start)
    if out.suffix == "":
        return _write_folder(out, batches, start=start, count=count, replace=replace)
    raise OutputError(f"Cannot write samples as {out.suffix}: end --out in .npz, or name a folder for PNG files.")


def _write_npz(
    out: Path, batches: Iterator[NDArray[np.uint8]], shape: tuple[int, ...], *, seed: int, start: int
) -> NDArray[np.uint8]:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    shown = _FirstImages()
    with atomic_file(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, number in (("seed", np.uint64(seed)), ("start", np.int64(start))):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(number))
        with (
            archive.open("images.npy", "w", force_zip64=True) as member,
            Progress("sampling", shape[0], unit="images") as bar,
        ):
            np.lib.format.write_array_header_2_0(member, header)
            for images in batches:
                member.write(np.ascontiguousarray(images).data)
                shown.add(images)
                bar.advance(len(images))
    return shown.images


def _write_folder(
    out: Path, batches: Iterator[NDArray[np.uint8]], *, start: int, count: int, replace: bool
) -> NDArray[np.uint8]:
    shown = _FirstImages()
    with atomic_directory(out, replace=replace) as temporary, Progress("sampling", count, unit="images") as bar:
        index = start
        for images in batches:
            for image in images:
                encode_png(temporary / f"{index:08d}.png", image)
                index += 1
            shown.add(images)
            bar.advance(len(images))
    return shown.images


class _FirstImages:
    """Keeps the first hundred images of a stream."""

    def __init__(self) -> None:
        self._kept: list[NDArray[np.uint8]] = []
        self._missing = 100

    def add(self, images: NDArray[np.uint8]) -> None:
        if self._missing > 0:
            self._kept.append(images[: self._missing].copy())
            self._missing -= len(self._kept[-1])

    @property
    def images(self) -> NDArray[np.uint8]:
        return np.concatenate(self._kept)
