"""A long, rough day of the server in a few minutes: many clients, some of them hostile, every good answer checked.

Starts ``igan-zoo serve`` in a process of its own, sends mixed requests over HTTP and gRPC (5 % hostile: truncated
pictures, wrong shapes, huge sizes, broken JSON, wrong lengths, slow bodies, early disconnects) while the model is
exchanged again and again, stops it with SIGTERM under load, and prints what came of each kind. Fails if a good answer
differs from the engine's, if anything but 200 answers a good request (503 and 504 are deliberate), if anything but an
error in one sentence answers a hostile one, if the server's memory grows, or if the end leaves a request unanswered.

    python benchmarks/soak.py [--requests 50000] [--clients 32] [--hostile 0.05] [--model mnist-ssl]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soak_grpc
from numpy.typing import NDArray
from soak_grpc import Call, GrpcClient

from igan_zoo.latents import latents
from igan_zoo.machine.progress import Progress
from igan_zoo.models import store
from igan_zoo.serving.engine import Arrays, Engine, load_engine

BODY_TIMEOUT = 3.0
# Deliberate: the queue was full, the server busy, or the turn did not come in time.
BUSY = {503, 504}
# Seconds between two exchanges of the model, and requests of one kind that a client sends one after another: on
# average, as a client that asks again and again is known by what its requests begin with.
RELOAD, RUN = 2.0, 5
# Seconds after which a client does not use a connection again: the server closes it after a minute.
UNUSED = 20.0
# Another batch is another order of sums: relative to the largest number, and in levels of a pixel.
TOLERANCE, LEVELS = 1e-4, 1
# The server may grow by so much after the first half, in parts of what it had and in bytes. In a run of seconds it
# takes that long to meet every kind of client, and an exchange has two models for a moment.
GROWTH, SLACK = 0.05, 48 * 2**20


@dataclass(frozen=True)
class Exchange:
    """Bytes for the server, with pauses in seconds after them, and what may come back."""

    pieces: Sequence[tuple[bytes, float]]
    expected: frozenset[int]
    check: Callable[[bytes, dict[str, str]], bool] = lambda _, __: True
    # The client goes away without waiting for an answer.
    leaves: bool = False


@dataclass(frozen=True)
class Ports:
    """Where the server listens."""

    http: int
    grpc: int


@dataclass
class Tally:
    """What came of all requests."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


