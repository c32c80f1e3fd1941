"""HTTP/1.1 at a real port: framing, order, ends of connections, and whatever is no request."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

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
