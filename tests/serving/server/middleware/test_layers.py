"""Limits, compression, tokens, headers, log and metrics around the routes."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from igan_zoo.serving.engine import Arrays
from igan_zoo.serving.server.middleware.compression import chosen
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.serving.server.conftest import GENERATOR, MODEL
from tests.serving.server.live import Answer, ask, connected, head, read_answer, running

INFER = f"/v2/models/{GENERATOR}/infer"
BODY = json.dumps({"inputs": [{"name": "latent", "datatype": "FP32", "shape": [1, 100], "data": [0.5] * 100}]}).encode()
PACKED = gzip.compress(BODY, mtime=0)  # no time of day: workers that run tests in parallel must collect the same names


def repository() -> Repository:
    return Repository.open([MODEL], ServerSettings(threads=1))


@pytest.fixture(scope="module")
def small() -> Iterator[int]:
    """A server that takes 2000 bytes in two seconds."""
    with running(repository(), max_body=2000, body_timeout=2.0) as port:
        yield port


class Gate:
    """Keeps a graph's batches from running until it is opened."""

    def __init__(self, served: Repository) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        engine = served.graph(GENERATOR).engine
        run = engine.run

        def gated(role: str, inputs: Arrays) -> Arrays:
            self.entered.set()
            self.opened.wait(20)
            return run(role, inputs)

        engine.run = gated  # type: ignore[method-assign, assignment]


def infer(port: int, **headers: object) -> Answer:
    return ask(port, head("POST", INFER, Content_Length=len(BODY), **headers) + BODY)


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(small: int) -> None:
    answer = ask(small, head("POST", INFER, Content_Length=2001, Expect="100-continue"))
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert "2000 bytes" in answer.json()["error"]


def test_a_client_that_sends_a_body_beyond_the_limit_still_sees_the_answer(small: int) -> None:
    whole = head("POST", INFER, Content_Length=3_000_000) + b"x" * 3_000_000
    assert ask(small, whole).status == 413


def test_a_chunked_body_is_refused_at_the_byte_beyond_the_limit(small: int) -> None:
    chunk = b"%x\r\n%s\r\n" % (1000, b"x" * 1000)
    answer = ask(small, head("POST", INFER, Transfer_Encoding="chunked"), chunk, chunk, chunk + b"0\r\n\r\n")
    assert answer.status == 413


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_refused_before_it_bursts(pack: Callable[[bytes], bytes], small: int) -> None:
    bomb = pack(b"\0" * 1_000_000)
    assert len(bomb) < 2000
    encoding = "gzip" if pack is gzip.compress else "deflate"
    answer = ask(small, head("POST", INFER, Content_Length=len(bomb), Content_Encoding=encoding) + bomb)
    assert answer.status == 413


@pytest.mark.parametrize(
    ("encoding", "content", "message"),
    [
        ("gzip", b"no gzip", "not gzip"),
        ("gzip", PACKED[:-9], "ends in the middle"),
        ("gzip", PACKED + b"x", "more bytes after the end"),
        ("deflate", b"", "ends in the middle"),
        ("br", b"x", "neither gzip nor deflate"),
    ],
)
def test_a_body_that_is_not_encoded_as_it_says_is_one_sentence(
    encoding: str, content: bytes, message: str, small: int
) -> None:
    answer = ask(small, head("POST", INFER, Content_Length=len(content), Content_Encoding=encoding) + content)
    assert answer.status == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (b"gzip", b"gzip"),
        (b"deflate, gzip", b"deflate"),
        (b"br, GZIP;q=0.5", b"gzip"),
        (b"gzip;q=0, deflate; q=0.0", None),
        (b"br", None),
        (b"", None),
    ],
)
def test_the_encoding_of_an_answer_is_one_that_the_client_takes(accepted: bytes, expected: bytes | None) -> None:
    assert chosen(accepted) == expected


def test_a_slow_body_is_given_up(small: int) -> None:
    began = time.monotonic()
    answer = ask(small, head("POST", INFER, Content_Length=1000), b"{")
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert time.monotonic() - began < 15


def test_more_requests_than_allowed_at_a_time_are_told_to_come_again() -> None:
    served = repository()
    gate = Gate(served)
    with running(served, concurrency=1) as port, ThreadPoolExecutor(1) as pool:
        first = pool.submit(infer, port)
        gate.entered.wait(10)
        answer = infer(port)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert ask(port, head("GET", "/v2/health/live")).status == 200
        gate.opened.set()
        assert first.result().status == 200


def test_a_full_queue_is_told() -> None:
    served = Repository.open([MODEL], ServerSettings(threads=1, queue=1))
    gate = Gate(served)
    with running(served) as port, ThreadPoolExecutor(2) as pool:
        first = pool.submit(infer, port)
        gate.entered.wait(10)
        second = pool.submit(infer, port)
        graph = served.graph(GENERATOR)
        while graph.batcher.depth < 1:
            time.sleep(0.001)
        full = infer(port)
        assert (full.status, full.headers["retry-after"]) == (503, "1")
        gate.opened.set()
        assert [first.result().status, second.result().status] == [200, 200]


