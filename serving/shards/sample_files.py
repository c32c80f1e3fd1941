"""The files of shards of samples: pixels as one array, or PNG files one behind the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.machine.files import atomic_file
from igan_zoo.serving.sample_writers import encoded

SAMPLES = ".npy"

Images = NDArray[np.uint8]


def write_pixels(path: Path, batches: Iterator[Images], count: int) -> None:
    """Writes ``count`` images, uint8 ``[n, H, W, C]`` in batches, as one array ``[count, H, W, C]``."""
    first = next(batches)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *first.shape[1:])}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(np.ascontiguousarray(first).data)
        for images in batches:
            file.write(np.ascontiguousarray(images).data)


def read_pixels(path: Path) -> Images:
    """Returns what ``write_pixels`` wrote, read as it is used."""
    pixels: Images = np.load(path, mmap_mode="r", allow_pickle=False)
    return pixels


def write_files(path: Path, batches: Iterator[Images], count: int) -> None:
    """Writes the PNG files of ``count`` images: their sizes, int64 ``[count]``, and then all their bytes."""
    files = [encoded(image) for images in batches for image in images]
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array(file, np.fromiter(map(len, files), np.int64, count))
        file.writelines(files)


def read_files(path: Path) -> list[bytes]:
    """Returns what ``write_files`` wrote."""
    with path.open("rb") as file:
        sizes = np.lib.format.read_array(file, allow_pickle=False)
        return [file.read(size) for size in sizes]
