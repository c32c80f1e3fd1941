"""What finished trainings are found, and that each counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

from igan_zoo.errors import DataError
from igan_zoo.reproduction.evidence import find_models, find_runs


def test_runs_and_models_are_found_through_links(finished_run: Path, exported_model: Path, tmp_path: Path) -> None:
    """People keep them on another disk."""
    (tmp_path / "run").symlink_to(finished_run, target_is_directory=True)
    (tmp_path / "model").symlink_to(exported_model, target_is_directory=True)
    assert [one.path for one in find_runs([tmp_path]).evidence] == [tmp_path / "run"]
    assert [one.path for one in find_models([tmp_path]).evidence] == [tmp_path / "model"]


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no run in"):
        find_runs([tmp_path])
    with pytest.raises(DataError, match="There is no model in"):
        find_models([tmp_path])
