"""The Open Inference Protocol over HTTP: what it says and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from igan_zoo.latents import latents
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.serving.server.conftest import CLASSIFIER, GENERATOR, MODEL
from tests.serving.server.live import running
from tests.serving.server.models.test_repository import copy
from tests.serving.tiny_scorer import tiny_scorer

HEADER = "Inference-Header-Content-Length"
Z = latents(100, "uniform", seed=7, start=0, count=3)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)


def json_request(**fields: object) -> dict[str, object]:
    tensor = {"name": "latent", "datatype": "FP32", "shape": [3, 100], "data": Z.tolist()}
    return {"inputs": [{**tensor, **fields}]}


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


def test_metadata_name_the_tensors_of_the_graph_and_its_provider(client: TestClient) -> None:
    answer = client.get(f"/v2/models/{CLASSIFIER}/versions/1").json()
    assert answer["versions"] == ["1"]
    assert answer["inputs"][0] == {"name": "images", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}
    outputs = {tensor["name"]: tensor["shape"] for tensor in answer["outputs"]}
    assert outputs == {"logits": [-1, 10], "probabilities": [-1, 10], "realness": [-1]}
    assert answer["parameters"]["provider"] == "CPUExecutionProvider"


def test_the_configuration_names_batches_and_queue(client_of: Callable[..., TestClient]) -> None:
    settings = ServerSettings(threads=1, max_batch=5, max_wait=0.003, queue=7)
    client = client_of(Repository.open([MODEL], settings), max_wait=0.003, queue=7)
    answer = client.get(f"/v2/models/{CLASSIFIER}/config").json()
    assert answer["max_batch_size"] == 5
    assert answer["input"][0] == {"name": "images", "data_type": "TYPE_UINT8", "dims": [28, 28, 1]}
    assert answer["dynamic_batching"]["max_queue_delay_microseconds"] == 3000
    assert answer["dynamic_batching"]["default_queue_policy"]["max_queue_size"] == 7


def test_statistics_count_requests_rows_and_batches(client: TestClient) -> None:
    for _ in range(2):
        client.post(f"/v2/models/{GENERATOR}/infer", json=json_request())
    client.post(f"/v2/models/{GENERATOR}/infer", json=json_request(datatype="FP64"))
    (answer,) = client.get(f"/v2/models/{GENERATOR}/stats").json()["model_stats"]
    assert (answer["inference_count"], answer["execution_count"]) == (6, 2)
    assert (answer["inference_stats"]["success"]["count"], answer["inference_stats"]["fail"]["count"]) == (2, 1)
    assert answer["inference_stats"]["compute_infer"]["ns"] > 0
    assert [(line["batch_size"], line["compute_infer"]["count"]) for line in answer["batch_stats"]] == [(3, 2)]
    every = client.get("/v2/models/stats").json()["model_stats"]
    assert {line["name"] for line in every} == {GENERATOR, CLASSIFIER}


def test_json_in_and_out_gives_what_the_engine_gives(client: TestClient, expected: np.ndarray) -> None:
    answer = client.post(f"/v2/models/{GENERATOR}/infer", json={**json_request(), "id": "mine"}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (GENERATOR, "1", "mine")
    (output,) = answer["outputs"]
    np.testing.assert_array_equal(np.array(output["data"]).reshape(output["shape"]), expected)


def test_json_without_a_content_type_is_taken(client: TestClient) -> None:
    answer = client.post(f"/v2/models/{GENERATOR}/infer", content=json.dumps(json_request()).encode())
    assert answer.status_code == 200


def test_binary_in_and_out_gives_what_the_engine_gives(client: TestClient, expected: np.ndarray) -> None:
    tensor = {
        "name": "latent",
        "datatype": "FP32",
        "shape": list(Z.shape),
        "parameters": {"binary_data_size": Z.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {HEADER: str(len(head))}
    answer = client.post(f"/v2/models/{GENERATOR}/versions/1/infer", content=head + Z.tobytes(), headers=headers)
    length = int(answer.headers[HEADER])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": expected.size}
    np.testing.assert_array_equal(np.frombuffer(answer.content[length:], np.uint8).reshape(output["shape"]), expected)


def test_no_rows_give_outputs_without_rows(client: TestClient) -> None:
    body = json_request(shape=[0, 100], data=[])
    (output,) = client.post(f"/v2/models/{GENERATOR}/infer", json=body).json()["outputs"]
    assert (output["shape"], output["data"]) == ([0, 28, 28, 1], [])


def test_more_rows_than_a_batch_are_run_in_pieces(client: TestClient, hosted: Repository) -> None:
    z = latents(100, "uniform", seed=1, start=0, count=75)
    body = json_request(shape=[75, 100], data=z.ravel().tolist())
    (output,) = client.post(f"/v2/models/{GENERATOR}/infer", json=body).json()["outputs"]
    expected = hosted.graph(GENERATOR).engine.run("generator", {"latent": z})["images"]
    found = np.array(output["data"]).reshape(output["shape"])
    # Another batch size, another order of sums: a pixel may round to its neighbour.
    assert np.abs(found - expected.astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "z"}, f"{GENERATOR} takes the input latent and nothing else; it was given z."),
        ({"datatype": "FP64"}, f"{GENERATOR} takes latent as FP32, not FP64."),
        ({"shape": [100, 3]}, f"{GENERATOR} takes latent of shape [-1, 100], not [100, 3]."),
        ({"shape": [300]}, f"{GENERATOR} takes latent of shape [-1, 100], not [300]."),
    ],
)
def test_an_input_that_the_graph_does_not_take_is_one_sentence(
    fields: dict[str, object], message: str, client: TestClient
) -> None:
    if "shape" in fields:
        fields = {**fields, "data": Z.ravel().tolist()}
    answer = client.post(f"/v2/models/{GENERATOR}/infer", json=json_request(**fields))
    assert (answer.status_code, answer.json()) == (400, {"error": message})


def test_more_rows_than_allowed_are_refused(client_of: Callable[..., TestClient]) -> None:
    client = client_of(Repository.open([MODEL], ServerSettings(threads=1, max_images=2)))
    answer = client.post(f"/v2/models/{GENERATOR}/infer", json=json_request())
    assert answer.json() == {"error": "A request may have 2 images, not 3; send several requests."}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/none", 404),
        ("GET", f"/v2/models/{GENERATOR}/versions/2", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", f"/v2/models/{GENERATOR}/infer", 405),
        ("POST", "/v2", 405),
        ("POST", f"/v2/repository/models/{GENERATOR}/unload", 403),
        ("POST", f"/v2/repository/models/{GENERATOR}/load", 403),
    ],
)
def test_a_wrong_path_or_method_is_one_sentence(method: str, path: str, status: int, client: TestClient) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert answer.headers["x-request-id"]


def test_an_unknown_model_is_told_the_nearest(client: TestClient) -> None:
    answer = client.get(f"/v2/models/{GENERATOR[:-1]}")
    assert f"did you mean {GENERATOR}" in answer.json()["error"]


def test_the_index_lists_every_graph_and_takes_an_empty_body(client: TestClient) -> None:
    expected = [{"name": name, "version": "1", "state": "READY", "reason": ""} for name in (GENERATOR, CLASSIFIER)]
    for body in (b"", b"{}", b'{"ready": true}'):
        assert client.post("/v2/repository/index", content=body).json() == expected
    assert client.post("/v2/repository/index", content=b"[").status_code == 400


def test_models_are_unloaded_and_loaded_where_allowed(client_of: Callable[..., TestClient]) -> None:
    client = client_of(Repository.open([MODEL], ServerSettings(threads=1)), allow_load=True)
    assert client.post(f"/v2/repository/models/{GENERATOR}/unload", content=b"").status_code == 200
    assert client.get(f"/v2/models/{GENERATOR}/ready").status_code == 503
    assert client.post(f"/v2/models/{GENERATOR}/infer", json=json_request()).status_code == 503
    assert client.get(f"/v2/models/{CLASSIFIER}/ready").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    states = {line["name"]: line["state"] for line in client.post("/v2/repository/index").json()}
    assert states == {GENERATOR: "UNAVAILABLE", CLASSIFIER: "READY"}
    assert client.post(f"/v2/repository/models/{GENERATOR}/load", content=b"").status_code == 200
    assert client.post(f"/v2/models/{GENERATOR}/infer", json=json_request()).status_code == 200
    for name in ("nothing", "..%2F..%2Fetc", "@cuda"):
        assert client.post(f"/v2/repository/models/{name}/load").status_code == 404


def test_a_scorer_takes_images_of_any_size_and_batches_those_of_one_size(
    tmp_path: Path, client_of: Callable[..., TestClient]
) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    client = client_of(Repository.open([tmp_path / "tiny.onnx"], ServerSettings(threads=1)))
    for shape in ([1, 2, 3, 3], [2, 5, 1, 3]):
        images = np.full(shape, 51, np.uint8)
        tensor = {"name": "images", "datatype": "UINT8", "shape": shape, "data": images.ravel().tolist()}
        answer = client.post(
            "/v2/models/tiny-scorer/infer", json={"inputs": [tensor], "outputs": [{"name": "features"}]}
        )
        (output,) = answer.json()["outputs"]
        assert output["shape"] == [shape[0], 3]
        assert output["data"] == [2.0] * 3 * shape[0]


@pytest.fixture(scope="module")
def triton() -> Iterator[Any]:
    http = pytest.importorskip("tritonclient.http", reason="needs tritonclient[http]")
    with running(Repository.open([MODEL], ServerSettings(threads=1)), allow_load=True) as port:
        client = http.InferenceServerClient(f"127.0.0.1:{port}")
        yield client
        client.close()
        # Its finalizer may run in its own thread only; at the end of the process it does.
        _KEPT.append(client)


_KEPT: list[Any] = []


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
def test_tritonclient_infers(
    binary_in: bool, binary_out: bool, compression: str | None, triton: Any, hosted: Repository
) -> None:
    import tritonclient.http as http

    expected = hosted.graph(CLASSIFIER).engine.run("classifier", {"images": IMAGES})
    images = http.InferInput("images", IMAGES.shape, "UINT8")
    images.set_data_from_numpy(IMAGES, binary_data=binary_in)
    wanted = [http.InferRequestedOutput(name, binary_data=binary_out) for name in ("realness", "probabilities")]
    for outputs in (wanted, None):
        answer = triton.infer(
            CLASSIFIER,
            [images],
            model_version="1",
            outputs=outputs,
            request_id="mine",
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        assert answer.get_response()["id"] == "mine"
        names = ["realness", "probabilities"] if outputs else ["logits", "probabilities", "realness"]
        assert [output["name"] for output in answer.get_response()["outputs"]] == names
        for name in names:
            np.testing.assert_array_equal(answer.as_numpy(name), expected[name])


def test_tritonclient_asks_all_else(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(GENERATOR, "1")
    assert triton.get_server_metadata()["name"] == "igan-zoo"
    assert triton.get_model_metadata(GENERATOR)["inputs"][0]["shape"] == [-1, 100]
    assert triton.get_model_config(GENERATOR)["max_batch_size"] == 32
    assert triton.get_inference_statistics(GENERATOR)["model_stats"][0]["name"] == GENERATOR
    assert len(triton.get_inference_statistics()["model_stats"]) == 2
    assert len(triton.get_model_repository_index()) == 2
    triton.unload_model(GENERATOR)
    assert not triton.is_model_ready(GENERATOR)
    triton.load_model(GENERATOR)
    assert triton.is_model_ready(GENERATOR)


def test_tritonclient_is_told_what_is_wrong(triton: Any) -> None:
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    images = http.InferInput("images", [1, 2], "UINT8")
    images.set_data_from_numpy(np.zeros((1, 2), np.uint8))
    with pytest.raises(InferenceServerException, match=r"takes images of shape \[-1, 28, 28, 1\], not \[1, 2\]"):
        triton.infer(CLASSIFIER, [images])


def test_statistics_without_a_version_are_those_of_all(tmp_path: Path, client_of: Callable[..., TestClient]) -> None:
    for number in ("1", "2"):
        copy(tmp_path / "digits" / number)
    client = client_of(Repository.open([tmp_path / "digits"], ServerSettings(threads=1)))
    found = client.get("/v2/models/digits-generator/stats").json()["model_stats"]
    assert [line["version"] for line in found] == ["1", "2"]
    (one,) = client.get("/v2/models/digits-generator/versions/1/stats").json()["model_stats"]
    assert one["version"] == "1"
