"""The requests of soak.py that go over gRPC: good ones and hostile ones, each with what may come back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from igan_zoo.serving.engine import Arrays
from igan_zoo.serving.server.protocol.grpc_messages import SERVICE, message

_Request, _Response = message("inference.ModelInferRequest"), message("inference.ModelInferResponse")
# Deliberate: the queue was full, the server busy or stopping, or the turn did not come in time.
BUSY = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}


@dataclass(frozen=True)
class Call:
    """A message, the name of the code that may come back, and a check of the outputs by name."""

    request: Any
    expected: str
    check: Callable[[Arrays], bool] = lambda _: True


class GrpcClient:
    """Sends one message after another on one channel."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._infer = self._channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=_Response.FromString,
        )

    async def send(self, call: Call) -> tuple[str, str, Arrays]:
        """Returns the name of the code, its sentence, and the outputs."""
        try:
            response = await self._infer(call.request, timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or "", {}
        return "OK", "", _outputs(response)

    async def close(self) -> None:
        await self._channel.close()


def request(graph: str, name: str, datatype: str, rows: NDArray[Any]) -> Any:
    """Returns a message with one raw tensor."""
    made = _Request(model_name=graph)
    made.inputs.add(name=name, datatype=datatype, shape=rows.shape)
    made.raw_input_contents.append(rows.tobytes())
    return made


def hostile(graph: str, rng: np.random.Generator) -> Call:
    """Returns a call that gets an error: a tensor of another shape, type, name or length than it says."""
    kind = int(rng.integers(5))
    made = request(graph, "images", "UINT8", np.zeros((1, 28, 28, 1), np.uint8))
    (tensor,) = made.inputs
    if kind == 0:
        tensor.shape[:] = [int(side) for side in rng.integers(2, 2**40, int(rng.integers(0, 12)))]
    elif kind == 1:
        tensor.datatype = str(rng.choice(["FP32", "BYTES", "", "UINT9"]))
    elif kind == 2:
        made.raw_input_contents[0] = rng.bytes(int(rng.integers(0, 700)))
    elif kind == 3:
        made.raw_input_contents.append(b"x")
    else:
        made.model_name = "none"
    return Call(made, "NOT_FOUND" if kind == 4 else "INVALID_ARGUMENT")


def _outputs(response: Any) -> Arrays:
    types = {"FP32": np.float32, "UINT8": np.uint8}
    return {
        tensor.name: np.frombuffer(raw, types[tensor.datatype]).reshape(tuple(tensor.shape))
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }
