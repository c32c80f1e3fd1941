"""What every route and gRPC method is: who may call it, what body it takes, and how long it keeps the server busy.

Tokens and limits go by this table and by the route that matched, never by a pattern of paths. A route that is missing
here is for administrators and takes only a small body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from igan_zoo.serving.server.protocol.unsupported import METHODS, ROUTES

# Where the route that a request matched, its rule, and the name of the route for log and metrics are in the scope.
_MATCHED, _RULE, ROUTE = "igan_zoo.matched", "igan_zoo.rule", "igan_zoo.route"


class Access(Enum):
    """Whose token a route asks for."""

    OPEN = "open"  # nobody's
    USER = "user"  # the user's or the administrator's, if the server has a token for users
    ADMIN = "admin"  # the administrator's, or the user's where there is no other


class Body(Enum):
    """What a request brings."""

    SMALL = "small"  # a few words of JSON, or nothing
    LARGE = "large"  # tensors or images, kept until they are answered for
    STREAMED = "streamed"  # images that are worked on as they arrive


@dataclass(frozen=True)
class Rule:
    """What a route is. ``always`` marks those that answer when the server is full or is stopping."""

    access: Access = Access.ADMIN
    body: Body = Body.SMALL
    works: bool = False
    always: bool = False


_OPEN, _USER = Rule(Access.OPEN), Rule(Access.USER)
_HEALTH = Rule(Access.OPEN, always=True)
_WORK = Rule(Access.USER, works=True)
_LARGE = Rule(Access.USER, Body.LARGE, works=True)
_STREAM = Rule(Access.USER, Body.STREAMED, works=True)
# Strangers are not even told that a path does not exist.
_NOWHERE = _USER

_MODEL, _VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"

HTTP: Mapping[str, Rule] = {
    # Health is for load balancers; page and documentation are the same for everybody, and the page asks for the token.
    "/": _OPEN,
    "/page/{name:path}": _OPEN,
    "/docs": _OPEN,
    "/docs/{name}": _OPEN,
    "/openapi.json": _OPEN,
    "/v2/health/live": _HEALTH,
    "/v2/health/ready": _HEALTH,
    "/metrics": Rule(Access.ADMIN),
    "/v2/repository/models/{model}/load": Rule(Access.ADMIN),
    "/v2/repository/models/{model}/unload": Rule(Access.ADMIN),
    "/v2": _USER,
    "/v2/": _USER,
    "/v2/models/stats": _USER,
    "/v2/repository/index": _USER,
    **{f"{base}{end}": _USER for base in (_MODEL, _VERSION) for end in ("", "/ready", "/config", "/stats")},
    f"{_MODEL}/infer": _LARGE,
    f"{_VERSION}/infer": _LARGE,
    "/v1/models": _USER,
    "/v1/models/{model}": _USER,
    "/v1/models/{model}:predict": _LARGE,
    **dict.fromkeys(ROUTES, _USER),
    "/classify": _LARGE,
    "/sample": _LARGE,
    "/score": _STREAM,
    "/models": _USER,
    "/models/{name}": _USER,
    "/models/{name}/card": _USER,
    "/models/{name}/files/{path:path}": _USER,
    "/latents": _WORK,
    "/directions": _WORK,
    "/morph": _WORK,
    "/turing": _WORK,
    "/turing/results": _USER,
    "/turing/{test}": _USER,
    "/turing/{test}/{round:int}.png": _USER,
    "/turing/{test}/{round:int}": _USER,
    "/examples": _USER,
    "/examples/{number:int}.png": _USER,
}

GRPC: Mapping[str, Rule] = {
    "ServerLive": _HEALTH,
    "ServerReady": _HEALTH,
    "Check": _HEALTH,
    # A stream that stays open, unlike the others that anybody may ask.
    "Watch": Rule(Access.OPEN, Body.STREAMED),
    "ServerReflectionInfo": Rule(Access.USER, Body.STREAMED),
    "ServerMetadata": _USER,
    "ModelReady": _USER,
    "ModelMetadata": _USER,
    "ModelConfig": _USER,
    "ModelStatistics": _USER,
    "RepositoryIndex": _USER,
    "ModelInfer": _LARGE,
    "ModelStreamInfer": _STREAM,
    **dict.fromkeys(METHODS, _USER),
    "RepositoryModelLoad": Rule(Access.ADMIN),
    "RepositoryModelUnload": Rule(Access.ADMIN),
}


class Matching:
    """ASGI middleware: finds the route of a request, once and before anybody decides anything by it."""

    def __init__(self, app: ASGIApp, table: Sequence[Route]) -> None:
        self._app, self._table = app, table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            route, found = match(self._table, scope)
            scope.update(found)
            scope[_MATCHED] = route
            if route is None:
                scope[_RULE] = _NOWHERE
            else:
                scope[_RULE], scope[ROUTE] = HTTP.get(route.path, Rule()), route.path
        await self._app(scope, receive, send)


def match(table: Sequence[Route], scope: Scope) -> tuple[Route | None, dict[str, Any]]:
    """Returns the first route that a path matches, whatever the method, and what it adds to the scope.

    A path with a control character matches none: patterns end before a newline as well as at the end.
    """
    if any(character < " " or character == "\x7f" for character in scope["path"]):
        return None, {}
    for route in table:
        how, found = route.matches(scope)
        if how is not Match.NONE:
            return route, dict(found)
    return None, {}


def rule_of(scope: Scope) -> Rule:
    """Returns the rule of the route that a request matched."""
    rule: Rule = scope[_RULE]
    return rule


async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
    """Calls the route that a request matched.

    Raises:
        HTTPException: there is none, 404, or it does not take the method, 405.
    """
    route: Route | None = scope[_MATCHED]
    if route is None:
        raise HTTPException(404)
    # With this the route raises for a wrong method instead of answering in plain text.
    scope["app"] = dispatch
    await route.handle(scope, receive, send)
