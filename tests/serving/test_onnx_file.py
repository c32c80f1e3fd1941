"""A foreign ONNX file is looked through before onnxruntime has it, wherever a tensor can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper

from igan_zoo.errors import InterfaceError
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.onnx_file import check_onnx_file
from tests.conftest import REPOSITORY
from tests.serving.test_engine import scorer_graph

MODELS = sorted(REPOSITORY.glob("models/*/onnx/*.onnx"))


def outside(content: bytes = b"") -> TensorProto:
    """A tensor whose weights are in another file."""
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../../../etc/passwd")
    return tensor


def constant(attribute: AttributeProto) -> onnx.NodeProto:
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.append(attribute)
    return node


def with_tensor(place: str, tensor: TensorProto) -> ModelProto:
    """A model that has a tensor in one of the places where ONNX allows them."""
    model = ModelProto(ir_version=9)
    model.graph.name = "g"
    inner = GraphProto(name="inner")
    inner.initializer.append(tensor)
    attribute = AttributeProto(name="value")
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place in ("sparse values", "sparse indices"):
        sparse = model.graph.sparse_initializer.add()
        (sparse.values if place == "sparse values" else sparse.indices).CopyFrom(tensor)
    elif place in ("initialization", "algorithm"):
        getattr(model.training_info.add(), place).CopyFrom(inner)
    elif place == "function":
        attribute.t.CopyFrom(tensor)
        model.functions.add(name="f", domain="d").node.append(constant(attribute))
    else:
        if place == "t":
            attribute.t.CopyFrom(tensor)
        elif place == "g":
            attribute.g.CopyFrom(inner)
        elif place == "sparse tensor":
            attribute.sparse_tensor.values.CopyFrom(tensor)
        elif place == "sparse tensors":
            attribute.sparse_tensors.add().indices.CopyFrom(tensor)
        else:
            getattr(attribute, place).append(tensor if place == "tensors" else inner)
        model.graph.node.append(constant(attribute))
    return model


PLACES = ["initializer", "sparse values", "sparse indices", "initialization", "algorithm", "function", "t", "g"]
PLACES += ["sparse tensor", "sparse tensors", "tensors", "graphs"]


@pytest.mark.parametrize("place", PLACES)
def test_weights_in_other_files_are_found_wherever_a_tensor_can_be(place: str) -> None:
    expected = "custom functions" if place == "function" else "weights in other files"
    with pytest.raises(InterfaceError, match=expected):
        check_onnx_file(with_tensor(place, outside()).SerializeToString(), "classifier")
    if place != "function":
        inside = helper.make_tensor("w", TensorProto.FLOAT, [4], [1.0] * 4)
        check_onnx_file(with_tensor(place, inside).SerializeToString(), "classifier")


def test_either_sign_of_weights_in_other_files_is_enough() -> None:
    for field in ("external_data", "data_location"):
        tensor = outside()
        tensor.ClearField(field)
        with pytest.raises(InterfaceError, match="weights in other files"):
            check_onnx_file(with_tensor("initializer", tensor).SerializeToString(), "classifier")


def test_the_check_reads_a_tag_as_protocol_buffers_in_cpp_do() -> None:
    """A tag of five bytes has more than the 32 bits that count there: the same field, written in another way."""
    content = with_tensor("initializer", outside()).SerializeToString()
    at = content.index(b"\x3a")  # the graph: field 7, a message
    disguised = content[:at] + b"\xba\x80\x80\x80\x10" + content[at + 1 :]
    with pytest.raises(InterfaceError, match="weights in other files"):
        check_onnx_file(disguised, "classifier")


def test_our_own_graphs_pass() -> None:
    assert MODELS
    for path in MODELS:
        check_onnx_file(path.read_bytes(), "classifier")


def test_the_format_of_onnxruntime_which_is_not_looked_through_is_refused(tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "x.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    graph = REPOSITORY / "zoo" / "bundled" / "mnist-ssl" / "onnx" / "generator.onnx"
    onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])
    content = (tmp_path / "x.ort").read_bytes()
    assert onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).get_inputs()
    with pytest.raises(InterfaceError, match="not an ONNX graph"):
        Engine({"generator": content})


def nested(depth: int) -> bytes:
    """A graph in an attribute of a node of a graph, and so on; protocol buffers themselves do not write it."""
    content = b""
    for field in (6, 5, 1) * depth + (7,):
        size = len(content)
        content = bytes([field << 3 | 2, size & 0x7F | 0x80, size >> 7]) + content
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: b"not onnx at all", "not a protocol buffer"),
        (lambda: b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "not a protocol buffer"),
        (lambda: b"\xff" * 20, "not a protocol buffer"),
        (lambda: nested(60), "more than 100 messages deep"),
        (lambda: b"\x08\x08" * 2_000_001, "more than 2,000,000 parts"),
    ],
)
def test_what_would_take_long_or_is_no_graph_is_refused(content: Callable[[], bytes], message: str) -> None:
    with pytest.raises(InterfaceError, match=message):
        check_onnx_file(content(), "classifier")


def classifier(outputs: dict[str, list[Any]], *, values: int = 10, channels: int = 1) -> bytes:
    """A graph that gives ``values`` zeros an image, whatever it says of its outputs."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 28, 28, channels])
    declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    constants = [
        helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
        helper.make_tensor("values", TensorProto.INT64, [1], [values]),
        helper.make_tensor("nothing", TensorProto.FLOAT, [], [0.0]),
    ]
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["n"]),
        helper.make_node("Concat", ["n", "values"], ["size"], axis=0),
        helper.make_node("Expand", ["nothing", "size"], ["logits"]),
        helper.make_node("Identity", ["logits"], ["probabilities"]),
        helper.make_node("Expand", ["nothing", "n"], ["realness"]),
    ]
    graph = helper.make_graph(nodes, "g", [images], declared, constants)
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()
    return content


