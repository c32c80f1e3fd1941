"""A scorer without weights, of three features and as many classes as wanted."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import TensorProto, helper


def tiny_scorer(metadata: Mapping[str, str], *, classes: int = 3) -> bytes:
    """Features are the channels' means over 25.5, logits these in turn: red, green and blue images differ in class."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3])
    sizes = {"features": 3, "logits": classes}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in sizes.items()]
    matrix = [float(row == column % 3) for row in range(3) for column in range(classes)]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("steps", TensorProto.FLOAT, [], [25.5]),
        helper.make_tensor("matrix", TensorProto.FLOAT, [3, classes], matrix),
    ]
    nodes = [
        helper.make_node("Cast", ["images"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["levels", "axes"], ["means"], keepdims=0),
        helper.make_node("Div", ["means", "steps"], ["features"]),
        helper.make_node("MatMul", ["features", "matrix"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "g", [images], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, dict(metadata))
    content: bytes = model.SerializeToString()
    return content
