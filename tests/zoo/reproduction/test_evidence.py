"""What finished trainings are found, and that each counts once."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from igan_zoo.errors import DataError
from igan_zoo.models.directory import ModelDirectory, seal
from igan_zoo.reproduction.evidence import find_models, find_runs, model_evidence


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


def test_a_model_comes_from_the_recipe_of_its_run(finished_run: Path, exported_model: Path) -> None:
    (of_run,), (of_model,) = find_runs([finished_run]).evidence, find_models([exported_model]).evidence
    assert (of_model.recipe, of_model.members, of_model.seconds) == (of_run.recipe, 1, round(of_run.seconds))


def test_the_weights_of_an_older_directory_say_what_it_comes_from(model: Path) -> None:
    """Its specification has no settings."""
    directory = ModelDirectory.open(model)
    expected = model_evidence(directory).recipe
    spec = directory.spec
    (model / "config.json").unlink()
    older = structs.replace(spec, training=structs.replace(spec.training, settings=None))
    assert model_evidence(seal(model, older)).recipe == expected
    (model / "model.safetensors").unlink()
    found = find_models([model.parent])
    assert found.evidence == []
    assert "model.safetensors" in found.left_out[0]
