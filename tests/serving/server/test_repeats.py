"""Requests that begin as the last one of their connection did get the answers that they would get on a new one."""

from __future__ import annotations

import gc
import json
import socket
import time
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from igan_zoo.latents import latents
from igan_zoo.serving.server import small_requests
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.repeats import Repeat
from tests.serving.server.conftest import CLASSIFIER, GENERATOR, MODEL, ServerSettings
from tests.serving.server.live import Answer, connected, head, read_answer, running

Headers = dict[str, object]


def request(graph: str, array: NDArray[np.generic], headers: Headers | None = None, **fields: object) -> bytes:
    """A request with one binary tensor."""
    name, datatype = ("latent", "FP32") if graph == GENERATOR else ("images", "UINT8")
    tensor = {"name": name, "datatype": datatype, "shape": array.shape}
    tensor["parameters"] = {"binary_data_size": array.nbytes}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}, **fields}).encode()
    sizes = {"Content_Length": len(text) + array.nbytes, "Inference_Header_Content_Length": len(text)}
    return head("POST", f"/v2/models/{graph}/infer", **sizes, **(headers or {})) + text + array.tobytes()


def images(seed: int, count: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 1), np.uint8)


def noise(seed: int, count: int = 1) -> NDArray[np.float32]:
    return latents(100, "uniform", seed=seed, start=0, count=count)


def exchange(connection: socket.socket, content: bytes) -> Answer:
    connection.sendall(content)
    return read_answer(connection)


