"""The ASGI app: the table of routes, and the layers around it."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from igan_zoo.serving.server.middleware.browsers import Browsers
from igan_zoo.serving.server.middleware.compression import Compression
from igan_zoo.serving.server.middleware.limits import Limits
from igan_zoo.serving.server.middleware.metrics import Metrics
from igan_zoo.serving.server.middleware.requests_log import Log, RequestsLog
from igan_zoo.serving.server.middleware.security import SecurityHeaders
from igan_zoo.serving.server.middleware.tokens import Tokens
from igan_zoo.serving.server.middleware.tracing import Tracing
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.people import latents, morph
from igan_zoo.serving.server.people import routes as people
from igan_zoo.serving.server.processes.channel import Channel
from igan_zoo.serving.server.processes.together import Together
from igan_zoo.serving.server.protocol import http_routes as protocol
from igan_zoo.serving.server.protocol import v1_routes
from igan_zoo.serving.server.protocol.service import Service
from igan_zoo.serving.server.rules import Matching, dispatch
from igan_zoo.serving.server.settings import ServerSettings
from igan_zoo.serving.server.turing import routes as turing
from igan_zoo.serving.server.web import openapi, page_routes

_ALONE = Channel()


@dataclass(frozen=True, eq=False)
class App:
    """The ASGI app, with its parts for servers that bypass ASGI, such as ``small_requests`` and gRPC."""

    app: ASGIApp
    table: Sequence[Route]
    repository: Repository
    settings: ServerSettings
    service: Service
    browsers: Browsers
    tokens: Tokens
    limits: Limits
    requests_log: RequestsLog
    lifespan: Callable[[], AbstractAsyncContextManager[None]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def create_app(
    repository: Repository,
    settings: ServerSettings,
    *,
    log: Log | None = None,
    channel: Channel = _ALONE,
    loaded: Callable[[], Awaitable[None]] | None = None,
) -> App:
    """Returns the app that serves a repository.

    Its lifespan loads the remaining models, while the server reports that it is not ready, and watches for changed
    model directories. If a model cannot be loaded at startup, the error is in ``repository.failure``. ``channel`` leads
    to the other processes of the server; ``loaded`` is called once this process has loaded its models, and returns when
    all have.
    """
    log = log or Log()
    counted = Metrics()
    together = Together(repository, counted, channel)
    service = Service(repository, settings, together)
    table = [
        *protocol.routes(service),
        *v1_routes.routes(service),
        *people.routes(repository, settings),
        *_turing_routes(repository, settings, together),
        *latents.routes(repository, settings),
        *morph.routes(repository),
        *openapi.routes(settings),
        *page_routes.routes(),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_: object = None) -> AsyncIterator[None]:
        await together.start()
        task = asyncio.create_task(_keep(repository, settings, log, loaded))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            together.stop()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)
            repository.close()

    limits = Limits(Compression(dispatch, settings), repository, settings)
    tokens = Tokens(limits, settings)
    browsers = Browsers(tokens, settings)
    layers = Matching(browsers, table)
    tracing = None if settings.traces is None else Tracing(settings.traces)
    requests_log = RequestsLog(layers, log, counted, repository, log_requests=settings.log_requests, tracing=tracing)
    together.app, together.tell = Matching(dispatch, table), requests_log.tell
    app: ASGIApp = _with_lifespan(SecurityHeaders(requests_log, shared=bool(settings.cors)), Router(lifespan=lifespan))
    if settings.cors:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Inference-Header-Content-Length", "X-Request-Id"],
            expose_headers=["Inference-Header-Content-Length", "X-Request-Id"],
        )
    return App(app, table, repository, settings, service, browsers, tokens, limits, requests_log, lifespan)


def _turing_routes(repository: Repository, settings: ServerSettings, together: Together) -> list[Route]:
    """Returns the routes of the Turing test; only the first process of a server has real images, tests and results."""
    if together.is_first:
        return turing.routes(repository, settings)
    known = turing.routes(repository, replace(settings, real=(), turing_results=None))
    return [Route(route.path, together.forward, methods=list(route.methods or ())) for route in known]


def _with_lifespan(app: ASGIApp, router: Router) -> ASGIApp:
    """Returns ``app`` with the lifespan of a router that has no routes."""

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        await (router if scope["type"] == "lifespan" else app)(scope, receive, send)

    return either


async def _keep(
    repository: Repository, settings: ServerSettings, log: Log, loaded: Callable[[], Awaitable[None]] | None
) -> None:
    """Loads the models, then replaces those that change, until it is cancelled."""
    try:
        await repository.start()
        if loaded is not None:
            await loaded()
        repository.all_started = True
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
