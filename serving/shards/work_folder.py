"""The folder that all workers of a job share: the job, its graphs, its finished shards and the sum of each."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from igan_zoo.errors import ChecksumError, ShardError
from igan_zoo.machine.files import atomic_file, sha256_of
from igan_zoo.serving.shards.jobs import Job, difference

_JOB, _MERGED, _LOCK, _GRAPHS, _SHARDS = "job.json", "merged.json", "lock", "graphs", "shards"


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished shard: its number, how many images it has, and the sha256 of its file."""

    number: int
    images: int
    sha256: str


class WorkFolder:
    """The manifest of a job and what it lists.

    ``job.json`` is the exact job. Every finished shard has a file and a record of it, ``shards/00000007.json``, which
    is written last and by whoever did the shard; no two processes ever write one file differently. Whatever is killed,
    what is recorded is finished.
    """

    def __init__(self, path: Path, job: Job, job_sha256: str) -> None:
        self.path, self.job, self.job_sha256 = path, job, job_sha256

    @classmethod
    def create(cls, path: Path, job: Job, *, replace: bool = False) -> WorkFolder:
        """Opens the folder of a job, or makes it.

        Raises:
            ShardError: it is that of another job, and ``replace`` is false.
            OutputError: it cannot be written.
        """
        content = msgspec.json.format(msgspec.json.encode(job, order="sorted"))
        there = _read(path / _JOB)
        if there is not None and there != content:
            if not replace and not (path / _MERGED).exists():
                raise ShardError(_another(path, there, job))
            shutil.rmtree(path)
        if _read(path / _JOB) != content:
            _write(path / _JOB, content)
        return cls(path, job, hashlib.sha256(content).hexdigest())

    @classmethod
    def open(cls, path: Path, job_sha256: str) -> WorkFolder:
        """Opens the folder that another process made.

        Raises:
            ShardError: the folder is not there, as when it is not shared with this machine; or it has another job, or
                one of another version of igan-zoo.
        """
        content = _read(path / _JOB)
        if content is None:
            raise ShardError(f"A worker does not see {path}: put --out in a folder that all machines share.")
        if hashlib.sha256(content).hexdigest() != job_sha256:
            raise ShardError(f"{path} now belongs to another job; run the command again.")
        try:
            return cls(path, msgspec.json.decode(content, type=Job), job_sha256)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ShardError(
                f"A worker does not understand {path / _JOB}: install the same igan-zoo on all machines."
            ) from error

    def add_graphs(self, graphs: Iterable[bytes]) -> None:
        """Writes what workers load: they need no model of their own.

        Raises:
            OutputError: it cannot be written.
        """
        for graph in graphs:
            path = self.graph_path(hashlib.sha256(graph).hexdigest())
            if _read(path) != graph:
                _write(path, graph)

    def graph_path(self, sha256: str) -> Path:
        """Returns where a graph is, or belongs."""
        return self.path / _GRAPHS / f"{sha256}.onnx"

    def graph(self, sha256: str) -> bytes:
        """Returns a graph of the job.

        Raises:
            ChecksumError: the file is damaged.
        """
        path = self.graph_path(sha256)
        content = _read(path) or b""
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ChecksumError(f"{path} is damaged or missing: delete {self.path} and run the command again.")
        return content

    def shard(self, number: int, suffix: str) -> Path:
        """Returns where the file of a shard is, or belongs."""
        return self.path / _SHARDS / f"{number:08}{suffix}"

    def record(self, number: int, images: int, file: Path) -> Done:
        """Notes that the file of a shard is finished."""
        done = Done(number, images, sha256_of(file))
        _write(self.shard(number, ".json"), msgspec.json.encode(done))
        return done

    def recorded(self, number: int) -> Done | None:
        """Returns the record of a shard that is finished."""
        content = _read(self.shard(number, ".json"))
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(content, type=Done) if content is not None else None
        return None

    def done(self) -> dict[int, Done]:
        """Returns every recorded shard by its number."""
        numbers = sorted(int(path.stem) for path in (self.path / _SHARDS).glob("*.json"))
        return {number: done for number in numbers if (done := self.recorded(number)) is not None}

    def forget_damaged(self, numbers: Iterable[int], suffix: str) -> None:
        """Takes back the records of shards whose file is not, or no longer, what was recorded."""
        for number in numbers:
            done, file = self.recorded(number), self.shard(number, suffix)
            if done is not None and not (file.is_file() and sha256_of(file) == done.sha256):
                self.shard(number, ".json").unlink(missing_ok=True)

    def checked(self, done: Done, suffix: str) -> Path:
        """Returns the file of a finished shard.

        Raises:
            ChecksumError: it is not what was recorded.
        """
        file = self.shard(done.number, suffix)
        if not file.is_file() or sha256_of(file) != done.sha256:
            raise ChecksumError(f"The shard {file} was damaged since it was written; run the command again.")
        return file

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Yields whether nobody else is putting this job's shards together; the system frees it after any kill."""
        with (self.path / _LOCK).open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @property
    def merged(self) -> bool:
        """Whether ranks have put the result together; the others learn it from this."""
        return (self.path / _MERGED).exists()

    def begin_again(self) -> None:
        """Forgets that the result was put together, as when it was deleted."""
        (self.path / _MERGED).unlink(missing_ok=True)

    def leave_note(self) -> None:
        """Deletes what the result was made of, and tells ranks that come later that it is."""
        _write(self.path / _MERGED, b"{}")
        for folder in (_GRAPHS, _SHARDS):
            shutil.rmtree(self.path / folder, ignore_errors=True)

    def delete(self) -> None:
        """Deletes everything; nobody may hold the folder, whose open files shared file systems keep."""
        shutil.rmtree(self.path)


def _another(path: Path, there: bytes, job: Job) -> str:
    try:
        how = f" ({difference(msgspec.json.decode(there, type=Job), job)})"
    except (msgspec.DecodeError, RecursionError):
        how = ""
    return (
        f"{path} holds shards of another job{how}: finish that one with its own command, choose another --out, or add "
        "--force to discard them."
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
