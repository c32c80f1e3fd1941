"""Images from plain tar archives, each read from where it lies; nothing is extracted."""

from __future__ import annotations

import tarfile
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from igan_zoo.counts import counted
from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.files.decoding import MAX_ENCODED_BYTES
from igan_zoo.images.files.kinds import compression_of, is_image_name
from igan_zoo.images.formats.archives import LONGEST_LABEL, ArchiveSource, Members
from igan_zoo.machine.files import reading


class TarSource(ArchiveSource):
    """Image files in tar archives, one archive behind the other."""

    def __init__(self, paths: Sequence[Path], files: Sequence[IO[bytes]], reference: str, members: Members) -> None:
        super().__init__(paths, reference, members)
        self._files = files
        for file in files:
            weakref.finalize(self, file.close)

    def _content(self, member: int) -> bytes | ImageError:
        number, offset, size = self._members.places[member]
        if size > MAX_ENCODED_BYTES:
            name = self._members.names[member]
            return ImageError(f"{name} has {size:,} bytes; an image has at most {MAX_ENCODED_BYTES:,}.")
        self._files[number].seek(offset)
        content = self._files[number].read(size)
        if len(content) != size:
            raise DataError(f"{self.paths[number]} ended while it was being read; it was changed.")
        return content


def open_tars(
    paths: Sequence[Path],
    reference: str,
    split: str | None = None,
    *,
    labeled: bool = False,
    labels_file: Path | None = None,
) -> TarSource:
    """Goes through the headers of tar archives once and opens the images that they have, in the order of the archives.

    Labels are found as ``ArchiveSource.arrange`` does. With several archives the names begin with the archive's.

    Raises:
        DataError: one is missing, compressed, damaged or cut off, there is no image, or as ``arrange``.
    """
    members, several = Members(), len(paths) > 1
    with ExitStack() as opened:
        files = []
        for number, path in enumerate(paths):
            with reading(path, "a complete tar archive", DataError):
                files.append(opened.enter_context(path.open("rb")))
            _refuse_compressed(path, files[-1])
            prefix = f"{path.name}/" if several else ""
            _read_headers(path, files[-1], number, prefix, members, labeled and labels_file is None)
        source = TarSource(paths, files, reference, members)
        opened.pop_all()
    source.arrange(split, labels_file, labeled=labeled, depth=int(several))
    return source


def _refuse_compressed(path: Path, file: IO[bytes]) -> None:
    compression = compression_of(file.read(6))
    file.seek(0)
    if compression is not None:
        raise DataError(f"{path} is compressed with {compression}, so single images cannot be read; unpack it.")


def _read_headers(path: Path, file: IO[bytes], number: int, prefix: str, members: Members, labeled: bool) -> None:
    """Adds the images of an archive, called with ``prefix``, and with ``labeled`` the labels beside them."""
    length, count = path.stat().st_size, 0
    with reading(path, "a complete tar archive", DataError), tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            # The module keeps every header that it has seen.
            archive.members.clear()  # type: ignore[attr-defined]
            if not member.isreg() or member.issparse() or not members.takes(member.name, labeled=labeled):
                continue
            if member.size < 0 or member.offset_data + member.size > length:
                raise DataError(f"{path} is truncated inside {member.name}.")
            if is_image_name(member.name):
                members.names.append(prefix + member.name)
                members.places.append((number, member.offset_data, member.size))
                count += 1
            elif member.size <= LONGEST_LABEL:
                file.seek(member.offset_data)
                members.add_label(prefix + member.name, file.read(member.size))
        file.seek(archive.offset)
        end = file.read(tarfile.BLOCKSIZE)
        if len(end) < tarfile.BLOCKSIZE or any(end):
            # The module takes the first header that is none for the end.
            kind = "damaged" if any(end) else "truncated"
            raise DataError(f"{path} is {kind} at byte {archive.offset:,}, behind {counted(count, 'image')}.")
