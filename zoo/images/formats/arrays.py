"""Images from NumPy's ``.npy`` and ``.npz`` files, read in pieces from where they lie in the file."""

from __future__ import annotations

import math
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, OutputError, first_line
from igan_zoo.images.pixels import MAX_PIXELS
from igan_zoo.images.splits import choose_split, split_kind
from igan_zoo.images.stored import Content, LabeledSource, consecutive_runs
from igan_zoo.machine.files import reading, refuse_small_disk

_IMAGES = "images"
# What labels are called beside images of the same array's name, such as x_train, or beside whatever images there are.
_LABELS = {"images": "labels", "x": "y", "X": "y", "data": "labels", "arr_0": "arr_1"}
_USUAL_LABELS = ("labels", "label", "y", "targets")
# What tools call the mean and the covariance of features.
_STATISTICS = {"mu", "sigma", "mean", "cov", "ref_mu", "ref_sigma"}
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 1
_BYTES_AT_ONCE = 2**18


class ArraySource(LabeledSource):
    """Images uint8 ``[N, H, W, C]`` that lie one behind the other in ``file`` from byte ``offset`` on.

    ``path`` is the file that they came from, and ``file`` often the same. ``reference`` says which array was taken.
    """

    encoded = False

    def __init__(self, path: Path, file: IO[bytes], offset: int, shape: tuple[int, ...], reference: str) -> None:
        super().__init__(reference, [path])
        self._file, self._offset, self._shape = file, offset, shape
        weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return self._shape[0]

    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        images: list[Content] = []
        for first, count in consecutive_runs(indices):
            shape = (count, *self._shape[1:])
            self._file.seek(self._offset + first * math.prod(shape[1:]))
            content = self._file.read(math.prod(shape))
            if len(content) != math.prod(shape):
                raise DataError(f"{self.paths[0]} ended while it was being read; it was changed.")
            images += list(np.frombuffer(content, np.uint8).reshape(shape))
        return images


def open_npy(path: Path) -> ArraySource:
    """Opens a ``.npy`` file without reading its images.

    Raises:
        DataError: it is missing, damaged, or not uint8 ``[N, H, W, C]`` with C = 1 or 3, or ``[N, H, W]``, and N > 0.
    """
    with reading(path, "a .npy file", DataError):
        return _open_array(path, path.open("rb"), 0, path.stat().st_size, str(path))


def open_npz(path: Path, split: str | None = None, *, labeled: bool = False) -> ArraySource:
    """Opens the array ``images`` of a ``.npz`` file, or else its only array of images, or the one named for ``split``.

    What is stored as ``np.savez`` does is read once, for its checksum, and then in place. What
    ``np.savez_compressed`` wrote is unpacked once, to a temporary file without a name.

    With ``labeled`` an array ``labels``, integers ``[N]``, has the labels, -1 for none; their sorted values are the
    classes. Beside ``x_train`` it is called ``y_train``, beside ``arr_0`` ``arr_1``.

    Raises:
        DataError: it is missing, damaged, has no such array or several, or it is not as for ``open_npy``; or the labels
            are others.
        OutputError: the folder of temporary files has no room to unpack it.
    """
    with reading(path, "a complete .npz file", DataError), zipfile.ZipFile(path) as archive:
        key = _choose(path, archive, split)
        member = archive.getinfo(f"{key}.npy")
        reference = f"{path}[{key}]"
        if member.flag_bits & _ENCRYPTED:
            raise DataError(f"{path} is encrypted; save it without a password.")
        if member.compress_type == zipfile.ZIP_STORED:
            offset = _offset(path, member)
            source = _open_array(path, path.open("rb"), offset, member.file_size, reference)
            _check_stored(path, offset, member)
        else:
            with archive.open(member) as packed:
                _read_header(packed, member.file_size, reference)
            # The source closes this file when it is no longer used.
            source = _open_array(path, _unpacked(path, archive, member), 0, member.file_size, reference)
        if labeled and (labels := _labels_key(key, archive.namelist())) is not None:
            source._labels, source.classes = _read_labels(path, archive, labels, len(source))
        return source


def _labels_key(key: str, names: Sequence[str]) -> str | None:
    """Returns the array of labels for the images ``key``, if there is one."""
    named = [key.replace(images, labels, 1) for images, labels in _LABELS.items() if key.startswith(images)]
    return next((name for name in (*named, *_USUAL_LABELS) if f"{name}.npy" in names), None)


