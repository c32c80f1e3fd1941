"""Bearer tokens: one for all routes, one for the routes of those who run the server."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from igan_zoo.serving.server.errors import TokenError
from igan_zoo.serving.server.rules import Access, rule_of
from igan_zoo.serving.server.settings import ServerSettings


class Tokens:
    """ASGI middleware: lets through who has the token of the matched route. The admin token opens all routes."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._token = _bytes(settings.token)
        self._admin = _bytes(settings.admin_token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.check(rule_of(scope).access, scope["headers"])
        await self._app(scope, receive, send)

    def check(self, access: Access, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Does nothing if the request has a token that opens what has this access.

        Raises:
            TokenError: it has not.
        """
        if access is Access.OPEN:
            return
        if access is Access.USER:
            accepted = [] if self._token is None else [self._token, self._admin]
        else:
            accepted = [self._admin or self._token]
        tokens = [token for token in accepted if token is not None]
        if not tokens:
            return
        given = _given(headers)
        if not any(hmac.compare_digest(given, token) for token in tokens):
            which = "admin token" if access is Access.ADMIN and self._admin else "token"
            raise TokenError(f"This route needs the server's {which} in the header 'Authorization: Bearer ...'.")


def _given(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return bytes(value[7:].strip())
    return b""


def _bytes(token: str | None) -> bytes | None:
    return None if token is None else token.encode()
