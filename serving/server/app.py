"""The ASGI app: the table of routes, and the layers around it."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from igan_zoo.serving.server.middleware import metrics
from igan_zoo.serving.server.middleware.browsers import Browsers
from igan_zoo.serving.server.middleware.compression import Compression
from igan_zoo.serving.server.middleware.limits import Limits
from igan_zoo.serving.server.middleware.requests_log import Log, RequestsLog
from igan_zoo.serving.server.middleware.security import SecurityHeaders
from igan_zoo.serving.server.middleware.tokens import Tokens
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.people import latents
from igan_zoo.serving.server.people import routes as people
from igan_zoo.serving.server.protocol import http_routes as protocol
from igan_zoo.serving.server.protocol import v1_routes
from igan_zoo.serving.server.rules import Matching, dispatch
from igan_zoo.serving.server.settings import ServerSettings
from igan_zoo.serving.server.turing import routes as turing
from igan_zoo.serving.server.web import openapi, page_routes

# Each has ``routes(repository, settings) -> list[Route]``; they are asked in this order.
_ROUTES = (protocol, v1_routes, people, turing, latents, openapi, page_routes)


@dataclass(frozen=True, eq=False)
class App:
    """The ASGI app. Its parts are here for servers that answer without ASGI, as ``small_requests`` and gRPC do."""

    app: ASGIApp
    table: Sequence[Route]
    repository: Repository
    settings: ServerSettings
    browsers: Browsers
    tokens: Tokens
    limits: Limits
    requests_log: RequestsLog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def create_app(repository: Repository, settings: ServerSettings, *, log: Log | None = None) -> App:
    """Returns the app that serves a repository.

    Its lifespan loads what is not loaded yet, while the server answers that it is not ready, and looks for changed
    model directories. A model that cannot be loaded at the start is left in ``repository.failure``.
    """
    log = log or Log()
    counted = metrics.Metrics(repository)
    table = [*metrics.routes(counted), *(route for part in _ROUTES for route in part.routes(repository, settings))]

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        task = asyncio.create_task(_keep(repository, settings, log))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            repository.close()

    limits = Limits(Compression(dispatch, settings), repository, settings)
    tokens = Tokens(limits, settings)
    browsers = Browsers(tokens, settings)
    layers = Matching(browsers, table)
    requests_log = RequestsLog(layers, log, counted, repository, log_requests=settings.log_requests)
    app: ASGIApp = _with_lifespan(SecurityHeaders(requests_log, shared=bool(settings.cors)), Router(lifespan=lifespan))
    if settings.cors:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Inference-Header-Content-Length", "X-Request-Id"],
            expose_headers=["Inference-Header-Content-Length", "X-Request-Id"],
        )
    return App(app, table, repository, settings, browsers, tokens, limits, requests_log)


def _with_lifespan(app: ASGIApp, router: Router) -> ASGIApp:
    """Returns ``app`` with the lifespan of a router that has no routes."""

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        await (router if scope["type"] == "lifespan" else app)(scope, receive, send)

    return either


async def _keep(repository: Repository, settings: ServerSettings, log: Log) -> None:
    """Loads the models, then exchanges those that change, until it is cancelled."""
    try:
        await repository.start()
    except Exception as error:
        repository.failure = error
        return
    log.write("ready", graphs={graph.name: graph.provider for graph in repository.graphs()})
    while settings.reload:
        await asyncio.sleep(settings.reload)
        try:
            for event in await repository.look_for_changes():
                log.write("reload", message=event)
        except Exception:
            # The models that are loaded go on, whatever is wrong with the files.
            log.write("failure", traceback=traceback.format_exc())
