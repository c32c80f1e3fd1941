"""What a processor is called, and which instructions it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from igan_zoo.machine.processor import processor


def test_the_first_core_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr("igan_zoo.machine.processor._FACTS", file)
    file.write_text("model name\t: Fast 1\nflags\t: fpu avx2\n\nmodel name\t: Slow 2\nflags\t: fpu\n")
    assert (processor().name, processor().flags) == ("Fast 1", {"fpu", "avx2"})
    file.write_text("Features\t: asimd i8mm\n")  # Arm
    assert processor().flags == {"asimd", "i8mm"}


def test_a_system_without_that_file_has_a_name_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("igan_zoo.machine.processor._FACTS", tmp_path / "none")
    assert processor().name
    assert processor().flags == frozenset()
