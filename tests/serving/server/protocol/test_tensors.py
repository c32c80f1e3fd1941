"""Tensors of the protocol: every type there and back, and every malformed body one sentence."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.models.datatypes import DATATYPES, datatype_of
from igan_zoo.serving.server.protocol.tensors import (
    InferRequest,
    decode_request,
    encode_response,
    from_binary,
    to_binary,
)

NUMBERS = [name for name in DATATYPES if name != "BYTES"]
FEW = settings(max_examples=25, deadline=None)
IN_JSON = [name for name in NUMBERS if name != "FP16"]


def request(**tensor: Any) -> bytes:
    whole = {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2], **tensor}
    return json.dumps({"inputs": [{key: value for key, value in whole.items() if value is not None}]}).encode()


def binary(content: bytes, **tensor: Any) -> tuple[bytes, str]:
    size = tensor.pop("size", len(content))
    head = request(data=None, parameters={"binary_data_size": size}, **tensor)
    return head + content, str(len(head))


@pytest.mark.parametrize("datatype", NUMBERS)
@FEW
@given(data=st.data())
def test_binary_tensors_come_back_as_they_were(datatype: str, data: st.DataObject) -> None:
    shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    array = data.draw(arrays.arrays(DATATYPES[datatype], shapes))
    content, length = binary(to_binary(array), datatype=datatype, shape=list(array.shape))
    found = decode_request(content, length).inputs["x"]
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("datatype", IN_JSON)
@FEW
@given(data=st.data())
def test_json_tensors_come_back_as_they_were(datatype: str, nested: bool, data: st.DataObject) -> None:
    dtype = DATATYPES[datatype]
    elements = (
        arrays.from_dtype(dtype, allow_nan=False, allow_infinity=False)
        if dtype.kind == "f"
        else arrays.from_dtype(dtype)
    )
    array = data.draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=1, max_dims=3, max_side=3), elements=elements))
    values = array.tolist() if nested else array.ravel().tolist()
    found = decode_request(request(datatype=datatype, shape=list(array.shape), data=values)).inputs["x"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
    answer = InferRequest("", {}, None, False, None)
    body, length = encode_response("m", "1", answer, {"x": array})
    (output,) = json.loads(body)["outputs"]
    assert (length, output["datatype"], output["shape"]) == (None, datatype, list(array.shape))
    np.testing.assert_array_equal(np.array(output["data"], dtype).reshape(array.shape), array)


@FEW
@given(elements=st.lists(st.text(max_size=5), min_size=1, max_size=6))
def test_texts_come_back_as_they_were(elements: list[str]) -> None:
    shape = [1, len(elements)]
    for data in (elements, [elements]):
        found = decode_request(request(datatype="BYTES", shape=shape, data=data)).inputs["x"]
        assert found.tolist() == [[element.encode() for element in elements]]
    content, length = binary(to_binary(found), datatype="BYTES", shape=shape)
    assert decode_request(content, length).inputs["x"].tolist() == found.tolist()
    body, _ = encode_response("m", "1", InferRequest("", {}, None, False, None), {"x": found})
    assert json.loads(body)["outputs"][0]["data"] == elements


@pytest.mark.parametrize("nested", [False, True])
def test_whole_numbers_may_be_written_as_floats(nested: bool) -> None:
    numbers = [5.0, 7, 2**53 + 1, -0.0]
    data = [numbers[:2], numbers[2:]] if nested else numbers
    found = decode_request(request(datatype="INT64", shape=[2, 2], data=data)).inputs["x"]
    assert found.tolist() == [[5, 7], [2**53 + 1, 0]]


def test_binary_inputs_are_views_of_the_body() -> None:
    content, length = binary(np.arange(6, dtype=np.uint8).tobytes(), datatype="UINT8", shape=[2, 3])
    found = decode_request(content, length).inputs["x"]
    assert not found.flags.owndata
    assert not found.flags.writeable


def test_an_answer_has_the_outputs_that_were_asked_for_each_in_its_form() -> None:
    outputs = {"a": np.arange(2, dtype=np.float32), "b": np.arange(3, dtype=np.uint8), "c": np.zeros(1, np.float16)}
    wanted = InferRequest("me", {}, {"b": True, "a": False}, False, None)
    body, length = encode_response("m", "3", wanted, {name: outputs[name] for name in ("b", "a")})
    answer = json.loads(body[:length])
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("me", "m", "3")
    assert [tensor["name"] for tensor in answer["outputs"]] == ["b", "a"]
    assert answer["outputs"][0]["parameters"] == {"binary_data_size": 3}
    assert answer["outputs"][1]["data"] == [0.0, 1.0]
    assert body[length:] == b"\0\1\2"


@pytest.mark.parametrize(
    ("parameters", "outputs", "expected"),
    [
        (None, None, (None, False)),
        ({"binary_data_output": True}, None, (None, True)),
        ({"binary_data_output": True}, [{"name": "a"}], ({"a": True}, True)),
        (None, [{"name": "a", "parameters": {"binary_data": True}}, {"name": "b"}], ({"a": True, "b": False}, False)),
    ],
)
def test_outputs_are_binary_where_the_request_says_so(parameters: Any, outputs: Any, expected: Any) -> None:
    body = {**json.loads(request()), "parameters": parameters, "outputs": outputs}
    found = decode_request(json.dumps(body).encode())
    assert (found.outputs, found.binary) == expected


FOUR = np.zeros(4, np.uint8).tobytes()
MALFORMED: dict[str, tuple[bytes, str | None, str]] = {
    "nothing": (b"", None, "not an inference request in JSON"),
    "no object": (b"[]", None, "not an inference request in JSON"),
    "no UTF-8": (b'{"inputs": [{"name": "\xff"}]}', None, "not an inference request in JSON"),
    "deeply nested": (b'{"inputs": ' + b"[" * 100_000, None, "not an inference request in JSON"),
    "no inputs": (b"{}", None, "missing required field `inputs`"),
    "a negative size": (request(shape=[-1]), None, ">= 0"),
    "a size beyond memory": (request(shape=[2**40]), None, "<= 2147483647"),
    "sizes beyond memory": (request(shape=[2**31 - 1] * 8), None, "is not a valid shape"),
    "no elements of a size beyond memory": (request(shape=[2**31 - 1] * 7 + [0], data=[]), None, "not a valid shape"),
    "a timeout beyond numbers": (b'{"inputs":[],"parameters":{"timeout":%d}}' % (2**1100), None, r"below 2\^63"),
    "too many axes": (request(shape=[1] * 9), None, "length <= 8"),
    "an unknown type": (request(datatype="FP8"), None, "There is no datatype 'FP8'"),
    "too few numbers": (request(shape=[3]), None, r"has 2 elements in the shape \[2\]"),
    "nested otherwise": (request(shape=[1, 2], data=[[1], [2]]), None, r"has 2 elements in the shape \[2, 1\]"),
    "rows of different lengths": (request(shape=[2, 2], data=[[1, 2], [3]]), None, "different lengths"),
    "ragged texts": (request(datatype="BYTES", shape=[1, 2], data=[["a"], ["b"]]), None, "its shape is given as"),
    "a text for a number": (request(data=["1", "2"]), None, "is not FP32"),
    "a fraction for a whole number": (request(datatype="INT32", data=[1.5, 2]), None, "is not INT32"),
    "a fraction beside a whole number": (request(datatype="UINT8", data=[5.0, 0.5]), None, "is not UINT8"),
    "a whole number beyond its type": (request(datatype="UINT8", data=[256.0, 5]), None, "<= 255"),
    "a number for a truth": (request(datatype="BOOL", data=[0, 1]), None, "is not BOOL"),
    "a number beyond its type": (request(datatype="UINT8", data=[0, 256]), None, "<= 255"),
    "a number beyond 64 bits": (request(datatype="UINT64", data=[0, 2**64]), None, "out of range"),
    "NaN": (b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":[NaN]}]}', None, "in JSON"),
    "halves in JSON": (request(datatype="FP16"), None, "FP16, which has no form in JSON"),
    "no data": (request(data=None), None, "neither data nor"),
    "two of a name": (json.dumps({"inputs": json.loads(request())["inputs"] * 2}).encode(), None, "given twice"),
    "shared memory": (request(parameters={"shared_memory_region": "a"}), None, "shared memory"),
    "data twice": (request(parameters={"binary_data_size": 8}), None, "both data and a binary_data_size"),
    "a length that is none": (request(), "x", "must be a number of bytes"),
    "a length of another script": (request(), "²", "must be a number of bytes"),
    "a length beyond the body": (request(), "100000", "but the whole body has only"),
    "a length within the JSON": (request(), "10", "not an inference request in JSON"),
    "bytes too few": (*binary(FOUR, shape=[2]), "has 8 bytes, not 4"),
    "bytes too many": (*binary(FOUR * 3, shape=[2]), "has 8 bytes, not 12"),
    "bytes that are not there": (*binary(FOUR, size=8), "declares 8 binary bytes, but 4 are left"),
    "bytes of nobody": (*binary(FOUR, shape=[0], size=0), "has 4 binary bytes, but its inputs account for 0"),
    "a negative count of bytes": (*binary(FOUR, size=-4), "must be a number of bytes"),
    "a truth that is neither": (*binary(b"\2", datatype="BOOL", shape=[1]), "neither 0 nor 1"),
    "a text cut off": (*binary(b"\5\0\0\0ab", datatype="BYTES", shape=[1]), "ends in the middle of an element."),
    "a text's length cut off": (
        *binary(b"\5\0", datatype="BYTES", shape=[1]),
        "ends in the middle of an element's length",
    ),
    "too few texts": (*binary(b"\0\0\0\0", datatype="BYTES", shape=[2]), "has 1 elements, but by its shape 2"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_body_is_one_sentence(name: str) -> None:
    body, length, message = MALFORMED[name]
    with pytest.raises(ProtocolError, match=message) as caught:
        decode_request(body, length)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parameters": {"binary_data_output": 1}}, "binary_data_output must be true or false"),
        ({"parameters": {"timeout": -1}}, "timeout must be a number"),
        ({"outputs": [{"name": "a"}, {"name": "a"}]}, "asked for twice"),
        ({"outputs": [{"name": "a", "parameters": {"classification": -3}}]}, "must be a number of classes"),
        ({"outputs": [{"name": "a", "parameters": {"binary_data": "yes"}}]}, "binary_data must be true or false"),
    ],
)
def test_a_wish_that_makes_no_sense_is_one_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        decode_request(json.dumps({**json.loads(request()), **fields}).encode())


def test_an_output_that_has_no_form_is_refused() -> None:
    outputs = {"a": np.zeros(1, np.float16)}
    with pytest.raises(ProtocolError, match="FP16, which has no form in JSON"):
        encode_response("m", "1", InferRequest("", {}, None, False, None), outputs)
    with pytest.raises(ProtocolError, match="no type for complex64"):
        datatype_of(np.zeros(1, np.complex64))


@FEW
@given(
    content=st.binary(max_size=64),
    datatype=st.sampled_from(list(DATATYPES)),
    shape=st.lists(st.integers(0, 9), max_size=3),
)
def test_any_bytes_are_a_tensor_or_a_protocol_error(content: bytes, datatype: str, shape: list[int]) -> None:
    with contextlib.suppress(ProtocolError):
        assert from_binary(datatype, shape, content).shape == tuple(shape)


@FEW
@given(body=st.binary(max_size=200), length=st.none() | st.text(max_size=4))
def test_any_body_is_a_request_or_a_protocol_error(body: bytes, length: str | None) -> None:
    with contextlib.suppress(ProtocolError):
        decode_request(body, length)
