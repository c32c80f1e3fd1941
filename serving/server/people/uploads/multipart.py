"""The files of a multipart form, one after the other as they arrive."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from igan_zoo.errors import ImageError
from igan_zoo.images.stored import StoredImage
from igan_zoo.serving.server.errors import UploadError, UploadSizeError
from igan_zoo.serving.server.people.uploads.body import Body

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

# Parts that are no files, as text fields, are skipped; forms have few.
_MOST_FIELDS = 100


def is_multipart(content_type: str) -> bool:
    """Returns whether a Content-Type means a multipart form."""
    return content_type.lower().startswith("multipart/form-data")


async def multipart_images(body: Body, content_type: str, *, file_bytes: int) -> AsyncGenerator[StoredImage]:
    """Yields each part that has a file name; one larger than ``file_bytes`` comes as an ``ImageError``.

    Raises:
        UploadError: the body is no whole multipart form.
        UploadSizeError: it has a great many fields.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise UploadError("The Content-Type says multipart/form-data without a boundary; let your client write it.")
    # Whether the parser finds the boundary behind something else depends on the pieces in which it comes.
    while await body.peek(2) == b"\r\n":
        await body.skip(2)
    if await body.peek(len(boundary) + 2) != b"--" + boundary:
        raise UploadError("The body is not a multipart form, as its Content-Type says.")
    parts = _Parts(file_bytes)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        async for chunk in body.chunks():
            parser.write(chunk)
            for image in parts.take():
                yield image
        parser.finalize()
    except FormParserError:
        raise UploadError("The body is not a multipart form, as its Content-Type says.") from None
    if not parts.ended:
        raise UploadError("The multipart form is truncated; send all of it.")


class _Parts:
    """What the parser has found since it was last asked, and the part that it is in."""

    def __init__(self, file_bytes: int) -> None:
        self.ended = False
        self._file_bytes = file_bytes
        self._finished: list[StoredImage] = []
        self._name: str | None = None
        self._content = bytearray()
        self._size = self._fields = 0
        self._field, self._value, self._disposition = b"", b"", b""

    def callbacks(self) -> MultipartCallbacks:
        """Returns what the parser is to call."""
        return {
            "on_part_begin": self.part_begin,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_part_data": self.part_data,
            "on_part_end": self.part_end,
            "on_end": self.end,
        }

    def take(self) -> list[StoredImage]:
        """Returns the files that are complete, each once."""
        finished, self._finished = self._finished, []
        return finished

    def part_begin(self) -> None:
        self._name, self._disposition, self._size = None, b"", 0
        self._content = bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        if b"filename" in options:
            self._name = options[b"filename"].decode("utf-8", "replace")
            return
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise UploadSizeError(f"The form has more than {_MOST_FIELDS} fields; give images a file name.")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._name is not None and self._size <= self._file_bytes:
            self._content += data[start:end]

    def part_end(self) -> None:
        if self._name is None:
            return
        self._finished.append(StoredImage(self._name, sized(self._name, self._size, self._content, self._file_bytes)))

    def end(self) -> None:
        self.ended = True


def sized(name: str, size: int, content: bytes | bytearray, most: int) -> bytes | ImageError:
    """Returns the content of a file of ``size`` bytes, or the error of one that has more than ``most``."""
    if size > most:
        return ImageError(f"{name} has more than {most:,} bytes; make it smaller first.")
    return bytes(content)
