"""The server beside other servers: the same ONNX file, batch limits and threads, one after another, round by round.

Each is driven by wrk with one request of one 32x32 image, in the leanest form that it takes (binary tensors, raw bytes,
or JSON). A server of others is measured if the Python of an environment that has it is named; servers/ has what runs
there. Also: a real classifier at 64 clients beside its raw engine, and batching switched off.

    python benchmarks/serve.py [--mosec-python PATH] [--litserve-python PATH] [--mlserver-python PATH]
        [--kserve-python PATH] [--ray-python PATH] [--rounds 3] [--seconds 5] [--clients 32 1] [--wrk-cores 1]

Give cores to wrk (``--wrk-cores``) and to the servers (``--cores``) for figures that repeat. Wants wrk and onnx.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from igan_zoo.models import store
from igan_zoo.serving.engine import Arrays, Engine, load_engine

HERE = Path(__file__).parent
PORT = 18600
REAL = HERE.parent / "models" / "cifar10-ssl"
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Request:
    """What wrk sends, and how the logits are read off the answer."""

    path: str
    headers: dict[str, str]
    body: bytes
    logits: Callable[[bytes, dict[str, str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Peer:
    """A server: its command, and a request for it."""

    name: str
    command: list[str]
    port: int
    request: Request


@dataclass(frozen=True)
class Measured:
    """What wrk saw: requests a second, milliseconds; and the milliseconds of processors that a request took there."""

    rate: float
    median: float
    slowest: float
    failed: int
    processor: float


def tiny_classifier() -> bytes:
    """Two small convolutions and a matrix: so little that a server's own work is what counts."""
    rng = np.random.default_rng(0)
    weights = {
        "first": rng.standard_normal((8, 3, 3, 3)) / 10,
        "second": rng.standard_normal((16, 8, 3, 3)) / 10,
        "third": rng.standard_normal((16, 10)),
        "scale": np.array(1 / 255),
    }
    constants = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1]), "axes"))
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 32, 32, 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("logits", ["N", 10]), ("probabilities", ["N", 10]), ("realness", ["N"]))
    ]
    nodes = [
        helper.make_node("Cast", ["images"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["levels", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "first"], ["a"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "second"], ["c"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["features"]),
        helper.make_node("MatMul", ["features", "third"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities", "axes"], ["realness"], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "tiny", [images], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def protocol_request(name: str, image: Images) -> Request:
    """A request of the Open Inference Protocol with binary tensors."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, *image.shape]}
    tensor["parameters"] = {"binary_data_size": image.nbytes}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}

    def logits(body: bytes, answered: dict[str, str]) -> NDArray[np.float32]:
        length = answered.get("inference-header-content-length")
        if length is None:
            return np.array(json.loads(body)["outputs"][0]["data"], np.float32)
        return np.frombuffer(body[int(length) :][:40], np.float32)

    return Request(f"/v2/models/{name}/infer", headers, head + image.tobytes(), logits)


def json_request(name: str, image: Images) -> Request:
    """A request of the Open Inference Protocol in JSON."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, *image.shape], "data": image.ravel().tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    return Request(
        f"/v2/models/{name}/infer",
        {"Content-Type": "application/json"},
        body,
        lambda body, _: np.array(json.loads(body)["outputs"][0]["data"], np.float32),
    )


def raw_request(path: str, image: Images) -> Request:
    """Pixels, answered by float32 numbers."""
    headers = {"Content-Type": "application/octet-stream"}
    return Request(path, headers, image.tobytes(), lambda body, _: np.frombuffer(body[:40], np.float32))


def base64_request(path: str, image: Images) -> Request:
    body = json.dumps({"images": base64.b64encode(image.tobytes()).decode()}).encode()
    headers = {"Content-Type": "application/json"}
    return Request(path, headers, body, lambda body, _: np.array(json.loads(body)["outputs"][0], np.float32))


def ours(model: Path | str, port: int, *options: object) -> list[str]:
    command = [sys.executable, "-m", "igan_zoo", "serve", model, "--port", port, "--reload", 0, *options]
    return [str(part) for part in command]


def peers(arguments: argparse.Namespace, model: Path, image: Images) -> list[Peer]:
    limits = ["--threads", arguments.threads, "--max-batch", arguments.batch, "--max-wait", arguments.wait]
    requests = {
        "mosec": raw_request("/inference", image),
        "litserve": base64_request("/predict", image),
        "mlserver": json_request("classifier", image),
        "kserve": protocol_request("classifier", image),
        "ray": raw_request("/classify", image),
    }
    found = [
        Peer("igan-zoo", ours(model, PORT, *limits), PORT, protocol_request(f"{model.stem}-classifier", image)),
        Peer(
            "igan-zoo, JSON", ours(model, PORT + 1, *limits), PORT + 1, json_request(f"{model.stem}-classifier", image)
        ),
        Peer(
            "igan-zoo, no batching",
            ours(model, PORT + 2, *limits[:2], "--max-batch", 1),
            PORT + 2,
            protocol_request(f"{model.stem}-classifier", image),
        ),
    ]
    for index, (name, request) in enumerate(requests.items()):
        python = getattr(arguments, f"{name}_python")
        if python:
            port = PORT + 10 + 10 * index
            values = (model, port, arguments.threads, arguments.batch, arguments.wait)
            command = [python, str(HERE / "servers" / f"with_{name}.py"), *map(str, values)]
            found.append(Peer(name, command, port, request))
    return found


@contextlib.contextmanager
def started(peer: Peer, cores: str | None, expected: NDArray[np.float32]) -> Iterator[int]:
    """Starts a server, waits until it answers correctly, and ends all of its processes."""
    prefix = ["taskset", "-c", cores] if cores else []
    with tempfile.TemporaryFile() as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*prefix, *peer.command], stdout=log, stderr=log, start_new_session=True, env=environment
        )
        try:
            wait_for(peer, process, log, expected)
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(peer: Peer, process: subprocess.Popen[bytes], log: Any, expected: NDArray[np.float32]) -> None:
    deadline = time.monotonic() + 300
    while True:
        try:
            logits = ask(peer)
            break
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                sys.exit(f"{peer.name} does not answer ({error}):\n{log.read().decode()[-2000:]}")
            time.sleep(0.5)
    if not np.allclose(logits, expected, atol=1e-4):
        sys.exit(f"{peer.name} answers {logits}, but the graph gives {expected}.")


def ask(peer: Peer) -> NDArray[np.float32]:
    url = f"http://127.0.0.1:{peer.port}{peer.request.path}"
    request = urllib.request.Request(url, peer.request.body, peer.request.headers)
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return peer.request.logits(answer.read(), headers)


def processor_seconds(pid: int) -> float:
    """Returns what a process and all of its children took of the processors since they began."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/children")]
    return used + sum(processor_seconds(int(child)) for found in children for child in found)


def drive(peer: Peer, pid: int, clients: int, seconds: float, cores: str | None) -> Measured:
    """Returns what wrk sees of so many clients that ask the server ``pid`` again and again."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(peer.request.body)
        lines = ['wrk.method = "POST"', f'local f = io.open("{folder}/body", "rb")', 'wrk.body = f:read("*all")']
        lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in peer.request.headers.items()]
        script = Path(folder) / "request.lua"
        script.write_text("\n".join(lines))
        prefix = ["taskset", "-c", cores] if cores else []
        url = f"http://127.0.0.1:{peer.port}{peer.request.path}"
        options = ["-t1", f"-c{clients}", f"-d{seconds:g}s", "--latency", "-s", str(script), url]
        before = processor_seconds(pid)
        said = subprocess.run([*prefix, "wrk", *options], capture_output=True, text=True, check=True).stdout
        used = processor_seconds(pid) - before
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return Measured(
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        median=milliseconds(_found(r"^ +50% +(\S+) *$", said)),
        slowest=milliseconds(_found(r"^ +99% +(\S+) *$", said)),
        failed=int(failed[1]) if failed else 0,
        processor=1000 * used / max(1, int(_found(r"(\d+) requests in", said))),
    )


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        sys.exit(f"wrk said:\n{text}")
    return found[1]


def milliseconds(text: str) -> float:
    for unit, factor in (("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    """Measures all servers in turn, each alone, in every round."""
    model = folder / "tiny.onnx"
    model.write_bytes(tiny_classifier())
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    expected = Engine({"classifier": model.read_bytes()}).run("classifier", {"images": image[None]})["logits"][0]
    measured: dict[tuple[str, int], list[Measured]] = {}
    for _ in range(arguments.rounds):
        for peer in peers(arguments, model, image):
            with started(peer, arguments.cores, expected) as pid:
                drive(peer, pid, max(arguments.clients), 1, arguments.wrk_cores)
                for clients in arguments.clients:
                    result = drive(peer, pid, clients, arguments.seconds, arguments.wrk_cores)
                    measured.setdefault((peer.name, clients), []).append(result)
    for clients in arguments.clients:
        ours_rates = [one.rate for one in measured["igan-zoo", clients]]
        print(f"{clients} clients, tiny 32x32 classifier, batches of {arguments.batch}, {arguments.wait} ms:")
        for (name, count), results in measured.items():
            if count == clients:
                ratio = statistics.median(o / one.rate for o, one in zip(ours_rates, results, strict=True))
                print(f"  {name:22} {row(results)}   igan-zoo is {ratio:.2f} times as fast")


def row(results: list[Measured]) -> str:
    rate, median, slowest, processor = (
        statistics.median(getattr(one, field) for one in results)
        for field in ("rate", "median", "slowest", "processor")
    )
    failed = sum(one.failed for one in results)
    return f"{rate:8,.0f} r/s   p50 {median:7.2f} ms   p99 {slowest:7.2f} ms   CPU {processor:6.3f} ms" + (
        f"   {failed} failed" if failed else ""
    )


def real_classifier(arguments: argparse.Namespace) -> None:
    """Compares a real classifier at 64 clients with its engine alone, in the same process setting, on full batches."""
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    engine = load_engine(store.resolve(str(REAL)), ["classifier"], threads=arguments.threads, spinning=False)
    expected = engine.run("classifier", {"images": image[None]})["logits"][0]
    request = protocol_request(f"{REAL.name}-classifier", image)
    batched = ours(REAL, PORT, "--threads", arguments.threads, "--max-batch", arguments.batch)
    alone = ours(REAL, PORT + 1, "--threads", arguments.threads, "--max-batch", 1)
    one, other = Peer("batching", batched, PORT, request), Peer("no batching", alone, PORT + 1, request)
    rates: dict[str, list[tuple[float, float]]] = {"engine": [], "batching": [], "no batching": []}
    with (
        started(one, arguments.cores, expected) as first,
        started(other, arguments.cores, expected) as second,
    ):
        servers = ((one, first), (other, second))
        for peer, pid in servers:
            drive(peer, pid, 64, 2, arguments.wrk_cores)
        for _ in range(arguments.rounds):
            rates["engine"].append(engine_rate(engine, image, arguments))
            for peer, pid in servers:
                result = drive(peer, pid, 64, arguments.seconds, arguments.wrk_cores)
                rates[peer.name].append((result.rate, result.processor))
    print(f"{REAL.name} classifier at 64 clients, batches of {arguments.batch}:")
    for name, found in rates.items():
        rate, processor = (statistics.median(pair[index] for pair in found) for index in (0, 1))
        ratio = statistics.median(pair[0] / raw[0] for pair, raw in zip(found, rates["engine"], strict=True))
        busy = statistics.median(raw[1] / pair[1] for pair, raw in zip(found, rates["engine"], strict=True))
        print(f"  {name:12} {rate:8,.0f} images/s   {ratio:.2f} of the engine   CPU {processor:.2f} ms ({busy:.2f})")


def engine_rate(engine: Engine, image: Images, arguments: argparse.Namespace) -> tuple[float, float]:
    """Returns images a second, and milliseconds of the processors an image."""
    inputs: Arrays = {"images": np.repeat(image[None], arguments.batch, axis=0)}
    engine.run("classifier", inputs)
    count, began, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < arguments.seconds:
        engine.run("classifier", inputs)
        count += arguments.batch
    return count / (time.perf_counter() - began), 1000 * (time.process_time() - processor) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("mosec", "litserve", "mlserver", "kserve", "ray"):
        parser.add_argument(f"--{name}-python", metavar="PATH")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[32, 1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--wait", type=int, default=2, help="milliseconds")
    parser.add_argument("--cores", help="for the servers, as taskset takes them")
    parser.add_argument("--wrk-cores", help="for wrk")
    parser.add_argument("--only", choices=["servers", "real"], help="leave the other part out")
    arguments = parser.parse_args()
    if arguments.only != "real":
        with tempfile.TemporaryDirectory() as folder:
            compare(arguments, Path(folder))
    if arguments.only != "servers":
        real_classifier(arguments)


if __name__ == "__main__":
    main()
