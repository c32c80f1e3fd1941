"""The images that a request brings: one as the body itself, files of a form, or a tar or zip archive of them.

Only what the first bytes say is believed, not a name or a type. Numbers of files and of bytes are limited before
anything is decoded; ``StoredImage.decode`` then looks at an image's own header first.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from igan_zoo.images.files.kinds import FORMATS, compression_of, image_format
from igan_zoo.images.stored import StoredImage
from igan_zoo.serving.server.errors import UploadError, UploadSizeError
from igan_zoo.serving.server.middleware.shares import Room
from igan_zoo.serving.server.people.uploads.archives import tar_images, zip_images
from igan_zoo.serving.server.people.uploads.body import Body
from igan_zoo.serving.server.people.uploads.multipart import is_multipart, multipart_images, sized

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TAR_MAGIC, _TAR_MAGIC_AT = b"ustar", 257
_LONGEST_MAGIC = _TAR_MAGIC_AT + len(_TAR_MAGIC)


@dataclass(frozen=True)
class UploadLimits:
    """How many files a request may have, how many bytes each, and the room for archives on the disk."""

    files: int
    file_bytes: int
    room: Room


class Uploaded:
    """What a request brings. ``kind`` is ``image``, ``form``, ``tar`` or ``zip``; ``images`` come as they arrive."""

    def __init__(self, kind: str, body: Body, images: AsyncGenerator[StoredImage]) -> None:
        self.kind, self._body = kind, body
        self._digest = hashlib.sha256()
        self.images = self._summed(images) if kind == "form" else images

    def fingerprint(self) -> str:
        """Returns the sha256 of the whole body; that of a form, whose seams are random, is of names and contents.

        It is that of ``score`` for the same archive, or for a folder of the same files in the same order.
        """
        return self._digest.hexdigest() if self.kind == "form" else self._body.sha256

    async def _summed(self, images: AsyncGenerator[StoredImage]) -> AsyncGenerator[StoredImage]:
        async with aclosing(images) as whole:
            async for image in whole:
                content = image.content
                sha256 = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else "unreadable"
                self._digest.update(f"{image.name}\0{sha256}\n".encode("utf-8", "surrogateescape"))
                yield image


async def receive(body: Body, content_type: str, limits: UploadLimits) -> Uploaded:
    """Finds out what a body is, from its first bytes or its being a form.

    Iterating over ``images`` raises ``UploadError`` where the body is not whole and ``UploadSizeError`` where it has
    more files than the limits say; a file that is too large comes as a ``StoredImage`` of an ``ImageError``.

    Raises:
        UploadError: it is nothing of the kind.
    """
    kind = "form" if is_multipart(content_type) else _kind(await body.peek(_LONGEST_MAGIC))
    return Uploaded(kind, body, _limited(_images(kind, body, content_type, limits), limits.files))


def _kind(start: bytes) -> str:
    if not start:
        raise UploadError("The body is empty; send an image, a form with files, or a tar or zip archive of images.")
    if image_format(start):
        return "image"
    if start.startswith(_ZIP):
        return "zip"
    if start[_TAR_MAGIC_AT:] == _TAR_MAGIC or (len(start) == _LONGEST_MAGIC and not any(start)):
        return "tar"
    compression = compression_of(start)
    if compression is not None:
        raise UploadError(f"The body is compressed with {compression}; send a plain tar or zip archive.")
    raise UploadError(f"The body is not a {FORMATS} image, a multipart form, or a tar or zip archive of images.")


def _images(kind: str, body: Body, content_type: str, limits: UploadLimits) -> AsyncGenerator[StoredImage]:
    if kind == "form":
        return multipart_images(body, content_type, file_bytes=limits.file_bytes)
    if kind == "tar":
        return tar_images(body, file_bytes=limits.file_bytes)
    if kind == "zip":
        return zip_images(body, files=limits.files, file_bytes=limits.file_bytes, room=limits.room)
    return _single(body, limits.file_bytes)


async def _single(body: Body, file_bytes: int) -> AsyncGenerator[StoredImage]:
    content = await body.read(file_bytes + 1)
    await body.drain()
    yield StoredImage("The image", sized("the image", len(content), content, file_bytes))


async def _limited(images: AsyncGenerator[StoredImage], files: int) -> AsyncGenerator[StoredImage]:
    count = 0
    async with aclosing(images) as whole:
        async for image in whole:
            count += 1
            if count > files:
                raise UploadSizeError(f"The request has more than {files:,} files; send the others in another one.")
            yield image
