"""The app under a real local Ray Serve."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from igan_zoo.errors import MissingExtraError, SpecificationError
from igan_zoo.latents import latents
from igan_zoo.models import store
from igan_zoo.serving.engine import load_engine
from igan_zoo.serving.server import ray_app
from tests.serving.local_ray import TOO_BUSY, local_ray
from tests.zoo.images.test_sources import refuse_import

# Ray's own models of its settings.
pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field` is deprecated")

MODEL = "mnist-ssl"


@pytest.fixture
def address() -> Iterator[str]:
    """Ray Serve with one replica of the bundled model."""
    pytest.importorskip("starlette", reason="needs the serve extra")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with local_ray(2):
        from ray import serve
        from ray.exceptions import ActorDiedError

        try:
            serve.start(http_options={"host": "127.0.0.1", "port": port})
        except ActorDiedError:
            pytest.skip(TOO_BUSY)
        serve.run(ray_app.build({"models": MODEL, "max_replicas": "1", "cpus": "0.5"}))
        yield f"http://127.0.0.1:{port}"
        serve.shutdown()


def test_a_replica_answers_as_the_server_does(address: str) -> None:
    import httpx

    z = latents(100, "uniform", seed=3, start=0, count=5)
    tensor: dict[str, Any] = {"name": "latent", "datatype": "FP32", "shape": [5, 100], "data": z.ravel().tolist()}
    with httpx.Client(base_url=address, timeout=30) as client:
        assert client.get("/v2/health/ready").status_code == 200
        answer = client.post(f"/v2/models/{MODEL}-generator/infer", json={"inputs": [tensor]})
        refused = client.post(f"/v2/models/{MODEL}-generator/infer", json={"inputs": []})
    images = np.array(answer.json()["outputs"][0]["data"], np.uint8).reshape(5, 28, 28, 1)
    expected = load_engine(store.resolve(MODEL), ["generator"]).run("generator", {"latent": z})["images"]
    assert np.abs(images.astype(int) - expected).max() <= 1
    assert (refused.status_code, list(refused.json())) == (400, ["error"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "models"),
        ({"models": MODEL, "replicas": "3"}, "replicas"),
        ({"models": MODEL, "max_replicas": "many"}, "int"),
        ({"models": MODEL, "min_replicas": "3", "max_replicas": "2"}, "min_replicas is 3"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(SpecificationError, match=message):
        ray_app.build(options)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_import(monkeypatch, "ray")
    with pytest.raises(MissingExtraError, match=r"pip install .\.\[ray"):
        ray_app.build({"models": MODEL})
