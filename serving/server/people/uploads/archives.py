"""The images of a tar archive as it arrives, and of a zip archive once it is here. Nothing is extracted.

A tar archive is a row of headers and contents, which are read as they pass. A zip archive ends with its table of
contents, so it waits in a temporary file without a name.
"""

from __future__ import annotations

import asyncio
import contextlib
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import AsyncGenerator, Iterator
from typing import IO

from igan_zoo.errors import ImageError, first_line
from igan_zoo.images.files.kinds import is_image_name
from igan_zoo.images.stored import StoredImage
from igan_zoo.serving.server.errors import StorageError, UploadError, UploadSizeError
from igan_zoo.serving.server.middleware.shares import Room
from igan_zoo.serving.server.people.uploads.body import Body
from igan_zoo.serving.server.people.uploads.multipart import sized

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
# Of the records that give a member a long name or a large size.
_LARGEST_RECORD = 64 * 2**10
_SKIPPED_RECORDS = (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)
# A zip archive's table of contents is read at once, and becomes some six times its size in objects.
_LARGEST_TABLE = 4 * 2**20
_SPOOLED_AT_ONCE = 2**20
# Images hardly get smaller in a zip archive; what unpacks to more than this together is a bomb.
_UNPACKED_FACTOR, _UNPACKED_BYTES = 8, 2**26


async def tar_images(body: Body, *, file_bytes: int) -> AsyncGenerator[StoredImage]:
    """Yields the image files of a tar archive in its order; one above ``file_bytes`` comes as an ``ImageError``.

    Links, folders, devices and hidden files are skipped, as ``score`` skips them in a file.

    Raises:
        UploadError: it is damaged, cut off, or has members that are stored sparsely.
    """
    given: dict[str, str] = {}
    while (block := await body.read(_BLOCK)) != _ZEROS:
        member = _header(block)
        if member.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            given |= _record(member, await _content(body, member, _LARGEST_RECORD))
            continue
        name, size = given.get("path", member.name), _size(given.get("size"), member.size)
        if member.type not in _SKIPPED_RECORDS:
            given = {}
        if not member.isreg() or not is_image_name(name):
            await _pass(body, size if _has_content(member) else 0, name)
            continue
        if size > file_bytes:
            await _pass(body, size, name)
            yield StoredImage(name, sized(name, size, b"", file_bytes))
        else:
            yield StoredImage(name, await _whole(body, name, size))
    await body.drain()


def _header(block: bytes) -> tarfile.TarInfo:
    if len(block) < _BLOCK:
        raise UploadError("The tar archive is truncated: it has no end mark.")
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.HeaderError as error:
        raise UploadError(f"The tar archive is damaged: {first_line(error)}") from None
    if member.size < 0:
        raise UploadError(f"The tar archive is damaged: {member.name} has a negative size.")
    if member.issparse() or member.type == tarfile.GNUTYPE_SPARSE:
        raise UploadError(f"{member.name} is stored sparsely; make the tar archive without that option.")
    return member


def _has_content(member: tarfile.TarInfo) -> bool:
    """Returns whether the size in a header is that of something behind it: of links and folders it is not."""
    return member.isreg() or member.type in _SKIPPED_RECORDS or member.type not in tarfile.SUPPORTED_TYPES


def _record(member: tarfile.TarInfo, content: bytes) -> dict[str, str]:
    """Returns what a record says of the next member: its path and its size, where these do not fit its own header."""
    if member.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": content.rstrip(b"\0").decode("utf-8", "replace")}
    found = {}
    while content.strip(b"\0"):
        length, _, _ = content.partition(b" ")
        if not (length.isdigit() and len(length) < 6 and len(length) + 1 < int(length) <= len(content)):
            raise UploadError("The tar archive is damaged: a record's length is wrong.")
        key, _, value = content[len(length) + 1 : int(length)].removesuffix(b"\n").partition(b"=")
        if key.startswith(b"GNU.sparse."):
            raise UploadError("A file is stored sparsely; make the tar archive without that option.")
        if key in (b"path", b"size"):
            found[key.decode()] = value.decode("utf-8", "replace")
        content = content[int(length) :]
    return found


def _size(given: str | None, size: int) -> int:
    if given is None:
        return size
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise UploadError("The tar archive is damaged: a record's size is not a number.")
    return int(given)