class Requests:
    """Makes requests of every kind for one model, with their answers from its engine."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.generator, self.classifier = f"/v2/models/{name}-generator/infer", f"/v2/models/{name}-classifier/infer"
        rng = np.random.default_rng(0)
        size = engine.graphs["generator"].input_shape[0]
        shape = engine.graphs["classifier"].input_shape
        self.latents = latents(size, "uniform", seed=3, start=0, count=64)
        self.images = rng.integers(0, 256, (64, *shape), np.uint8)
        # Made once: a client that is busy for seconds would be taken for a slow one.
        self.burst = gzip.compress(b" " * 2**26)
        self.made = engine.run("generator", {"latent": self.latents})
        self.answers = engine.run("classifier", {"images": self.images})
        self.good = [
            self.sample_json,
            self.sample_binary,
            self.classify_json,
            self.classify_binary,
            self.packed,
            self.ask,
            self.sample_grpc,
            self.classify_grpc,
        ]
        self.hostile = [
            self.truncated_picture,
            self.wrong_shape,
            self.huge_sizes,
            self.huge_length,
            self.broken_json,
            self.wrong_length,
            self.no_http,
            self.bomb,
            self.slow_body,
            self.early_end,
            self.no_reader,
            self.json_bomb,
            self.large_index,
            self.foreign_names,
            self.newline_path,
            self.foreign_page,
            self.huge_timeout,
            self.trickle,
            self.wrong_grpc,
        ]

    def sample_grpc(self, rng: np.random.Generator) -> Call:
        return self._call(rng, self.generator, "latent", self.latents, self.made)

    def classify_grpc(self, rng: np.random.Generator) -> Call:
        return self._call(rng, self.classifier, "images", self.images, self.answers)

    def wrong_grpc(self, rng: np.random.Generator) -> Call:
        return soak_grpc.hostile(self.classifier.split("/")[3], rng)

    def sample_json(self, rng: np.random.Generator) -> Exchange:
        return self._infer(rng, self.generator, "latent", self.latents, self.made, binary=False)

    def sample_binary(self, rng: np.random.Generator) -> Exchange:
        return self._infer(rng, self.generator, "latent", self.latents, self.made, binary=True)

    def classify_json(self, rng: np.random.Generator) -> Exchange:
        return self._infer(rng, self.classifier, "images", self.images, self.answers, binary=False)

    def classify_binary(self, rng: np.random.Generator) -> Exchange:
        return self._infer(rng, self.classifier, "images", self.images, self.answers, binary=True)

    def packed(self, rng: np.random.Generator) -> Exchange:
        return self._infer(rng, self.classifier, "images", self.images, self.answers, binary=True, packed=True)

    def ask(self, rng: np.random.Generator) -> Exchange:
        path = str(rng.choice(["/v2", "/v2/health/ready", "/metrics", self.generator.removesuffix("/infer")]))
        return Exchange([(head("GET", path), 0)], frozenset({200}))

    def truncated_picture(self, rng: np.random.Generator) -> Exchange:
        picture = b"\x89PNG\r\n\x1a\n" + rng.bytes(int(rng.integers(0, 500)))
        model = self.classifier.split("/")[3].removesuffix("-classifier")
        return self._bad(head("POST", f"/classify?model={model}", len(picture)) + picture, {400, 404})

    def wrong_shape(self, rng: np.random.Generator) -> Exchange:
        shape = [int(side) for side in rng.integers(0, 40, int(rng.integers(0, 6)))]
        data = [0] * min(int(np.prod(shape)), 5000)
        return self._bad_json({"inputs": [{"name": "images", "datatype": "UINT8", "shape": shape, "data": data}]})

    def huge_sizes(self, rng: np.random.Generator) -> Exchange:
        shape = [int(side) for side in rng.integers(2**20, 2**40, 4)]
        tensor = {"name": "images", "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": 2**50}}
        return self._bad_json({"inputs": [tensor]})

    def huge_length(self, rng: np.random.Generator) -> Exchange:
        return self._bad(head("POST", self.classifier, int(rng.integers(2**26, 2**60))), {413})

    def broken_json(self, rng: np.random.Generator) -> Exchange:
        body = json.dumps({"inputs": [{"name": "images", "shape": [1]}]}).encode()[: int(rng.integers(0, 40))]
        body += rng.bytes(int(rng.integers(1, 200)))
        return self._bad(head("POST", self.classifier, len(body)) + body, {400})

    def wrong_length(self, rng: np.random.Generator) -> Exchange:
        length = str(rng.integers(0, 10_000)) if rng.random() < 0.5 else str(rng.choice(["-1", "x", "1e3", "9" * 30]))
        body = b'{"inputs": []}' + rng.bytes(100)
        return self._bad(head("POST", self.classifier, len(body), length) + body, {400})

    def no_http(self, rng: np.random.Generator) -> Exchange:
        return Exchange([(rng.bytes(int(rng.integers(20, 2000))) + b"\r\n\r\n", 0)], frozenset({400}))

    def bomb(self, _: np.random.Generator) -> Exchange:
        return self._bad(head("POST", self.classifier, len(self.burst), encoding="gzip") + self.burst, {413})

    def slow_body(self, _: np.random.Generator) -> Exchange:
        return Exchange([(head("POST", self.classifier, 1000) + b"{", 0)], frozenset({408}), is_sentence)

    def early_end(self, rng: np.random.Generator) -> Exchange:
        whole = self.sample_binary(rng).pieces[0][0]
        return Exchange([(whole[: int(rng.integers(1, len(whole)))], 0)], frozenset(), leaves=True)

    def no_reader(self, rng: np.random.Generator) -> Exchange:
        return Exchange([(self.sample_binary(rng).pieces[0][0], 0)], frozenset(), leaves=True)

    def json_bomb(self, rng: np.random.Generator) -> Exchange:
        count, item = int(rng.integers(1000, 300_000)), rng.choice(["1", "[]", "{}", '""'])
        start = '{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,1],"data":['
        body = (start + ",".join([str(item)] * count) + "]}]}").encode()
        return self._bad(head("POST", self.classifier, len(body)) + body, {400})

    def large_index(self, rng: np.random.Generator) -> Exchange:
        body = b'{"x":[' + b"{}," * int(rng.integers(30_000, 100_000)) + b"{}]}"
        return self._bad(head("POST", "/v2/repository/index", len(body)) + body, {413})

    def foreign_names(self, _: np.random.Generator) -> Exchange:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
            archive.addfile(tarfile.TarInfo("\xc4.png"))
        body = content.getvalue()
        model = self.classifier.split("/")[3].removesuffix("-classifier")
        return self._bad(head("POST", f"/classify?model={model}", len(body)) + body, {400})

    def newline_path(self, rng: np.random.Generator) -> Exchange:
        end = str(rng.choice(["%0A", "%0D", "%00", "%1F"]))
        path = str(rng.choice(["/metrics", self.classifier, "/v2/repository/models/x/unload"]))
        return self._bad(head("POST", path + end, 0), {404})

    def foreign_page(self, rng: np.random.Generator) -> Exchange:
        name = str(rng.choice(["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"]))
        request = head("POST", "/v2/repository/index", 0).replace(b"\r\n\r\n", f"\r\n{name}\r\n\r\n".encode())
        return self._bad(request.replace(b"Host: localhost", rng.choice([b"Host: localhost", b"Host: evil"])), {403})

    def huge_timeout(self, _: np.random.Generator) -> Exchange:
        return self._bad_json({"inputs": [], "parameters": {"timeout": 2**1100}})

    def trickle(self, _: np.random.Generator) -> Exchange:
        start = head("POST", "/score").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        return Exchange([(start + b"1\r\n\0\r\n", 0.1), (b"1\r\n\0\r\n", 0)], frozenset(), leaves=True)

    def _call(self, rng: np.random.Generator, path: str, name: str, inputs: NDArray[Any], outputs: Arrays) -> Call:
        rows = rng.integers(0, len(inputs), int(rng.choice([1, 1, 1, 2, 5, 40])))
        datatype = "UINT8" if name == "images" else "FP32"
        request = soak_grpc.request(path.split("/")[3], name, datatype, inputs[rows])

        def check(found: Arrays) -> bool:
            return all(close(found[output], array[rows]) for output, array in outputs.items())

        return Call(request, "OK", check)

    def _infer(
        self,
        rng: np.random.Generator,
        path: str,
        name: str,
        inputs: NDArray[Any],
        outputs: Arrays,
        *,
        binary: bool,
        packed: bool = False,
    ) -> Exchange:
        count = int(rng.choice([1, 1, 1, 2, 5, 40]))
        rows = rng.integers(0, len(inputs), count)
        given = inputs[rows]
        tensor = {"name": name, "datatype": "UINT8" if name == "images" else "FP32", "shape": list(given.shape)}
        if not binary:
            body = json.dumps({"inputs": [{**tensor, "data": given.ravel().tolist()}]}).encode()
            request = head("POST", path, len(body)) + body
        else:
            tensor["parameters"] = {"binary_data_size": given.nbytes}
            start = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
            body = start + given.tobytes()
            body = gzip.compress(body, 1) if packed else body
            request = head("POST", path, len(body), str(len(start)), "gzip" if packed else None) + body
        cut = int(rng.integers(1, len(request))) if rng.random() < 0.1 else len(request)
        pieces = [(request[:cut], 0.002), (request[cut:], 0)] if cut < len(request) else [(request, 0)]

        def check(answer: bytes, headers: dict[str, str]) -> bool:
            found = tensors(answer, headers.get("inference-header-content-length"))
            return all(close(found[output], array[rows]) for output, array in outputs.items())

        return Exchange(pieces, frozenset({200}), check)

    def _bad(self, request: bytes, expected: set[int]) -> Exchange:
        return Exchange([(request, 0)], frozenset(expected), is_sentence)

    def _bad_json(self, content: object) -> Exchange:
        body = json.dumps(content).encode()
        return self._bad(head("POST", self.classifier, len(body)) + body, {400})


def head(
    method: str, path: str, length: int | None = None, tensor_length: str | None = None, encoding: str | None = None
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    for name, value in (
        ("Content-Length", length),
        ("Inference-Header-Content-Length", tensor_length),
        ("Content-Encoding", encoding),
    ):
        if value is not None:
            lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()


def tensors(body: bytes, length: str | None) -> Arrays:
    """Returns the outputs of an answer by name."""
    at = len(body) if length is None else int(length)
    found = {}
    for tensor in json.loads(body[:at])["outputs"]:
        dtype = np.dtype({"FP32": np.float32, "UINT8": np.uint8}[tensor["datatype"]])
        if length is None:
            found[tensor["name"]] = np.array(tensor["data"], dtype).reshape(tensor["shape"])
        else:
            size = tensor["parameters"]["binary_data_size"]
            found[tensor["name"]] = np.frombuffer(body[at : at + size], dtype).reshape(tensor["shape"])
            at += size
    return found


def close(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    allowed = LEVELS if one.dtype == np.uint8 else TOLERANCE * np.abs(other).max()
    return bool(np.abs(one.astype(float) - other).max() <= allowed)


def is_sentence(body: bytes, _: dict[str, str]) -> bool:
    """Returns whether an answer is ``{"error": sentence}``."""
    try:
        content = json.loads(body)
    except ValueError:
        return False
    sentence = content.get("error", "") if isinstance(content, dict) else ""
    return 10 < len(sentence) < 1000 and "\n" not in sentence and "Traceback" not in sentence


class Client:
    """Sends one request after another on a connection, and opens a new one where the old has ended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used = time.monotonic()

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Returns the connection; a new one if there is none, or none that the server keeps for certain."""
        if time.monotonic() - self._used > UNUSED:
            await self.close()
        self._used = time.monotonic()
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    async def send(self, exchange: Exchange) -> tuple[int, dict[str, str], bytes] | None:
        """Returns status, headers and body, or None if none is waited for."""
        reader, writer = await self.open()
        for piece, pause in exchange.pieces:
            writer.write(piece)
            # A server that has seen enough may end the connection while we still write.
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(pause)
        if exchange.leaves:
            await self.close()
            return None
        status, headers, body = await asyncio.wait_for(self._read(reader), 60)
        if headers.get("connection") == "close":
            await self.close()
        return status, headers, body

    async def _read(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
        top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in top[1:] if line)}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readline(), 16):
                body += await reader.readexactly(size)
                await reader.readline()
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(top[0].split()[1]), headers, body

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
            self._streams = None


async def soak(requests: Requests, ports: Ports, pid: int, model: Path, arguments: argparse.Namespace) -> Tally:
    """Sends all requests from many clients at a time, while the model is exchanged."""
    tally = Tally()
    numbers = iter(range(arguments.requests))
    bar = Progress("soaking", arguments.requests, unit="requests")

    async def work() -> None:
        client, other = Client(ports.http), GrpcClient(ports.grpc)
        good = requests.ask
        for number in numbers:
            rng = np.random.default_rng((arguments.seed, number))
            if rng.random() < 1 / RUN:
                good = requests.good[int(rng.integers(len(requests.good)))]
            hostile = requests.hostile[int(rng.integers(len(requests.hostile)))]
            make = hostile if rng.random() < arguments.hostile else good
            exchange = make(rng)
            if isinstance(exchange, Call):
                await one_call(other, make.__name__, exchange, tally)
            else:
                await one(client, make.__name__, exchange, tally)
            bar.advance(1)
            if number % max(1, arguments.requests // 10) == 0:
                tally.memory.append(resident(pid))
        await client.close()
        await other.close()

    async def exchange_models() -> None:
        while True:
            await asyncio.sleep(RELOAD)
            os.utime(model / "config.json")

    exchanging = asyncio.create_task(exchange_models())
    with bar:
        await asyncio.gather(*(work() for _ in range(arguments.clients)))
    exchanging.cancel()
    tally.memory.append(resident(pid))
    return tally


async def stop_under_load(
    requests: Requests, ports: Ports, server: subprocess.Popen[bytes], clients: int
) -> tuple[Counter[int], list[str]]:
    """Sends SIGTERM while clients ask; returns the statuses of their answers, and the requests without a whole one."""
    answers: Counter[int] = Counter()
    lost: list[str] = []

    async def work(number: int) -> None:
        client, rng = Client(ports.http), np.random.default_rng(number)
        while True:
            exchange = requests.classify_binary(rng)
            try:
                await client.open()
            except OSError:
                return
            try:
                answer = await client.send(exchange)
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
                lost.append(repr(error))
                return
            if answer is None:
                continue
            answers[answer[0]] += 1
            if answer[0] == 200 and not exchange.check(answer[2], answer[1]):
                lost.append("a wrong answer")

    working = [asyncio.create_task(work(number)) for number in range(clients)]
    await asyncio.sleep(1.0)
    server.send_signal(signal.SIGTERM)
    await asyncio.wait_for(asyncio.gather(*working), 60)
    return answers, lost


async def one_call(client: GrpcClient, kind: str, call: Call, tally: Tally) -> None:
    code, details, outputs = await client.send(call)
    tally.statuses[kind, code] += 1
    if code in soak_grpc.BUSY:
        return
    if code != call.expected:
        tally.wrong.append(f"{kind}: {code} {details[:200]}")
    elif code == "OK" and not call.check(outputs):
        tally.wrong.append(f"{kind}: not the right answer")
    elif code != "OK" and not is_sentence(json.dumps({"error": details}).encode(), {}):
        tally.wrong.append(f"{kind}: {code} without a sentence: {details[:200]!r}")


async def one(client: Client, kind: str, exchange: Exchange, tally: Tally) -> None:
    try:
        answer = await client.send(exchange)
    except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
        await client.close()
        tally.statuses[kind, type(error).__name__] += 1
        tally.wrong.append(f"{kind}: no answer ({error!r})")
        return
    if answer is None:
        tally.statuses[kind, "left"] += 1
        return
    status, headers, body = answer
    tally.statuses[kind, str(status)] += 1
    if status in BUSY:
        if "error" not in json.loads(body):
            tally.wrong.append(f"{kind}: {status} without a sentence")
    elif status not in exchange.expected:
        tally.wrong.append(f"{kind}: {status} {body[:200]!r}")
    elif not exchange.check(body, headers):
        tally.wrong.append(f"{kind}: {status}, but not the right answer: {body[:200]!r}")


def resident(pid: int) -> int:
    """Returns the bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def report(tally: Tally, seconds: float) -> bool:
    """Prints what came of all; returns whether all is well."""
    kinds: dict[str, dict[str, int]] = {}
    for (kind, status), count in sorted(tally.statuses.items()):
        kinds.setdefault(kind, {})[status] = count
    for kind, counts in kinds.items():
        print(f"  {kind:18} {', '.join(f'{status}: {count:,}' for status, count in counts.items())}")
    total = sum(tally.statuses.values())
    print(f"{total:,} requests in {seconds:.0f} s ({total / seconds:,.0f} a second)")
    print("memory: " + " ".join(f"{size / 2**20:.0f}" for size in tally.memory) + " MB")
    settled = max(tally.memory[: max(1, len(tally.memory) // 2) + 1])
    grown = tally.memory[-1] > settled * (1 + GROWTH) + SLACK
    for wrong in tally.wrong[:20]:
        print(f"WRONG {wrong}")
    print(f"{len(tally.wrong)} wrong; memory {'GROWS' if grown else 'is flat'}")
    return not tally.wrong and not grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--hostile", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="mnist-ssl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        model = Path(folder) / arguments.model
        shutil.copytree(store.resolve(arguments.model).path, model)
        requests = Requests(model.name, load_engine(store.resolve(str(model)), ["generator", "classifier"], threads=1))
        command = [sys.executable, "-m", "igan_zoo", "serve", str(model), "--port", "0", "--grpc-port", "0"]
        command += ["--threads", "1", "--reload", "1", "--body-timeout", str(BODY_TIMEOUT)]
        server = subprocess.Popen(command, stderr=log)
        try:
            ports = wait_for(server, log)
            began = time.monotonic()
            tally = asyncio.run(soak(requests, ports, server.pid, model, arguments))
            well = report(tally, time.monotonic() - began)
            answers, lost = asyncio.run(stop_under_load(requests, ports, server, arguments.clients))
        finally:
            server.terminate()
            code = server.wait(60)
        log.seek(0)
        lines = log.readlines()
    failures = [line for line in lines if '"event":"failure"' in line or '"level":"ERROR"' in line]
    reloads = [line for line in lines if '"event":"reload"' in line]
    failures += [line for line in reloads if "was loaded" not in line]
    for failure in failures[:5]:
        print(f"FAILURE {failure[:2000]}")
    print(
        f"{len(failures)} failures in the server's log, {len(reloads)} exchanges of the model; ended with code {code}"
    )
    print(f"SIGTERM under load: {dict(sorted(answers.items()))}, {len(lost)} without a right answer {lost[:3]}")
    ended_well = code == 0 and not lost and set(answers) <= {200, 503}
    sys.exit(0 if well and ended_well and reloads and not failures else 1)


def wait_for(server: subprocess.Popen[bytes], log: Any) -> Ports:
    """Returns the server's ports once it is ready."""
    while server.poll() is None:
        said = Path(f"/proc/self/fd/{log.fileno()}").read_text()
        found = [re.search(rf"{scheme}://127\.0\.0\.1:(\d+)", said) for scheme in ("http", "grpc")]
        if '"event":"ready"' in said and found[0] and found[1]:
            return Ports(int(found[0][1]), int(found[1][1]))
        time.sleep(0.1)
    sys.exit(Path(f"/proc/self/fd/{log.fileno()}").read_text())


if __name__ == "__main__":
    main()
