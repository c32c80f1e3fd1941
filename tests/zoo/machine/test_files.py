"""Nothing half-written ever stands under its final name."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from igan_zoo.errors import OutputError
from igan_zoo.machine.files import alone, atomic_directory, atomic_file, sha256_of


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_system_error_becomes_a_sentence_that_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*a\.txt: No space left"), atomic_file(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    with (
        pytest.raises(OutputError, match=r"Cannot write /proc/nowhere/a\.txt"),
        atomic_file(Path("/proc/nowhere/a.txt")),
    ):
        pass


def test_a_directory_appears_whole_and_replaces_only_when_told(tmp_path: Path) -> None:
    target = tmp_path / "images"
    with atomic_directory(target) as temporary:
        (temporary / "0.png").write_bytes(b"0")
        assert not target.exists()
    with pytest.raises(OutputError, match="already exists"), atomic_directory(target):
        pass
    with atomic_directory(target, replace=True) as temporary:
        (temporary / "1.png").write_bytes(b"1")
    assert [path.name for path in target.iterdir()] == ["1.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_failure_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "images") as temporary:
        (temporary / "0.png").write_bytes(b"0")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def dead(path: Path, *, age: float = 60) -> Path:
    """What a process that was killed some time ago has left."""
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_killed_processes_left_of_the_same_file_is_removed(tmp_path: Path) -> None:
    rest = dead(tmp_path / ".a.npz.k3j_x2zz.part")
    (tmp_path / ".a.npz.folder00.part").mkdir()
    dead(tmp_path / ".a.npz.folder00.part" / "0.png")
    os.utime(tmp_path / ".a.npz.folder00.part", (0, 0))
    others = [
        dead(tmp_path / name) for name in (".b.npz.k3j_x2zz.part", ".a.npz.grid.k3j_x2zz.part", ".a.npz.part", "a.part")
    ]
    fresh = dead(tmp_path / ".a.npz.justnow0.part", age=0)
    with atomic_file(tmp_path / "a.npz") as temporary:
        temporary.write_text("whole")
    assert not rest.exists()
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "a.npz", fresh, *others])


@pytest.mark.parametrize("make", [atomic_file, atomic_directory])
def test_what_a_living_process_writes_stays(make: Any, tmp_path: Path) -> None:
    with make(tmp_path / "a") as one:
        os.utime(one, (0, 0))
        with make(tmp_path / "a") as other:
            assert one.exists()
            assert other.exists()
            assert one != other


def test_a_killed_writer_leaves_nothing_for_long(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from igan_zoo.machine.files import atomic_file\n"
        "with atomic_file(Path(sys.argv[1])) as path: path.write_bytes(bytes(1000)); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False).returncode == -signal.SIGKILL
    (rest,) = tmp_path.iterdir()
    os.utime(rest, (0, 0))
    with atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_directory_is_exchanged_so_that_it_is_there_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "images"
    target.mkdir()
    (target / "old").write_text("old")
    seen: list[list[str]] = []
    remove = shutil.rmtree

    def watched(path: Path, **how: Any) -> None:
        seen.append(sorted(file.name for file in target.iterdir()))
        remove(path, **how)

    monkeypatch.setattr("igan_zoo.machine.files.shutil.rmtree", watched)
    monkeypatch.setattr(Path, "replace", lambda *names: pytest.fail("the name is given in two steps"))
    with atomic_directory(target, replace=True) as temporary:
        (temporary / "new").write_text("new")
    assert seen == [["new"]]
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_where_no_directories_can_be_exchanged_they_are_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("igan_zoo.machine.files._exchange", lambda one, other: False)
    test_a_directory_appears_whole_and_replaces_only_when_told(tmp_path)


def test_one_process_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    refusal = OutputError("Another process is here.")
    with alone(tmp_path / "run", refusal):
        with pytest.raises(OutputError, match="Another process is here"), alone(tmp_path / "run", refusal):
            pass
        with alone(tmp_path / "other", refusal):
            pass
    with alone(tmp_path / "run", refusal):
        pass


def plain_name(path: Any) -> str:
    """A file's name without what is random in it."""
    return re.sub(r"\.[a-z0-9_]{8}\.(part|old)$", r".\1", Path(os.fsdecode(path)).name)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is asked of the system: what goes to the disk, and what gets which name, in order."""
    made: list[tuple[str, ...]] = []
    rename = os.replace

    def replaced(one: Any, other: Any) -> None:
        made.append(("rename", plain_name(one), plain_name(other)))
        rename(one, other)

    def flushed(descriptor: int) -> None:
        made.append(("flush", plain_name(Path(f"/proc/self/fd/{descriptor}").readlink())))

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", flushed)
    return made


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_the_end(
    tmp_path: Path, calls: list[tuple[str, ...]]
) -> None:
    with atomic_file(tmp_path / "here" / "it") as temporary:
        temporary.write_bytes(b"x")
    assert calls == [("flush", ".it.part"), ("rename", ".it.part", "it"), ("flush", "here")]


NAMED = {
    "nothing": [("rename", ".it.part", "it")],
    "exchanged": [("exchange", ".it.part", "it")],
    "renamed": [("rename", "it", ".it.old"), ("rename", ".it.part", "it"), ("rename", ".it.old", ".it.part")],
}


@pytest.mark.parametrize("there", NAMED)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_is_on_the_disk_with_all_in_it_before_it_has_its_name(
    there: str, at_once: bool, tmp_path: Path, calls: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class System:
        """The C library, with or without ``syncfs``."""

        def __init__(self, _: None, **__: bool) -> None:
            if at_once:
                self.syncfs = self.flush_all

        def flush_all(self, handle: int) -> int:
            calls.append(("flush all of", plain_name(Path(f"/proc/self/fd/{handle}").readlink())))
            return 0

        def renameat2(self, _: int, one: bytes, __: int, other: bytes, ___: int) -> int:
            if there != "exchanged":
                return -1
            calls.append(("exchange", plain_name(one), plain_name(other)))
            return 0

    monkeypatch.setattr("ctypes.CDLL", System)
    target = tmp_path / "here" / "it"
    if there != "nothing":
        target.mkdir(parents=True)
        (target / "old").touch()
    with atomic_directory(target, replace=True) as temporary:
        (temporary / "a.png").write_bytes(b"a")
    flushed = [("flush all of", ".it.part")] if at_once else [("flush", "a.png"), ("flush", ".it.part")]
    assert calls == [*flushed, *NAMED[there], ("flush", "here")]


def test_a_disk_that_does_not_take_a_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class System:
        def __init__(self, _: None, **__: bool) -> None:
            self.syncfs = lambda _: -1

    monkeypatch.setattr("ctypes.CDLL", System)
    with pytest.raises(OutputError, match="The disk did not accept it"), atomic_directory(tmp_path / "images") as it:
        (it / "a.png").touch()
    assert list(tmp_path.iterdir()) == []
