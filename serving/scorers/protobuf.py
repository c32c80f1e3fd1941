"""Protobuf message classes from tables of fields: TensorFlow's graphs are read with them, ONNX models written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# name, number, type, and whether it repeats. A type is one of the scalars below, or a message of the same table.
Field = tuple[str, int, str, bool]

_SCALARS = ("string", "bytes", "float", "int32", "int64")


def message_class(messages: Mapping[str, Sequence[Field]], name: str) -> Any:
    """Returns the class of the message ``name``.

    Its parser skips the fields that the table leaves out. Of a field that does not repeat, a value that was set is
    written even where it is 0, as ONNX expects of attributes.
    """
    # Here, because a scorer's name alone needs none of it.
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    types = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="igan_zoo/messages.proto", package="igan_zoo", syntax="proto2")
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for field_name, number, kind, repeats in fields:
            field = described.field.add(name=field_name, number=number)
            field.label = types.LABEL_REPEATED if repeats else types.LABEL_OPTIONAL
            field.type = types.Type.Value(f"TYPE_{kind.upper() if kind in _SCALARS else 'MESSAGE'}")
            if kind not in _SCALARS:
                field.type_name = f".igan_zoo.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"igan_zoo.{name}"))
