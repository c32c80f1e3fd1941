"""SVHN as it was published: ``train_32x32.mat`` and ``test_32x32.mat``, MATLAB 5 files of cropped digits.

``X`` is uint8 ``[32, 32, 3, N]`` and ``y`` ``[N, 1]`` with 10 for the digit 0, as the 2016 code read them.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from igan_zoo.errors import DataError
from igan_zoo.images.formats.matlab_file import NUMBERS, LaterMatlabError, Variable, list_variables, read_variable
from igan_zoo.images.memory import MemorySource
from igan_zoo.images.splits import choose_split
from igan_zoo.machine.files import reading

_SUFFIX = "_32x32.mat"
_SIDE = (32, 32, 3)


def has_svhn_files(root: Path) -> bool:
    """Tells whether the folder ``root`` has SVHN's own files."""
    return any(root.glob(f"*{_SUFFIX}"))


def open_svhn(root: Path, split: str | None = None) -> MemorySource:
    """Reads the file of a split, uint8 ``[N, 32, 32, 3]`` and labels in [0, 9].

    Its types and sizes are checked before its contents are read.

    Raises:
        DataError: the split is missing, or the file is not as SVHN's are.
    """
    names = [file.name.removesuffix(_SUFFIX) for file in root.glob(f"*{_SUFFIX}")]
    path = root / f"{choose_split(str(root), names, split)}{_SUFFIX}"
    with reading(path, "a MATLAB file", DataError):
        try:
            variables = list_variables(path)
        except LaterMatlabError:
            raise DataError(f"{path} is a MATLAB 7.3 file; give SVHN's own, or save it with -v7.") from None
        pixels, digits = _checked(path, variables)
        images, numbers = read_variable(path, pixels), read_variable(path, digits).ravel().astype(np.float64)
    if not np.isfinite(numbers).all():
        raise DataError(f"{path} has labels that are not numbers, but SVHN's go from 1 to 10.")
    labels = numbers.astype(np.int64)
    if not 1 <= labels.min() <= labels.max() <= 10:
        raise DataError(f"{path} has labels from {labels.min()} to {labels.max()}, but SVHN's go from 1 to 10.")
    return MemorySource(np.moveaxis(images, -1, 0), str(path), [path], labels % 10, "0123456789")


def _checked(path: Path, variables: dict[str, Variable]) -> tuple[Variable, Variable]:
    """Returns pixels and labels, if they are promised as SVHN's are."""
    missing = Variable("missing", (), 0, 0, False)
    pixels, labels = variables.get("X", missing), variables.get("y", missing)
    if pixels.kind != "uint8" or pixels.shape[:-1] != _SIDE or pixels.shape[-1] == 0:
        raise DataError(f"{path} must have X of uint8 [32, 32, 3, N], but it is {pixels.kind} {list(pixels.shape)}.")
    count = pixels.shape[-1]
    if labels.kind not in NUMBERS or math.prod(labels.shape) != count:
        raise DataError(f"{path} must have {count} numbers in y, but it is {labels.kind} {list(labels.shape)}.")
    return pixels, labels
