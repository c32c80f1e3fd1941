"""The OpenAPI document of all routes: ``openapi.json`` with a server's limits filled in; and a page that shows it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from igan_zoo import __version__
from igan_zoo.errors import UnknownNameError
from igan_zoo.serving.server.middleware.answers import json_answer
from igan_zoo.serving.server.settings import ServerSettings

_FOLDER = Path(__file__).parent
_PAGE = "index.html"
_TYPES = {".css": "text/css", ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
# The key of a schema whose maximum is a setting, which it names.
_LIMIT = "x-maximum"


def document(settings: ServerSettings) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document of a server with these settings."""
    found: dict[str, Any] = msgspec.json.decode((_FOLDER / "openapi.json").read_bytes())
    found["info"]["version"] = __version__
    _fill_in(found, asdict(settings))
    _secure(found, everything=settings.token is not None, admin=settings.admin_token is not None)
    return found


def routes(settings: ServerSettings) -> list[Route]:
    """Returns ``GET /openapi.json``, ``GET /docs`` and the files of that page."""
    content = document(settings)
    files = {path.name: path.read_bytes() for path in (_FOLDER / "api_docs").iterdir() if path.suffix in _TYPES}

    async def openapi(_: Request) -> Response:
        return json_answer(content)

    async def page(_: Request) -> Response:
        return _file(_PAGE)

    async def file(request: Request) -> Response:
        return _file(request.path_params["name"])

    def _file(name: str) -> Response:
        if name not in files:
            raise UnknownNameError(f"The documentation has no file {name[:200]!r}.")
        headers = {"Content-Type": _TYPES[Path(name).suffix], "Cache-Control": "no-cache"}
        return Response(files[name], headers=headers)

    return [
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", page, methods=["GET"]),
        Route("/docs/{name}", file, methods=["GET"]),
    ]


def _secure(found: dict[str, Any], *, everything: bool, admin: bool) -> None:
    """Leaves out the tokens that a server does not want."""
    if not everything:
        del found["security"]
    for item in found["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict) and operation.get("security") and not (everything or admin):
                del operation["security"]


def _fill_in(part: Any, settings: dict[str, Any]) -> None:
    if isinstance(part, dict):
        if _LIMIT in part:
            part["maximum"] = settings[part.pop(_LIMIT)]
        for value in part.values():
            _fill_in(value, settings)
    elif isinstance(part, list):
        for value in part:
            _fill_in(value, settings)
