"""A classifier without weights: how red, green and blue an image is."""

from __future__ import annotations

import json

from onnx import TensorProto, helper

from tests.serving.tiny_scorer import tiny_scorer

COLORS = ("blue", "green", "red")


def tiny_classifier(classes: tuple[str, ...] = COLORS) -> bytes:
    """Logits are the means of blue, green and red, or of the first of these, over 25.5; images are of any size."""
    import onnx

    model = onnx.load_model_from_string(tiny_scorer({}))
    graph = model.graph
    last, realness = len(graph.node), helper.make_tensor_value_info("realness", TensorProto.FLOAT, ["N"])
    del graph.node[last - 1 :], graph.output[:]
    graph.initializer.append(helper.make_tensor("order", TensorProto.INT64, [len(classes)], [2, 1, 0][: len(classes)]))
    graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    graph.node.extend(
        [
            helper.make_node("Gather", ["features", "order"], ["logits"], axis=1),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
            helper.make_node("ReduceLogSumExp", ["logits", "one"], ["log_z"], keepdims=0),
            helper.make_node("Sigmoid", ["log_z"], ["realness"]),
        ]
    )
    sizes = {"logits": len(classes), "probabilities": len(classes)}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in sizes.items()]
    graph.output.extend([*outputs, realness])
    helper.set_model_props(model, {"igan_zoo.classes": json.dumps(classes), "igan_zoo.resize": "bilinear-16"})
    content: bytes = model.SerializeToString()
    return content
