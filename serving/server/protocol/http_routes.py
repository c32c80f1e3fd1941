"""The Open Inference Protocol, version 2, over HTTP, with the binary tensors and repositories of Triton."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from igan_zoo.serving.engine import Arrays
from igan_zoo.serving.server.errors import ProtocolError, UnsupportedError
from igan_zoo.serving.server.middleware.answers import json_answer
from igan_zoo.serving.server.middleware.disconnects import while_connected
from igan_zoo.serving.server.middleware.metrics import CONTENT_TYPE
from igan_zoo.serving.server.middleware.query import read_json
from igan_zoo.serving.server.middleware.requests_log import MODEL
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.protocol.classification import select
from igan_zoo.serving.server.protocol.service import Service, size_of
from igan_zoo.serving.server.protocol.tensors import InferRequest, decode_request, encode_response
from igan_zoo.serving.server.protocol.unsupported import ROUTES
from igan_zoo.serving.server.rules import ROUTE

INFER = "/v2/models/{model}/infer"
_PREFIX, _SUFFIX = "/v2/models/", "/infer"
_HEADER = b"inference-header-content-length"
_JSON = (b"content-type", b"application/json")
_OCTETS = (b"content-type", b"application/octet-stream")

Target = tuple[str, str | None]
Headers = list[tuple[bytes, bytes]]
Endpoint = Callable[[Request], Awaitable[Response]]


def inference_target(method: str, path: str) -> Target | None:
    """Returns model and version of a ``POST …/infer``, or None for every other request."""
    if method != "POST" or not path.endswith(_SUFFIX) or not path.startswith(_PREFIX):
        return None
    name, mark, version = path[len(_PREFIX) : -len(_SUFFIX)].partition("/versions/")
    return (name, version if mark else None) if name and "/" not in name + version else None


class Infer:
    """The ASGI app of the inference routes."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, parameters = self._service, scope["path_params"]
        graph = service.repository.graph(parameters["model"], parameters.get("version"))
        scope[MODEL], scope[ROUTE] = graph.name, INFER
        body = await read_body(receive)
        length = header_length(scope["headers"])
        request = await service.convert(len(body), decode_request, body, length, graph.check_tensor)
        del body
        outputs = await while_connected(receive, graph.run(request.inputs, deadline=request.timeout))
        headers, content = await service.convert(size_of(outputs), encode_answer, graph, request, outputs)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def header_length(headers: Headers) -> str | None:
    """Returns the Inference-Header-Content-Length of a request with binary tensors."""
    for name, value in headers:
        if name == _HEADER:
            return value.decode("latin-1")
    return None


def encode_answer(graph: HostedGraph, request: InferRequest, outputs: Arrays) -> tuple[Headers, bytes]:
    """Returns headers and body of the answer to an inference request.

    Raises:
        ProtocolError: the request names an output that is not there.
    """
    wanted = select(graph, request.outputs, request.classes, outputs)
    content, length = encode_response(graph.name, graph.version, request, wanted)
    if length is None:
        return [_JSON, (b"content-length", b"%d" % len(content))], content
    return [_OCTETS, (b"content-length", b"%d" % len(content)), (_HEADER, b"%d" % length)], content


async def read_body(receive: Receive) -> bytes:
    """Returns the whole body, in one piece without a copy where it came in one.

    Raises:
        ClientDisconnect: the client went away before its end.
    """
    chunks = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def routes(service: Service) -> list[Route]:
    """Returns all routes of the protocol, and that of the metrics."""
    repository = service.repository

    async def live(_: Request) -> Response:
        return json_answer({"live": True})

    async def ready(_: Request) -> Response:
        return json_answer({"ready": repository.ready}, 200 if repository.ready else 503)

    async def server(_: Request) -> Response:
        providers = {graph.name: graph.provider for graph in repository.graphs()}
        return json_answer({**service.server("binary_tensor_data"), "providers": providers})

    async def model_ready(request: Request) -> Response:
        return json_answer({"name": _graph(repository, request).name, "ready": not repository.stopping})

    async def metadata(request: Request) -> Response:
        return json_answer(service.metadata(_graph(repository, request)))

    async def config(request: Request) -> Response:
        return json_answer(service.config(_graph(repository, request)))

    async def statistics(request: Request) -> Response:
        graph, version = _graph(repository, request), request.path_params.get("version")
        return json_answer(await service.statistics(graph, version))

    async def all_statistics(_: Request) -> Response:
        return json_answer(await service.statistics())

    async def metrics(_: Request) -> Response:
        return Response(await service.metrics(), headers={"Content-Type": CONTENT_TYPE})

    async def index(request: Request) -> Response:
        only_ready = _options(await request.body()).get("ready", False)
        if not isinstance(only_ready, bool):
            raise ProtocolError("ready must be true or false.")
        return json_answer(service.index(ready=only_ready))

    async def load(request: Request) -> Response:
        parameters = _options(await request.body()).get("parameters")
        await service.load(request.path_params["model"], parameters)
        return json_answer({})

    async def unload(request: Request) -> Response:
        _options(await request.body())
        await service.unload(request.path_params["model"])
        return json_answer({})

    def of_model(path: str, endpoint: Endpoint | Infer, method: str = "GET") -> list[Route]:
        bases = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        return [Route(base + path, endpoint, methods=[method]) for base in bases]

    return [
        *of_model("/infer", Infer(service), "POST"),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", ready),
        Route("/v2", server),
        Route("/v2/", server),
        Route("/v2/models/stats", all_statistics),
        *of_model("", metadata),
        *of_model("/ready", model_ready),
        *of_model("/config", config),
        *of_model("/stats", statistics),
        Route("/metrics", metrics),
        Route("/v2/repository/index", index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", load, methods=["POST"]),
        Route("/v2/repository/models/{model}/unload", unload, methods=["POST"]),
        *(Route(path, _refusal(sentence), methods=["GET", "POST"]) for path, sentence in ROUTES.items()),
    ]


def _refusal(sentence: str) -> Endpoint:
    async def refuse(_: Request) -> Response:
        raise UnsupportedError(sentence)

    return refuse


def _graph(repository: Repository, request: Request) -> HostedGraph:
    parameters = request.path_params
    graph = repository.graph(parameters["model"], parameters.get("version"))
    request.scope[MODEL] = graph.name
    return graph


def _options(body: bytes) -> dict[str, Any]:
    """Returns the JSON object of a body that may be empty."""
    return read_json(body, dict[str, Any], "an object") if body.strip() else {}
