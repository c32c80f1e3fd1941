"""Strangers who hold slots, fill memory or disk, and never read: everybody else is served meanwhile."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import select
import socket
import struct
import tarfile
import tempfile
import threading
import time
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from igan_zoo.errors import ImageError
from igan_zoo.images.pixels import COLOR, Shape, encode_png
from igan_zoo.images.stored import StoredImage
from igan_zoo.serving.server.app import create_app
from igan_zoo.serving.server.errors import UploadError
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.settings import ServerSettings
from tests.serving.server.conftest import GENERATOR, MODEL
from tests.serving.server.live import ask, connected, head, read_answer, running

INFER = f"/v2/models/{GENERATOR}/infer"
BODY = json.dumps({"inputs": [{"name": "latent", "datatype": "FP32", "shape": [1, 100], "data": [0.5] * 100}]}).encode()
SLOW = head("POST", "/score", Transfer_Encoding="chunked") + b"1\r\n\0\r\n"


def opened() -> Repository:
    return Repository.open([MODEL], ServerSettings(threads=1))


def png(side: int = 28) -> bytes:
    content = io.BytesIO()
    encode_png(content, np.full((side, side, 1), 7, np.uint8))
    return content.getvalue()


def tar(*files: tuple[str, bytes]) -> bytes:
    """An archive as a system with Latin-1 names makes it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name, file in files:
            member = tarfile.TarInfo(name)
            member.size = len(file)
            archive.addfile(member, io.BytesIO(file))
    return content.getvalue()


