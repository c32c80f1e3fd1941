"""Requests that begin as the last one of their connection did: whose bytes up to the tensor need no second reading.

A client that asks again and again sends the same head and the same JSON, and only another tensor. Comparing bytes is
all that is left of parsing then.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.http1.exchange import START
from igan_zoo.serving.server.middleware.requests_log import IDENTIFYING
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.protocol.http_routes import Headers, Target, encode_answer, header_length, inference_target
from igan_zoo.serving.server.protocol.service import AT_ONCE, size_of
from igan_zoo.serving.server.protocol.tensors import InferRequest

# Bytes that a connection remembers.
_MOST = 4096
_CLOSE = b"\r\nconnection: close"


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """What a request was, without its tensor, and what its answer is, without its id and tensors.

    ``prefix`` is all of its bytes before the tensor; ``size`` counts those too that follow. A connection that waits for
    its next request keeps no ``graph`` that has been exchanged.
    """

    prefix: bytes
    size: int
    path: str
    target: Target
    headers: Headers
    graph: weakref.ref[HostedGraph]
    request: InferRequest
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    head: bytes
    json: bytes
    names: tuple[str, ...]

    def tensor(self, data: bytes) -> NDArray[Any]:
        """Returns the tensor of a request that is the same otherwise."""
        return np.frombuffer(data, self.dtype, offset=len(self.prefix)).reshape(self.shape)

    def answer(self, request_id: bytes, tensors: bytes, *, goes_on: bool) -> bytes:
        """Returns the whole answer, after which the connection ``goes_on`` or ends."""
        return b"".join((self.head, request_id, b"" if goes_on else _CLOSE, self.json, tensors))


def prefix_of(data: bytes, headers: Headers, request: InferRequest) -> bytes | None:
    """Returns what precedes the tensor of a request, if ``data`` is just this request and ends with its only tensor."""
    length = header_length(headers)
    if length is None or len(request.inputs) != 1:
        return None
    (tensor,) = request.inputs.values()
    before = len(data) - tensor.nbytes
    head = data.find(b"\r\n\r\n") + 4
    if tensor.dtype.kind not in "uif" or before > _MOST or not tensor.nbytes or head + int(length) != before:
        return None
    return data[:before]


def repeat_of(prefix: bytes, path: str, headers: Headers, graph: HostedGraph, request: InferRequest) -> Repeat | None:
    """Returns what is to be remembered of a request; None if its answer is not of one form."""
    target = inference_target("POST", path)
    (tensor,) = request.inputs.values()
    if target is None or any(size < 0 for output in graph.outputs for size in output.shape[1:]) or request.classes:
        return None
    if not 0 < len(tensor) <= graph.max_batch:
        return None
    outputs = {output.name: np.zeros((len(tensor), *output.shape[1:]), output.dtype) for output in graph.outputs}
    names = tuple(request.outputs or outputs)
    try:
        answered, content = encode_answer(graph, request, outputs)
    except ProtocolError:
        return None
    if size_of(outputs) > AT_ONCE or not all((request.outputs or {}).get(name, request.binary) for name in names):
        return None
    return Repeat(
        prefix,
        len(prefix) + tensor.nbytes,
        path,
        target,
        [pair for pair in headers if pair[0] in IDENTIFYING],
        weakref.ref(graph),
        replace(request, inputs={}),
        tensor.dtype,
        tensor.shape,
        head_of(200, answered),
        b"\r\n\r\n" + content[: len(content) - sum(outputs[name].nbytes for name in names)],
        names,
    )


def head_of(status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Returns the head of an answer up to its id."""
    lines = [b"%s: %s\r\n" % pair for pair in headers]
    return b"".join((START[status], *lines, b"x-content-type-options: nosniff\r\nx-request-id: "))
