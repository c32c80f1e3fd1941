"""``igan-zoo serve`` as a process: it starts, says what is wrong, and stops without letting anybody down."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from igan_zoo.errors import ChecksumError
from igan_zoo.latents import latents
from igan_zoo.models import store
from igan_zoo.models.directory import seal
from igan_zoo.models.spec import read_spec
from igan_zoo.serving.server.models.origins import find_origin
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.conftest import igan_zoo_process
from tests.serving.server.conftest import GENERATOR, MODEL

PATH = f"/v2/models/{GENERATOR}/infer"


@contextmanager
def served(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Yields the process and its port once it is ready."""
    process = igan_zoo_process("serve", *arguments, "--port", 0, "--threads", 1)
    try:
        assert process.stderr is not None
        port = 0
        for line in process.stderr:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
            port = int(found[1]) if found else port
            if '"event":"ready"' in line:
                break
        yield process, port
    finally:
        process.kill()
        process.communicate()


def copy_model(path: Path) -> Path:
    return Path(shutil.copytree(str(store.bundled_store().find(MODEL)), path))


def request(seed: int) -> bytes:
    z = latents(100, "uniform", seed=seed, start=0, count=1)
    tensor = {"name": "latent", "datatype": "FP32", "shape": [1, 100], "data": z.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


class Client(threading.Thread):
    """Asks on one connection, again and again, until the server refuses or is gone; remembers what happened."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__()
        self.port, self.seed, self.enough = port, seed, False
        self.answers: list[int] = []
        self.images: list[list[int]] = []
        # What was sent whole, and found no answer though the server had not ended the connection before.
        self.lost: list[str] = []

    def run(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            self._ask(connection, request(self.seed))

    def _ask(self, connection: http.client.HTTPConnection, body: bytes) -> None:
        while not self.enough and (not self.answers or self.answers[-1] == 200):
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError:
                return
            assert connection.sock is not None
            ended, _, _ = select.select([connection.sock], [], [], 0)
            if ended:
                return
            try:
                connection.request("POST", PATH, body)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                return
            self.answers.append(answer.status)
            if answer.status == 200:
                self.images.append(json.loads(content)["outputs"][0]["data"])


def test_sigterm_under_load_loses_no_accepted_request(hosted: Repository) -> None:
    with served(MODEL, "--no-log-requests") as (process, port):
        clients = [Client(port, seed) for seed in range(8)]
        for client in clients:
            client.start()
        while min(len(client.answers) for client in clients) < 5:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        for client in clients:
            client.join(20)
    engine = hosted.graph(GENERATOR).engine
    for client in clients:
        assert client.lost == []
        assert set(client.answers) <= {200, 503}
        z = latents(100, "uniform", seed=client.seed, start=0, count=1)
        expected = engine.run("generator", {"latent": z})["images"].ravel()
        assert np.abs(np.array(client.images) - expected.astype(int)).max() <= 1


def test_a_model_is_exchanged_under_load_and_nobody_notices(tmp_path: Path) -> None:
    path = copy_model(tmp_path / MODEL)
    with served(path, "--reload", 0.05, "--no-log-requests") as (process, port):
        clients = [Client(port, seed) for seed in range(4)]
        for client in clients:
            client.start()
        for number in range(2):
            spec = read_spec(path / "config.json")
            seal(path, msgspec.structs.replace(spec, summary=f"Change {number}"))
            assert process.stderr is not None
            # A look between two writes of the file finds half of it, and the next look the whole.
            while "was loaded" not in (line := process.stderr.readline()):
                assert "the old one is still served" in line
        for client in clients:
            client.enough = True
            client.join(20)
            assert client.lost == []
            assert set(client.answers) == {200}


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + 20
    with pytest.raises(ConnectionRefusedError):
        while time.monotonic() < deadline:
            socket.create_connection(("127.0.0.1", port), timeout=20).close()
            time.sleep(0.05)


def test_after_sigterm_what_was_begun_is_finished_and_nothing_new_is_taken() -> None:
    with served(MODEL) as (process, port):
        body = request(0)
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as begun:
            begun.sendall(head.encode())
            assert begun.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            begun.sendall(body[:10])
            process.send_signal(signal.SIGTERM)
            wait_until_refused(port)
            begun.sendall(body[10:])
            assert begun.recv(100).startswith(b"HTTP/1.1 200")
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert '"event":"stopped"' in process.stderr.read()


def test_interrupting_is_no_error() -> None:
    with served(MODEL) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_server_without_a_model_named_serves_the_bundled_one() -> None:
    with served() as (_, port), closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", f"/v2/models/{GENERATOR}/ready")
        assert connection.getresponse().status == 200


def test_a_port_that_is_taken_is_one_sentence(igan_zoo: Callable[..., tuple[int, str, str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, error = igan_zoo("serve", MODEL, "--port", port)
    assert code == 1
    assert error.splitlines()[-1] == f"Error: Cannot listen at 127.0.0.1, port {port}: Address already in use."


def test_an_unknown_model_is_told_before_the_port_is_opened(igan_zoo: Callable[..., tuple[int, str, str]]) -> None:
    code, _, error = igan_zoo("serve", "mnist-ssl-worm", "--port", 0)
    assert code == 1
    assert "did you mean" in error


def test_a_damaged_model_ends_the_server_with_one_sentence(tmp_path: Path) -> None:
    model = copy_model(tmp_path / "damaged")
    (model / "onnx" / "generator.onnx").write_bytes(b"damaged")
    process = igan_zoo_process("serve", model, "--port", 0)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is damaged or was changed" in error.splitlines()[-1]
    assert "Traceback" not in error


def test_a_terminal_that_is_closed_stops_the_server_as_sigterm_does() -> None:
    with served(MODEL) as (process, port):
        process.send_signal(signal.SIGUSR1)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("GET", "/v2/health/ready")
            assert connection.getresponse().status == 200
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert '"event":"stopped"' in process.stderr.read()


def test_connections_that_wait_in_the_kernel_are_taken_over_before_the_port_is_closed() -> None:
    from igan_zoo.serving.server.http1.serving import taken_over

    async def run() -> list[bytes]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        waiting = [socket.create_connection(listener.getsockname(), timeout=10) for _ in range(20)]

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"served")
            writer.close()

        server = await asyncio.start_server(greet, sock=listener)
        await taken_over([listener])
        server.close()
        listener.close()
        answers = [await asyncio.to_thread(connection.recv, 10) for connection in waiting]
        for connection in waiting:
            connection.close()
        return answers

    assert asyncio.run(run()) == [b"served"] * 20


def test_serving_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    from igan_zoo.serving.server.running import serve

    model = copy_model(tmp_path / "model")
    origin = find_origin(str(model))
    (model / "onnx" / "generator.onnx").write_bytes(b"changed")
    interval, root, show = sys.getswitchinterval(), logging.getLogger(), warnings.showwarning
    handlers, level = list(root.handlers), root.level
    during: list[float] = []
    settings = ServerSettings(reload=0.0)

    def announce(_: str) -> None:
        during.append(sys.getswitchinterval())

    with pytest.raises(ChecksumError):
        serve(Repository([origin], settings), settings, host="127.0.0.1", port=0, announce=announce)
    assert during == [pytest.approx(0.0005)]
    assert sys.getswitchinterval() == interval
    assert (root.handlers, root.level, warnings.showwarning) == (handlers, level, show)
