"""Engines by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from igan_zoo.errors import UnknownNameError, pip_install
from igan_zoo.serving.shards.executors import find_executor
from igan_zoo.serving.shards.processes import Processes


def test_processes_are_there_without_any_extra() -> None:
    assert find_executor("processes", 3) == Processes(3)


@pytest.mark.parametrize("engine", ["", "dusk", "processes://here"])
def test_an_unknown_engine_is_answered_with_those_there_are(engine: str) -> None:
    with pytest.raises(
        UnknownNameError, match=r"give processes, dask, dask://HOST:PORT, ray, ray://HOST:PORT or ranks"
    ):
        find_executor(engine)


@pytest.mark.parametrize(("engine", "extra"), [("dask", "dask"), ("dask://head:8786", "dask"), ("ray", "ray")])
def test_an_engine_that_is_not_installed_is_refused_before_anything_is_written(
    engine: str,
    extra: str,
    igan_zoo: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    honest = importlib.util.find_spec

    def without_engines(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in ("distributed", "ray") else honest(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_engines)
    code, _, errors = igan_zoo("sample", "mnist-ssl", "--executor", engine, "--out", tmp_path / "samples.npz")
    assert code == 1
    assert errors.splitlines()[-1] == f"Error: --executor {extra} needs the {extra} extra: {pip_install(extra)}."
    assert list(tmp_path.iterdir()) == []
