"""A temperature inside a model: surer or less sure, with the same answers and the same realness."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import igan_zoo as zoo
from igan_zoo.export.freeze import ImageClassifier, ImageEnsemble
from igan_zoo.training.recipes.catalogue import find_recipe
from tests.conftest import synthetic_digits

Cli = Callable[..., tuple[int, str, str]]


def classifiers(temperature: float) -> tuple[ImageClassifier, ImageEnsemble]:
    torch.manual_seed(0)
    recipe = find_recipe("mnist-ssl")
    layers = [torch.nn.Linear(784, 10) for _ in range(2)]
    plain = [ImageClassifier(layer, recipe) for layer in layers]
    return ImageClassifier(layers[0], recipe, temperature), ImageEnsemble(plain, temperature)


@pytest.mark.parametrize("kind", [0, 1], ids=["one", "ensemble"])
def test_probabilities_are_those_at_the_temperature_and_realness_stays(kind: int) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8))
    with torch.no_grad():
        _, plain, real = classifiers(1.0)[kind](images)
        logits, cooled, still_real = classifiers(2.5)[kind](images)
    expected = torch.softmax(plain.log() / 2.5, dim=1)
    assert torch.allclose(cooled, expected, atol=1e-6)
    assert torch.allclose(still_real, real, atol=1e-6)
    assert torch.allclose(logits.softmax(dim=1), cooled, atol=1e-6)
    assert torch.allclose(torch.logsumexp(logits, dim=1).sigmoid(), real, atol=1e-6)


def test_a_model_keeps_its_temperature_and_what_its_training_images_are_like(
    igan_zoo: Cli, finished_run: Path, tmp_path: Path
) -> None:
    code, _, errors = igan_zoo("export", finished_run, "--out", tmp_path / "cool", "--temperature", 3)
    assert code == 0, errors
    assert igan_zoo("export", finished_run, "--out", tmp_path / "plain")[0] == 0
    images = synthetic_digits(300, 1)[0][..., None]  # those of the training
    found = [zoo.load(tmp_path / name, roles=["classifier"]) for name in ("plain", "cool")]
    plain, cooled = (model.engine.run("classifier", {"images": images}) for model in found)
    np.testing.assert_array_equal(plain["logits"].argmax(axis=1), cooled["logits"].argmax(axis=1))
    np.testing.assert_allclose(plain["realness"], cooled["realness"], atol=1e-5)
    assert cooled["probabilities"].max(axis=1).mean() < plain["probabilities"].max(axis=1).mean()
    specs = [model.spec for model in found]
    assert [spec.temperature for spec in specs if spec is not None] == [None, 3.0]
    least = found[1].expected.least_realness
    assert least is not None
    assert (cooled["realness"] > least - 1e-4).mean() == pytest.approx(0.99, abs=0.005)
    assert "divided by 3, which changes no predicted class" in " ".join(
        (tmp_path / "cool" / "README.md").read_text().split()
    )
    assert "compute what PyTorch computes" in igan_zoo("verify", tmp_path / "cool")[1]
    assert (tmp_path / "cool" / "labels.csv").read_bytes() == (finished_run / "labels.csv").read_bytes()
