"""The web page: its files, from the package data in ``page/``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from igan_zoo.errors import UnknownNameError

FOLDER = Path(__file__).parent / "page"
VENDOR = "vendor"
# The switch "run on this device" needs all of these; `make web` brings them.
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
# Browsers ask whether a file has changed, so that nobody sees half of a new version.
_HEADERS = {"Cache-Control": "no-cache"}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def routes() -> list[Route]:
    """Returns ``GET /`` and ``GET /page/...``: small files from memory, those of the vendor from disk."""
    files = _files()

    async def index(request: Request) -> Response:
        return _answer(files["index.html"], request)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name in files:
            return _answer(files[name], request)
        folder, _, vendored = name.partition("/")
        if folder == VENDOR and vendored in RUNTIME and (FOLDER / name).is_file():
            path = FOLDER / name
            return FileResponse(path, media_type=_TYPES[path.suffix], headers=_HEADERS)
        raise UnknownNameError(f"The page has no file {name!r}.")

    return [Route("/", index, methods=["GET"]), Route("/page/{name:path}", file, methods=["GET"])]


def _files() -> Mapping[str, _File]:
    found = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            if path.name == "index.html" and all((FOLDER / VENDOR / name).is_file() for name in RUNTIME):
                content = content.replace(b'data-device="absent"', b'data-device="present"')
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = _File(content, _TYPES[path.suffix], etag)
    return found


def _answer(file: _File, request: Request) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    if request.headers.get("If-None-Match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
