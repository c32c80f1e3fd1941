"""A run whose unlabeled images get the answers of an earlier model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from igan_zoo.images.loading import load_images
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.serving.engine import Engine
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.runs.directory import Run
from tests.training.test_experiments import Cli, arguments


@pytest.fixture
def teacher(sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path) -> Path:
    recipe = find_recipe("cifar10-ssl-consistency")
    data = sources[recipe.dataset]
    assert igan_zoo(*arguments(recipe, sources, tmp_path / "first"))[0] == 0
    code, _, errors = igan_zoo("export", tmp_path / "first", "--out", tmp_path / "teacher", "--data", data)
    assert code == 0, errors
    return tmp_path / "teacher"


def test_the_answers_are_those_of_the_model_and_stay_with_the_run(
    teacher: Path, sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path
) -> None:
    recipe = find_recipe("cifar10-ssl-self-trained")
    run = tmp_path / "run"
    code, _, errors = igan_zoo(*arguments(recipe, sources, run, f"teacher={teacher}", "teacher_until=0.5"))
    assert code == 0, errors
    answers = load_file(run / "teacher.safetensors")["logits"]
    data = load_images(str(sources[recipe.dataset]), "train", height=32, width=32, channels=3)
    directory = ModelDirectory.open(teacher)
    engine = Engine({"classifier": directory.read(directory.spec.graphs["classifier"])})
    expected = engine.run("classifier", {"images": data.images[np.arange(len(data))]})["logits"]
    np.testing.assert_allclose(answers.log_softmax(dim=1), torch.from_numpy(expected).log_softmax(dim=1), atol=1e-4)
    assert [row["confident_share"] for row in Run(run).log()[1:]] == [1.0]

    # The teacher may be gone by the time the run goes on.
    teacher.rename(tmp_path / "elsewhere")
    code, _, errors = igan_zoo(*arguments(recipe, sources, run, f"teacher={teacher}", "teacher_until=0.5"), "--resume")
    assert code == 0, errors


def test_several_teachers_answer_by_the_mean_of_their_probabilities(
    teacher: Path, sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path
) -> None:
    recipe = find_recipe("cifar10-ssl-self-trained")
    other = tmp_path / "other"
    assert igan_zoo(*arguments(recipe, sources, tmp_path / "second"))[0] == 0
    data = sources[recipe.dataset]
    assert igan_zoo("export", tmp_path / "second", "--out", other, "--data", data)[0] == 0
    answers = []
    for name, teachers in (("a", str(teacher)), ("b", str(other)), ("both", f"{teacher},{other}")):
        assert igan_zoo(*arguments(recipe, sources, tmp_path / name, f"teacher={teachers}"))[0] == 0
        answers.append(load_file(tmp_path / name / "teacher.safetensors")["logits"].softmax(dim=1))
    torch.testing.assert_close(answers[2], (answers[0] + answers[1]) / 2)


def test_a_teacher_that_is_not_there_is_missed_before_any_image_is_read(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("igan_zoo.training.start.load_for_recipe", None)
    recipe = find_recipe("cifar10-ssl-self-trained")
    code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path / "run", "teacher=nobody"))
    assert code == 1
    assert "There is no model 'nobody'" in errors


@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_a_teacher_of_other_classes_is_refused_before_any_image_is_decoded(
    flags: tuple[str, ...], sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("igan_zoo.images.loading.decode_ahead", None)
    recipe = find_recipe("cifar10-ssl-self-trained")
    code, _, errors = igan_zoo(*arguments(recipe, sources, tmp_path / "run", "teacher=cifar10-ssl"), *flags)
    assert code == 1
    assert "The classes of the teacher cifar10-ssl differ from those of the data" in errors
    assert not (tmp_path / "run").exists()
