"""Small inference requests are answered without ASGI: with the same answers, limits, tokens and log."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from io import StringIO

import numpy as np
import pytest

from igan_zoo.latents import latents
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from tests.serving.server.conftest import GENERATOR, MODEL, ServerSettings
from tests.serving.server.live import Answer, ask, connected, head, read_answer, running

PATH = f"/v2/models/{GENERATOR}/infer"


def body_of(rows: int = 2, **fields: object) -> bytes:
    z = latents(100, "uniform", seed=1, start=0, count=rows)
    tensor = {"name": "latent", "datatype": "FP32", "shape": list(z.shape), "data": z.ravel().tolist(), **fields}
    return json.dumps({"inputs": [tensor]}).encode()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(Repository.open([MODEL], ServerSettings(threads=1))) as found:
        yield found


def short(port: int, path: str, body: bytes, **headers: object) -> Answer:
    return ask(port, head("POST", path, Content_Length=len(body), **headers) + body)


def long(port: int, path: str, body: bytes, **headers: object) -> Answer:
    """The body comes after the head, so ASGI takes the request."""
    return ask(port, head("POST", path, Content_Length=len(body), **headers), body)


REQUESTS = {
    "good": (PATH, body_of()),
    "of a version": (PATH.replace("/infer", "/versions/1/infer"), body_of()),
    "without rows": (PATH, body_of(0)),
    "more rows than a batch": (PATH, body_of(40)),
    "no JSON": (PATH, b"{"),
    "nothing": (PATH, b""),
    "another type": (PATH, body_of(datatype="FP64")),
    "another shape": (PATH, body_of(shape=[100, 2])),
    "an unknown model": ("/v2/models/none/infer", body_of()),
    "an unknown version": (PATH.replace("/infer", "/versions/7/infer"), body_of()),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_give_one_answer(name: str, port: int) -> None:
    path, body = REQUESTS[name]
    one, other = short(port, path, body), long(port, path, body)
    assert (one.status, one.body) == (other.status, other.body)
    for answer in (one, other):
        answer.headers.pop("x-request-id")
    assert one.headers == other.headers
    assert one.status == 200 or set(one.json()) == {"error"}


def test_a_body_in_many_pieces_is_put_together(port: int) -> None:
    body = body_of()
    whole = head("POST", PATH, Content_Length=len(body)) + body
    cut = [whole[start : start + 200] for start in range(0, len(whole), 200)]
    assert ask(port, *cut[:8], b"".join(cut[8:])).body == short(port, PATH, body).body


def test_chunked_and_compressed_requests_are_taken(port: int) -> None:
    body = body_of()
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    expected = short(port, PATH, body).body
    assert ask(port, head("POST", PATH, Transfer_Encoding="chunked") + chunks).body == expected
    packed = gzip.compress(body)
    assert short(port, PATH, packed, Content_Encoding="gzip").body == expected
    answer = short(port, PATH, body, Accept_Encoding="gzip")
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == expected


def test_pipelined_requests_are_answered_in_their_order(port: int) -> None:
    requests = b""
    for number in range(6):
        body = body_of(number)
        requests += head("POST", PATH, Content_Length=len(body), X_Request_Id=f"request-{number}") + body
    requests += head("GET", "/v2", X_Request_Id="request-6")
    with connected(port) as connection:
        connection.sendall(requests)
        reader = connection.makefile("rb")
        seen = []
        while len(seen) < 7:
            line = reader.readline()
            assert line, "the connection ended early"
            if line.lower().startswith(b"x-request-id"):
                seen.append(line.split()[1].decode())
    assert seen == [f"request-{number}" for number in range(7)]


def test_a_connection_serves_many_requests_and_ends_when_asked_to(port: int) -> None:
    body = body_of()
    with connected(port) as connection:
        for _ in range(3):
            connection.sendall(head("POST", PATH, Content_Length=len(body)) + body)
            assert read_answer(connection).status == 200
        connection.sendall(head("POST", PATH, Content_Length=len(body), Connection="close") + body)
        answer = read_answer(connection)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("send", [short, long])
def test_tokens_limits_and_log_hold_both_ways(send: object) -> None:
    assert callable(send)
    stream = StringIO()
    repository = Repository.open([MODEL], ServerSettings(threads=1))
    options = {"token": "s3cret", "max_body": 4000, "log_requests": True}
    with running(repository, Log(stream), **options) as port:
        assert send(port, PATH, body_of(1)).status == 401
        assert send(port, PATH, body_of(1), Authorization="Bearer s3cret", X_Request_Id="mine").status == 200
        assert send(port, PATH, body_of(3), Authorization="Bearer s3cret").status == 413
        repository.stopping = True
        answer = send(port, PATH, body_of(1), Authorization="Bearer s3cret")
        assert (answer.status, answer.headers["connection"], answer.headers["retry-after"]) == (503, "close", "1")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [401, 200, 413, 503]
    assert (requests[1]["id"], requests[1]["model"]) == ("mine", GENERATOR)
    assert "s3cret" not in stream.getvalue()


def test_a_client_that_goes_away_harms_nobody(port: int) -> None:
    body = body_of(30)
    whole = head("POST", PATH, Content_Length=len(body)) + body
    for end in (20, 300, len(whole)):
        with connected(port) as connection:
            connection.sendall(whole[:end])
    assert short(port, PATH, body_of()).status == 200


@pytest.mark.parametrize(
    "pieces", [[b"GET /" + b"a" * 40_000, b"a" * 40_000], [head("GET", "/v2")[:-2]] + [b"a: b\r\n" * 9000] * 2]
)
def test_a_head_without_end_is_refused(pieces: list[bytes], port: int) -> None:
    assert ask(port, *pieces).status == 400


def test_a_connection_on_which_no_request_comes_is_closed() -> None:
    with running(Repository.open([MODEL], ServerSettings(threads=1)), body_timeout=0.2) as port:
        for start in (b"", b"POST /v2", head("GET", "/v2") + b"GET /v2"):
            with connected(port) as connection:
                connection.sendall(start)
                connection.settimeout(5)
                while connection.recv(1000):
                    pass


def test_numbers_are_exact_both_ways(port: int, hosted: Repository) -> None:
    z = latents(100, "uniform", seed=1, start=0, count=2)
    expected = hosted.graph(GENERATOR).engine.run("generator", {"latent": z})["images"]
    for send in (short, long):
        (output,) = send(port, PATH, body_of()).json()["outputs"]
        np.testing.assert_array_equal(np.array(output["data"], np.uint8).reshape(output["shape"]), expected)
