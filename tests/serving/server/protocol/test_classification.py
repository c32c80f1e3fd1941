"""The classification extension, and encoded images as an input: over HTTP, by the parts behind it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.protocol.classification import top_classes
from igan_zoo.serving.server.settings import ServerSettings
from tests.conftest import REPOSITORY
from tests.serving.server.conftest import CLASSIFIER, GENERATOR
from tests.serving.tiny_classifier import tiny_classifier
from tests.serving.tiny_scorer import tiny_scorer

DIGITS = [(REPOSITORY / "docs" / "digits" / f"{digit}.png").read_bytes() for digit in (2, 7)]


def encoded(*files: bytes, shape: list[int] | None = None) -> dict[str, Any]:
    data = [base64.b64encode(file).decode() for file in files]
    return {"name": "image_bytes", "datatype": "BYTES", "shape": shape or [len(files)], "data": data}


def infer(client: TestClient, name: str, tensor: dict[str, Any], **outputs: int) -> Any:
    wanted = [{"name": output, "parameters": {"classification": count}} for output, count in outputs.items()]
    return client.post(f"/v2/models/{name}/infer", json={"inputs": [tensor], "outputs": wanted})


def colored(red: int, size: int = 4) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (size, size + 1), (red, 0, 0)).save(content, "PNG")
    return content.getvalue()


def test_the_largest_come_first_and_the_first_of_equal_ones() -> None:
    array = np.array([[0.25, 0.5, 0.25], [1, 0, -2]], np.float32)
    found = top_classes(array, 2, ("a", "b", "c"))
    assert found.tolist() == [[b"0.500000:1:b", b"0.250000:0:a"], [b"1.000000:0:a", b"0.000000:1:b"]]
    assert top_classes(array[:, 0], 9, None).tolist() == [[b"0.250000:0"], [b"1.000000:0"]]
    assert top_classes(array[:0], 2, None).shape == (0, 2)


def test_classes_have_their_names(tmp_path: Path, client_of: Callable[..., TestClient]) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_classifier())
    client = client_of(Repository.open([tmp_path / "tiny.onnx"], ServerSettings(threads=1)))
    answer = infer(client, "tiny-classifier", encoded(colored(255)), logits=2, realness=1).json()
    logits, realness = answer["outputs"]
    assert (logits["datatype"], logits["shape"]) == ("BYTES", [1, 2])
    assert logits["data"] == ["10.000000:2:red", "0.000000:0:blue"]
    assert realness["data"][0].endswith(":0")


def test_pixels_have_no_classes(client: TestClient) -> None:
    tensor = {"name": "latent", "datatype": "FP32", "shape": [1, 100], "data": [0.5] * 100}
    answer = infer(client, GENERATOR, tensor, images=3)
    assert answer.json() == {"error": f"The output images of {GENERATOR} has no classes; leave out classification."}


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_encoded_images_are_answered_as_classify_answers_them(shape: list[int], client: TestClient) -> None:
    (output,) = infer(client, CLASSIFIER, encoded(*DIGITS, shape=shape), probabilities=1).json()["outputs"]
    assert [element.split(":")[2] for element in output["data"]] == ["2", "7"]
    (said,) = client.post("/classify", content=DIGITS[1]).json()
    assert float(output["data"][1].split(":")[0]) == pytest.approx(said["classes"][0]["probability"], abs=1e-5)
    statistics = client.get(f"/v2/models/{CLASSIFIER}/stats").json()["model_stats"][0]["inference_stats"]
    assert statistics["success"]["count"] == 2


def test_more_encoded_images_than_a_batch_keep_their_order(client_of: Callable[..., TestClient]) -> None:
    client = client_of(Repository.open(["mnist-ssl"], ServerSettings(threads=1, max_batch=3)))
    (output,) = infer(client, CLASSIFIER, encoded(*DIGITS * 4), probabilities=1).json()["outputs"]
    assert [element.split(":")[2] for element in output["data"]] == ["2", "7"] * 4


def test_a_scorer_takes_encoded_images_of_several_sizes(tmp_path: Path, client_of: Callable[..., TestClient]) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    client = client_of(Repository.open([tmp_path / "tiny.onnx"], ServerSettings(threads=1)))
    tensor = encoded(colored(51), colored(102, 9), colored(255, 9))
    answer = client.post("/v2/models/tiny-scorer/infer", json={"inputs": [tensor], "outputs": [{"name": "features"}]})
    (output,) = answer.json()["outputs"]
    assert output["data"] == [2.0, 0, 0, 4.0, 0, 0, 10.0, 0, 0]


@pytest.mark.parametrize("kind", ["GIF", "BMP", "WEBP"])
def test_files_that_begin_like_base64_are_files(
    kind: str, tmp_path: Path, client_of: Callable[..., TestClient]
) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    client = client_of(Repository.open([tmp_path / "tiny.onnx"], ServerSettings(threads=1)))
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(content, kind, lossless=True)
    file = content.getvalue()
    tensor = {**encoded(file), "parameters": {"binary_data_size": len(file) + 4}}
    del tensor["data"]
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "features"}]}).encode()
    body = head + len(file).to_bytes(4, "little") + file
    headers = {"Inference-Header-Content-Length": str(len(head))}
    (output,) = client.post("/v2/models/tiny-scorer/infer", content=body, headers=headers).json()["outputs"]
    assert output["data"] == [10.0, 0, 0]


def test_a_data_address_is_base64_too(client: TestClient) -> None:
    tensor = encoded(DIGITS[0])
    tensor["data"] = [f"data:image/png;base64,{tensor['data'][0]}"]
    (output,) = infer(client, CLASSIFIER, tensor, probabilities=1).json()["outputs"]
    assert output["data"][0].endswith(":2")


@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [
        (encoded(b"nothing"), "Image 0 of image_bytes is not a PNG"),
        (encoded(DIGITS[0], DIGITS[0][:60]), "Image 1 of image_bytes cannot be decoded"),
        (encoded(*DIGITS, shape=[1, 2]), f"{CLASSIFIER} takes image_bytes of shape [-1, 1], not [1, 2]."),
        (encoded(*DIGITS) | {"name": "other"}, "takes the input images or the input image_bytes and nothing else"),
        ({**encoded(), "datatype": "UINT8", "shape": [0], "data": []}, "takes image_bytes as BYTES, not UINT8."),
    ],
)
def test_what_is_no_encoded_image_is_one_sentence(tensor: dict[str, Any], sentence: str, client: TestClient) -> None:
    answer = client.post(f"/v2/models/{CLASSIFIER}/infer", json={"inputs": [tensor]})
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_no_encoded_images_give_no_rows(client: TestClient) -> None:
    tensor = {**encoded(), "shape": [0, 1]}
    answer = client.post(f"/v2/models/{CLASSIFIER}/infer", json={"inputs": [tensor]}).json()
    assert [output["shape"][0] for output in answer["outputs"]] == [0, 0, 0]


def test_metadata_and_configuration_name_the_second_input(client: TestClient) -> None:
    metadata = client.get(f"/v2/models/{CLASSIFIER}").json()
    assert metadata["inputs"][1] == {"name": "image_bytes", "datatype": "BYTES", "shape": [-1, 1]}
    second = client.get(f"/v2/models/{CLASSIFIER}/config").json()["input"][1]
    assert second == {"name": "image_bytes", "data_type": "TYPE_STRING", "dims": [1], "optional": True}
    assert len(client.get(f"/v2/models/{GENERATOR}").json()["inputs"]) == 1
    assert "classification" in client.get("/v2/").json()["extensions"]
