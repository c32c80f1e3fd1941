"""Images from a plain tar archive, each read from where it lies; nothing is extracted."""

from __future__ import annotations

import tarfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.files.decoding import MAX_ENCODED_BYTES
from igan_zoo.images.files.kinds import compression_of, is_image_name
from igan_zoo.images.stored import Content, LabeledSource
from igan_zoo.machine.files import reading


@dataclass(frozen=True)
class TarIndex:
    """Names, first bytes and lengths of the images in an archive, in the order in which they lie there."""

    names: list[str]
    offsets: list[int]
    sizes: list[int]


class TarSource(LabeledSource):
    """Image files in a tar archive."""

    def __init__(self, path: Path, file: IO[bytes], index: TarIndex) -> None:
        super().__init__(str(path), [path])
        self._file, self._index = file, index
        weakref.finalize(self, file.close)

    def __len__(self) -> int:
        return len(self._index.names)

    def name(self, index: int) -> str:
        return self._index.names[index]

    def file_names(self) -> Sequence[str]:
        return self._index.names

    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        return [self._content(index) for index in indices]

    def _content(self, index: int) -> bytes | ImageError:
        size = self._index.sizes[index]
        if size > MAX_ENCODED_BYTES:
            return ImageError(f"{self.name(index)} has {size:,} bytes; an image has at most {MAX_ENCODED_BYTES:,}.")
        self._file.seek(self._index.offsets[index])
        content = self._file.read(size)
        if len(content) != size:
            raise DataError(f"{self.reference} ended while it was read; it was changed.")
        return content


def open_tar(path: Path, labels_file: Path | None = None) -> TarSource:
    """Goes through the headers of a tar archive once and opens the images that it has, in the order of the archive.

    ``labels_file`` is a CSV file that names them.

    Raises:
        DataError: it is missing, compressed, damaged, cut off, or has no image; or as ``read_labels``.
    """
    with reading(path, "a whole tar archive", DataError):
        file = path.open("rb")
    try:
        _refuse_compressed(path, file)
        index = _index(path, file)
        if not index.names:
            raise DataError(f"There is no image in {path}.")
    except BaseException:
        file.close()
        raise
    source = TarSource(path, file, index)
    if labels_file is not None:
        source.read_labels(labels_file, str(path))
    return source


def _refuse_compressed(path: Path, file: IO[bytes]) -> None:
    compression = compression_of(file.read(6))
    file.seek(0)
    if compression is not None:
        raise DataError(f"{path} is compressed with {compression}, so that no image is reached alone; unpack it.")


def _index(path: Path, file: IO[bytes]) -> TarIndex:
    index = TarIndex([], [], [])
    length = path.stat().st_size
    with reading(path, "a whole tar archive", DataError), tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            # The module keeps every header that it has seen; ours are three lists.
            archive.members.clear()  # type: ignore[attr-defined]
            if not member.isreg() or member.issparse() or not is_image_name(member.name):
                continue
            if member.size < 0 or member.offset_data + member.size > length:
                raise DataError(f"{path} is cut off inside {member.name}.")
            index.names.append(member.name)
            index.offsets.append(member.offset_data)
            index.sizes.append(member.size)
        file.seek(archive.offset)
        end = file.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE or any(end):
            # The module takes the first header that is none for the end.
            kind = "damaged" if any(end) else "cut off"
            raise DataError(f"{path} is {kind} at byte {archive.offset:,}, behind {len(index.names)} images.")
    return index
