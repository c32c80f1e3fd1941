"""gRPC's server reflection: which services there are, and what their messages are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from igan_zoo.serving.server.protocol.grpc_gate import Call
from igan_zoo.serving.server.protocol.grpc_messages import HEALTH, REFLECTION, SERVICE, file_named, file_of, message

# What older clients call the same service; its messages have the same form.
OLDER_REFLECTION = "grpc.reflection.v1alpha.ServerReflection"

_Response = message("grpc.reflection.v1.ServerReflectionResponse")


class Reflection:
    """Answers the questions of a stream one by one."""

    async def ServerReflectionInfo(self, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:  # noqa: ARG002, N802
        async for request in requests:
            yield _answer(request)


def _answer(request: Any) -> Any:
    response = _Response(valid_host=request.host, original_request=request)
    asked = request.WhichOneof("message_request")
    if asked == "list_services":
        for name in (SERVICE, HEALTH, REFLECTION):
            response.list_services_response.service.add(name=name)
    elif asked == "file_containing_symbol":
        _add_file(response, file_of, request.file_containing_symbol)
    elif asked == "file_by_filename":
        _add_file(response, file_named, request.file_by_filename)
    else:
        _refuse(response, "There are no extensions of messages.")
    return response


def _add_file(response: Any, find: Callable[[str], bytes], name: str) -> None:
    try:
        response.file_descriptor_response.file_descriptor_proto.append(find(name))
    except KeyError:
        _refuse(response, f"There is no {name[:200]!r}.")


def _refuse(response: Any, sentence: str) -> None:
    response.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
    response.error_response.error_message = sentence
