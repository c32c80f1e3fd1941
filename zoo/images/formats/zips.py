"""Images from a zip archive, each unpacked when it is asked for."""

from __future__ import annotations

import weakref
import zipfile
import zlib
from pathlib import Path

from igan_zoo.errors import DataError, ImageError, first_line
from igan_zoo.images.files.decoding import MAX_ENCODED_BYTES
from igan_zoo.images.files.kinds import is_image_name
from igan_zoo.images.formats.archives import LONGEST_LABEL, ArchiveSource, Members
from igan_zoo.machine.files import reading

_ENCRYPTED = 1


class ZipSource(ArchiveSource):
    """Image files in a zip archive, in the order of its table of contents."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, members: Members) -> None:
        super().__init__([path], str(path), members)
        self._archive = archive
        weakref.finalize(self, archive.close)

    def _content(self, member: int) -> bytes | ImageError:
        name = self._members.names[member]
        return _unpacked(self._archive, self._archive.filelist[self._members.places[member][0]], name)


def open_zip(
    path: Path, split: str | None = None, *, labeled: bool = False, labels_file: Path | None = None
) -> ZipSource:
    """Opens the images of a zip archive without unpacking one; labels are found as ``ArchiveSource.arrange`` does.

    Raises:
        DataError: it is missing, damaged, encrypted, or has no image; or as ``arrange``.
    """
    members = Members()
    with reading(path, "a complete zip archive", DataError):
        archive = zipfile.ZipFile(path)
    try:
        for number, member in enumerate(archive.filelist):
            # Not is_dir(), which breaks at a member without a name.
            is_file = member.filename and not member.filename.endswith("/")
            if not is_file or not members.takes(member.filename, labeled=labeled and labels_file is None):
                continue
            if member.flag_bits & _ENCRYPTED:
                raise DataError(f"{path} is encrypted; save it without a password.")
            if is_image_name(member.filename):
                members.names.append(member.filename)
                members.places.append((number, 0, 0))
            elif member.file_size <= LONGEST_LABEL:
                content = _unpacked(archive, member, member.filename)
                members.add_label(member.filename, content if isinstance(content, bytes) else b"")
        source = ZipSource(path, archive, members)
    except BaseException:
        archive.close()
        raise
    source.arrange(split, labels_file, labeled=labeled)
    return source


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> bytes | ImageError:
    try:
        with archive.open(member) as packed:
            content = packed.read(MAX_ENCODED_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        return ImageError(f"{name} cannot be unpacked: {first_line(error)}")
    if len(content) > MAX_ENCODED_BYTES:
        return ImageError(f"{name} has more than {MAX_ENCODED_BYTES:,} bytes, the maximum for an image.")
    return content
