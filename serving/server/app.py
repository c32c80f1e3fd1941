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

from igan_zoo.serving.server import metrics as metrics_routes
from igan_zoo.serving.server.compression import Compression
from igan_zoo.serving.server.limits import Limits
from igan_zoo.serving.server.metrics import Metrics
from igan_zoo.serving.server.repository import Repository
from igan_zoo.serving.server.requests_log import Log, RequestsLog
from igan_zoo.serving.server.security import SecurityHeaders
from igan_zoo.serving.server.settings import ServerSettings
from igan_zoo.serving.server.tokens import Tokens

# Modules with ``routes(repository, settings) -> list[Route]``, in the order in which they are asked.
ROUTES = (
    "igan_zoo.serving.server.protocol_routes",
    "igan_zoo.serving.server.people_routes",
    "igan_zoo.serving.server.turing_routes",
    "igan_zoo.serving.server.latent_routes",
    "igan_zoo.serving.server.openapi",
    "igan_zoo.serving.server.page_routes",
)


class _Table:
    """The innermost app: the routes."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # With this the router raises what it does not find instead of answering in plain text.
        scope["app"] = self
        await self._router(scope, receive, send)


class App:
    """The ASGI app. Its layers are here for servers that answer inference without ASGI, as ``small_requests`` does."""

    def __init__(self, app: ASGIApp, tokens: Tokens, limits: Limits, requests_log: RequestsLog) -> None:
        self._app = app
        self.tokens, self.limits, self.requests_log = tokens, limits, requests_log

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

    router = Router(table, redirect_slashes=False, lifespan=lifespan)
    paths = {route.endpoint: route.path for route in table}
    limits = Limits(Compression(_Table(router), settings), repository, settings)
    tokens = Tokens(limits, settings)
    requests_log = RequestsLog(tokens, log, metrics, repository, paths, log_requests=settings.log_requests)
    app: ASGIApp = SecurityHeaders(requests_log, shared=bool(settings.cors))
    if settings.cors:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Inference-Header-Content-Length", "X-Request-Id"],
            expose_headers=["Inference-Header-Content-Length", "X-Request-Id"],
        )
    return App(app, tokens, limits, requests_log)


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
