"""Reading TensorFlow's Inception graph, written here with TensorBoard's copy of its message classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tensorboard.compat.proto import graph_pb2
from torch import Tensor

from igan_zoo.errors import WeightsError
from igan_zoo.export.scorers.inception import Inception
from igan_zoo.serving.scorers.tensorflow_graph import inception_names, read_inception_graph
from tests.serving.scorers.graph_def import INT32, add_constant, inception_graph

FIRST = "conv/conv2d_params"


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = Inception(divisor=16).state_dict()
    return {name: torch.rand_like(tensor) for name, tensor in state.items() if "num_batches" not in name}


@pytest.fixture
def graph(weights: dict[str, Tensor]) -> graph_pb2.GraphDef:
    return inception_graph(weights)


def test_every_weight_has_one_node(weights: dict[str, Tensor]) -> None:
    names = inception_names()
    assert len(names) == 94 * 5 + 2
    assert sorted(names.values()) == sorted(weights)


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ("conv_4/batchnorm/moving_variance", "Conv2d_4a_3x3.bn.running_var"),
        ("mixed/tower/conv_1/conv2d_params", "Mixed_5b.branch5x5_2.conv.weight"),
        ("mixed_3/conv/batchnorm/gamma", "Mixed_6a.branch3x3.bn.weight"),
        ("mixed_5/tower_1/conv_4/conv2d_params", "Mixed_6c.branch7x7dbl_5.conv.weight"),
        ("mixed_8/tower_1/conv_3/batchnorm/beta", "Mixed_7a.branch7x7x3_4.bn.bias"),
        ("mixed_10/tower_1/mixed/conv_1/batchnorm/moving_mean", "Mixed_7c.branch3x3dbl_3b.bn.running_mean"),
        ("softmax/weights", "fc.weight"),
    ],
)
def test_nodes_are_named_as_in_the_published_graph(node: str, key: str) -> None:
    assert inception_names()[node] == key


def test_the_graph_gives_the_state_dict_it_was_made_of(graph: graph_pb2.GraphDef, weights: dict[str, Tensor]) -> None:
    read = read_inception_graph(graph.SerializeToString(), "x.pb")
    assert read.keys() == weights.keys()
    for name, tensor in weights.items():
        assert np.array_equal(read[name], tensor.numpy()), name


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.25]])
def test_small_constants_may_be_lists(
    graph: graph_pb2.GraphDef, weights: dict[str, Tensor], values: list[float]
) -> None:
    (node,) = (node for node in graph.node if node.name == "conv/batchnorm/beta")
    node.attr["value"].tensor.tensor_content = b""
    node.attr["value"].tensor.float_val.extend(values)
    read = read_inception_graph(graph.SerializeToString(), "x.pb")["Conv2d_1a_3x3.bn.bias"]
    assert read.tolist() == (values * 2)[:2]


def shortened(node: graph_pb2.NodeDef) -> None:
    node.attr["value"].tensor.tensor_content = node.attr["value"].tensor.tensor_content[:-4]


def of_integers(node: graph_pb2.NodeDef) -> None:
    node.attr["value"].tensor.dtype = INT32


def without_value(node: graph_pb2.NodeDef) -> None:
    del node.attr["value"]


def enormous(node: graph_pb2.NodeDef) -> None:
    tensor = node.attr["value"].tensor
    tensor.tensor_shape.dim[0].size = 2**40
    tensor.tensor_content = b""
    tensor.float_val.append(1)


def negative(node: graph_pb2.NodeDef) -> None:
    for dim in node.attr["value"].tensor.tensor_shape.dim[:2]:
        dim.size = -dim.size


@pytest.mark.parametrize("damage", [shortened, of_integers, without_value, enormous, negative])
def test_a_damaged_constant_is_named(graph: graph_pb2.GraphDef, damage: Callable[[graph_pb2.NodeDef], None]) -> None:
    damage(next(node for node in graph.node if node.name == FIRST))
    with pytest.raises(
        WeightsError, match=rf"^x\.pb is damaged: its constant {FIRST} is not a complete float32 array\.$"
    ):
        read_inception_graph(graph.SerializeToString(), "x.pb")


def test_a_missing_constant_is_named(graph: graph_pb2.GraphDef) -> None:
    graph.node.remove(next(node for node in graph.node if node.name == FIRST))
    with pytest.raises(WeightsError, match=f"lacks 1 of 472 constants, {FIRST} first"):
        read_inception_graph(graph.SerializeToString(), "x.pb")


def test_a_constant_that_is_there_twice_is_refused(graph: graph_pb2.GraphDef) -> None:
    add_constant(graph, FIRST, np.zeros((3, 3, 3, 2), np.float32))
    with pytest.raises(WeightsError, match=f"has the constant {FIRST} twice"):
        read_inception_graph(graph.SerializeToString(), "x.pb")


@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_a_truncated_graph_is_refused(graph: graph_pb2.GraphDef, keep: float) -> None:
    content = graph.SerializeToString()
    with pytest.raises(WeightsError, match="not a TensorFlow graph, or is truncated"):
        read_inception_graph(content[: int(len(content) * keep)], "x.pb")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>Not Found", b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x07"])
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(WeightsError, match=r"^x\.pb is not "):
        read_inception_graph(content, "x.pb")
