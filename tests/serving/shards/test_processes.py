"""Shards in processes: the bytes of one process, whatever is lost or killed."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from igan_zoo.errors import ChecksumError, ShardError
from igan_zoo.serving.shards.processes import Processes
from igan_zoo.serving.shards.work_folder import WorkFolder
from tests.conftest import igan_zoo_process
from tests.serving.shards.losing import Losing, Noting
from tests.serving.shards.work import MODEL, content, in_shards, undivided


@pytest.mark.parametrize("suffix", [".npz", ".tar", ".parquet", ""])
def test_the_bytes_are_those_of_one_process(suffix: str, tmp_path: Path) -> None:
    expected = undivided(tmp_path / f"one{suffix}")
    first = in_shards(Processes(2), tmp_path / f"many{suffix}")
    assert content(tmp_path / f"many{suffix}") == expected
    assert first is not None
    assert len(first) == 100
    assert not (tmp_path / f"many{suffix}.shards").exists()


def test_the_shard_of_a_killed_process_is_done_again(tmp_path: Path) -> None:
    losing = Losing(Processes(2), tmp_path / "marks", times=2)
    in_shards(losing, tmp_path / "many.npz")
    assert losing.lost == 2
    assert content(tmp_path / "many.npz") == undivided(tmp_path / "one.npz")


def test_a_shard_that_a_broken_pool_refuses_is_done_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking(ThreadPoolExecutor):
        """Breaks once, between two submissions."""

        submissions = 0

        def __init__(self, workers: int, *_: object) -> None:
            super().__init__(workers)

        def submit(self, *task: Any) -> Future[Any]:
            Breaking.submissions += 1
            if Breaking.submissions == 3:
                raise BrokenProcessPool
            return super().submit(*task)

    monkeypatch.setattr("igan_zoo.serving.shards.processes.ProcessPoolExecutor", Breaking)
    assert set(Processes(2).run(lambda number: number, range(8))) == set(range(8))  # type: ignore[arg-type,return-value]


def test_a_shard_that_kills_every_process_is_given_up_and_the_others_stay(tmp_path: Path) -> None:
    losing = Losing(Processes(1), tmp_path / "marks", times=100)
    with pytest.raises(ShardError, match="Shard 2 lost its worker 4 times"):
        in_shards(losing, tmp_path / "many.npz")
    assert losing.lost == 4
    assert not (tmp_path / "many.npz").exists()
    assert len(list((tmp_path / "many.npz.shards" / "shards").glob("*.json"))) >= 2
    in_shards(Processes(1), tmp_path / "many.npz")
    assert content(tmp_path / "many.npz") == undivided(tmp_path / "one.npz")


def test_what_a_worker_refuses_is_raised_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add = WorkFolder.add_graphs
    monkeypatch.setattr(WorkFolder, "add_graphs", lambda folder, graphs: add(folder, [b"no graph"]))
    with pytest.raises(ChecksumError, match="is damaged or missing"):
        in_shards(Processes(1), tmp_path / "many.npz")


def children(process: int) -> list[int]:
    return [child for child in processes() if f"\nPPid:\t{process}\n" in status(child)]


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def status(process: int) -> str:
    """Returns what the system says of a process; nothing of one that has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if "\nState:\tZ" in text else text


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for processes in /proc")
def test_killed_the_same_command_goes_on_and_no_process_is_left(tmp_path: Path) -> None:
    out, shards = tmp_path / "many.tar", tmp_path / "many.tar.shards" / "shards"
    command = ["sample", MODEL, "--n", 600, "--batch-size", 1, "--shard-size", 5, "--out", out]
    process = igan_zoo_process(*command, "--executor", "processes", "--workers", 2)
    deadline = time.monotonic() + 60
    while len(list(shards.glob("*.json"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    assert workers
    while any(map(status, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(status, workers))
    assert not out.exists()
    done = {int(path.stem) for path in shards.glob("*.json")}

    noting = Noting(Processes(2))
    which = {"seed": 0, "start": 0, "count": 600, "batch_size": 1, "shard_size": 5}
    in_shards(noting, out, **which)
    assert len(done) >= 5
    assert noting.numbers == [number for number in range(120) if number not in done]
    assert out.read_bytes() == undivided(tmp_path / "one.tar", **which)