def fresh(port: int, content: bytes) -> Answer:
    with connected(port) as connection:
        return exchange(connection, content)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    repository = Repository.open([MODEL], ServerSettings(threads=1))
    with running(repository, token="s3cret", allow_load=True) as found:
        yield found


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The prefixes of the requests that were not read again."""
    found: list[bytes] = []
    begin = small_requests.SmallRequests._begin_again

    def counting(self: small_requests.SmallRequests, repeat: Repeat, graph: HostedGraph, data: bytes) -> None:
        found.append(repeat.prefix)
        begin(self, repeat, graph, data)

    monkeypatch.setattr(small_requests.SmallRequests, "_begin_again", counting)
    return found


TOKEN: Headers = {"Authorization": "Bearer s3cret"}
FORMS: dict[str, tuple[str, int, Headers, dict[str, object]]] = {
    "an image": (CLASSIFIER, 1, {}, {}),
    "several images": (CLASSIFIER, 3, {}, {}),
    "latents": (GENERATOR, 2, {}, {}),
    "an id": (CLASSIFIER, 1, {}, {"id": "mine"}),
    "a request id": (CLASSIFIER, 1, {"X_Request_Id": "mine"}, {}),
    "a time limit": (CLASSIFIER, 1, {}, {"parameters": {"binary_data_output": True, "timeout": 5_000_000}}),
    "named outputs": (
        CLASSIFIER,
        1,
        {},
        {"outputs": [{"name": n, "parameters": {"binary_data": True}} for n in ("realness", "logits")]},
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_repeated_requests_get_the_answers_of_new_ones(form: str, port: int, known: list[bytes]) -> None:
    graph, count, headers, fields = FORMS[form]
    made = noise if graph == GENERATOR else images
    requests = [request(graph, made(seed, count), {**TOKEN, **headers}, **fields) for seed in range(5)]
    with connected(port) as connection:
        answers = [exchange(connection, content) for content in requests]
    assert len(known) == 3, "the third begins like the second, which began like the first"
    for answer, content in zip(answers, requests, strict=True):
        other = fresh(port, content)
        assert (answer.status, answer.body) == (200, other.body)
        ids = [one.headers.pop("x-request-id") for one in (answer, other)]
        assert answer.headers == other.headers
        assert ids[0] == ids[1] or "X_Request_Id" not in headers
    assert len({answer.body for answer in answers}) == 5


@pytest.mark.parametrize(
    "fields",
    [
        {"parameters": {"binary_data_output": False}},
        {"outputs": [{"name": "logits", "parameters": {"binary_data": False}}, {"name": "realness"}]},
        {"outputs": [{"name": "logits", "parameters": {"classification": 3}}]},
        {"outputs": [{"name": "none"}]},
    ],
)
def test_answers_without_a_fixed_form_are_encoded_each_time(
    fields: dict[str, object], port: int, known: list[bytes]
) -> None:
    requests = [request(CLASSIFIER, images(seed), TOKEN, **fields) for seed in range(4)]
    with connected(port) as connection:
        answers = [exchange(connection, content) for content in requests]
    assert not known
    assert [answer.body for answer in answers] == [fresh(port, content).body for content in requests]


def test_what_begins_otherwise_is_read_whatever_its_length(port: int, known: list[bytes]) -> None:
    one = request(CLASSIFIER, images(1), TOKEN)
    wrong = one.replace(b"s3cret", b"guess!")
    other = one.replace(b"UINT8", b"INT8 ")
    with connected(port) as connection:
        answers = [exchange(connection, content) for content in (one, one, one, wrong, one, other, one)]
    assert [answer.status for answer in answers] == [200, 200, 200, 401, 200, 400, 200]
    assert len(known) == 3
    with connected(port) as connection:
        assert [exchange(connection, wrong).status for _ in range(4)] == [401] * 4
    assert len(known) == 3


def test_pieces_and_pipelines_of_repeated_requests_are_read_in_order(port: int, known: list[bytes]) -> None:
    requests = [request(CLASSIFIER, images(seed), TOKEN) for seed in range(8)]
    expected = [fresh(port, content).body for content in requests]
    with connected(port) as connection:
        answers = [exchange(connection, content).body for content in requests[:3]]
        for end in (1, 30, len(requests[3]) - 800, len(requests[3]) - 1):
            connection.sendall(requests[3][:end])
            # Long enough to be a read of its own.
            with pytest.raises(TimeoutError):
                connection.settimeout(0.05)
                connection.recv(1)
            connection.settimeout(10)
            assert exchange(connection, requests[3][end:]).body == expected[3]
        answers.append(expected[3])
        connection.sendall(b"".join(requests[4:7]))
        reader = connection.makefile("rb")
        for _ in range(3):
            length = 0
            while (line := reader.readline().strip()) != b"":
                length = int(line.split()[1]) if line.startswith(b"content-length") else length
            answers.append(reader.read(length))
        answers.append(exchange(connection, requests[7]).body)
    assert answers == expected
    assert len(known) == 2, "the third, and the last"


def test_a_graph_that_was_unloaded_or_exchanged_is_looked_up_again(port: int, known: list[bytes]) -> None:
    one = request(CLASSIFIER, images(1), TOKEN)

    def change(kind: str) -> int:
        path = f"/v2/repository/models/{CLASSIFIER}/{kind}"
        return fresh(port, head("POST", path, Content_Length=0, **TOKEN)).status

    with connected(port) as connection:
        answers = [exchange(connection, one) for _ in range(3)]
        assert change("unload") == 200
        answers.append(exchange(connection, one))
        assert change("load") == 200
        answers += [exchange(connection, one) for _ in range(3)]
        assert change("load") == 200
        answers += [exchange(connection, one) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200, 503, *[200] * 6]
    assert len({answer.body for answer in answers if answer.status == 200}) == 1
    assert len(known) == 5, "one request to a new graph is read"


def test_nothing_keeps_a_graph_that_was_exchanged() -> None:
    repository = Repository.open([MODEL], ServerSettings(threads=1))
    one = request(CLASSIFIER, images(1))
    refused = [one.replace(b"[1, 28", b"[1, 27"), request(CLASSIFIER, images(1), outputs=[{"name": "none"}])]
    gc.disable()
    try:
        with running(repository, allow_load=True) as port, connected(port) as connection:
            for content in (one, one, one, *refused):
                exchange(connection, content)
            for content in refused:
                # The body comes later, so that ASGI takes the request.
                connection.sendall(content[:-700])
                time.sleep(0.05)
                assert exchange(connection, content[-700:]).status == 400
            graph = weakref.ref(repository.graph(CLASSIFIER))
            path = f"/v2/repository/models/{CLASSIFIER}/load"
            assert fresh(port, head("POST", path, Content_Length=0)).status == 200
            assert graph() is None
    finally:
        gc.enable()


def test_a_stopping_server_refuses_repeated_requests_too() -> None:
    repository = Repository.open([MODEL], ServerSettings(threads=1))
    with running(repository) as port, connected(port) as connection:
        one = request(CLASSIFIER, images(1))
        assert [exchange(connection, one).status for _ in range(3)] == [200] * 3
        repository.stopping = True
        answer = exchange(connection, one)
        assert (answer.status, answer.headers["connection"]) == (503, "close")


def test_repeated_requests_are_counted(port: int) -> None:
    def counted() -> tuple[int, int]:
        answer = fresh(port, head("GET", f"/v2/models/{CLASSIFIER}/stats", **TOKEN)).json()
        (statistics,) = answer["model_stats"]
        return statistics["inference_count"], statistics["inference_stats"]["success"]["count"]

    before = counted()
    with connected(port) as connection:
        for seed in range(5):
            exchange(connection, request(CLASSIFIER, images(seed, 2), TOKEN))
    assert tuple(np.subtract(counted(), before)) == (10, 5)
