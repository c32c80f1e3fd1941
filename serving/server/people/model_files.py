"""Files of served models as answers: opened once, and what is sent is what was checked."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from igan_zoo.errors import UnknownNameError
from igan_zoo.models.spec import CONFIG, ModelSpec
from igan_zoo.serving.server.errors import NotReadyError
from igan_zoo.serving.server.middleware.sending import PIECE
from igan_zoo.serving.server.models.hosted import HostedModel

CARD = "README.md"
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
# A config.json names files and classes, and is never as large.
_LARGEST_CONFIG = 4 * 2**20
# Sums of files by path, times, size and number.
_SUMS: dict[tuple[Path, int, int, int, int], str] = {}
_MOST_SUMS = 1024


class OpenFile:
    """A regular file that is open, its size, and the sha256 of all of it. Closes itself when nobody has it any more."""

    def __init__(self, path: Path) -> None:
        """Opens it without waiting for what is no file.

        Raises:
            OSError: it cannot be opened, or is no regular file.
        """
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        self.size = status.st_size
        self._version = (path, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read(self, start: int, count: int) -> bytes:
        """Returns ``count`` bytes from ``start`` on, fewer at the end."""
        return os.pread(self._descriptor, count, start)

    def sha256(self) -> str:
        """Returns the sum of the content, computed again when the file was changed."""
        found = _SUMS.get(self._version)
        if found is None:
            digest, at = hashlib.sha256(), 0
            while piece := self.read(at, 2**20):
                digest.update(piece)
                at += len(piece)
            if len(_SUMS) >= _MOST_SUMS:
                _SUMS.clear()
            found = _SUMS[self._version] = digest.hexdigest()
        return found


class Unchanging:
    """Bytes in memory with the face of an ``OpenFile``."""

    def __init__(self, content: bytes) -> None:
        self._content, self.size = content, len(content)

    def read(self, start: int, count: int) -> bytes:
        """Returns ``count`` bytes from ``start`` on, fewer at the end."""
        return self._content[start : start + count]

    def sha256(self) -> str:
        """Returns the sum of the content."""
        return hashlib.sha256(self._content).hexdigest()


def find_file(hosted: HostedModel, name: str) -> tuple[OpenFile | Unchanging, str]:
    """Returns a file that a model's ``config.json`` lists, checked against it, and its sha256; blocks.

    Raises:
        UnknownNameError: there is no such file.
        NotReadyError: it is not the file that ``config.json`` promises, or not there any more.
    """
    directory = hosted.model.directory
    if directory is None:
        raise UnknownNameError(
            f"{hosted.name} is a single ONNX file, without a model directory whose files could be sent."
        )
    try:
        if name == CONFIG:
            found = _config(directory.path / CONFIG)
            return found, found.sha256()
        if name not in directory.spec.files or not (directory.path / name).exists():
            if not directory.path.is_dir():
                raise OSError("its directory is gone")
            raise UnknownNameError(
                f"{hosted.name} has no file {name[:200]!r}; GET /models/{hosted.name} lists its files."
            )
        file, expected = OpenFile(directory.path / name), directory.spec.files[name]
        if file.size != expected.size or file.sha256() != expected.sha256:
            raise OSError("its checksum does not match")
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotReadyError(f"The file {name} of {hosted.name} cannot be sent: {reason}.") from None
    return file, expected.sha256


def _config(path: Path) -> Unchanging:
    """Returns a ``config.json``, which no sum protects: whole, as one look finds it, and only if it is one."""
    content = OpenFile(path).read(0, _LARGEST_CONFIG + 1)
    try:
        msgspec.json.decode(content, type=ModelSpec)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise OSError("it does not describe a model") from None
    return Unchanging(content)


class FileAnswer(Response):
    """A file, or the one part of it that the request's Range header asks for.

    Raises:
        HTTPException: the part lies beyond the end, 416.
    """

    def __init__(
        self, file: OpenFile | Unchanging, asked: Mapping[str, str], headers: Mapping[str, str], media_type: str
    ) -> None:
        part = None
        if asked.get("if-range", headers["ETag"]) == headers["ETag"]:
            part = part_of(asked.get("range"), file.size)
        self._file, (self._start, self._end) = file, part or (0, file.size)
        shown = {"Accept-Ranges": "bytes", "Content-Length": str(self._end - self._start), **headers}
        if part is not None:
            shown["Content-Range"] = f"bytes {self._start}-{self._end - 1}/{file.size}"
        super().__init__(None, 206 if part else 200, shown, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        at, end = self._start, self._start if scope["method"] == "HEAD" else self._end
        while at < end:
            # From the page cache, where the sum has just been made of it: shorter than the way to a thread.
            piece = self._file.read(at, min(PIECE, end - at))
            if not piece:
                break  # cut short meanwhile; the length tells
            at += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def part_of(given: str | None, size: int) -> tuple[int, int] | None:
    """Returns start and end of the part that a Range header asks for; what it cannot mean is not heeded.

    Raises:
        HTTPException: the part lies beyond the end, 416.
    """
    found = _RANGE.fullmatch(given or "")
    if found is None:
        return None
    first, last = found.groups()
    if not (first or last) or (first and last and int(last) < int(first)):
        return None
    if (int(first) >= size) if first else (int(last) == 0):
        raise HTTPException(416, f"The file has {size} bytes.", {"Content-Range": f"bytes */{size}"})
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def etag_matches(given: str | None, sha256: str) -> bool:
    """Returns whether an If-None-Match header names the file with that sum."""
    if given is None:
        return False
    return given.strip() == "*" or f'"{sha256}"' in (tag.strip().removeprefix("W/") for tag in given.split(","))
