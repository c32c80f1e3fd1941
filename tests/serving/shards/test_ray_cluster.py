"""Shards in actors of a real local Ray, one of them killed in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from igan_zoo.errors import ChecksumError, ShardError
from igan_zoo.serving.shards.ray_cluster import RayCluster
from igan_zoo.serving.shards.work_folder import WorkFolder
from tests.serving.local_ray import local_ray
from tests.serving.shards.losing import Losing
from tests.serving.shards.work import content, in_shards, undivided


def test_actors_of_this_machine_lose_one_and_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_ray(2):
        losing = Losing(RayCluster(None, 2), tmp_path / "marks")
        in_shards(losing, tmp_path / "many.npz")
        assert losing.lost == 1
        assert content(tmp_path / "many.npz") == undivided(tmp_path / "one.npz")
        with monkeypatch.context() as patched:
            add = WorkFolder.add_graphs
            patched.setattr(WorkFolder, "add_graphs", lambda folder, graphs: add(folder, [b"no graph"]))
            with pytest.raises(ChecksumError, match="is damaged or missing"):
                in_shards(RayCluster(None, 1), tmp_path / "bad.npz")
        losing = Losing(RayCluster(None, 1), tmp_path / "more marks", times=100)
        with pytest.raises(ShardError, match="A shard lost its worker"):
            in_shards(losing, tmp_path / "never.npz")
        assert losing.lost == 4
