"""Nothing half-written ever stands under its final name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from igan_zoo.errors import OutputError
from igan_zoo.files import atomic_directory, atomic_file, sha256_of


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
