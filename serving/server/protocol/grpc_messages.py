"""The messages of the ``.proto`` files in this folder, from their compiled form ``messages.desc``.

They stand in a pool of their own: the process-wide one takes each name once, and a client of the same protocol, as
``tritonclient``, brings them too. Nor does it matter here, as it would for Python code, which version of protobuf
compiled the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1.ServerReflection"


def _load() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("messages.desc").read_bytes())
    for file in files.file:
        pool.Add(file)
    return pool


_POOL = _load()


def file_of(symbol: str) -> bytes:
    """Returns the description of the file that declares a service, method or message; a file names no other one.

    Raises:
        KeyError: there is no such symbol.
    """
    return _serialized(_POOL.FindFileContainingSymbol(symbol))


def file_named(name: str) -> bytes:
    """Returns the description of a file; raises as :func:`file_of` does."""
    return _serialized(_POOL.FindFileByName(name))


def _serialized(file: Any) -> bytes:
    content: bytes = file.serialized_pb
    return content


def message(name: str) -> Any:
    """Returns the class of a message by its full name, as ``inference.ModelInferRequest.InferInputTensor``."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


def methods(service: str) -> list[Any]:
    """Returns the descriptors of a service's methods: ``name``, ``input_type``, ``client_streaming`` and the like."""
    return list(_POOL.FindServiceByName(service).methods)