def answers(classes: object) -> dict[str, list[Any]]:
    return {"logits": ["N", 10], "probabilities": ["N", classes], "realness": ["N"]}


def test_outputs_that_are_not_what_the_file_says_are_refused() -> None:
    """onnxruntime only warns of them, and an index of a class would be beyond the end."""
    images = np.zeros((2, 28, 28, 1), np.uint8)
    assert Engine({"classifier": classifier(answers("K"))}).run("classifier", {"images": images})["logits"].size == 20
    assert Engine({"classifier": classifier(answers("K"))}).graphs["classifier"].outputs["probabilities"] == (10,)
    with pytest.raises(InterfaceError, match=r"gave logits of shape \[2, 3\] for 2 inputs"):
        Engine({"classifier": classifier(answers("K"), values=3)}).run("classifier", {"images": images})


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(InterfaceError, match=r"\[28, 28, 22\]; C is 1 or 3"):
        Engine({"classifier": classifier(answers(10), channels=22)})


def test_names_that_are_not_utf_8_are_refused() -> None:
    content = classifier(answers(10))
    model = onnx.load_from_string(content)
    model.metadata_props.add(key="igan_zoo.classes", value="QQQQ")
    with pytest.raises(InterfaceError):
        Engine({"classifier": model.SerializeToString().replace(b"QQQQ", b"\xff\xfe\xff\xfe")})


def test_a_pointer_of_git_lfs_and_a_newer_format_are_named() -> None:
    with pytest.raises(InterfaceError, match=r"is a Git LFS pointer.*run git lfs pull"):
        Engine({"scorer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"})
    model = ModelProto.FromString(scorer_graph(["N", "H", "W", 3]))
    model.ir_version = 99
    with pytest.raises(InterfaceError, match=r"its IR version is 99, but this onnxruntime supports at most \d+"):
        Engine({"scorer": model.SerializeToString()})
