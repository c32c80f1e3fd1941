"""The ASGI app: the table of routes, and the layers around it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import traceback
from collections.abc import AsyncIterator, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from igan_zoo.serving.server.middleware import metrics as metrics_routes
from igan_zoo.serving.server.middleware.browsers import Browsers
from igan_zoo.serving.server.middleware.compression import Compression
from igan_zoo.serving.server.middleware.limits import Limits
from igan_zoo.serving.server.middleware.metrics import Metrics
from igan_zoo.serving.server.middleware.requests_log import Log, RequestsLog
from igan_zoo.serving.server.middleware.security import SecurityHeaders
from igan_zoo.serving.server.middleware.tokens import Tokens
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.rules import Matching, dispatch
from igan_zoo.serving.server.settings import ServerSettings

# Modules with ``routes(repository, settings) -> list[Route]``, in the order in which they are asked.
ROUTES = (
    "igan_zoo.serving.server.protocol.http_routes",
    "igan_zoo.serving.server.people.routes",
    "igan_zoo.serving.server.turing.routes",
    "igan_zoo.serving.server.people.latents",
    "igan_zoo.serving.server.web.openapi",
    "igan_zoo.serving.server.web.page_routes",
)


class App:
    """The ASGI app. Its layers are here for servers that answer inference without ASGI, as ``small_requests`` does."""

    def __init__(
        self,
        app: ASGIApp,
        table: Sequence[Route],
        browsers: Browsers,
        tokens: Tokens,
        limits: Limits,
        requests_log: RequestsLog,
    ) -> None:
        self._app, self.table = app, table
        self.browsers, self.tokens, self.limits, self.requests_log = browsers, tokens, limits, requests_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def create_app(repository: Repository, settings: ServerSettings, *, log: Log | None = None) -> App:
    """Returns the app that serves a repository.

    Its lifespan loads what is not loaded yet, while the server answers that it is not ready, and looks for changed
    model directories. A model that cannot be loaded at the start is left in ``repository.failure``.
    """
    log = log or Log()
    metrics = Metrics(repository)
    table = [*metrics_routes.routes(metrics), *_table(repository, settings)]

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
    requests_log = RequestsLog(layers, log, metrics, repository, log_requests=settings.log_requests)
    app: ASGIApp = _with_lifespan(SecurityHeaders(requests_log, shared=bool(settings.cors)), Router(lifespan=lifespan))
    if settings.cors:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Inference-Header-Content-Length", "X-Request-Id"],
            expose_headers=["Inference-Header-Content-Length", "X-Request-Id"],
        )
    return App(app, table, browsers, tokens, limits, requests_log)


def _with_lifespan(app: ASGIApp, router: Router) -> ASGIApp:
    """Returns ``app`` with the lifespan of a router that has no routes."""

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        await (router if scope["type"] == "lifespan" else app)(scope, receive, send)

    return either


def _table(repository: Repository, settings: ServerSettings) -> list[Route]:
    modules = [importlib.import_module(name) for name in ROUTES if importlib.util.find_spec(name)]
    return one_for_each_path([route for module in modules for route in module.routes(repository, settings)])


def one_for_each_path(table: Sequence[Route]) -> list[Route]:
    """Returns the routes with those of one path as one, so that the header Allow names all methods of it."""
    paths: dict[str, list[Route]] = {}
    for route in table:
        paths.setdefault(route.path, []).append(route)
    return [routes[0] if len(routes) == 1 else _together(routes) for routes in paths.values()]


def _together(routes: Sequence[Route]) -> Route:
    endpoints = {method: route.endpoint for route in routes for method in route.methods or ()}

    async def endpoint(request: Request) -> Response:
        answer: Response = await endpoints[request.method](request)
        return answer

    return Route(routes[0].path, endpoint, methods=list(endpoints))


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
