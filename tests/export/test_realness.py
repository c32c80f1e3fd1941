"""Realness that is learned after the classes: a line through the features, which changes no probability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from igan_zoo.api import load
from igan_zoo.errors import TrainingError
from igan_zoo.export.exporter import export_run
from igan_zoo.export.realness import separating_line, with_realness
from igan_zoo.export.trained import networks_of_run
from igan_zoo.images.loading import load_images
from igan_zoo.models.export_options import ExportOptions
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.start import start_training

SMALL = [
    "batch_size=20",
    "validation_images=0",
    "initialization_images=50",
    "epochs=2",
    "epoch_images=200",
    "labels=20",
]


def test_a_line_separates_what_a_line_can_separate() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 5, generator=generator)
    features[:200, 0] += 3
    log_z = torch.randn(400, generator=generator)
    weights, bias = separating_line(features, log_z, real=200)
    odds = log_z + features @ weights + bias
    right = torch.cat([odds[:200] > 0, odds[200:] < 0]).float().mean()
    assert right > 0.9
    assert weights[0] > 3 * weights[1:].abs().max()


def test_logits_that_know_already_are_left_alone() -> None:
    log_z = torch.cat([torch.full((200,), 20.0), torch.full((200,), -20.0)])
    weights, bias = separating_line(torch.randn(400, 5), log_z, real=200)
    assert weights.abs().max() < 1e-3
    assert bias.abs() < 1


def test_a_classifier_gets_realness_from_the_generator_of_a_model(
    data_directory: Path, exported_model: Path, tmp_path: Path
) -> None:
    recipe = customize(find_recipe("mnist-ssl-consistency"), [*SMALL, "network_width=0.125", "consistency_weight=0"])
    start_training(recipe, str(data_directory), tmp_path / "run", threads=1)
    data = {
        split: load_images(str(data_directory), split, height=28, width=28, channels=1) for split in ("train", "test")
    }
    options = ExportOptions(generator_run=exported_model, note="A small one.")
    plain = export_run(tmp_path / "run", tmp_path / "plain", test=None, options=options)
    made = export_run(
        tmp_path / "run", tmp_path / "made", test=data["test"], training_images=data["train"].images, options=options
    )
    assert plain.spec.note == "A small one."
    assert str(made.spec.note).startswith("A small one. The classifier was trained without a generator")
    assert made.spec.generator_training is not None

    before, after = load(plain.path), load(made.path)
    generated, real = after.sample(100, seed=9), np.asarray(data["test"].images[:])
    for images in (real, generated):
        pairs = zip(before.classify(images), after.classify(images), strict=True)
        for one, other in pairs:
            assert [name for name, _ in one.classes] == [name for name, _ in other.classes]
            assert one.classes[0][1] == pytest.approx(other.classes[0][1], abs=1e-4)
    assert np.median(after.realness(real)) > 0.9
    assert np.median(after.realness(generated)) < 0.1


def test_networks_without_a_generator_are_refused(finished_run: Path) -> None:
    networks = networks_of_run(Run(finished_run))
    with pytest.raises(TrainingError, match="cannot be added to the last layer of network=mnist-dense"):
        with_realness(networks, np.zeros((10, 28, 28, 1), np.uint8))
