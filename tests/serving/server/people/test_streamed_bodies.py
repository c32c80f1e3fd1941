"""Bodies that are scored as they arrive, byte by byte at a real port."""

from __future__ import annotations

import gzip
import io
import json
import socket
import time
from typing import Any

from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.serving.server.conftest import MODEL
from tests.serving.server.live import ask, connected, head, read_answer, running
from tests.serving.server.people.test_routes import digits
from tests.serving.server.people.test_uploads import tar


def opened() -> Repository:
    return Repository.open([MODEL], ServerSettings(threads=1))


def lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines()]


def test_a_body_may_take_longer_than_others_if_it_keeps_coming() -> None:
    content = tar(digits(60))
    pieces = [content[start : start + len(content) // 8 + 1] for start in range(0, len(content), len(content) // 8 + 1)]
    with running(opened(), body_timeout=1.0) as port, connected(port) as connection:
        began = time.monotonic()
        connection.sendall(head("POST", "/score", Content_Length=len(content)))
        for piece in pieces:
            time.sleep(0.2)
            connection.sendall(piece)
        assert time.monotonic() - began > 1.5
        answer = read_answer(connection)
    assert answer.status == 200
    assert lines(answer.body)[-1]["records"][0]["images"] == 60


def test_a_body_that_pauses_is_given_up() -> None:
    content = tar(digits(60))
    with running(opened(), body_timeout=0.3) as port, connected(port) as connection:
        connection.sendall(head("POST", "/score", Content_Length=len(content)) + content[:5000])
        answer = read_answer(connection)
    assert answer.status == 408
    assert "0.3 seconds" in answer.json()["error"]


def test_a_line_comes_over_the_wire_before_the_body_has_ended() -> None:
    content = tar(digits(60))
    cut = len(content) * 2 // 3
    with running(opened()) as port, connected(port) as connection:
        connection.sendall(head("POST", "/score?every=10", Content_Length=len(content)) + content[:cut])
        seen = b""
        while b'"images":30' not in seen:
            seen += connection.recv(65536)
        connection.sendall(content[cut:])
        while b'"records"' not in seen:
            seen += connection.recv(65536)


def test_a_client_that_goes_away_leaves_nothing_but_a_line_in_the_log() -> None:
    content, stream = tar(digits(60)), io.StringIO()
    with running(opened(), Log(stream), log_requests=True) as port:
        for path in ("/score", "/classify"):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(head("POST", path, Content_Length=len(content)) + content[: len(content) // 2])
                time.sleep(0.2)
        deadline = time.monotonic() + 10
        while stream.getvalue().count('"status":499') < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ask(port, head("POST", "/score", Content_Length=len(content)), content).status == 200
    logged = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["status"] for line in logged if line["event"] == "request"] == [499, 499, 200]
    assert not [line for line in logged if line["event"] in ("failure", "message")]


def test_compressed_bodies_are_scored_and_bombs_are_not() -> None:
    content = tar(digits(60))
    packed = gzip.compress(content)
    with running(opened(), max_upload=len(content)) as port:
        asked = head("POST", "/score", Content_Length=len(packed), Content_Encoding="gzip")
        answer = ask(port, asked, packed)
        assert lines(answer.body)[-1]["records"][0]["images"] == 60
        bomb = gzip.compress(content[:10_000] + bytes(10 * len(content)))
        asked = head("POST", "/score", Content_Length=len(bomb), Content_Encoding="gzip")
        assert ask(port, asked, bomb).status == 413


def test_only_scored_bodies_may_be_larger_than_others() -> None:
    content = tar(digits(60))
    with running(opened(), max_body=50_000) as port:
        asked = [head("POST", path, Content_Length=len(content)) for path in ("/score", "/classify")]
        assert [ask(port, one, content).status for one in asked] == [200, 413]
