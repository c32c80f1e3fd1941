"""A real server at a real port, in a thread of this process, and requests byte by byte."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.http1.serving import HttpServer
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def running(repository: Repository, log: Log | None = None, **settings: Any) -> Iterator[int]:
    """Yields the port of a server as ``igan-zoo serve`` runs it, but for signals."""
    options = ServerSettings(**{"threads": 1, "reload": 0.0, "log_requests": False, **settings})
    app = create_app(repository, options, log=log)
    listener = socket.create_server(("127.0.0.1", 0))
    server = HttpServer(app)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


def head(method: str, path: str, **headers: object) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name.replace('_', '-')}: {v}" for name, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def read_answer(connection: socket.socket) -> Answer:
    """Reads one answer; one of unknown length until the connection ends."""
    reader = connection.makefile("rb")
    status = int(reader.readline().split()[1])
    headers: dict[str, str] = {}
    while (line := reader.readline().strip()) != b"":
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    length = headers.get("content-length")
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(reader.readline(), 16):
            body += reader.read(size)
            reader.readline()
        return Answer(status, headers, body)
    return Answer(status, headers, reader.read(int(length)) if length else b"")


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def ask(port: int, *pieces: bytes) -> Answer:
    """Sends bytes, each piece after a moment, and returns the answer."""
    with connected(port) as connection:
        for index, piece in enumerate(pieces):
            time.sleep(0.02 if index else 0)
            connection.sendall(piece)
        return read_answer(connection)
