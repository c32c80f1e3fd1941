"""What goes wrong on the way to the Hub, each time with one sentence, a usable cache and nothing lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from igan_zoo.errors import ChecksumError, HubError, HubUnreachableError
from igan_zoo.hub import errors as hub_errors
from igan_zoo.hub import pulling
from igan_zoo.machine.files import sha256_of
from igan_zoo.models import store
from igan_zoo.models.directory import ModelDirectory
from tests.hub_standin.faults import Fault
from tests.hub_standin.repositories import READ_TOKEN, WRITE_TOKEN
from tests.hub_standin.server import StandIn

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def published(standin: StandIn, exported_model: Path) -> None:
    standin.add("org/tiny", exported_model)


def environment(standin: StandIn, tmp_path: Path) -> dict[str, str]:
    """For the command line in a process of its own."""
    home = {"HF_HOME": str(tmp_path / "process"), "HF_HUB_OFFLINE": "0"}
    return {**os.environ, **home, "HF_ENDPOINT": standin.endpoint}


def nothing_half_usable() -> bool:
    """Whether the cache has whole models only."""
    models = store.home() / "models"
    return all(ModelDirectory.open(path.parent).verify() == [] for path in models.rglob("config.json"))


@pytest.mark.parametrize("seed", range(3))
def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    standin: StandIn, exported_model: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """By huggingface_hub, whose steps are of 10 MB and made smaller here."""
    step = 5000
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", step)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    graph = exported_model / "onnx" / "classifier.onnx"
    byte = int(np.random.default_rng(seed).integers(step, graph.stat().st_size))
    standin.transport.faults.append(Fault(f"/lfs/{sha256_of(graph)}", drop_after=byte))
    directory = pulling.pull("org/tiny")
    assert directory.verify() == []
    assert standin.transport.ranges == [f"bytes={byte // step * step}-"]


def test_a_connection_that_breaks_again_and_again_is_one_sentence(
    standin: StandIn, igan_zoo: Cli, exported_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    sha256 = sha256_of(exported_model / "onnx" / "classifier.onnx")
    standin.transport.faults.append(Fault(f"/lfs/{sha256}", drop_after=1000, times=10**6))
    code, _, errors = igan_zoo("pull", "org/tiny")
    assert code == 1
    assert f"Cannot reach {standin.endpoint} for org/tiny" in errors
    assert len(errors.splitlines()) == 1
    assert nothing_half_usable()


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
@pytest.mark.parametrize("path", ["/resolve/", "/lfs/"])
def test_a_busy_server_is_asked_again_after_a_pause(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, status: int, path: str
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    standin.transport.faults.append(Fault(path, method="*", status=status, times=2))
    assert pulling.pull("org/tiny").verify() == []
    assert pauses
    assert pauses == sorted(pauses)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_stays_busy_is_one_sentence(
    standin: StandIn, igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    standin.transport.faults.append(Fault("/org/tiny/", method="*", status=status, times=10**6))
    code, output, errors = igan_zoo("pull", "org/tiny")
    assert (code, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert f"answers {status}" in errors
    assert nothing_half_usable()


def test_a_server_says_how_long_to_wait_and_is_not_waited_for_all_day(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    standin.transport.faults.append(Fault("/lfs/", status=503, headers={"Retry-After": "7"}))
    pulling.pull("org/tiny")
    assert 7 in pauses
    shutil.rmtree(constants.HF_HUB_CACHE)
    standin.transport.faults.append(Fault("/lfs/", status=503, headers={"Retry-After": "3600"}))
    shutil.rmtree(store.home())
    with pytest.raises(HubUnreachableError, match="try again later"):
        pulling.pull("org/tiny")
    assert max(pauses) <= hub_errors.LONGEST_WAIT


@pytest.mark.parametrize(
    ("token", "private", "name", "sentence"),
    [
        (None, False, "org/none", "no public model org/none .*: it does not exist, or it is private and needs a token"),
        (None, True, "org/tiny", "no public model org/tiny .* log in with: hf auth login"),
        (READ_TOKEN, False, "org/none", "There is no model org/none .* that this token can access"),
        ("hf_expired", False, "org/tiny", "rejects the token for org/tiny; create a new one"),
        (READ_TOKEN, False, "org/tiny@v9", "org/tiny@v9 does not exist: the model exists, but not this revision"),
    ],
)
def test_each_refusal_says_which_it_is(
    standin: StandIn, igan_zoo: Cli, token: str | None, private: bool, name: str, sentence: str
) -> None:
    standin.repositories["org/tiny"].private = private
    code, output, errors = igan_zoo("pull", name, *(["--token", token] if token else []))
    assert (code, output) == (1, "")
    assert re.search(sentence, errors), errors
    assert len(errors.splitlines()) == 1


def test_gated_and_forbidden_models_say_where_to_ask(standin: StandIn) -> None:
    standin.repositories["org/tiny"].gated = True
    with pytest.raises(HubError, match="org/tiny is gated: ask for access on its page"):
        pulling.pull("org/tiny")
    standin.repositories["org/tiny"].gated = False
    standin.transport.faults.append(Fault("/org/tiny/", method="*", status=403, times=100))
    with pytest.raises(HubError, match="The token may not do this with org/tiny"):
        pulling.pull("org/tiny", token=READ_TOKEN)


def test_a_private_model_comes_with_a_token(standin: StandIn) -> None:
    standin.repositories["org/tiny"].private = True
    assert pulling.pull("org/tiny", token=READ_TOKEN).verify() == []


def test_changed_bytes_are_named_with_both_sums_and_fetched_anew(standin: StandIn, exported_model: Path) -> None:
    promised = sha256_of(exported_model / "onnx" / "classifier.onnx")
    standin.transport.faults.append(Fault(f"/lfs/{promised}", flip=1000))
    with pytest.raises(ChecksumError) as caught:
        pulling.pull("org/tiny")
    assert f"promises {promised}" in str(caught.value)
    assert re.search(r"its sha256 is [0-9a-f]{64} \(\d+ bytes\)", str(caught.value))
    assert not (store.home() / "models").exists()
    assert pulling.pull("org/tiny").verify() == []


def test_a_file_that_is_shorter_than_promised_is_refused(standin: StandIn, exported_model: Path) -> None:
    graph = exported_model / "onnx" / "classifier.onnx"
    standin.repositories["org/tiny"].replace("onnx/classifier.onnx", graph.read_bytes()[:-1])
    with pytest.raises(ChecksumError, match=rf"\({graph.stat().st_size - 1} bytes\), but config.json promises"):
        pulling.pull("org/tiny")
    assert nothing_half_usable()


def test_an_answer_that_is_shorter_than_announced_is_refused(standin: StandIn, exported_model: Path) -> None:
    graph = exported_model / "onnx" / "classifier.onnx"
    standin.transport.faults.append(Fault(f"/lfs/{sha256_of(graph)}", shorten=True))
    with pytest.raises(HubError, match=r"classifier\.onnx of org/tiny.*Consistency check failed"):
        pulling.pull("org/tiny")
    assert nothing_half_usable()


def test_two_pulls_at_once_end_with_one_whole_model(standin: StandIn, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "igan_zoo", "pull", "org/tiny"]
    processes = [
        subprocess.Popen(command, env=environment(standin, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert store.resolve("org/tiny").directory.verify() == []  # type: ignore[union-attr]
    assert [path.name for path in (store.home() / "models" / "org").iterdir()] == ["tiny"]


def test_threads_of_one_process_may_pull_at_once(standin: StandIn) -> None:
    failed: list[BaseException] = []

    def pull() -> None:
        try:
            pulling.pull("org/tiny")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=pull) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert nothing_half_usable()


def test_a_kill_in_the_middle_leaves_nothing_half_usable(
    standin: StandIn, exported_model: Path, tmp_path: Path
) -> None:
    """The server stops delivering in the middle of a graph, and there the process is killed."""
    graph = exported_model / "onnx" / "classifier.onnx"
    stop = Fault(f"/lfs/{sha256_of(graph)}", stop_after=graph.stat().st_size // 2)
    standin.transport.faults.append(stop)
    command = [sys.executable, "-m", "igan_zoo", "pull", "org/tiny"]
    process = subprocess.Popen(command, env=environment(standin, tmp_path), stderr=subprocess.DEVNULL)
    assert stop.reached.wait(30)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    stop.go_on.set()
    assert not list((store.home() / "models").glob("*"))
    subprocess.run(command, env=environment(standin, tmp_path), check=True, capture_output=True)
    assert nothing_half_usable()
    assert store.resolve("org/tiny").directory is not None


def test_a_full_disk_is_one_sentence_and_the_next_pull_goes_on(standin: StandIn, tmp_path: Path) -> None:
    """The system refuses to let any file grow beyond a megabyte, as a full disk would."""
    if sys.platform == "win32":
        pytest.skip("needs RLIMIT_FSIZE")
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); "
        "from igan_zoo.cli import main; main(['pull', 'org/tiny'])"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment(standin, tmp_path), capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: Cannot write the Hub's cache")
    assert "File too large" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    subprocess.run(
        [sys.executable, "-m", "igan_zoo", "pull", "org/tiny"],
        env=environment(standin, tmp_path),
        check=True,
        capture_output=True,
    )
    assert nothing_half_usable()


def test_a_cache_that_cannot_be_written_is_named(
    igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    code, _, errors = igan_zoo("pull", "org/tiny")
    assert code == 1
    assert f"Cannot write the Hub's cache {tmp_path / 'file' / 'hub'}" in errors
    assert "HF_HUB_CACHE" in errors


def test_a_home_that_cannot_be_written_still_gives_what_it_has(monkeypatch: pytest.MonkeyPatch, igan_zoo: Cli) -> None:
    directory = pulling.pull("org/tiny")
    shutil.copytree(directory.path, store.home() / "models" / "tiny")
    shutil.rmtree(store.home() / "locks")
    (store.home() / "locks").write_text("no directory")
    (store.home() / "last").unlink()
    (store.home() / "last" / "mine").mkdir(parents=True)
    code, output, errors = igan_zoo("pull", "tiny")
    assert (code, output.startswith("tiny (cache)")) == (0, True)
    assert "could not be stored as the default model" in errors


def test_an_endpoint_that_is_down_is_one_sentence_and_what_was_pulled_works(
    standin: StandIn, igan_zoo: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    pulling.pull("org/tiny")
    standin.stop()
    assert igan_zoo("pull", "org/tiny")[0] == 0
    shutil.rmtree(constants.HF_HUB_CACHE)
    assert "(cache)" in igan_zoo("pull", "org/tiny")[1]
    code, _, errors = igan_zoo("pull", "org/other")
    assert code == 1
    assert f"Cannot reach {standin.endpoint} for org/other" in errors
    assert len(errors.splitlines()) == 1


def test_no_token_is_ever_shown(
    standin: StandIn,
    igan_zoo: Cli,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """Neither in what is printed or logged, nor in any file that is written, while everything goes wrong."""
    caplog.set_level("DEBUG")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    shown = []
    for fault in (None, 500, 401, 403, 404, 400):
        standin.transport.faults[:] = [Fault("/", method="*", status=fault, times=10**6)] if fault else []
        for command in (["publish", model, "--repo", "org/new"], ["pull", "org/new"], ["info", "org/tiny", "--remote"]):
            shown += [str(part) for part in igan_zoo(*command)]
    assert any("Error: " in part for part in shown)
    secret = WRITE_TOKEN.encode()
    assert WRITE_TOKEN not in "".join(shown) + caplog.text
    written = [*store.home().rglob("*"), *tmp_path.rglob("*")]
    assert not [path for path in written if path.is_file() and secret in path.read_bytes()]
