"""Protection against pages of other sites that use a server through a visitor's browser."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from igan_zoo.serving.server.errors import ProtocolError, RefusedError
from igan_zoo.serving.server.rules import rule_of
from igan_zoo.serving.server.settings import ServerSettings

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Browsers:
    """ASGI middleware: refuses foreign hosts, which DNS rebinding brings, and writes from pages of foreign origins.

    A server that listens on a loopback address knows its own names. Any other takes every host unless its settings name
    some. Health answers under every name: probes ask by address, and it reveals nothing.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in settings.hosts)
        self._origins = frozenset(settings.cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = _one_host(scope)
            if not rule_of(scope).always and not self.is_ours(host):
                name = _name(host.decode("latin-1"))[:200]
                raise RefusedError(f"This server is not called {name!r}; --allow-host adds a name.")
            if scope["method"] not in _SAFE:
                self._check_origin(dict(reversed(scope["headers"])), host)
        await self._app(scope, receive, send)

    def is_ours(self, host: bytes) -> bool:
        """Returns whether a Host header names this server; any does where no names are known."""
        return not self._hosts or _name(host.decode("latin-1")) in self._hosts

    def _check_origin(self, headers: dict[bytes, bytes], host: bytes) -> None:
        """Goes by Sec-Fetch-Site where the browser sends it, else by Origin and Host."""
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if origin is None and site is None:
            return  # not a browser
        if origin is not None and not self._origins.isdisjoint(("*", origin.decode("latin-1"))):
            return
        if site is not None:
            ours = site in (b"same-origin", b"none")
        else:
            ours = (origin or b"").partition(b"://")[2].lower() == host.lower()
        if not ours:
            raise RefusedError(
                "Pages of other sites may not write here; start the server with --cors ORIGIN to allow one."
            )


def hosts_of(address: str, allowed: Iterable[str]) -> tuple[str, ...]:
    """Returns the names of a server that listens at ``address``, or none where every name may be right."""
    given = tuple(allowed)
    if is_loopback(address):
        return (*_LOOPBACK, address, *given)
    return (*_LOOPBACK, address, *given) if given else ()


def is_loopback(address: str) -> bool:
    """Returns whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")


def _one_host(scope: Scope) -> bytes:
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1 or (not hosts and scope.get("http_version") == "1.1"):
        raise ProtocolError("A request has one Host header.")
    return bytes(hosts[0]) if hosts else b""


def _name(host: str) -> str:
    """Returns a Host header without its port and the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].rstrip(".").lower()
