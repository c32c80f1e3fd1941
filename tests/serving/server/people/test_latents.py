"""Latents and directions over HTTP."""

from __future__ import annotations

import io

import numpy as np
import pytest
from starlette.testclient import TestClient

from igan_zoo.latents import latents
from tests.serving.server.conftest import MODEL


def test_latents_are_those_of_their_address_in_both_forms(client: TestClient) -> None:
    address = f"/latents?model={MODEL}&seed=18446744073709551615&start=5&n=3"
    expected = latents(100, "uniform", seed=2**64 - 1, start=5, count=3)
    assert (np.array(client.get(address).json()["latents"], np.float32) == expected).all()
    array = np.load(io.BytesIO(client.get(f"{address}&format=npy").content))
    assert (array.dtype, array.shape) == (np.float32, (3, 100))
    assert (array == expected).all()


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("model=no-such", 404),
        (f"model={MODEL}&n=0", 400),
        (f"model={MODEL}&n=4097", 400),
        (f"model={MODEL}&n=many", 400),
        (f"model={MODEL}&seed=18446744073709551616", 400),
        (f"model={MODEL}&start=-1", 400),
        (f"model={MODEL}&format=pickle", 400),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(client: TestClient, query: str, status: int) -> None:
    response = client.get(f"/latents?{query}")
    assert (response.status_code, list(response.json())) == (status, ["error"])


def test_directions_are_found_once_and_are_of_length_one(client: TestClient) -> None:
    found = client.get(f"/directions?model={MODEL}").json()["directions"]
    assert len(found) == 6
    assert np.linalg.norm([one["direction"] for one in found], axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    assert sorted((one["explained"] for one in found), reverse=True) == [one["explained"] for one in found]
    assert client.get(f"/directions?model={MODEL}").json()["directions"] == found
    assert client.get("/directions?model=no-such").status_code == 404
