"""The first version of the protocol, as TensorFlow Serving began it and KServe keeps it: ``:predict`` in JSON.

An instance is a row of the graph's input, ``{"b64": "..."}`` with an encoded image, or an object that names the input:
``{"images": [...]}``, ``{"image_bytes": {"b64": "..."}}``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Raw, Struct
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from igan_zoo.serving.engine import Arrays
from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.middleware.answers import json_answer
from igan_zoo.serving.server.middleware.disconnects import while_connected
from igan_zoo.serving.server.middleware.query import read_json
from igan_zoo.serving.server.middleware.requests_log import MODEL
from igan_zoo.serving.server.models.datatypes import MOST_NUMBERS, bytes_array
from igan_zoo.serving.server.models.encoded_images import IMAGE_BYTES
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.protocol.json_tensors import from_json
from igan_zoo.serving.server.protocol.service import Service, size_of


class _Encoded(Struct):
    b64: str


class _Instance(Struct):
    b64: str = ""
    image_bytes: _Encoded | None = None
    images: Raw = Raw()
    latent: Raw = Raw()


class _Predict(Struct):
    """The body; some clients say ``inputs``."""

    instances: Raw = Raw()
    inputs: Raw = Raw()


_Instances: Any = Annotated[list[_Instance], Meta(min_length=1)]


def routes(service: Service) -> list[Route]:
    """Returns the routes below ``/v1``."""
    repository = service.repository

    async def models(_: Request) -> Response:
        return json_answer({"models": list(dict.fromkeys(graph.name for graph in repository.graphs()))})

    async def model(request: Request) -> Response:
        graph = repository.graph(request.path_params["model"])
        request.scope[MODEL] = graph.name
        return json_answer({"name": graph.name, "ready": not repository.stopping})

    async def predict(request: Request) -> Response:
        graph = repository.graph(request.path_params["model"])
        request.scope[MODEL] = graph.name
        body = await request.body()
        inputs = await service.convert(len(body), read_instances, graph, body)
        outputs = await while_connected(request.receive, graph.run(inputs))
        return await service.convert(size_of(outputs), _answer, outputs)

    return [
        Route("/v1/models", models),
        Route("/v1/models/{model}:predict", predict, methods=["POST"]),
        Route("/v1/models/{model}", model),
    ]


def read_instances(graph: HostedGraph, body: bytes) -> dict[str, NDArray[Any]]:
    """Returns the input of a graph from the body of a ``:predict`` request.

    Raises:
        ProtocolError: the body is not what the protocol says.
        InterfaceError: the graph takes no such input.
    """
    given = read_json(body, _Predict, "a prediction")
    text = b"".join(bytes(given.instances or given.inputs).split())
    name = graph.inputs[0].name
    if not text.startswith(b"["):
        raise ProtocolError('The body has no list of "instances".')
    if not text.startswith(b"[{"):
        return {name: _rows(graph, text)}
    # So many objects at most; what else the list may have ends its decoding at once.
    if text.count(b"{") > 2 * graph.max_rows:
        raise ProtocolError(f"A request may have {graph.max_rows} instances; send several requests.")
    instances: list[_Instance] = read_json(text, _Instances, "instances")
    tensors = [bytes(instance.latent if name == "latent" else instance.images) for instance in instances]
    if all(tensors):
        return {name: _rows(graph, b"[" + b",".join(tensors) + b"]")}
    encoded = [instance.image_bytes.b64 if instance.image_bytes else instance.b64 for instance in instances]
    if not all(encoded):
        raise ProtocolError(f'Every instance must be a row of {name}, or every one an image: {{"b64": "..."}}.')
    graph.check_tensor(IMAGE_BYTES, "BYTES", [len(encoded)])
    return {IMAGE_BYTES: bytes_array([element.encode() for element in encoded])}


def _rows(graph: HostedGraph, text: bytes) -> NDArray[Any]:
    """Returns the tensor of a list of rows, counted before there are objects of them."""
    tensor = graph.inputs[0]
    sizes = list(graph.graph.input_shape)
    if graph.graph.free_axes:
        # The first row of pixels and the first image say how many there are: [[[[pixel], [pixel]], …
        width = text.partition(b"]]")[0].count(b"[") - 3
        height = (text.partition(b"]]]")[0].count(b"[") - 2) // max(1, 1 + width)
        sizes = [height, width, *sizes]
    lists = sum(math.prod(sizes[:rank]) for rank in range(len(sizes)))
    shape = [(text.count(b"[") - 1) // max(1, lists), *sizes]
    graph.check_tensor(tensor.name, tensor.datatype, shape)
    return from_json(tensor.name, tensor.datatype, shape, text)


def _answer(outputs: Arrays) -> Response:
    """Returns the predictions: an object for each instance, or a row where the graph has one output."""
    if sum(output.size for output in outputs.values()) > MOST_NUMBERS:
        raise ProtocolError(f"The answer has more than {MOST_NUMBERS} numbers; ask for fewer instances at a time.")
    columns = [np.asarray(output).tolist() for output in outputs.values()]
    if len(columns) == 1:
        return json_answer({"predictions": columns[0]})
    return json_answer({"predictions": [dict(zip(outputs, row, strict=True)) for row in zip(*columns, strict=True)]})
