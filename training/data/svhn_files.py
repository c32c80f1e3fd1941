"""SVHN as it was published: ``train_32x32.mat`` and ``test_32x32.mat``, MATLAB 5 files of cropped digits.

``X`` is uint8 ``[32, 32, 3, N]`` and ``y`` ``[N, 1]`` with 10 for the digit 0, as the 2016 code read them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, MissingExtraError, first_line
from igan_zoo.training.data.labelled_images import Picture

_SUFFIX = "_32x32.mat"
_SIDE = (32, 32, 3)
_NUMBERS = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "single", "double"}


@dataclass(frozen=True)
class SvhnListing:
    """The pixels of one file, uint8 ``[32, 32, 3, N]``, and its labels, int64 ``[N]``, in [0, 9]."""

    source: str
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    @property
    def classes(self) -> tuple[str, ...]:
        """The ten digits."""
        return tuple("0123456789")

    def __len__(self) -> int:
        return len(self.labels)

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yields the images from index ``start`` on."""
        for index in range(start, len(self)):
            name = f"Image {index} of {self.source}"
            yield Picture(name, np.ascontiguousarray(self.pixels[..., index]), int(self.labels[index]))

    def fingerprint(self) -> str:
        """Returns the sha256 over the labels."""
        return hashlib.sha256(self.labels.tobytes()).hexdigest()


def has_svhn_files(root: Path) -> bool:
    """Tells whether the folder ``root`` has SVHN's own files."""
    return any(root.glob(f"*{_SUFFIX}"))


def list_svhn(root: Path, split: str) -> SvhnListing:
    """Reads the file of a split; its types and sizes are checked before its contents are.

    Raises:
        DataError: the split is missing, or the file is not as SVHN's are.
        MissingExtraError: scipy is not installed.
    """
    try:
        from scipy.io import loadmat, whosmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise MissingExtraError("Reading .mat files needs the data extra: pip install 'igan-zoo[data]'.") from None
    path = root / f"{split}{_SUFFIX}"
    if not path.is_file():
        splits = ", ".join(sorted(file.name.removesuffix(_SUFFIX) for file in root.glob(f"*{_SUFFIX}")))
        raise DataError(f"{root} has no split {split!r}: there is no {path.name}; it has {splits}.")
    try:
        _check(path, {name: (shape, kind) for name, shape, kind in whosmat(str(path))})
        contents = loadmat(str(path), variable_names=["X", "y"])
    except NotImplementedError:
        raise DataError(f"{path} is a MATLAB 7.3 file; give SVHN's own, or save it with -v7.") from None
    except (OSError, ValueError, TypeError, KeyError, IndexError, zlib.error, MatReadError) as error:
        raise DataError(f"{path} is damaged or no MATLAB file: {first_line(error)}") from error
    labels = contents["y"].ravel().astype(np.int64)
    if not 1 <= labels.min() <= labels.max() <= 10:
        raise DataError(f"{path} has labels from {labels.min()} to {labels.max()}, but SVHN's go from 1 to 10.")
    return SvhnListing(str(path), contents["X"], labels % 10)


def _check(path: Path, variables: dict[str, tuple[tuple[int, ...], str]]) -> None:
    pixels_shape, pixels_kind = variables.get("X", ((), "missing"))
    labels_shape, labels_kind = variables.get("y", ((), "missing"))
    if pixels_kind != "uint8" or pixels_shape[:-1] != _SIDE or pixels_shape[-1] == 0:
        raise DataError(f"{path} must have X of uint8 [32, 32, 3, N], but it is {pixels_kind} {list(pixels_shape)}.")
    if labels_kind not in _NUMBERS or int(np.prod(labels_shape)) != pixels_shape[-1]:
        raise DataError(
            f"{path} must have {pixels_shape[-1]} numbers in y, but it is {labels_kind} {list(labels_shape)}."
        )
