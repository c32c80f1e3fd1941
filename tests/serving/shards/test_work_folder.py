"""The manifest: one exact job, sums of everything, and nothing taken for finished that is not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from igan_zoo.errors import ChecksumError, ShardError
from igan_zoo.machine.files import sha256_of
from igan_zoo.serving.scoring.statistics import Facts
from igan_zoo.serving.scoring.statistics_cache import versions
from igan_zoo.serving.shards.jobs import (
    Job,
    SampleJob,
    ScoreJob,
    StoredSource,
    difference,
    sample_shard_size,
    score_shards,
)
from igan_zoo.serving.shards.performing import Perform
from igan_zoo.serving.shards.ranks import Ranks
from igan_zoo.serving.shards.sample_files import SAMPLES
from igan_zoo.serving.shards.work_folder import WorkFolder
from tests.serving.shards.losing import Noting
from tests.serving.shards.work import content, in_shards, undivided

JOB = SampleJob(
    generator="0" * 64,
    batched=None,
    distribution="uniform",
    device="cpu",
    seed=3,
    start=20,
    count=175,
    batch_size=10,
    shard_size=20,
    encoded=False,
    versions=versions(),
)


def changed(**fields: object) -> SampleJob:
    return msgspec.structs.replace(JOB, **fields)


def test_every_image_is_in_one_shard_in_order() -> None:
    numbers = [index for number in range(JOB.shards) for index in JOB.images(number)]
    assert numbers == list(range(20, 195))
    assert [len(JOB.images(number)) for number in range(JOB.shards)] == [20] * 8 + [15]


@pytest.mark.parametrize("batch_size", [1, 7, 250, 5000])
@pytest.mark.parametrize("count", [1, 100, 65_536, 50_000_000])
def test_shards_hold_whole_batches_and_few_thousand_images(count: int, batch_size: int) -> None:
    size = sample_shard_size(count, batch_size)
    assert size % batch_size == 0
    assert size <= 4096 + batch_size


@pytest.mark.parametrize(
    ("images", "asked", "shards"),
    [(2, None, 1), (5000, None, 5), (200_000, None, 64), (50_000_000, None, 1000), (10, 3, 4)],
)
def test_a_score_is_cut_into_shards_that_are_worth_their_sums(images: int, asked: int | None, shards: int) -> None:
    assert score_shards(images, asked) == shards


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (changed(seed=7), "seed 3 instead of 7"),
        (changed(shard_size=40), "shard size 20 instead of 40"),
        (changed(versions={}), "versions"),
    ],
)
def test_another_job_in_its_place_is_refused(other: Job, words: str, tmp_path: Path) -> None:
    WorkFolder.create(tmp_path / "it.shards", JOB)
    WorkFolder.create(tmp_path / "it.shards", JOB)
    with pytest.raises(ShardError, match=f"holds shards of another job.*{words}"):
        WorkFolder.create(tmp_path / "it.shards", other)
    assert WorkFolder.create(tmp_path / "it.shards", other, replace=True).job == other


def test_jobs_of_different_facts_are_told_apart_by_the_first_of_them() -> None:
    facts = Facts(
        scorer="it", scorer_sha256="0", resize="none", source="a", images=10, features=0, classes=3, splits=1, seed=1
    )
    job = ScoreJob(
        facts=facts,
        shards=2,
        shape=None,
        source=StoredSource("a", None, 10),
        device="cpu",
        batch_size=None,
        strict=False,
        versions={},
    )
    other = msgspec.structs.replace(job, facts=msgspec.structs.replace(facts, classes=4))
    assert difference(job, other) == "classes 3 instead of 4"
    assert difference(JOB, job) == "a sample instead of a score"


def test_what_is_no_job_is_refused_and_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "it.shards").mkdir()
    (tmp_path / "it.shards" / "job.json").write_text("mine")
    with pytest.raises(ShardError, match="holds shards of another job"):
        WorkFolder.create(tmp_path / "it.shards", JOB)
    assert (tmp_path / "it.shards" / "job.json").read_text() == "mine"


def test_a_worker_without_the_folder_or_with_another_job_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="does not see"):
        Perform(str(tmp_path / "nowhere.shards"), "0")(0)
    WorkFolder.create(tmp_path / "it.shards", JOB)
    with pytest.raises(ShardError, match="belongs to another job"):
        Perform(str(tmp_path / "it.shards"), "0")(0)


def test_a_worker_of_another_version_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"type": "sample", "colour": "red"}')
    with pytest.raises(ShardError, match="install the same igan-zoo"):
        Perform(str(tmp_path), sha256_of(tmp_path / "job.json"))(0)


def test_a_worker_with_other_packages_refuses_the_job(tmp_path: Path) -> None:
    folder = WorkFolder.create(tmp_path / "it.shards", changed(versions=versions() | {"numpy": "1.0"}))
    with pytest.raises(ShardError, match=r"A worker has numpy .*started with 1\.0"):
        Perform(str(folder.path), folder.job_sha256)(0)


def test_a_damaged_graph_is_found(tmp_path: Path) -> None:
    folder = WorkFolder.create(tmp_path / "it.shards", JOB)
    folder.add_graphs([b"graph"])
    (path,) = (folder.path / "graphs").iterdir()
    assert folder.graph(path.stem) == b"graph"
    path.write_bytes(b"grape")
    with pytest.raises(ChecksumError, match="damaged or missing"):
        folder.graph(path.stem)


def half_done(tmp_path: Path, name: str = "many.npz") -> Path:
    """Does every second shard, and returns the folder."""
    assert in_shards(Ranks(0, 2), tmp_path / name) is None
    return tmp_path / f"{name}.shards"


@pytest.mark.parametrize("suffix", [".npz", ".tar"])
@pytest.mark.parametrize("damage", ["cut short", "changed", "gone", "record cut short"])
def test_a_damaged_shard_is_done_again_and_the_others_are_not(damage: str, suffix: str, tmp_path: Path) -> None:
    file = half_done(tmp_path, f"many{suffix}") / "shards" / f"00000004{SAMPLES}"
    if damage == "gone":
        file.unlink()
    elif damage == "record cut short":
        file.with_suffix(".json").write_bytes(file.with_suffix(".json").read_bytes()[:-5])
    else:
        content_then = file.read_bytes()
        file.write_bytes(content_then[:-1] + (b"" if damage == "cut short" else bytes([content_then[-1] ^ 1])))
    noting = Noting(Ranks(0, 1))
    in_shards(noting, tmp_path / f"many{suffix}")
    assert noting.numbers == [1, 3, 4, 5, 7]
    assert content(tmp_path / f"many{suffix}") == undivided(tmp_path / f"one{suffix}")


def test_two_commands_at_once_do_not_write_one_result(tmp_path: Path) -> None:
    path = half_done(tmp_path)
    folder = WorkFolder.create(path, msgspec.json.decode((path / "job.json").read_bytes(), type=Job))
    with folder.alone() as alone:
        assert alone
        with pytest.raises(ShardError, match="Another process is working"):
            in_shards(Noting(Ranks(0, 1)), tmp_path / "many.npz")
    in_shards(Noting(Ranks(0, 1)), tmp_path / "many.npz")


def test_a_shard_of_broken_batches_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="take --shard-size 30"):
        in_shards(Ranks(0, 1), tmp_path / "many.npz", shard_size=25)
    assert not any(tmp_path.iterdir())