@contextmanager
def held(port: int, start: bytes, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            found.append(stack.enter_context(connected(port)))
            found[-1].sendall(start)
        yield found


def well(port: int) -> bool:
    """Whether health, a short request and an inference are answered at once."""
    began = time.monotonic()
    asked = (head("GET", "/v2/health/live"), head("GET", f"/v2/models/{GENERATOR}"))
    answers = [*(ask(port, one) for one in asked), ask(port, head("POST", INFER, Content_Length=len(BODY)) + BODY)]
    return [answer.status for answer in answers] == [200] * 3 and time.monotonic() - began < 5


@pytest.mark.parametrize(
    "start", [SLOW, head("POST", "/classify", Content_Length=1000) + b"x", head("POST", INFER, Content_Length=1000)]
)
def test_who_sends_a_byte_now_and_then_takes_few_slots_and_not_for_long(start: bytes) -> None:
    with running(opened(), concurrency=16, per_address=4, body_timeout=1.0) as port, held(port, start, 24) as slow:
        assert well(port)
        answers = []
        for connection in slow:
            for _ in range(3):
                connection.sendall(b"1\r\n\0\r\n" if start == SLOW else b"x")
            answers.append(read_answer(connection).status)
        assert set(answers) == {408, 503}
        assert answers.count(408) <= 4
        assert well(port)


@pytest.mark.parametrize("options", [{"min_rate": 10_000}, {"min_rate": 1, "upload_timeout": 0.8}])
def test_an_upload_must_come_at_the_least_rate_and_within_the_time_of_all(options: dict[str, Any]) -> None:
    with running(opened(), body_timeout=0.5, **options) as port, connected(port) as connection:
        connection.sendall(SLOW)
        sent = 0
        while not select.select([connection], [], [], 0.1)[0]:
            sent += 1
            assert sent < 100
            connection.sendall(b"1\r\n\0\r\n")
        answer = read_answer(connection)
    assert (answer.status, "too slowly" in answer.json()["error"]) == (408, True)


def test_silent_connections_make_room_for_others() -> None:
    with running(opened(), max_connections=8, body_timeout=20) as port, held(port, b"", 40):
        assert well(port)
        with held(port, b"GET /v2 HTTP/1.1\r\nX: ", 20):
            assert well(port)


def test_bodies_that_never_end_leave_memory_for_others() -> None:
    start = head("POST", "/classify", Content_Length=1_000_000) + bytes(990_000)
    options = {"max_body": 2**20, "max_bodies": 2**22, "body_timeout": 30}
    with running(opened(), **options) as port:
        with held(port, start, 8) as connections:
            # Half of all memory is the most that one address has, which is two of these bodies.
            while len(connections) > 2:
                answered, _, _ = select.select(connections, [], [], 20)
                assert answered
                for connection in answered:
                    assert read_answer(connection).status == 503
                    connections.remove(connection)
            assert select.select(connections, [], [], 0.2)[0] == []
            assert well(port)
        # What they held is free again once the server has seen them go.
        deadline = time.monotonic() + 20
        while (status := ask(port, start + bytes(10_000)).status) == 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert status == 400


def test_a_client_that_never_reads_is_given_up() -> None:
    closed = 7  # of the states in Linux' tcp_states.h
    with running(opened(), body_timeout=0.5) as port, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(head("GET", "/sample?n=4096&format=npz"))
        deadline = time.monotonic() + 20
        while connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != closed:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert well(port)


@pytest.mark.parametrize("path", ["/sample?n=4096&format=npz", f"/models/{MODEL}/files/onnx/classifier.onnx"])
def test_answers_that_are_not_read_take_few_slots(path: str) -> None:
    with running(opened(), concurrency=8, per_address=2, body_timeout=300) as port, ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", port))
            connection.sendall(head("GET", path))
        # Until the answers are computed, their slots are rightly taken.
        deadline = time.monotonic() + 60
        while not well(port):
            assert time.monotonic() < deadline
            time.sleep(0.5)


def numbers(count: int, shape: list[int]) -> bytes:
    start = json.dumps({"inputs": [{"name": "latent", "datatype": "FP32", "shape": shape}]})[:-3]
    return start.encode() + b', "data": [' + b"1," * (count - 1) + b"1]}]}"


BOMBS = {
    "more numbers than the shape": (INFER, numbers(1_000_000, [1, 100])),
    "more images than are taken": (INFER, numbers(1_000_000, [10_000, 100])),
    "lists of nothing": (INFER, numbers(1_000_000, [1, 100]).replace(b"1,1", b"[],[]")),
    "parameters": (INFER, b'{"inputs":[],"parameters":{"x":[' + b"{}," * 700_000 + b"{}]}}"),
    "unnamed parameters": (INFER, b'{"inputs":[],"parameters":{"x":[' + b"1," * 1_000_000 + b"1]}}"),
    "inputs": (INFER, b'{"inputs":[' + b'{"name":"x","datatype":"FP32","shape":[]},' * 50_000 + b"{}]}"),
    "shapes": (INFER, b'{"inputs":[{"name":"x","datatype":"FP32","shape":[' + b"1," * 1_000_000 + b"1]}]}"),
    "the index": ("/v2/repository/index", b'{"x":[' + b"{}," * 700_000 + b"{}]}"),
    "latents": ("/sample", b'{"latents":[' + b"[]," * 700_000 + b"[]]}"),
    "numbers of latents": ("/sample", b'{"latents":[[' + b"1," * 5_000_000 + b"1]]}"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_nobody_can_use_is_refused_before_there_are_objects_of_it(
    name: str, client_of: Callable[..., TestClient]
) -> None:
    path, body = BOMBS[name]
    client = client_of(opened())
    client.post(path, content=b"{}")
    tracemalloc.start()
    try:
        answer = client.post(path, content=body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status_code in (400, 413)
    # The client has it once or twice itself, the server while it reads.
    assert peak < 3 * len(body) + 2**20


def test_lists_of_numbers_that_fit_are_read_as_before(client_of: Callable[..., TestClient]) -> None:
    z = np.random.default_rng(0).random((200, 100)).astype(np.float32)
    client = client_of(opened())
    answers = []
    for data in (z.tolist(), z.ravel().tolist()):
        tensor = {"name": "latent", "datatype": "FP32", "shape": [200, 100], "data": data}
        body = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        assert len(body) > 64 * 1024
        answers.append(client.post(INFER, content=body).content)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("zeros", [0, 7])
def test_shapes_and_timeouts_beyond_numbers_are_refused(zeros: int, client: TestClient) -> None:
    shape = [2**31 - 1] * 7 + [0] if zeros == 0 else [0] * 7 + [2**31 - 1]
    tensor = {"name": "latent", "datatype": "FP32", "shape": shape, "data": []}
    assert client.post(INFER, json={"inputs": [tensor]}).status_code == 400
    whole = {**json.loads(BODY), "parameters": {"timeout": 2**1100}}
    assert client.post(INFER, content=json.dumps(whole)).status_code == 400


def zipped(*files: tuple[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, file in files:
            member = zipfile.ZipInfo("none")
            member.filename = name  # which the class does not let be empty
            with archive.open(member, "w") as opened_member:
                opened_member.write(file)
    return content.getvalue()


def test_an_archive_for_which_there_is_no_room_is_refused(
    client_of: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = zipped(("a.png", png()), ("b.png", png()))
    for path in ("/score?splits=1", "/classify"):
        assert client_of(opened(), max_spool=len(whole)).post(path, content=whole).status_code == 200
        answer = client_of(opened(), max_spool=len(whole) - 1).post(path, content=whole)
        assert (answer.status_code, "no room" in answer.json()["error"]) == (503, True)

    class Full(io.BytesIO):
        def write(self, content: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device", tempfile.gettempdir())

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: Full())
    for path in ("/score?splits=1", "/classify"):
        answer = client_of(opened()).post(path, content=whole)
        assert answer.status_code == 503
        assert "disk is full" in answer.json()["error"]
        assert tempfile.gettempdir() not in answer.text


def test_small_images_do_not_wait_for_large_ones() -> None:
    from igan_zoo.serving.server.models.decoding import Decoder, is_large

    jpegs = []
    for side in (2000, 300):
        with Image.new("L", (side, side)) as image, io.BytesIO() as file:
            image.save(file, "JPEG", comment=b"x" * 5000)
            jpegs.append(file.getvalue())
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 4000, 4000)
    assert [is_large(StoredImage("x", content)) for content in (*jpegs, png(), bomb)] == [True, False, False, True]
    # What cannot be told may be anything.
    endless = b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5000
    assert all(is_large(StoredImage("x", content)) for content in (b"", bomb[:20], b"\xff\xd8\xff", endless))
    release, at_once, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    class Counted(StoredImage):
        def decode(self, shape: Shape = COLOR) -> Any:
            if is_large(self):
                with lock:
                    at_once[0] += 1
                    most[0] = max(most[0], at_once[0])
                release.wait(20)
                with lock:
                    at_once[0] -= 1
                raise ImageError("a bomb")
            return np.zeros((1, 1, 1), np.uint8)

    async def images(content: bytes, count: int) -> AsyncIterator[StoredImage]:
        for _ in range(count):
            yield Counted("x", content)

    async def run() -> None:
        decoder = Decoder()

        async def all_of(content: bytes, count: int) -> int:
            return len([found async for found in decoder.decoded(images(content, count), COLOR)])

        bombs = [asyncio.create_task(all_of(bomb, 5)) for _ in range(6)]
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(all_of(png(), 50), 10) == 50
        release.set()
        assert await asyncio.gather(*bombs) == [5] * 6

    asyncio.run(run())
    assert most == [1]


def test_names_that_are_not_utf_8_are_read_and_told(client: TestClient) -> None:
    good, bad = ("Ä.png", png()), ("Ö.png", b"no image")
    answer = client.post("/classify", content=tar(good, bad))
    assert answer.status_code == 200
    assert [set(line) - {"note"} for line in answer.json()] == [{"file", "classes", "realness"}, {"file", "error"}]
    assert answer.json()[0]["file"] == "\ufffd.png"
    lines = client.post("/score?splits=1&every=1", content=tar(good, good, bad)).text.splitlines()
    assert json.loads(lines[-1])["records"][0]["images"] == 2
    assert "\ufffd.png" in json.loads(lines[-1])["left_out"][0]


def test_an_archive_that_is_cut_inside_a_name_that_is_not_utf_8_is_answered() -> None:
    cut = tar(("Ä.png", png() * 100))[:600]
    with running(opened()) as port:
        answer = ask(port, head("POST", "/classify", Content_Length=len(cut)) + cut)
    assert (answer.status, "truncated" in answer.json()["error"]) == (400, True)


def test_a_member_without_a_name_is_passed_over(client: TestClient) -> None:
    answer = client.post("/classify", content=zipped(("", b"x"), ("a.png/", b""), ("b.png", png())))
    assert [line["file"] for line in answer.json()] == ["b.png"]


def test_an_answer_that_tells_of_an_error_cannot_fail() -> None:
    from igan_zoo.serving.server.middleware.answers import error_answer

    answer = error_answer(UploadError("\udcff is wrong:\n" + "x" * 10**6), "/\udcff")
    sentence = json.loads(bytes(answer.body))["error"]
    assert sentence.startswith("? is wrong: x")
    assert len(sentence) < 1000
    stream = io.StringIO()
    Log(stream).write("failure", traceback="\udcff", other=object())
    assert json.loads(stream.getvalue())["event"] == "failure"


def test_who_sends_more_files_than_are_taken_sees_the_answer_while_sending() -> None:
    content = tar(*((f"{number}.png", png()) for number in range(20))) + bytes(8_000_000)
    with running(opened(), max_images=5) as port:
        answer = ask(port, head("POST", "/classify", Content_Length=len(content)) + content)
    assert (answer.status, "more than 5 files" in answer.json()["error"]) == (413, True)


def test_silent_streams_of_grpc_end_and_leave_room_for_calls() -> None:
    grpc = pytest.importorskip("grpc", reason="needs the grpc extra")
    from igan_zoo.serving.server.protocol.grpc_messages import SERVICE
    from igan_zoo.serving.server.protocol.grpc_service import GrpcServer

    async def run() -> tuple[list[str], list[str]]:
        options = ServerSettings(threads=1, concurrency=32, per_address=16, idle_timeout=1.0, body_timeout=1.0)
        repository = Repository.open([MODEL], options)
        app = create_app(repository, options, log=Log(io.StringIO()))
        server = GrpcServer(app, host="127.0.0.1", port=0)
        port = await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

            async def silence() -> AsyncIterator[bytes]:
                await asyncio.sleep(30)
                yield b""

            async def code(call: Any) -> str:
                try:
                    await call
                except grpc.aio.AioRpcError as error:
                    return str(error.code().name)
                return "OK"

            # A stream of which nothing comes, and calls whose message never comes.
            streams = [channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(silence()) for _ in range(40)]
            calls = [channel.stream_unary(f"/{SERVICE}/ModelInfer")(silence()) for _ in range(20)]
            reads = [asyncio.create_task(code(stream.read())) for stream in streams]
            awaited = [asyncio.create_task(code(call)) for call in calls]
            await asyncio.sleep(0.3)
            assert await code(channel.unary_unary(f"/{SERVICE}/ServerMetadata")(b"")) == "OK"
            found = (
                await asyncio.wait_for(asyncio.gather(*reads), 20),
                await asyncio.wait_for(asyncio.gather(*awaited), 20),
            )
        await server.stop()
        repository.close()
        return found

    streams, calls = asyncio.run(run())
    assert set(streams) == {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    # Two at a time, and a few more on a machine that is so slow that the first have ended by then.
    assert streams.count("DEADLINE_EXCEEDED") <= 8
    assert set(calls) <= {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}


def ended(connection: socket.socket) -> bool:
    try:
        while connection.recv(1000):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def test_connections_of_grpc_are_few_and_end_if_they_say_nothing() -> None:
    """They are files as those of HTTP are, which would have none left."""
    grpc = pytest.importorskip("grpc", reason="needs the grpc extra")
    from igan_zoo.serving.server.protocol.grpc_messages import SERVICE
    from igan_zoo.serving.server.protocol.grpc_service import GrpcServer

    async def run() -> int:
        options = ServerSettings(threads=1, max_connections=40, body_timeout=1.0)
        repository = Repository.open([MODEL], options)
        server = GrpcServer(create_app(repository, options, log=Log(io.StringIO())), host="127.0.0.1", port=0)
        port = await server.start()
        with ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(60)]
            await asyncio.sleep(0.5)
            for connection in silent:
                connection.settimeout(0.01)
            # The others have said what their settings are, and wait.
            refused = sum(ended(connection) for connection in silent)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = channel.unary_unary(f"/{SERVICE}/ServerLive")
                await call(b"", wait_for_ready=True, timeout=30)
        await server.stop()
        repository.close()
        return refused

    assert 45 <= asyncio.run(run()) < 60


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("testclient", "testclient"),
    ],
)
def test_addresses_are_counted_as_one_customer_has_them(address: str, counted: str) -> None:
    from igan_zoo.serving.server.middleware.shares import neighborhood

    assert neighborhood(address) == counted


def test_the_connection_that_makes_room_is_of_the_address_that_has_most() -> None:
    from igan_zoo.serving.server.middleware.connections import Connections

    class One:
        def __init__(self, idle: bool = True) -> None:
            self.idle, self.ended = idle, False

        def abort(self) -> None:
            self.ended = True

    connections = Connections(4)
    many, few, late = [One(idle=False), One(), One()], One(), One()
    for one in many:
        connections.add("many", one)
    connections.add("few", few)
    connections.add("few", late)
    assert [one.ended for one in (*many, few, late)] == [False, True, False, False, False]
    connections.remove("many", many[1])
    busy = Connections(1)
    busy.add("a", One(idle=False))
    busy.add("b", late)
    assert late.ended


def test_a_file_that_is_no_file_any_more_is_not_waited_for(
    tmp_path: Path, client_of: Callable[..., TestClient]
) -> None:
    import os
    import shutil

    from tests.serving.server.models.test_repository import copy

    path = copy(tmp_path / "x")
    repository = Repository.open([path, MODEL], ServerSettings(threads=1))
    client = client_of(repository)
    config = path / "config.json"
    assert client.get("/models/copied/files/config.json").content == config.read_bytes()
    config.unlink()
    config.symlink_to("/etc/passwd")
    assert client.get("/models/copied/files/config.json").status_code == 503
    config.unlink()
    os.mkfifo(config)
    assert client.get("/models/copied/files/config.json").status_code == 503
    card = path / "README.md"
    card.unlink()
    os.mkfifo(card)
    assert client.get("/models/copied/card").status_code == 503
    shutil.rmtree(path)
    for name in ("card", "files/config.json", "files/README.md", "files/onnx/generator.onnx"):
        answer = client.get(f"/models/copied/{name}")
        assert (answer.status_code, set(answer.json())) == (503, {"error"})
    assert [model["name"] for model in client.get("/models").json()] == ["copied", MODEL]
    assert client.get("/models/copied").json()["files"] == []
    assert client.post("/v2/models/copied-generator/infer", content=BODY).status_code == 200
