"""``igan-zoo serve --workers``: several processes that answer as one."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from igan_zoo.errors import IganZooError
from igan_zoo.serving.server.counts import Counts, total
from igan_zoo.serving.server.middleware.metrics import Metrics, metrics_text
from igan_zoo.serving.server.middleware.requests_log import Log
from igan_zoo.serving.server.models.hosted import Statistics
from igan_zoo.serving.server.processes.starting import serve_together
from igan_zoo.serving.server.settings import ServerSettings
from tests.conftest import REPOSITORY, igan_zoo_process
from tests.serving.server.conftest import CLASSIFIER, GENERATOR, MODEL
from tests.serving.server.running import Running, serving

WORKERS = 2
INFER = {"inputs": [{"name": "latent", "datatype": "FP32", "shape": [1, 100], "data": [0.5] * 100}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("together")
    options = ["--workers", WORKERS, "--threads", 1, "--reload", 0, "--allow-load"]
    turing = ["--real", REPOSITORY / "docs" / "digits", "--turing-results", folder / "turing.jsonl"]
    with serving(folder, MODEL, *options, *turing) as running:
        yield running


def ask(server: Running, path: str, content: Any = None) -> Any:
    """Asks on a connection of its own, which any of the processes may be given."""
    body = None if content is None else json.dumps(content).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://{server.http}{path}", body), timeout=30) as answer:
        return json.loads(answer.read())


def status(server: Running, path: str, content: Any = None) -> int:
    try:
        ask(server, path, content)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def requests_by_worker(server: Running) -> dict[int, int]:
    time.sleep(0.2)
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    workers = [line["worker"] for line in lines if line["event"] == "request"]
    return {worker: workers.count(worker) for worker in set(workers)}


def processes_of(server: Running) -> list[int]:
    """Returns the processes that serve; another one watches over what they share."""
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def test_both_processes_answer_and_their_counts_are_summed(server: Running) -> None:
    for _ in range(40):
        ask(server, f"/v2/models/{GENERATOR}/infer", INFER)
    assert set(requests_by_worker(server)) == {0, 1}
    for _ in range(8):
        (found,) = ask(server, f"/v2/models/{GENERATOR}/stats")["model_stats"]
        assert found["inference_count"] == found["inference_stats"]["success"]["count"] == 40
        assert sum(line["compute_infer"]["count"] for line in found["batch_stats"]) == found["execution_count"]
    with urllib.request.urlopen(f"http://{server.http}/metrics") as answer:
        text = answer.read().decode()
    assert f'nv_inference_request_success{{model="{GENERATOR}",version="1"}} 40\n' in text
    assert re.search(rf'igan_zoo_requests_total{{model="{GENERATOR}",route="[^"]+",status="200"}} 40\.0', text)


def test_models_are_unloaded_and_loaded_in_all_processes(server: Running) -> None:
    path = f"/v2/models/{CLASSIFIER}/ready"
    for change, expected in (("unload", 503), ("load", 200), ("unload", 503), ("load", 200)):
        assert status(server, f"/v2/repository/models/{CLASSIFIER}/{change}", {}) == 200
        assert {status(server, path) for _ in range(10)} == {expected}
    assert {status(server, "/v2/repository/models/nothing/load", {}) for _ in range(6)} == {404}


def test_a_turing_test_is_the_same_in_all_processes(server: Running) -> None:
    for _ in range(3):
        test = ask(server, "/turing", {"model": MODEL, "rounds": 4, "feedback": True})["test"]
        for number in range(1, 5):
            with urllib.request.urlopen(f"http://{server.http}/turing/{test}/{number}.png") as answer:
                assert answer.headers["content-type"] == "image/png"
            ask(server, f"/turing/{test}/{number}", {"answer": "real"})
        assert ask(server, f"/turing/{test}")["finished"]
        assert status(server, f"/turing/{test}/1", {"answer": "real"}) == 409
    assert {status(server, "/turing/nothing") for _ in range(6)} == {404}
    answers = (server.log.parent / "turing.jsonl").read_text().splitlines()
    assert len(answers) == 12


def test_all_processes_serve_grpc_at_one_port(server: Running) -> None:
    grpc = pytest.importorskip("tritonclient.grpc", reason="needs tritonclient[grpc]")
    for _ in range(6):
        client = grpc.InferenceServerClient(server.grpc, channel_args=[("grpc.use_local_subchannel_pool", 1)])
        assert client.is_server_ready()
        statistics = client.get_inference_statistics(GENERATOR, as_json=True)["model_stats"]
        assert len(statistics) == 1
        client.close()
    # A call is logged after its answer is sent.
    deadline = time.monotonic() + 20
    while '"method":"gRPC"' not in server.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_sigterm_ends_all_processes_with_code_0(tmp_path: Path) -> None:
    with serving(tmp_path, MODEL, "--workers", WORKERS, "--threads", 1) as running:
        children = processes_of(running)
        assert len(children) == WORKERS
        # A port that several processes share is taken for all others.
        port = running.http.rpartition(":")[2]
        other = igan_zoo_process("serve", MODEL, "--workers", 2, "--port", port)
        _, said = other.communicate(timeout=60)
        assert other.returncode == 1
        assert "Address already in use" in said
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
    assert [child for child in children if Path(f"/proc/{child}").exists()] == []
    assert running.log.read_text().count('"event":"stopped"') == WORKERS


def test_a_process_that_is_killed_ends_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, MODEL, "--workers", WORKERS, "--threads", 1) as running:
        os.kill(processes_of(running)[0], signal.SIGKILL)
        assert running.process.wait(60) == 1
    assert "ended with SIGKILL, so the server stops." in running.log.read_text()


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, MODEL, "--workers", WORKERS, "--threads", 1) as running:
        host, _, port = running.http.rpartition(":")
        running.process.kill()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                socket.create_connection((host, int(port)), 1).close()
            except OSError:
                return
            time.sleep(0.1)
    pytest.fail("somebody still listens")


def test_a_model_that_cannot_be_loaded_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    command = [
        sys.executable,
        "-m",
        "igan_zoo",
        "serve",
        str(tmp_path / "broken.onnx"),
        "--workers",
        "2",
        "--port",
        "0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error: ") == 1


def test_a_system_without_shared_ports_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with pytest.raises(IganZooError, match="remove --workers"):
        serve_together([], ServerSettings(workers=2), host="127.0.0.1", port=0, announce=lambda _: None)


def test_sums_of_counts_are_those_of_one_process_that_did_it_all() -> None:
    one, other, both = Metrics(), Metrics(), Metrics()
    for index, seconds in enumerate((0.0005, 0.003, 0.003, 20.0)):
        for metrics in ((one, other)[index % 2], both):
            metrics.observe("/v2", "m", 200 if index else 404, seconds)
    parts = [Counts(metrics.answers(), [], True) for metrics in (one, other)]
    whole = metrics_text(Counts(both.answers(), [], True)).decode()
    assert sorted(metrics_text(total(parts)).decode().splitlines()) == sorted(whole.splitlines())
    assert not total([*parts, Counts([], [], False)]).ready
    added = Statistics(1, 2, 0.5, 1.0, 0.1, 0.2, 7, 5.0, {1: 2, 8: 1}, {1: 0.5, 8: 1.0}) + Statistics(
        1, 0, 0.5, 0.0, 0.1, 0.2, 3, 9.0, {1: 3}, {1: 0.25}
    )
    assert added == Statistics(2, 2, 1.0, 1.0, 0.2, 0.4, 10, 9.0, {1: 5, 8: 1}, {1: 0.75, 8: 1.0})


def test_lines_of_several_processes_are_written_whole() -> None:
    class Pieces(io.StringIO):
        written: list[str]

        def write(self, text: str) -> int:
            self.written.append(text)
            return len(text)

    stream = Pieces()
    stream.written = []
    log = Log(stream, worker=1)
    log.write("long", text="x" * 5000)
    log._lines = [msgspec.Raw(b"y" * 1000)] * 10
    log.flush()
    assert all(piece.endswith("\n") for piece in stream.written)
    assert all(len(piece) <= 4096 for piece in stream.written[1:])
    assert sum(piece.count("\n") for piece in stream.written) == 11
    assert json.loads(stream.written[0])["worker"] == 1
