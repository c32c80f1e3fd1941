"""The Open Inference Protocol, version 2, over gRPC, in the event loop of the HTTP server and beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
from google.protobuf import json_format

from igan_zoo.errors import IganZooError, UnknownNameError
from igan_zoo.serving.server.app import App
from igan_zoo.serving.server.errors import NotReadyError, UnsupportedError
from igan_zoo.serving.server.middleware.answers import sentence_of
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.protocol.classification import select
from igan_zoo.serving.server.protocol.grpc_gate import Call, Gate
from igan_zoo.serving.server.protocol.grpc_messages import HEALTH, REFLECTION, SERVICE, message, methods
from igan_zoo.serving.server.protocol.grpc_reflection import OLDER_REFLECTION, Reflection
from igan_zoo.serving.server.protocol.grpc_tensors import outputs_of, read_inputs, timeout_of, write_response
from igan_zoo.serving.server.protocol.service import size_of
from igan_zoo.serving.server.protocol.unsupported import METHODS

# Names of services whose health is that of the server, and seconds between looks at it.
_HEALTHY, _WATCH = ("", SERVICE), 0.25
_Health = message("grpc.health.v1.HealthCheckResponse")
# Calls at a time of one connection.
_STREAMS = 128


class InferenceService:
    """The methods of the protocol: ``async (request, call) -> response``."""

    def __init__(self, app: App) -> None:
        self._service, self._repository = app.service, app.repository

    async def ServerLive(self, request: Any, call: Call) -> Any:  # noqa: ARG002, N802
        return _message("ServerLiveResponse", {"live": True})

    async def ServerReady(self, request: Any, call: Call) -> Any:  # noqa: ARG002, N802
        return _message("ServerReadyResponse", {"ready": self._repository.ready})

    async def Check(self, request: Any, call: Call) -> Any:  # noqa: ARG002, N802
        if request.service not in _HEALTHY:
            raise UnknownNameError(f"There is no service {request.service[:200]!r}; there is {SERVICE}.")
        return self._health()

    async def Watch(self, request: Any, call: Call) -> AsyncIterator[Any]:  # noqa: ARG002, N802
        """Says how the server is, and again when that changes; a stopping server ends the stream."""
        if request.service not in _HEALTHY:
            yield _Health(status="SERVICE_UNKNOWN")
            return
        told = None
        while told is None or not self._repository.stopping:
            if (health := self._health()) != told:
                told = health
                yield health
            await asyncio.sleep(_WATCH)
        yield self._health()

    def _health(self) -> Any:
        return _Health(status="SERVING" if self._repository.ready else "NOT_SERVING")

    async def ModelReady(self, request: Any, call: Call) -> Any:  # noqa: N802
        try:
            self._graph(request.name, request.version, call)
        except NotReadyError:
            return _message("ModelReadyResponse", {"ready": False})
        return _message("ModelReadyResponse", {"ready": True})

    async def ServerMetadata(self, request: Any, call: Call) -> Any:  # noqa: ARG002, N802
        return _message("ServerMetadataResponse", self._service.server())

    async def ModelMetadata(self, request: Any, call: Call) -> Any:  # noqa: N802
        graph = self._graph(request.name, request.version, call)
        return _message("ModelMetadataResponse", self._service.metadata(graph))

    async def ModelConfig(self, request: Any, call: Call) -> Any:  # noqa: N802
        graph = self._graph(request.name, request.version, call)
        return _message("ModelConfigResponse", {"config": self._service.config(graph)})

    async def ModelStatistics(self, request: Any, call: Call) -> Any:  # noqa: N802
        graph = self._graph(request.name, request.version, call) if request.name else None
        return _message("ModelStatisticsResponse", await self._service.statistics(graph, request.version))

    async def ModelInfer(self, request: Any, call: Call) -> Any:  # noqa: N802
        service, graph = self._service, self._graph(request.model_name, request.model_version, call)
        inputs = await service.convert(request.ByteSize(), read_inputs, request, graph.check_tensor)
        outputs = await graph.run(inputs, deadline=call.remaining(timeout_of(request)))
        names, classes = outputs_of(request)
        wanted = select(graph, names, classes, outputs)
        return await service.convert(size_of(wanted), write_response, graph.name, graph.version, request, wanted)

    async def ModelStreamInfer(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:  # noqa: N802
        """Answers each request of a stream before the next; an error is the answer to its own request alone."""
        response = message("inference.ModelStreamInferResponse")
        async for request in requests:
            try:
                yield response(infer_response=await self.ModelInfer(request, call))
            except IganZooError as error:
                failed = response(error_message=sentence_of(error))
                failed.infer_response.id = request.id
                yield failed

    async def RepositoryIndex(self, request: Any, call: Call) -> Any:  # noqa: ARG002, N802
        return _message("RepositoryIndexResponse", {"models": self._service.index(ready=request.ready)})

    async def RepositoryModelLoad(self, request: Any, call: Call) -> Any:  # noqa: N802
        await self._service.load(request.model_name, request.parameters)
        # Only names that exist may become labels of metrics.
        call.model = request.model_name
        return _message("RepositoryModelLoadResponse", {})

    async def RepositoryModelUnload(self, request: Any, call: Call) -> Any:  # noqa: N802
        await self._service.unload(request.model_name)
        call.model = request.model_name
        return _message("RepositoryModelUnloadResponse", {})

    def _graph(self, name: str, version: str, call: Call) -> HostedGraph:
        graph = self._repository.graph(name, version or None)
        call.model = graph.name
        return graph


class GrpcServer:
    """A port with the protocol's service and gRPC's health service."""

    def __init__(self, app: App, *, host: str, port: int) -> None:
        self._app, self._host, self._port = app, host, port
        self._server: grpc.aio.Server | None = None

    async def start(self) -> int:
        """Serves in the running event loop from now on, and returns the port; 0 was for a free one.

        Raises:
            IganZooError: the port cannot be had.
        """
        settings = self._app.settings
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_body),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_concurrent_streams", _STREAMS),
                ("grpc.max_metadata_size", 64 * 1024),
                ("grpc.max_allowed_incoming_connections", settings.grpc_connections),
                ("grpc.server_handshake_timeout_ms", round(settings.body_timeout * 1000)),
                # A connection that answers no ping is gone, and one without a call is not needed.
                ("grpc.max_connection_idle_ms", round(settings.idle_timeout * 1000)),
                ("grpc.keepalive_time_ms", round(settings.idle_timeout * 1000)),
                ("grpc.keepalive_timeout_ms", round(settings.body_timeout * 1000)),
                # Clients' own pings are no attack as long as they are not many.
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
                # The processes of one server share the port; a stranger's would be given half of the requests.
                ("grpc.so_reuseport", int(settings.workers > 1)),
            ],
        )
        service, reflection, gate = InferenceService(self._app), Reflection(), Gate(self._app)
        targets = {SERVICE: service, HEALTH: service, REFLECTION: reflection}
        handlers = {name: _handlers(name, target, gate) for name, target in targets.items()}
        handlers[SERVICE] |= {name: _refusal(name, sentence, gate) for name, sentence in METHODS.items()}
        handlers[OLDER_REFLECTION] = handlers[REFLECTION]
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(name, found) for name, found in handlers.items()]
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
            await self._server.stop(self._app.settings.grace)


def _handlers(service: str, target: object, gate: Gate) -> dict[str, grpc.RpcMethodHandler]:
    found = {}
    for method in methods(service):
        path, handler = f"/{service}/{method.name}", getattr(target, method.name)
        kind, encode = message(method.input_type.full_name), message(method.output_type.full_name).SerializeToString
        if method.client_streaming:
            guarded = gate.stream(path, method.name, kind, handler)
            found[method.name] = grpc.stream_stream_rpc_method_handler(guarded, response_serializer=encode)
        elif method.server_streaming:
            guarded = gate.watch(path, method.name, kind, handler)
            found[method.name] = grpc.stream_stream_rpc_method_handler(guarded, response_serializer=encode)
        else:
            guarded = gate.unary(path, method.name, kind, handler)
            found[method.name] = grpc.stream_unary_rpc_method_handler(guarded, response_serializer=encode)
    return found


def _refusal(name: str, sentence: str, gate: Gate) -> grpc.RpcMethodHandler:
    async def refuse(request: Any, call: Call) -> Any:  # noqa: ARG001
        raise UnsupportedError(sentence)

    # Whatever the message is: one without fields has room for all.
    guarded = gate.unary(f"/{SERVICE}/{name}", name, message("inference.ServerLiveRequest"), refuse)
    return grpc.stream_unary_rpc_method_handler(guarded)


def _message(name: str, content: dict[str, Any]) -> Any:
    """Returns a message of the protocol with the fields that it has of what is said over HTTP."""
    plain = msgspec.json.decode(msgspec.json.encode(content))
    return json_format.ParseDict(plain, message(f"inference.{name}")(), ignore_unknown_fields=True)