def test_a_deadline_is_told() -> None:
    served = Repository.open([MODEL], ServerSettings(threads=1, deadline=0.8))
    gate = Gate(served)
    with running(served) as port, ThreadPoolExecutor(1) as pool:
        first = pool.submit(infer, port)
        gate.entered.wait(10)
        late = infer(port)
        assert (late.status, late.json()["error"][:30]) == (504, "The request waited 0.8 seconds")
        gate.opened.set()
        assert first.result().status == 200


def test_a_request_may_set_itself_a_shorter_deadline() -> None:
    served = repository()
    gate = Gate(served)
    with running(served) as port, ThreadPoolExecutor(1) as pool:
        first = pool.submit(infer, port)
        gate.entered.wait(10)
        body = json.dumps({**json.loads(BODY), "parameters": {"timeout": 20_000}}).encode()
        assert ask(port, head("POST", INFER, Content_Length=len(body)) + body).status == 504
        gate.opened.set()
        assert first.result().status == 200


LARGE = json.dumps(
    {"inputs": [{"name": "latent", "datatype": "FP32", "shape": [40, 100], "data": [0.5] * 4000}]}
).encode()
LEFT = {
    "inference": [head("POST", INFER, Content_Length=len(BODY)) + BODY],
    "inference through ASGI": [head("POST", INFER, Content_Length=len(BODY)), BODY],
    "more rows than a batch": [head("POST", INFER, Content_Length=len(LARGE)) + LARGE],
    "samples": [head("GET", "/sample?n=2")],
}


@pytest.mark.parametrize("name", LEFT)
def test_what_nobody_waits_for_any_more_is_not_computed(name: str) -> None:
    served, stream = repository(), StringIO()
    gate = Gate(served)
    with running(served, Log(stream), log_requests=True, concurrency=2) as port, ThreadPoolExecutor(2) as pool:
        first = pool.submit(infer, port)
        gate.entered.wait(10)
        batcher = served.graph(GENERATOR).batcher
        with connected(port) as connection:
            for piece in LEFT[name]:
                connection.sendall(piece)
                time.sleep(0.05)
            while batcher.depth < 1:
                time.sleep(0.001)
        while batcher.depth:
            time.sleep(0.001)
        third = pool.submit(infer, port)  # in the place of the one that left
        while batcher.depth < 1 and not third.done():
            time.sleep(0.001)
        gate.opened.set()
        assert [first.result().status, third.result().status] == [200, 200]
        assert served.graph(GENERATOR).statistics.images == 2
    requests = [line for line in map(json.loads, stream.getvalue().splitlines()) if line["event"] == "request"]
    assert [line["status"] for line in requests] == [499, 200, 200]


# Which of: nothing, a wrong token, the token, the admin token may pass.
TOKENS = [
    ("/v2/health/live", "token", [200, 200, 200, 200]),
    ("/v2/health/ready", "both", [200, 200, 200, 200]),
    ("/v2", "token", [401, 401, 200, 401]),
    ("/v2", "both", [401, 401, 200, 200]),
    ("/v2", "admin", [200, 200, 200, 200]),
    ("/metrics", "token", [401, 401, 200, 401]),
    ("/metrics", "both", [401, 401, 401, 200]),
    ("/metrics", "admin", [401, 401, 401, 200]),
    ("//metrics", "both", [401, 401, 404, 404]),
]


@pytest.mark.parametrize(("path", "given", "expected"), TOKENS)
def test_who_may_ask_what(path: str, given: str, expected: list[int], client_of: Callable[..., TestClient]) -> None:
    tokens = {"token": "usual" if given != "admin" else None, "admin_token": "boss" if given != "token" else None}
    client = client_of(repository(), **tokens)
    headers = [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer usual"},
        {"Authorization": "bearer boss"},
    ]
    answers = [client.get(f"http://testserver{path}", headers=header) for header in headers]
    assert [answer.status_code for answer in answers] == expected
    if expected[0] == 401:
        assert answers[0].headers["www-authenticate"].startswith("Bearer")
        assert "token" in answers[0].json()["error"]


@pytest.mark.parametrize("action", ["load", "unload"])
def test_only_the_admin_token_changes_what_is_served(action: str, client_of: Callable[..., TestClient]) -> None:
    client = client_of(repository(), allow_load=True, token="usual", admin_token="boss")
    path = f"/v2/repository/models/{GENERATOR}/{action}"
    assert client.post(path, headers={"Authorization": "Bearer usual"}).status_code == 401
    assert client.post(path, headers={"Authorization": "Bearer boss"}).status_code == 200