def _read_labels(
    path: Path, archive: zipfile.ZipFile, key: str, count: int
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    with archive.open(f"{key}.npy") as member:
        shape, _, dtype = _header(member)
        if shape not in ((count,), (count, 1)) or dtype.kind not in "iu":
            raise DataError(f"{path}[{key}] is {dtype} {list(shape)}, not integers [{count}], one for each image.")
        values = np.frombuffer(member.read(count * dtype.itemsize), dtype).astype(np.int64)
    known = np.unique(values[values >= 0])
    return np.where(values >= 0, np.searchsorted(known, values), -1), tuple(map(str, known.tolist()))


def _check_stored(path: Path, offset: int, member: zipfile.ZipInfo) -> None:
    """Compares the bytes of a stored member with the checksum of the archive."""
    checksum, left = 0, member.file_size
    with path.open("rb") as file:
        file.seek(offset)
        while left and (content := file.read(min(left, _BYTES_AT_ONCE))):
            checksum, left = zlib.crc32(content, checksum), left - len(content)
    if left or checksum != member.CRC:
        raise DataError(f"{path} is damaged: the checksum of {member.filename} is not the one in the archive.")


def _unpacked(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """Returns a temporary file with the bytes of a member, the checksum of which is compared on the way."""
    folder = Path(tempfile.gettempdir())
    refuse_small_disk(folder, member.file_size)
    with archive.open(member) as packed:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the source closes it
        try:
            while content := packed.read(_BYTES_AT_ONCE):
                _write(file, content, path, folder)
        except BaseException:
            file.close()
            raise
    return file


def _write(file: IO[bytes], content: bytes, path: Path, folder: Path) -> None:
    try:
        file.write(content)
    except OSError as error:
        raise OutputError(
            f"Cannot unpack {path} in {folder}: {error.strerror}; set TMPDIR to another folder."
        ) from error


def _choose(path: Path, archive: zipfile.ZipFile, split: str | None) -> str:
    keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if _IMAGES in keys:
        return _IMAGES
    found = {}
    for key in keys:
        try:
            with archive.open(f"{key}.npy") as member:
                shape, _, dtype = _header(member)
        except (ValueError, zipfile.BadZipFile):
            continue
        if len(shape) in (3, 4) and (dtype == np.uint8 or len(keys) == 1):
            found[key] = next((word for word in key.split("_") if split_kind(word)), key)
    if len(found) == 1:
        return next(iter(found))
    if found and all(map(split_kind, found.values())):
        chosen = choose_split(str(path), found.values(), split)
        return next(key for key, word in found.items() if word == chosen)
    listed = ", ".join(found or keys) or "nothing"
    if not found and not _STATISTICS.isdisjoint(keys):
        raise DataError(
            f"{path} holds statistics ({', '.join(keys)}) instead of images; a reference needs both mu and sigma."
        )
    if found:
        raise DataError(f"{path} has several arrays of images ({listed}); keep one, or name it images.")
    raise DataError(f"{path} has no array of images, uint8 [N, H, W, C] or [N, H, W], but {listed}; call it images.")


def _offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Returns the first byte of a stored member: behind its local header, whose last two fields are lengths."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER_BYTES)
    if len(header) < _LOCAL_HEADER_BYTES:
        raise zipfile.BadZipFile("a member is beyond the end of the file")
    name, extra = np.frombuffer(header[-4:], "<u2").tolist()
    return int(member.header_offset + _LOCAL_HEADER_BYTES + name + extra)


def _open_array(path: Path, file: IO[bytes], start: int, size: int, reference: str) -> ArraySource:
    try:
        file.seek(start)
        shape = _read_header(file, size, reference)
        offset = file.tell()
        end = offset + math.prod(shape)
        file.seek(0, 2)
        if file.tell() < end:
            raise DataError(f"{path} is truncated: {reference} of shape {list(shape)} needs {end:,} bytes.")
    except BaseException:
        file.close()
        raise
    return ArraySource(path, file, offset, shape, reference)


def _read_header(file: IO[bytes], size: int, reference: str) -> tuple[int, ...]:
    """Reads the header of ``.npy`` content of ``size`` bytes and returns its shape.

    Raises:
        DataError: it is no array of images.
    """
    start = file.tell()
    try:
        shape, fortran, dtype = _header(file)
    except ValueError as error:
        raise DataError(f"{reference} is not a NumPy array: {first_line(error)}") from error
    if dtype.hasobject:
        raise DataError(f"{reference} holds Python objects, which are never read; save one array of uint8.")
    if dtype != np.uint8:
        raise DataError(f"{reference} holds {dtype}, not uint8; convert the images to uint8 of 0 to 255.")
    if len(shape) == 3 and shape[2] not in (1, 3):
        shape = (*shape, 1)
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise DataError(
            f"{reference} has the shape {list(shape)}; images must be [N, H, W] or [N, H, W, C] with C = 1 or 3."
        )
    if min(shape) < 1:
        raise DataError(f"{reference} has no images: its shape is {list(shape)}.")
    if fortran:
        raise DataError(f"{reference} is in Fortran order; save it with np.ascontiguousarray.")
    needed = file.tell() - start + math.prod(shape)
    if size < needed:
        raise DataError(f"{reference} is truncated: the shape {list(shape)} needs {needed:,} bytes, not {size:,}.")
    if shape[1] * shape[2] > MAX_PIXELS:
        raise DataError(f"{reference} has images of more than {MAX_PIXELS:,} pixels; make them smaller first.")
    return shape


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    """Returns shape, whether in Fortran order, and type of ``.npy`` content.

    Raises:
        ValueError: it has no such header; NumPy evaluates a part of it and then raises anything.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(file)
    except Exception as error:
        raise ValueError(first_line(error)) from error
