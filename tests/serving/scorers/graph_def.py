"""Writing a TensorFlow graph as TensorFlow does, with the message classes that TensorBoard brings."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tensorboard.compat.proto import graph_pb2
from torch import Tensor

from igan_zoo.serving.scorers.tensorflow_graph import inception_names

FLOAT, INT32 = 1, 3


def inception_graph(weights: Mapping[str, Tensor]) -> graph_pb2.GraphDef:
    """The weights of a state dict under TensorFlow's names and in its order of axes, among nodes of other kinds."""
    graph = graph_pb2.GraphDef()
    graph.versions.producer = 8
    graph.node.add(name="DecodeJpeg/contents", op="Const").attr["value"].tensor.string_val.append(b"")
    for node, key in inception_names().items():
        array = weights[key].numpy()
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)
        elif array.ndim == 2:
            array = array.T
        add_constant(graph, node, np.ascontiguousarray(array))
        graph.node.add(name=f"{node}/read", op="Identity", input=[node]).attr["T"].type = FLOAT
    return graph


def add_constant(graph: graph_pb2.GraphDef, name: str, array: np.ndarray) -> None:
    node = graph.node.add(name=name, op="Const")
    node.attr["dtype"].type = FLOAT
    tensor = node.attr["value"].tensor
    tensor.dtype = FLOAT
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = array.astype("<f4").tobytes()
