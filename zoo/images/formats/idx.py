"""MNIST as it was published, and sets in its format: ``train-images-idx3-ubyte`` and the labels beside it, also packed.

A file begins with two zeros, a type (8: bytes) and the number of dimensions; these follow, big-endian, then the bytes.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DataError
from igan_zoo.images.memory import MemorySource
from igan_zoo.images.pixels import MAX_PIXELS
from igan_zoo.images.splits import choose_split, split_kind
from igan_zoo.machine.files import open_regular, reading

_BYTES, _GZIP = b"\0\0\x08", b"\x1f\x8b"
# Twice what MNIST's largest relative, EMNIST by class, has.
_MOST_BYTES = 2**30
_TEST = "t10k"


def is_idx_images(path: Path) -> bool:
    """Returns whether a file begins as images in this format do."""
    try:
        with open_regular(path) as file:
            start = file.read(4)
            if start.startswith(_GZIP):
                file.seek(0)
                with gzip.open(file) as unpacked:
                    start = unpacked.read(4)
            return start == _BYTES + b"\3"
    except (OSError, EOFError, zlib.error):
        return False


def idx_files(root: Path) -> dict[str, Path]:
    """Returns the files of images in a folder, by the split in their names."""
    found = {}
    for path in sorted(root.glob("*idx3-ubyte*")):
        words = re.split(r"[-._]", path.name)
        found[next((word for word in words if split_kind(word) or word == _TEST), path.name)] = path
    return found


def choose_idx(root: Path, split: str | None) -> Path:
    """Returns the file of a split, of which MNIST calls the test images ``t10k``.

    Raises:
        DataError: there is none.
    """
    files = {"test" if name == _TEST else name: path for name, path in idx_files(root).items()}
    return files[choose_split(str(root), files, split)]


def open_idx(path: Path, *, labeled: bool = False) -> MemorySource:
    """Reads grey images, uint8 ``[N, H, W, 1]``, and with ``labeled`` the file of labels that is named like theirs.

    Raises:
        DataError: a file is damaged or something else, or the labels are not as many as the images.
    """
    images = _read(path, 3)
    if images.shape[1] * images.shape[2] > MAX_PIXELS or 0 in images.shape:
        raise DataError(f"{path} has images of the impossible shape {list(images.shape)}.")
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    if not labeled or beside == path or not beside.is_file():
        return MemorySource(images[..., None], str(path), [path])
    values = _read(beside, 1)
    if len(values) != len(images):
        raise DataError(
            f"{beside} has {counted(len(values), 'label')}, but {path.name} has {counted(len(images), 'image')}."
        )
    known = np.unique(values)
    labels = np.searchsorted(known, values)
    return MemorySource(images[..., None], str(path), [path], labels, tuple(map(str, known.tolist())))


def _read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Returns the bytes of a file as an array, which is not larger than its header says."""
    with reading(path, "an IDX file of bytes", DataError), path.open("rb") as file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        with gzip.open(file) if packed else file as content:
            if content.read(4) != _BYTES + bytes((dimensions,)):
                raise DataError(f"{path} is not an IDX file of bytes with {dimensions} dimensions.")
            shape = struct.unpack(f">{dimensions}I", content.read(4 * dimensions))
            size = math.prod(shape)
            if size > _MOST_BYTES:
                raise DataError(f"{path} declares {size:,} bytes; at most {_MOST_BYTES:,} are read.")
            if not packed and path.stat().st_size != 4 + 4 * dimensions + size:
                raise DataError(f"{path} is damaged: {list(shape)} needs {size:,} bytes, and there are others.")
            values = content.read(size + 1)
        if len(values) != size:
            raise DataError(f"{path} is damaged: {list(shape)} needs {size:,} bytes, and there are others.")
        # No bytes may have a shape of which NumPy knows no array.
        return np.frombuffer(values, np.uint8).reshape(shape)
