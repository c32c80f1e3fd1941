"""The messages of ``inference.proto``, from its compiled form ``inference.desc``.

They stand in a pool of their own: the process-wide one takes each name once, and a client of the same protocol, as
``tritonclient``, brings them too. Nor does it matter here, as it would for Python code, which version of protobuf
compiled the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_pool = descriptor_pool.DescriptorPool()


def _load() -> Any:
    from google.protobuf import descriptor_pb2

    files = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).with_name("inference.desc").read_bytes())
    for file in files.file:
        _pool.Add(file)
    return _pool.FindServiceByName(SERVICE)


# The service's descriptor: ``methods_by_name`` says what each call takes and gives.
DESCRIPTOR = _load()


def message(name: str) -> Any:
    """Returns the class of a message such as ``ModelInferRequest``, or ``ModelInferRequest.InferInputTensor``."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))


def enumeration(name: str) -> dict[str, int]:
    """Returns the numbers of an enumeration by their names."""
    values = _pool.FindEnumTypeByName(f"{PACKAGE}.{name}").values_by_name
    return {key: value.number for key, value in values.items()}
