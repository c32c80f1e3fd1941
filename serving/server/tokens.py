"""Bearer tokens: one for all routes, one for the routes of those who run the server."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from igan_zoo.errors import TokenError
from igan_zoo.serving.server.settings import ServerSettings

# Health is for load balancers; page and documentation are the same for everybody, and the page asks for the token.
_OPEN = re.compile(r"/|/page(/.*)?|/docs(/.*)?|/openapi\.json|/v2/health/(live|ready)")
_ADMIN = re.compile(r"/metrics|/v2/repository/models/.*/(load|unload)")


class Tokens:
    """ASGI middleware: lets through who has the token of a route. The admin token opens all routes."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._token = _bytes(settings.token)
        self._admin = _bytes(settings.admin_token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] != "OPTIONS":
            self.check(scope["path"], scope["headers"])
        await self._app(scope, receive, send)

    def check(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Does nothing if the request has the token that the route wants.

        Raises:
            TokenError: it has not.
        """
        if self._token is None and self._admin is None:
            return
        admin = _ADMIN.fullmatch(path) is not None
        if admin:
            wanted = [self._admin or self._token]
        elif self._token is None or _OPEN.fullmatch(path):
            return
        else:
            wanted = [self._token, self._admin]
        given = _given(headers)
        if not any(token is not None and hmac.compare_digest(given, token) for token in wanted):
            which = "admin token" if admin and self._admin else "token"
            raise TokenError(f"This route wants the server's {which} in the header 'Authorization: Bearer ...'.")


def _given(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return bytes(value[7:].strip())
    return b""


def _bytes(token: str | None) -> bytes | None:
    return token.encode() if token else None
