"""KServe's first protocol: ``:predict`` in JSON, with rows or encoded images."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from igan_zoo.latents import latents
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.conftest import REPOSITORY
from tests.serving.server.conftest import CLASSIFIER, GENERATOR
from tests.serving.tiny_scorer import tiny_scorer

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
SEVEN = {"b64": base64.b64encode((REPOSITORY / "docs" / "digits" / "7.png").read_bytes()).decode()}


def predict(client: TestClient, name: str, instances: Any, key: str = "instances") -> Any:
    return client.post(f"/v1/models/{name}:predict", json={key: instances})


def test_models_are_listed_and_ready(client: TestClient) -> None:
    assert client.get("/v1/models").json() == {"models": [GENERATOR, CLASSIFIER]}
    assert client.get(f"/v1/models/{GENERATOR}").json() == {"name": GENERATOR, "ready": True}
    assert client.get("/v1/models/none").status_code == 404


@pytest.mark.parametrize("wrap", [lambda row: row, lambda row: {"images": row}])
@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_rows_give_what_the_engine_gives(
    wrap: Callable[[Any], Any], key: str, client: TestClient, hosted: Repository
) -> None:
    answer = predict(client, CLASSIFIER, [wrap(image.tolist()) for image in IMAGES], key).json()
    expected = hosted.graph(CLASSIFIER).engine.run("classifier", {"images": IMAGES})
    for name, array in expected.items():
        np.testing.assert_array_equal(np.float32([row[name] for row in answer["predictions"]]), array)


def test_a_graph_with_one_output_gives_its_rows(client: TestClient, hosted: Repository) -> None:
    z = latents(100, "uniform", seed=7, start=0, count=2)
    expected = hosted.graph(GENERATOR).engine.run("generator", {"latent": z})["images"]
    assert predict(client, GENERATOR, z.tolist()).json() == {"predictions": expected.tolist()}


def test_encoded_images_are_decoded_as_classify_does(client: TestClient) -> None:
    answer = predict(client, CLASSIFIER, [SEVEN, SEVEN]).json()["predictions"]
    assert [int(np.argmax(row["probabilities"])) for row in answer] == [7, 7]
    assert predict(client, CLASSIFIER, [{"image_bytes": SEVEN}]).json()["predictions"] == answer[:1]


def test_a_scorer_is_told_the_size_of_images_by_their_rows(
    tmp_path: Path, client_of: Callable[..., TestClient]
) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer({}))
    client = client_of(Repository.open([tmp_path / "tiny.onnx"], ServerSettings(threads=1)))
    images = np.full((2, 3, 5, 3), 51, np.uint8)
    answer = predict(client, "tiny-scorer", images.tolist()).json()["predictions"]
    assert [row["features"] for row in answer] == [[2.0] * 3] * 2


@pytest.mark.parametrize(
    ("instances", "sentence"),
    [
        ("x", 'no list of "instances"'),
        ([1, 2], "elements"),
        ([[1, 2]], "Expected `array`, got `int`"),
        ([[[[]]]], "elements"),
        ([{}], "Every instance must be a row of images"),
        ([SEVEN, {"images": IMAGES[0].tolist()}], "Every instance must be a row of images"),
        ([SEVEN, 1], "Expected `object`, got `int`"),
        ([{"b64": "bm8gaW1hZ2U="}], "Image 0 of image_bytes is not a PNG"),
        ([SEVEN] * 5000, "A request may have 4,096 images, not 5000; send several requests."),
    ],
)
def test_what_is_no_prediction_is_one_sentence(instances: Any, sentence: str, client: TestClient) -> None:
    answer = predict(client, CLASSIFIER, instances)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


def test_no_instances_give_no_predictions(client: TestClient) -> None:
    assert predict(client, CLASSIFIER, []).json() == {"predictions": []}


def test_a_generator_takes_no_images(client: TestClient) -> None:
    answer = predict(client, GENERATOR, [SEVEN])
    assert answer.status_code == 400
    assert "takes the input latent and nothing else" in answer.json()["error"]
