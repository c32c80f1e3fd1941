"""Shards on a real local Dask cluster of two processes, one of them killed in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from igan_zoo.errors import ChecksumError, ShardError
from igan_zoo.serving.shards.dask_cluster import DaskCluster
from igan_zoo.serving.shards.work_folder import WorkFolder
from tests.conftest import REPOSITORY
from tests.serving.shards.losing import Losing
from tests.serving.shards.work import content, in_shards, undivided

needs_dask = pytest.mark.usefixtures("dask")


@pytest.fixture
def dask() -> None:
    pytest.importorskip("distributed", reason="needs the dask extra")


@needs_dask
def test_a_cluster_of_this_machine_loses_a_worker_and_no_bit(tmp_path: Path) -> None:
    losing = Losing(DaskCluster(None, 2), tmp_path / "marks")
    in_shards(losing, tmp_path / "many.npz")
    assert losing.lost == 1
    assert content(tmp_path / "many.npz") == undivided(tmp_path / "one.npz")


@needs_dask
def test_a_scheduler_is_found_by_its_address_and_what_a_worker_refuses_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    local = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(n_workers=1, **local) as cluster:
        executor = DaskCluster(cluster.scheduler_address.removeprefix("tcp://"), 1)
        in_shards(executor, tmp_path / "many.tar")
        assert content(tmp_path / "many.tar") == undivided(tmp_path / "one.tar")
        add = WorkFolder.add_graphs
        monkeypatch.setattr(WorkFolder, "add_graphs", lambda folder, graphs: add(folder, [b"no graph"]))
        with pytest.raises(ChecksumError, match="is damaged or missing"):
            in_shards(executor, tmp_path / "bad.tar")


@needs_dask
def test_where_no_worker_is_left_the_job_ends_and_can_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import distributed

    monkeypatch.setattr("igan_zoo.serving.shards.dask_cluster._SECONDS_WITHOUT_WORKERS", 1.0)
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"]
        # What a worker of another machine needs to find besides igan_zoo: this test's own task.
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            with distributed.Client(address) as client:
                client.wait_for_workers(1)
            losing = Losing(DaskCluster(address.removeprefix("tcp://"), 1), tmp_path / "marks")
            with pytest.raises(ShardError, match="All workers of Dask were lost"):
                in_shards(losing, tmp_path / "many.npz")
        finally:
            worker.kill()
            worker.wait()
    assert len(list((tmp_path / "many.npz.shards" / "shards").glob("*.json"))) >= 1


@needs_dask
def test_an_address_where_no_scheduler_is_gets_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.serving.shards.dask_cluster._SECONDS_TO_CONNECT", 1)
    with pytest.raises(ShardError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        in_shards(DaskCluster("127.0.0.1:1", 1), tmp_path / "many.npz")
