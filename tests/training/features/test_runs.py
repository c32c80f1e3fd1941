"""Runs on features: they learn, give the same bytes after a kill, and say what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from igan_zoo.errors import TrainingError
from igan_zoo.training.data.subsets import labelled_subset, validation_subset
from igan_zoo.training.features.classifier import FeatureClassifier
from igan_zoo.training.features.runs import FeatureData, FeatureFacts, FeatureRun
from igan_zoo.training.features.settings import FeatureRecipe
from tests.training.features.clouds import CLASSES, clouds

RECIPE = FeatureRecipe(labels="2-per-class", members=2, steps=40)


def facts(data: FeatureData, recipe: FeatureRecipe = RECIPE) -> FeatureFacts:
    return FeatureFacts(
        recipe=recipe,
        data="photos",
        labels_file=None,
        classes=CLASSES,
        encoder="tiny-1",
        size=16,
        photos=len(data.labels),
        width=data.features.shape[1],
        sum=data.sum(),
        versions={"torch": "2"},
    )


def started(path: Path, data: FeatureData, recipe: FeatureRecipe = RECIPE) -> FeatureRun:
    run = FeatureRun(path)
    run.start(facts(data, recipe), b"encoder", resume=False)
    return run


def test_the_game_learns_and_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    data = clouds()
    whole = started(tmp_path / "whole", data)
    result = whole.train(RECIPE, data, "better")
    assert result.game_errors is not None
    assert result.game_errors / result.validation < 0.1
    killed = started(tmp_path / "killed", data)
    killed.train(RECIPE, data, "better")
    for name in ("member-2.safetensors", "classifier.safetensors", "result.json"):
        (killed.path / name).unlink()
    with pytest.raises(TrainingError, match="not finished; add --resume"):
        killed.classifier()
    killed.start(facts(data), b"encoder", resume=True)
    assert killed.train(RECIPE, data, "better") == result
    for name in ("member-1.safetensors", "member-2.safetensors", "classifier.safetensors"):
        assert (killed.path / name).read_bytes() == (whole.path / name).read_bytes()


@pytest.mark.parametrize("keep", ["game", "linear"])
def test_what_is_asked_for_is_kept(tmp_path: Path, keep: str) -> None:
    data = clouds()
    run = started(tmp_path, data)
    result = run.train(RECIPE, data, keep)  # type: ignore[arg-type]
    assert result.kept == keep
    classifier, features = run.classifier(), torch.from_numpy(data.features)
    logits, probabilities, realness = classifier(features)
    torch.testing.assert_close(logits.softmax(dim=1), probabilities)
    torch.testing.assert_close(logits.logsumexp(dim=1).sigmoid(), realness)
    if keep == "linear":
        assert (probabilities.argmax(dim=1) == classifier.linear_logits(features).argmax(dim=1)).all()


def test_without_labels_to_validate_with_there_are_no_errors_to_compare(tmp_path: Path) -> None:
    data = clouds()
    labels = np.where(np.arange(len(data.labels)) < 30, data.labels, -1)
    data = replace(data, labels=labels)
    recipe = FeatureRecipe(members=1, steps=10)
    result = started(tmp_path, data, recipe).train(recipe, data, "better")
    assert (result.labeled, result.validation, result.game_errors, result.kept) == (30, 0, None, "game")
    assert result.temperature == 1


def test_a_run_is_not_resumed_with_other_photos(tmp_path: Path) -> None:
    data = clouds()
    run = started(tmp_path, data)
    with pytest.raises(TrainingError, match="holds a run already"):
        run.start(facts(data), b"encoder", resume=False)
    other = replace(data, features=data.features + 1)
    with pytest.raises(TrainingError, match="was made with other settings"):
        run.start(facts(other), b"encoder", resume=True)


def test_calibration_makes_the_labels_likelier_and_changes_no_answer(tmp_path: Path) -> None:
    data = clouds(spread=1.5)
    run = started(tmp_path, data)
    run.train(RECIPE, data, "linear")
    classifier: FeatureClassifier = run.classifier()
    known = labelled_subset(data.labels, RECIPE.labels, CLASSES, RECIPE.seed)
    held_out = validation_subset(data.labels, known, RECIPE.validation_images, RECIPE.seed)
    features, labels = torch.from_numpy(data.features[held_out]), torch.from_numpy(data.labels[held_out])
    calibrated = classifier(features)[1]
    classifier.temperature.fill_(1.0)
    plain = classifier(features)[1]
    assert (calibrated.argmax(dim=1) == plain.argmax(dim=1)).all()
    likelihood = [float(shares[torch.arange(len(labels)), labels].log().mean()) for shares in (plain, calibrated)]
    assert likelihood[1] >= likelihood[0]
