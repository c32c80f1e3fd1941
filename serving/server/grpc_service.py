"""The Open Inference Protocol, version 2, over gRPC, in the event loop of the HTTP server and beside it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import msgspec
from google.protobuf import json_format

from igan_zoo import __version__
from igan_zoo.errors import IganZooError, NotReadyError, ProtocolError, QueueFullError, RefusedError, UnknownNameError
from igan_zoo.serving.server.answers import status_of
from igan_zoo.serving.server.app import App
from igan_zoo.serving.server.descriptions import describe_config, describe_model, describe_statistics
from igan_zoo.serving.server.grpc_messages import HEALTH, SERVICE, message, methods
from igan_zoo.serving.server.grpc_tensors import read_inputs, timeout_of, write_response
from igan_zoo.serving.server.hosted import HostedGraph
from igan_zoo.serving.server.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings

EXTENSIONS = ("model_configuration", "model_repository", "statistics")

# The innermost class of an error counts, then the HTTP status that it has; what is not here is INTERNAL.
_BY_KIND: Mapping[type[IganZooError], grpc.StatusCode] = {QueueFullError: grpc.StatusCode.RESOURCE_EXHAUSTED}
_BY_STATUS: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# What a method is over HTTP, where that decides which token it wants.
_PATHS = {
    "ServerLive": "/v2/health/live",
    "ServerReady": "/v2/health/ready",
    "Check": "/v2/health/ready",
    "RepositoryModelLoad": "/v2/repository/models/-/load",
    "RepositoryModelUnload": "/v2/repository/models/-/unload",
}
_ALWAYS = frozenset({"ServerLive", "ServerReady", "Check"})
_FAILED = "The server failed at this request; its log tells why under the x-request-id of this answer."


@dataclass
class _Call:
    """One call: what its handler is given, and the model that it leaves for the log."""

    context: Any
    model: str = ""
    began: float = field(default_factory=time.monotonic)

    def remaining(self, wanted: float | None) -> float | None:
        """Returns how many seconds the answer may take: what the request says, or the call's own deadline."""
        given = [seconds for seconds in (wanted, self.context.time_remaining()) if seconds is not None]
        return min(given, default=None)


class InferenceService:
    """The methods of the protocol over one repository: ``async (request, call) -> response``."""

    def __init__(self, repository: Repository, settings: ServerSettings) -> None:
        self._repository, self._settings = repository, settings

    async def ServerLive(self, request: Any, call: _Call) -> Any:  # noqa: ARG002, N802
        return _message("ServerLiveResponse", {"live": True})

    async def ServerReady(self, request: Any, call: _Call) -> Any:  # noqa: ARG002, N802
        return _message("ServerReadyResponse", {"ready": self._repository.ready})

    async def Check(self, request: Any, call: _Call) -> Any:  # noqa: ARG002, N802
        if request.service not in ("", SERVICE):
            raise UnknownNameError(f"There is no service {request.service[:200]!r}; there is {SERVICE}.")
        response = message("grpc.health.v1.HealthCheckResponse")
        return response(status="SERVING" if self._repository.ready else "NOT_SERVING")

    async def ModelReady(self, request: Any, call: _Call) -> Any:  # noqa: N802
        try:
            self._graph(request.name, request.version, call)
        except NotReadyError:
            return _message("ModelReadyResponse", {"ready": False})
        return _message("ModelReadyResponse", {"ready": True})

    async def ServerMetadata(self, request: Any, call: _Call) -> Any:  # noqa: ARG002, N802
        return _message(
            "ServerMetadataResponse", {"name": "igan-zoo", "version": __version__, "extensions": EXTENSIONS}
        )

    async def ModelMetadata(self, request: Any, call: _Call) -> Any:  # noqa: N802
        graph = self._graph(request.name, request.version, call)
        return _message("ModelMetadataResponse", describe_model(graph, self._repository.versions(graph.name)))

    async def ModelConfig(self, request: Any, call: _Call) -> Any:  # noqa: N802
        graph = self._graph(request.name, request.version, call)
        return _message("ModelConfigResponse", {"config": describe_config(graph, self._settings)})

    async def ModelStatistics(self, request: Any, call: _Call) -> Any:  # noqa: N802
        named = [self._graph(request.name, request.version, call)] if request.name else self._repository.graphs()
        return _message("ModelStatisticsResponse", {"model_stats": [describe_statistics(graph) for graph in named]})

    async def ModelInfer(self, request: Any, call: _Call) -> Any:  # noqa: N802
        graph = self._graph(request.model_name, request.model_version, call)
        outputs = await graph.run(read_inputs(request), deadline=call.remaining(timeout_of(request)))
        return write_response(graph.name, graph.version, request, outputs)

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], call: _Call) -> AsyncIterator[Any]:  # noqa: N802
        """Answers each request of a stream before the next; an error is the answer to its own request alone."""
        response = message("inference.ModelStreamInferResponse")
        async for request in requests:
            try:
                yield response(infer_response=await self.ModelInfer(request, call))
            except IganZooError as error:
                failed = response(error_message=str(error))
                failed.infer_response.id = request.id
                yield failed

    async def RepositoryIndex(self, request: Any, call: _Call) -> Any:  # noqa: ARG002, N802
        lines = [line for line in self._repository.index() if line.state == "READY" or not request.ready]
        return _message("RepositoryIndexResponse", {"models": [vars(line) for line in lines]})

    async def RepositoryModelLoad(self, request: Any, call: _Call) -> Any:  # noqa: N802
        self._check_allowed()
        if request.parameters:
            raise ProtocolError("This server loads models as they lie on its disk; leave the parameters out.")
        await self._changed(self._repository.load(request.model_name), request.model_name, call)
        return _message("RepositoryModelLoadResponse", {})

    async def RepositoryModelUnload(self, request: Any, call: _Call) -> Any:  # noqa: N802
        self._check_allowed()
        await self._changed(self._repository.unload(request.model_name), request.model_name, call)
        return _message("RepositoryModelUnloadResponse", {})

    def _graph(self, name: str, version: str, call: _Call) -> HostedGraph:
        graph = self._repository.graph(name, version or None)
        call.model = graph.name
        return graph

    def _check_allowed(self) -> None:
        if not self._settings.allow_load:
            raise RefusedError("This server was not started with --allow-load: models stay as they are.")

    async def _changed(self, change: Awaitable[None], name: str, call: _Call) -> None:
        """Awaits a change of the repository; a model that cannot be loaded is no failure of the server."""
        try:
            await change
        except (UnknownNameError, NotReadyError):
            raise
        except IganZooError as error:
            raise ProtocolError(str(error)) from error
        # Only names that exist may become labels of metrics.
        call.model = name


