"""The Open Inference Protocol over HTTP: what it says and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from starlette.testclient import TestClient

from igan_zoo.latents import latents
from igan_zoo.serving.server.repository import Repository
from tests.serving.server.conftest import CLASSIFIER, GENERATOR

HEADER = "Inference-Header-Content-Length"
Z = latents(100, "uniform", seed=7, start=0, count=3)


def json_request(**fields: object) -> dict[str, object]:
    tensor = {"name": "latent", "datatype": "FP32", "shape": [3, 100], "data": Z.tolist()}
    return {"inputs": [{**tensor, **fields}]}


def binary_request(z: np.ndarray = Z, **fields: object) -> tuple[bytes, dict[str, str]]:
    tensor = {"name": "latent", "datatype": "FP32", "shape": list(z.shape)}
    tensor["parameters"] = {"binary_data_size": z.nbytes}
    head = json.dumps({"inputs": [{**tensor, **fields}], "parameters": {"binary_data_output": True}}).encode()
    return head + z.tobytes(), {HEADER: str(len(head))}


@pytest.fixture(scope="module")
def expected(hosted: Repository) -> np.ndarray:
    return hosted.graph(GENERATOR).engine.run("generator", {"latent": Z})["images"]


def test_the_server_says_what_it_is_and_where_its_graphs_run(client: TestClient) -> None:
    answer = client.get("/v2").json()
    assert answer["name"] == "igan-zoo"
    assert "binary_tensor_data" in answer["extensions"]
    assert answer["providers"] == {GENERATOR: "CPUExecutionProvider", CLASSIFIER: "CPUExecutionProvider"}


def test_health_and_readiness(client: TestClient) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{GENERATOR}/ready"):
        assert client.get(path).status_code == 200


def test_metadata_name_the_tensors_of_the_graph(client: TestClient) -> None:
    answer = client.get(f"/v2/models/{CLASSIFIER}/versions/1").json()
    assert answer["versions"] == ["1"]
    assert answer["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}]
    outputs = {tensor["name"]: tensor["shape"] for tensor in answer["outputs"]}
    assert outputs == {"logits": [-1, 10], "probabilities": [-1, 10], "realness": [-1]}


def test_json_in_and_out_gives_what_the_engine_gives(client: TestClient, expected: np.ndarray) -> None:
    answer = client.post(f"/v2/models/{GENERATOR}/infer", json={**json_request(), "id": "mine"}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (GENERATOR, "1", "mine")
    (output,) = answer["outputs"]
    np.testing.assert_array_equal(np.array(output["data"]).reshape(output["shape"]), expected)


def test_binary_in_and_out_gives_what_the_engine_gives(client: TestClient, expected: np.ndarray) -> None:
    body, headers = binary_request()
    answer = client.post(f"/v2/models/{GENERATOR}/versions/1/infer", content=body, headers=headers)
    length = int(answer.headers[HEADER])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": expected.size}
    np.testing.assert_array_equal(np.frombuffer(answer.content[length:], np.uint8).reshape(output["shape"]), expected)
