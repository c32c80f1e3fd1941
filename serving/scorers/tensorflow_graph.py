"""Reading weights from TensorFlow's frozen Inception graph, a ``GraphDef`` protobuf, without TensorFlow."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from igan_zoo.errors import WeightsError
from igan_zoo.serving.scorers.protobuf import message_class

_FLOAT = 1  # DT_FLOAT of tensorflow/core/framework/types.proto
_MOST_NUMBERS = 4_000_000  # The largest constant, softmax/weights, has 2,064,384.

# The fields of tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape}.proto that hold a constant:
# name, number, type, and whether it repeats. The parser skips all others.
_MESSAGES = {
    "GraphDef": (("node", 1, "NodeDef", True),),
    "NodeDef": (("name", 1, "string", False), ("op", 2, "string", False), ("attr", 5, "Attribute", True)),
    # An entry of a map from string to AttrValue.
    "Attribute": (("key", 1, "string", False), ("value", 2, "AttrValue", False)),
    "AttrValue": (("tensor", 8, "TensorProto", False),),
    "TensorProto": (
        ("dtype", 1, "int32", False),
        ("shape", 2, "TensorShapeProto", False),
        ("content", 4, "bytes", False),
        ("values", 5, "float", True),
    ),
    "TensorShapeProto": (("dim", 2, "Dim", True),),
    "Dim": (("size", 1, "int64", False),),
}

# Scopes inside a block of the graph, and branches of the state dict's block.
_A = {
    "conv": "branch1x1",
    "tower/conv": "branch5x5_1",
    "tower/conv_1": "branch5x5_2",
    "tower_1/conv": "branch3x3dbl_1",
    "tower_1/conv_1": "branch3x3dbl_2",
    "tower_1/conv_2": "branch3x3dbl_3",
    "tower_2/conv": "branch_pool",
}
_B = {
    "conv": "branch3x3",
    "tower/conv": "branch3x3dbl_1",
    "tower/conv_1": "branch3x3dbl_2",
    "tower/conv_2": "branch3x3dbl_3",
}
_C = {
    "conv": "branch1x1",
    "tower/conv": "branch7x7_1",
    "tower/conv_1": "branch7x7_2",
    "tower/conv_2": "branch7x7_3",
    "tower_1/conv": "branch7x7dbl_1",
    "tower_1/conv_1": "branch7x7dbl_2",
    "tower_1/conv_2": "branch7x7dbl_3",
    "tower_1/conv_3": "branch7x7dbl_4",
    "tower_1/conv_4": "branch7x7dbl_5",
    "tower_2/conv": "branch_pool",
}
_D = {
    "tower/conv": "branch3x3_1",
    "tower/conv_1": "branch3x3_2",
    "tower_1/conv": "branch7x7x3_1",
    "tower_1/conv_1": "branch7x7x3_2",
    "tower_1/conv_2": "branch7x7x3_3",
    "tower_1/conv_3": "branch7x7x3_4",
}
_E = {
    "conv": "branch1x1",
    "tower/conv": "branch3x3_1",
    "tower/mixed/conv": "branch3x3_2a",
    "tower/mixed/conv_1": "branch3x3_2b",
    "tower_1/conv": "branch3x3dbl_1",
    "tower_1/conv_1": "branch3x3dbl_2",
    "tower_1/mixed/conv": "branch3x3dbl_3a",
    "tower_1/mixed/conv_1": "branch3x3dbl_3b",
    "tower_2/conv": "branch_pool",
}
_BLOCKS = {
    "mixed": ("Mixed_5b", _A),
    "mixed_1": ("Mixed_5c", _A),
    "mixed_2": ("Mixed_5d", _A),
    "mixed_3": ("Mixed_6a", _B),
    "mixed_4": ("Mixed_6b", _C),
    "mixed_5": ("Mixed_6c", _C),
    "mixed_6": ("Mixed_6d", _C),
    "mixed_7": ("Mixed_6e", _C),
    "mixed_8": ("Mixed_7a", _D),
    "mixed_9": ("Mixed_7b", _E),
    "mixed_10": ("Mixed_7c", _E),
}
_STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}
# Constants of a convolution, and what the state dict calls them.
_CONSTANTS = {
    "conv2d_params": "conv.weight",
    "batchnorm/gamma": "bn.weight",
    "batchnorm/beta": "bn.bias",
    "batchnorm/moving_mean": "bn.running_mean",
    "batchnorm/moving_variance": "bn.running_var",
}


def inception_names() -> dict[str, str]:
    """Returns, for every weight of the graph, its node's name and its name in the state dict."""
    modules = dict(_STEM)
    for scope, (block, branches) in _BLOCKS.items():
        modules |= {f"{scope}/{inner}": f"{block}.{branch}" for inner, branch in branches.items()}
    names = {
        f"{scope}/{constant}": f"{module}.{suffix}"
        for scope, module in modules.items()
        for constant, suffix in _CONSTANTS.items()
    }
    return names | {"softmax/weights": "fc.weight", "softmax/biases": "fc.bias"}


def read_inception_graph(content: bytes, name: str) -> dict[str, NDArray[np.float32]]:
    """Returns the weights in the bytes of ``classify_image_graph_def.pb`` under the names of the published state dict.

    Kernels come as height, width, input, output and are turned to output, input, height, width.

    Raises:
        WeightsError: the bytes of the file ``name`` are no such graph, or a weight is missing, twice there or damaged.
    """
    graph = _graph_class()()
    try:
        graph.ParseFromString(content)
    except (DecodeError, ValueError):
        raise WeightsError(f"{name} is not a TensorFlow graph, or is truncated; download it again.") from None
    names = inception_names()
    weights: dict[str, NDArray[np.float32]] = {}
    for node in graph.node:
        if node.op != "Const" or node.name not in names:
            continue
        key = names[node.name]
        if key in weights:
            raise WeightsError(f"{name} has the constant {node.name} twice.")
        array = _constant(node, name)
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif array.ndim == 2:
            array = array.T
        weights[key] = np.array(array, np.float32, order="C")
    missing = [node for node, key in names.items() if key not in weights]
    if missing:
        raise WeightsError(
            f"{name} is not the graph of inception-2015-12-05: it lacks {len(missing)} of {len(names)} constants, "
            f"{missing[0]} first."
        )
    return weights


def _constant(node: Any, file: str) -> NDArray[np.float32]:
    tensors = [attribute.value.tensor for attribute in node.attr if attribute.key == "value"]
    shape = [dim.size for dim in tensors[0].shape.dim] if tensors else []
    count = math.prod(shape)
    if len(tensors) == 1 and tensors[0].dtype == _FLOAT and min(shape, default=0) > 0 and count <= _MOST_NUMBERS:
        content, values = tensors[0].content, tensors[0].values
        if len(content) == 4 * count:
            return np.frombuffer(content, "<f4").reshape(shape)
        # TensorFlow writes small arrays, and those of one value only, as a list.
        if not content and len(values) in (1, count):
            return np.broadcast_to(np.array(values, np.float32), count).reshape(shape)
    raise WeightsError(f"{file} is damaged: its constant {node.name} is not a complete float32 array.")


@cache
def _graph_class() -> Any:
    return message_class(_MESSAGES, "GraphDef")