def test_other_origins_may_call_only_where_they_are_named(client_of: Callable[..., TestClient]) -> None:
    origin = {"Origin": "https://here.example"}
    closed = client_of(repository(), token="usual")
    assert "access-control-allow-origin" not in closed.get("/v2", headers=origin).headers
    client = client_of(repository(), token="usual", cors=("https://here.example",))
    ask_first = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = client.options(INFER, headers=ask_first)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://here.example")
    refused = client.get("/v2", headers=origin)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://here.example")
    other = client.get("/v2", headers={"Origin": "https://there.example"})
    assert "access-control-allow-origin" not in other.headers


def test_answers_for_browsers_are_isolated_and_reach_no_other_host(client: TestClient) -> None:
    headers = client.get("/metrics").headers
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_log_has_a_line_for_each_request_and_no_secret() -> None:
    stream = StringIO()
    with running(repository(), Log(stream), token="s3cret", log_requests=True) as port:
        infer(port, Authorization="Bearer s3cret", X_Request_Id="first")
        ask(port, head("GET", "/v2?token=s3cret&x=1", X_Request_Id="bad id {}"))
        ask(port, head("GET", "/none%0A%22", Authorization="Bearer s3cret"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in requests] == [
        ("POST", INFER, 200),
        ("GET", "/v2", 401),
        ("GET", '/none\n"', 404),
    ]
    assert requests[0]["id"] == "first"
    assert len({line["id"] for line in requests}) == 3
    assert all(line["seconds"] >= 0 and line["time"].endswith("Z") for line in requests)
    assert "s3cret" not in stream.getvalue()


def test_a_failure_of_the_server_is_logged_and_tells_nothing(
    client_of: Callable[..., TestClient], log: StringIO
) -> None:
    served = repository()
    client = client_of(served)
    served.graph(GENERATOR).batcher._run = lambda _: 1 / 0  # type: ignore[assignment, return-value]
    answer = client.post(INFER, content=BODY)
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text
    failure = next(line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == "failure")
    assert failure["id"] == answer.headers["x-request-id"]
    assert "ZeroDivisionError" in failure["traceback"]


def test_the_metrics_tell_of_requests_batches_queues_and_providers(client: TestClient) -> None:
    for _ in range(3):
        client.post(INFER, content=BODY)
    client.post(INFER, content=b"{")
    client.get("/v2/none")
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples]

    def value(name: str, **labels: str) -> float:
        (found,) = [s.value for s in samples if s.name == name and labels.items() <= s.labels.items()]
        return found

    route = "/v2/models/{model}/infer"
    assert value("igan_zoo_requests_total", model=GENERATOR, route=route, status="200") == 3
    assert value("igan_zoo_requests_total", model=GENERATOR, route=route, status="400") == 1
    assert value("igan_zoo_requests_total", model="", route="none", status="404") == 1
    assert value("igan_zoo_request_seconds_count", model=GENERATOR, status="200") == 3
    assert value("igan_zoo_batch_rows_sum", model=GENERATOR, version="1") == 3
    assert value("nv_inference_pending_request_count", model=GENERATOR, version="1") == 0
    assert value("igan_zoo_graph_info", model=GENERATOR, provider="CPUExecutionProvider") == 1
    assert value("igan_zoo_ready") == 1


def test_every_app_counts_for_itself(client_of: Callable[..., TestClient]) -> None:
    one, other = client_of(repository()), client_of(repository())
    one.get("/v2")
    assert 'route="/v2"' in one.get("/metrics").text
    assert 'route="/v2"' not in other.get("/metrics").text


def test_a_stopping_server_takes_nothing_new_but_tells_its_health(client_of: Callable[..., TestClient]) -> None:
    served = repository()
    client = client_of(served)
    served.stopping = True
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    answer = client.get("/v2")
    assert (answer.status_code, answer.headers["connection"]) == (503, "close")


def test_two_connections_share_a_batch() -> None:
    served = repository()
    gate = Gate(served)
    with running(served) as port, ThreadPoolExecutor(5) as pool:
        first = pool.submit(infer, port)
        gate.entered.wait(10)
        others = [pool.submit(infer, port) for _ in range(4)]
        while served.graph(GENERATOR).batcher.depth < 4:
            time.sleep(0.001)
        gate.opened.set()
        bodies = {answer.result().body for answer in (first, *others)}
        assert len(bodies) == 1
        assert served.graph(GENERATOR).statistics.batches == {1: 1, 4: 1}


def test_the_answer_comes_when_the_client_only_then_reads(small: int) -> None:
    with connected(small) as connection:
        connection.sendall(head("POST", INFER, Content_Length=len(BODY)) + BODY)
        time.sleep(0.1)
        assert np.array(read_answer(connection).json()["outputs"][0]["data"]).size == 28 * 28