class _Gate:
    """What stands before every method: the tokens, limits and log of the HTTP server; errors become status codes."""

    def __init__(self, app: App) -> None:
        self._app = app

    def unary(self, path: str, name: str, handler: Callable[[Any, _Call], Awaitable[Any]]) -> Callable[..., Any]:
        """Returns the handler as gRPC calls it."""

        async def guarded(request: Any, context: Any) -> Any:
            async with self._passed(path, name, context) as call:
                return await handler(request, call)

        return guarded

    def stream(self, path: str, name: str, handler: Callable[[Any, _Call], AsyncIterator[Any]]) -> Callable[..., Any]:
        """Returns the handler of a stream as gRPC calls it."""

        async def guarded(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async with self._passed(path, name, context) as call:
                async for response in handler(requests, call):
                    yield response

        return guarded

    @asynccontextmanager
    async def _passed(self, path: str, name: str, context: Any) -> AsyncIterator[_Call]:
        requests_log, limits = self._app.requests_log, self._app.limits
        headers = [(key.encode(), str(value).encode()) for key, value in context.invocation_metadata()]
        call, request_id = _Call(context), requests_log.identify(headers)
        context.set_trailing_metadata((("x-request-id", request_id.decode()),))
        code, entered = grpc.StatusCode.CANCELLED, False
        try:
            self._app.tokens.check(_PATHS.get(name, "/v2"), headers)
            if name not in _ALWAYS:
                limits.enter()
                entered = True
            yield call
            code = grpc.StatusCode.OK
        except Exception as error:
            requests_log.tell(request_id, error)
            code = _code(error)
            await context.abort(code, _sentence(error))
        finally:
            if entered:
                limits.leave()
            seconds = time.monotonic() - call.began
            requests_log.finish(request_id, "gRPC", path, path, call.model, code.name, seconds)


class GrpcServer:
    """A port with the protocol's service and gRPC's health service."""

    def __init__(self, repository: Repository, settings: ServerSettings, app: App, *, host: str, port: int) -> None:
        self._service, self._gate = InferenceService(repository, settings), _Gate(app)
        self._settings, self._host, self._port = settings, host, port
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Serves in the running event loop from now on, and returns the port; 0 was for a free one.

        Raises:
            IganZooError: the port cannot be had.
        """
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._settings.max_body),
                ("grpc.max_send_message_length", -1),
                # Another process on the same port would be given half of the requests.
                ("grpc.so_reuseport", 0),
            ],
        )
        self._server.add_generic_rpc_handlers(
            [_handlers(name, self._service, self._gate) for name in (SERVICE, HEALTH)]
        )
        place = f"[{self._host}]" if ":" in self._host else self._host
        try:
            port = self._server.add_insecure_port(f"{place}:{self._port}")
        except RuntimeError:
            raise IganZooError(f"Cannot listen at {self._host}, port {self._port}, for gRPC; is it in use?") from None
        await self._server.start()
        return int(port)

    async def stop(self) -> None:
        """Takes no more calls, and returns when those accepted are answered or their time is over."""
        if self._server is not None:
            await self._server.stop(self._settings.grace)


def _handlers(service: str, target: InferenceService, gate: _Gate) -> grpc.GenericRpcHandler:
    found = {}
    for method in methods(service):
        path, handler = f"/{service}/{method.name}", getattr(target, method.name)
        coders = {
            "request_deserializer": message(method.input_type.full_name).FromString,
            "response_serializer": message(method.output_type.full_name).SerializeToString,
        }
        if method.client_streaming:
            handler = grpc.stream_stream_rpc_method_handler(gate.stream(path, method.name, handler), **coders)
        else:
            handler = grpc.unary_unary_rpc_method_handler(gate.unary(path, method.name, handler), **coders)
        found[method.name] = handler
    return grpc.method_handlers_generic_handler(service, found)


def _code(error: Exception) -> grpc.StatusCode:
    by_kind = (_BY_KIND[kind] for kind in type(error).__mro__ if kind in _BY_KIND)
    return next(by_kind, _BY_STATUS.get(status_of(error), grpc.StatusCode.INTERNAL))


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, IganZooError) else _FAILED


def _message(name: str, content: dict[str, Any]) -> Any:
    """Returns a message of the protocol with the fields that it has of what is said over HTTP."""
    plain = msgspec.json.decode(msgspec.json.encode(content))
    return json_format.ParseDict(plain, message(f"inference.{name}")(), ignore_unknown_fields=True)
