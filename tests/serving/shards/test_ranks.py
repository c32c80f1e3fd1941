"""Ranks: the same command several times, no network, and the last one puts the result together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from igan_zoo.errors import OutputError, ShardError
from igan_zoo.serving.shards.ranks import Ranks, find_rank
from tests.conftest import igan_zoo_process
from tests.serving.shards.work import MODEL, content, in_shards, undivided


def test_real_processes_write_what_one_writes(tmp_path: Path) -> None:
    out = tmp_path / "many.npz"
    command = ["sample", MODEL, "--n", 175, "--start", 20, "--seed", 3, "--batch-size", 10, "--out", out]
    ranks = [
        igan_zoo_process(*command, "--executor", "ranks", env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "2"})
        for rank in range(2)
    ]
    said = [rank.communicate() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert "many.npz: 175 images" in said[0][0] + said[1][0]
    assert content(out) == undivided(tmp_path / "one.npz")


def test_whoever_comes_last_puts_it_together_and_whoever_comes_later_finds_it(tmp_path: Path) -> None:
    out = tmp_path / "many"
    for rank in (2, 0):
        assert in_shards(Ranks(rank, 3), out) is None
        assert not out.exists()
    assert in_shards(Ranks(1, 3), out) is not None
    written = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert in_shards(Ranks(2, 3), out) is None
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == written
    assert content(out) == undivided(tmp_path / "one")


def test_a_lost_rank_is_made_up_for_by_any_number_of_others(tmp_path: Path) -> None:
    out = tmp_path / "many.tar"
    assert in_shards(Ranks(0, 3), out) is None
    assert in_shards(Ranks(0, 1), out) is not None
    assert content(out) == undivided(tmp_path / "one.tar")


def test_a_result_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    out = tmp_path / "many.tar"
    for _ in range(2):
        assert in_shards(Ranks(0, 1), out) is not None
        out.unlink()


def test_a_full_folder_is_refused_before_any_image_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "mine.txt").touch()
    with pytest.raises(OutputError, match="already exists"):
        in_shards(Ranks(0, 2), tmp_path / "many")
    assert not (tmp_path / "many.shards" / "shards").exists()


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "4"}, (3, 4)),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, (1, 2)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}, (2, 4)),
        # Each task of an array is a job step of its own; torchrun inside one numbers its processes.
        (
            {
                "SLURM_ARRAY_TASK_ID": "0",
                "SLURM_ARRAY_TASK_COUNT": "4",
                "SLURM_ARRAY_TASK_MIN": "0",
                "SLURM_PROCID": "0",
                "SLURM_NTASKS": "1",
            },
            (0, 4),
        ),
        ({"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, (1, 2)),
    ],
)
def test_the_environment_says_which_rank_this_is(environment: dict[str, str], found: tuple[int, int]) -> None:
    assert find_rank(environment) == Ranks(*found)


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "4", "WORLD_SIZE": "4"}, {"RANK": "1"}, {"WORLD_SIZE": "2"}, {"RANK": "one", "WORLD_SIZE": "2"}],
)
def test_ranks_that_cannot_be_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(ShardError, match=r"RANK is .* and WORLD_SIZE is"):
        find_rank(environment)