async def _content(body: Body, member: tarfile.TarInfo, most: int) -> bytes:
    if member.size > most:
        raise UploadError(f"The tar archive has a record of {member.size:,} bytes; {most:,} are read.")
    return await _whole(body, member.name, member.size)


async def _whole(body: Body, name: str, size: int) -> bytes:
    """Returns ``size`` bytes, and passes over what fills the last block."""
    content = await body.read(size)
    await body.skip(-size % _BLOCK)
    if len(content) < size:
        raise UploadError(f"The tar archive is truncated inside {name}.")
    return content


async def _pass(body: Body, size: int, name: str) -> None:
    if await body.skip(size) < size:
        raise UploadError(f"The tar archive is truncated inside {name}.")
    await body.skip(-size % _BLOCK)


async def zip_images(body: Body, *, files: int, file_bytes: int, room: Room) -> AsyncGenerator[StoredImage]:
    """Yields the image files of a zip archive in the order of its table of contents.

    One that unpacks to more than ``file_bytes`` comes as an ``ImageError``, whatever the table promises.

    Raises:
        UploadError: it is damaged, encrypted or cut off.
        UploadSizeError: its table has many more entries than the ``files`` that are taken, or its files unpack to far
            more than the archive.
        StorageError: there is no room for it on the disk.
    """
    try:
        # The file is closed last, which writes what is left, and may fail as writing may.
        with contextlib.ExitStack() as stack, tempfile.TemporaryFile() as file:
            await _spool(body, file, room, stack)
            members = _members(file, files=files, file_bytes=file_bytes)
            while (image := await asyncio.to_thread(next, members, None)) is not None:
                yield image
    except OSError as error:
        raise StorageError("The server's disk is full; send a tar archive, which needs no room there.") from error


async def _spool(body: Body, file: IO[bytes], room: Room, stack: contextlib.ExitStack) -> None:
    """Writes the whole body into a file; what it takes of the room is given back when the stack ends."""
    waiting = bytearray()

    async def write() -> None:
        room.take(len(waiting))
        stack.callback(room.give, len(waiting))
        await asyncio.to_thread(file.write, bytes(waiting))
        waiting.clear()

    async for chunk in body.chunks():
        waiting += chunk
        if len(waiting) >= _SPOOLED_AT_ONCE:
            await write()
    await write()
    await asyncio.to_thread(file.flush)


def _members(file: IO[bytes], *, files: int, file_bytes: int) -> Iterator[StoredImage]:
    try:
        with zipfile.ZipFile(_Bounded(file)) as archive:
            if len(archive.filelist) > 2 * files + 1000:
                raise UploadSizeError(f"The zip archive has {len(archive.filelist):,} entries; {files:,} are taken.")
            left = _UNPACKED_FACTOR * file.seek(0, 2) + _UNPACKED_BYTES
            for member in archive.filelist:
                if member.filename.endswith("/") or not is_image_name(member.filename):
                    continue
                if member.flag_bits & 1:
                    raise UploadError(f"{member.filename} is encrypted; send the zip archive without a password.")
                content = _unpacked(archive, member, file_bytes)
                # One that is too large was unpacked up to the limit.
                left -= len(content) if isinstance(content, bytes) else min(file_bytes, member.file_size)
                if left < 0:
                    raise UploadSizeError("The zip archive unpacks to far more than its own size; send it in parts.")
                yield StoredImage(member.filename, content)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, UnicodeDecodeError, ValueError) as error:
        raise UploadError(f"The body is not a complete zip archive: {first_line(error)}") from None


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes | ImageError:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return ImageError(f"{member.filename} is compressed in an unusual way; use plain zip.")
    try:
        with archive.open(member) as packed:
            content = packed.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        return ImageError(f"{member.filename} cannot be unpacked: {first_line(error)}")
    return sized(member.filename, len(content), content, most)


class _Bounded:
    """A file of which nobody reads as much at once as a hostile table of contents is long."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, length: int = -1) -> bytes:
        if not 0 <= length <= _LARGEST_TABLE:
            position = self._file.tell()
            length = self._file.seek(0, 2) - position if length < 0 else length
            self._file.seek(position)
            if length > _LARGEST_TABLE:
                raise UploadSizeError("The zip archive's table of contents is too long; send fewer files.")
        return self._file.read(length)
