"""HTTP/1.1 at a real port: framing, order, ends of connections, and whatever is no request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from igan_zoo.serving.server.http1 import connection as http1
from igan_zoo.serving.server.http1 import exchange
from igan_zoo.serving.server.http1.served import Served
from igan_zoo.serving.server.models.repository import Repository
from tests.serving.server.conftest import GENERATOR, MODEL, ServerSettings
from tests.serving.server.live import ask, connected, head, read_answer, running

LIVE = head("GET", "/v2/health/live")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(Repository.open([MODEL], ServerSettings(threads=1)), idle_timeout=0.6, body_timeout=2.0) as found:
        yield found


def everything(port: int, *pieces: bytes) -> bytes:
    """Sends bytes, and returns all that comes until the server ends the connection."""
    with connected(port) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.02)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


def statuses_of(answers: bytes) -> list[int]:
    return [int(rest.split()[0]) for rest in answers.split(b"HTTP/1.1 ")[1:]]


def test_requests_of_one_piece_are_answered_in_their_order(port: int) -> None:
    paths = ["/v2", f"/v2/models/{GENERATOR}", "/nothing", "/v2/health/ready"]
    with connected(port) as connection:
        connection.sendall(b"".join(head("GET", path) for path in paths))
        with connection.makefile("rb") as reader:
            statuses = []
            for _ in paths:
                statuses.append(int(reader.readline().split()[1]))
                length = 0
                while (line := reader.readline().strip()) != b"":
                    name, _, value = line.partition(b": ")
                    length = int(value) if name.lower() == b"content-length" else length
                reader.read(length)
    assert statuses == [200, 200, 404, 200]


def test_a_head_request_has_the_length_and_no_body(port: int) -> None:
    end = head("HEAD", "/v2", Connection="close")
    answer = everything(port, end)
    start, _, body = answer.partition(b"\r\n\r\n")
    assert body == b""
    assert int(start.lower().partition(b"content-length: ")[2].split()[0]) > 10


def test_an_answer_of_unknown_length_is_chunked_and_for_http_1_0_ends_with_the_connection(port: int) -> None:
    images = b"--x\r\nContent-Disposition: form-data; name=f; filename=a.png\r\n\r\nno image\r\n--x--\r\n"
    headers = {"Content_Type": "multipart/form-data; boundary=x", "Content_Length": len(images)}
    new = ask(port, head("POST", "/score?splits=1", **headers) + images)
    assert new.headers.get("transfer-encoding", "chunked") == "chunked"
    old = head("POST", "/score?splits=1", **headers).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = everything(port, old + images)
    assert b"transfer-encoding" not in answer.lower()
    assert b"connection: close" in answer.lower()


def test_http_1_0_is_answered_and_the_connection_ends(port: int) -> None:
    answer = everything(port, b"GET /v2/health/live HTTP/1.0\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"live":true}')


def test_an_upgrade_to_something_else_is_passed_over_and_the_request_answered(port: int) -> None:
    answer = everything(port, head("GET", "/v2/health/live", Connection="Upgrade", Upgrade="h2c"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in answer.lower()


def test_what_comes_after_the_last_request_costs_no_answer(port: int) -> None:
    answer = everything(port, head("GET", "/v2/health/live", Connection="close") + b"and more")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_client_that_waits_to_send_is_told_to_go_on(port: int) -> None:
    with connected(port) as connection:
        connection.sendall(head("POST", "/v2/repository/index", Content_Length=2, Expect="100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.sendall(b"{}")
        assert read_answer(connection).status == 200


@pytest.mark.parametrize(
    "bytes_",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        head("POST", "/classify", Content_Length=3, Transfer_Encoding="chunked") + b"abc",
        head("POST", "/classify", Transfer_Encoding="chunked") + b"xyz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 70_000,
    ],
    ids=["nonsense", "version", "path", "two lengths", "chunk", "long head"],
)
def test_what_is_no_request_is_400_and_the_end(bytes_: bytes, port: int) -> None:
    answer = everything(port, bytes_)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"connection: close" in answer


def test_a_bad_request_behind_a_good_one_ends_the_connection(port: int) -> None:
    answer = everything(port, LIVE, b"\0\0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"HTTP/1.1 400 Bad Request\r\n") == 1


@pytest.mark.parametrize("crumbs", [b"", b"\r\n"])
def test_a_connection_without_requests_ends_whatever_crumbs_come(crumbs: bytes, port: int) -> None:
    with connected(port) as connection:
        began = time.monotonic()
        connection.sendall(LIVE)
        assert read_answer(connection).status == 200
        time.sleep(0.2)
        connection.sendall(crumbs)
        connection.settimeout(8)
        assert connection.recv(10) == b""
        assert 0.5 < time.monotonic() - began < 7


def chunked(path: str, content: bytes, size: int, trailers: bytes = b"") -> bytes:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head("POST", path, Transfer_Encoding="chunked") + chunks + b"0\r\n" + trailers + b"\r\n"


INDEX, LONG = "/v2/repository/index", json.dumps({"ready": True, "comment": "x" * 30_000}).encode()


def test_a_body_may_come_in_many_chunks_that_are_not_tiny(port: int) -> None:
    whole = ask(port, head("POST", INDEX, Content_Length=len(LONG)) + LONG)
    for size in (20, 1000, len(LONG)):
        answer = ask(port, chunked(INDEX, LONG, size))
        assert (answer.status, answer.body) == (whole.status, whole.body)
    assert ask(port, chunked(INDEX, b'{"ready": true}' + b" " * 200, 1)).status == 200


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (chunked(INDEX, b" " * 1000, 1), "chunks of the body are too small"),
        (head("POST", INDEX, **{f"X{number}": "" for number in range(101)}), "100 header fields"),
        (chunked(INDEX, b"{}", 2, b"X: y\r\n" * 101), "100 header fields"),
    ],
    ids=["chunks", "fields", "trailers"],
)
def test_what_takes_long_to_parse_for_its_length_is_refused_at_once(start: bytes, reason: str, port: int) -> None:
    answers = everything(port, start + b"a:\r\n" * 10)
    assert statuses_of(answers)[-1] == 400
    assert reason in answers.decode()


def test_what_follows_a_body_in_chunks_is_no_part_of_the_head(port: int) -> None:
    tensor = {"name": "latent", "datatype": "FP32", "shape": [1, 100], "data": [0.5] * 100}
    body = json.dumps({"inputs": [tensor]}).encode()
    infer = f"/v2/models/{GENERATOR}/infer"
    assert ask(port, chunked(infer, body, 100, b"Inference-Header-Content-Length: 5\r\n")).status == 200


def test_so_many_requests_ahead_of_their_answers_are_taken_and_the_last_ends_the_connection(port: int) -> None:
    answers = everything(port, LIVE * 500)
    assert set(statuses_of(answers)) == {200}
    assert 30 < len(statuses_of(answers)) < 500
    assert answers.lower().count(b"connection: close") == 1
    with connected(port) as connection:
        for _ in range(100):
            connection.sendall(LIVE)
            assert read_answer(connection).status == 200


class Transport:
    """What a connection needs of a transport, without a socket."""

    def __init__(self) -> None:
        self.reads, self.closing, self.written = True, False, b""

    def get_extra_info(self, _: str) -> None:
        return None

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    def write(self, data: bytes) -> None:
        self.written += data


class Loop:
    """Runs what is to be called soon when the test says so."""

    def __init__(self) -> None:
        self.soon: list[Any] = []

    def time(self) -> float:
        return 0.0

    def call_later(self, *_: object) -> Any:
        return SimpleNamespace(cancel=lambda: None)

    def call_soon(self, function: Any) -> None:
        self.soon.append(function)

    def create_task(self, work: Any) -> Any:
        work.close()
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def get_debug(self) -> bool:
        return False


def noted(name: str, order: list[str], monkeypatch: pytest.MonkeyPatch, beside: Any = None) -> tuple[Any, Loop]:
    """A connection that notes pieces of bodies in ``order``, and its loop, perhaps that of another one."""
    loop = beside.loop if beside else Loop()
    monkeypatch.setattr(http1.asyncio, "get_running_loop", lambda: loop)
    monkeypatch.setattr(http1, "_TURN", 0.0)
    monkeypatch.setattr(exchange.Exchange, "add", lambda *_: None)
    limits = SimpleNamespace(connections=SimpleNamespace(add=lambda *_: None, remove=lambda *_: None))
    parts: Any = SimpleNamespace(limits=limits, settings=ServerSettings())

    class Noted(http1.Connection):
        def on_body(self, body: bytes) -> None:
            order.append(name)
            super().on_body(body)

    one = Noted(beside.served if beside else Served(parts))
    one.connection_made(Transport())  # type: ignore[arg-type]
    return one, loop


def test_connections_take_turns_where_parsing_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    one, loop = noted("a", order, monkeypatch)
    other, _ = noted("b", order, monkeypatch, one)
    for connection in (one, other):
        connection.data_received(chunked("/score", bytes(60_000), 20))
        assert not connection.transport.reads
    while loop.soon:
        loop.soon.pop(0)()
    # Each parsed a slice, and then had to wait for the other.
    assert "".join(order).count("ab") > 5
    assert one.transport.reads
    assert other.transport.reads


def test_a_connection_that_ends_asks_for_no_more_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    one, loop = noted("a", [], monkeypatch)
    one.data_received(chunked("/score", bytes(60_000), 20))
    one.transport.close()
    assert len(loop.soon) == 1
    loop.soon.pop()()
    assert loop.soon == []
