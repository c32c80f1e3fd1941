"""Images to score from NumPy's ``.npy`` and ``.npz`` files, read in pieces from where they lie in the file."""

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

from igan_zoo.errors import DataError, OutputError, first_line
from igan_zoo.images.pixels import MAX_PIXELS
from igan_zoo.machine.files import reading, refuse_small_disk, sha256_of
from igan_zoo.serving.stored_images import StoredImage, check_indices, consecutive_runs

_IMAGES = "images"
_LOCAL_HEADER_BYTES = 30
_ENCRYPTED = 1
_BYTES_AT_ONCE = 2**18


class ArraySource:
    """Images uint8 ``[N, H, W, C]`` that lie one behind the other in ``file`` from byte ``offset`` on.

    ``path`` is the file that they came from, and ``file`` often the same. ``reference`` says which array was taken.
    """

    encoded = False

    def __init__(self, path: Path, file: IO[bytes], offset: int, shape: tuple[int, ...], reference: str) -> None:
        self.path, self.shape, self.reference = path, shape, reference
        self._file, self._offset = file, offset
        weakref.finalize(self, file.close)
        self._row_bytes = math.prod(shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def name(self, index: int) -> str:
        return f"image {index} of {self.path}"

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        check_indices(indices, len(self))
        images: list[StoredImage] = []
        for first, count in consecutive_runs(indices):
            self._file.seek(self._offset + first * self._row_bytes)
            content = self._file.read(count * self._row_bytes)
            if len(content) != count * self._row_bytes:
                raise DataError(f"{self.path} ended while it was read; it was changed.")
            pixels = np.frombuffer(content, np.uint8).reshape(count, *self.shape[1:])  # (count, H, W, C)
            images += [StoredImage(self.name(first + row), image) for row, image in enumerate(pixels)]
        return images

    def fingerprint(self) -> str:
        """Returns the sha256 of the file."""
        return sha256_of(self.path)


def open_npy(path: Path) -> ArraySource:
    """Opens a ``.npy`` file without reading its images.

    Raises:
        DataError: it is missing, damaged, or not uint8 ``[N, H, W, C]`` with C = 1 or 3 and N > 0.
    """
    with reading(path, "a .npy file", DataError):
        return _open_array(path, path.open("rb"), 0, path.stat().st_size, str(path))


def open_npz(path: Path) -> ArraySource:
    """Opens the array ``images`` of a ``.npz`` file, or else its only array of images.

    What is stored as ``np.savez`` does is read once, for its checksum, and then in place. What
    ``np.savez_compressed`` wrote is unpacked once, to a temporary file without a name.

    Raises:
        DataError: it is missing, damaged, has no such array or several, or it is not as for ``open_npy``.
        OutputError: the folder of temporary files has no room to unpack it.
    """
    with reading(path, "a whole .npz file", DataError), zipfile.ZipFile(path) as archive:
        key = _choose(path, archive)
        member = archive.getinfo(f"{key}.npy")
        reference = f"{path}[{key}]"
        if member.flag_bits & _ENCRYPTED:
            raise DataError(f"{path} is encrypted; save it without a password.")
        if member.compress_type == zipfile.ZIP_STORED:
            offset = _offset(path, member)
            source = _open_array(path, path.open("rb"), offset, member.file_size, reference)
            _check_stored(path, offset, member)
            return source
        with archive.open(member) as packed:
            _read_header(packed, member.file_size, reference)
        # The source closes this file when it is no longer used.
        return _open_array(path, _unpacked(path, archive, member), 0, member.file_size, reference)


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


def _choose(path: Path, archive: zipfile.ZipFile) -> str:
    keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if _IMAGES in keys:
        return _IMAGES
    found = []
    for key in keys:
        try:
            with archive.open(f"{key}.npy") as member:
                shape, _, dtype = _header(member)
        except (ValueError, zipfile.BadZipFile):
            continue
        if len(shape) == 4 and (dtype == np.uint8 or len(keys) == 1):
            found.append(key)
    if len(found) == 1:
        return found[0]
    listed = ", ".join(found or keys) or "nothing"
    if found:
        raise DataError(f"{path} has several arrays of images ({listed}); keep one, or call it images.")
    raise DataError(f"{path} has no array of images, uint8 [N, H, W, C], but {listed}; call it images.")


def _offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Returns the first byte of a stored member: behind its local header, whose last two fields are lengths."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(_LOCAL_HEADER_BYTES)
    if len(header) < _LOCAL_HEADER_BYTES:
        raise zipfile.BadZipFile("a member lies behind the end of the file")
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
            raise DataError(f"{path} is cut off: {reference} of shape {list(shape)} needs {end:,} bytes.")
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
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise DataError(f"{reference} has the shape {list(shape)}; images are [N, H, W, C] with C = 1 or 3.")
    if min(shape) < 1:
        raise DataError(f"{reference} has no images: its shape is {list(shape)}.")
    if fortran:
        raise DataError(f"{reference} is in Fortran order; save it with np.ascontiguousarray.")
    needed = file.tell() - start + math.prod(shape)
    if size < needed:
        raise DataError(f"{reference} is cut off: the shape {list(shape)} needs {needed:,} bytes, not {size:,}.")
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
