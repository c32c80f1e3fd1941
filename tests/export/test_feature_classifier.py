"""A run on features as one graph: it computes what PyTorch computes, for images of any size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from igan_zoo.errors import ParityError
from igan_zoo.export.feature_classifier import compare, with_head
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.model import classes_in
from igan_zoo.training.features.classifier import FeatureClassifier
from igan_zoo.training.features.game import GameSettings, feature_classifier
from igan_zoo.training.features.preparation import Preparation
from tests.serving.tiny_scorer import tiny_scorer

ENCODER = tiny_scorer({"igan_zoo.resize": "bilinear-16", "igan_zoo.crop": "true"})
CLASSES = ("cat", "dog", "emu", "fox")


def classifier(*, keeps_linear: bool) -> FeatureClassifier:
    torch.manual_seed(0)
    preparation = Preparation.fit(torch.rand(50, 3) * 10, 3)
    members = [feature_classifier(3, len(CLASSES), GameSettings(steps=1)).eval() for _ in range(2)]
    made = FeatureClassifier(preparation, members, torch.nn.Linear(3, len(CLASSES)), keeps_linear=keeps_linear)
    made.temperature.fill_(1.7)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("keeps_linear", [False, True])
def test_the_graph_answers_as_pytorch_does(keeps_linear: bool) -> None:
    made = classifier(keeps_linear=keeps_linear)
    differences = compare(with_head(ENCODER, made, CLASSES, 16), ENCODER, made, 16)
    assert max(differences.values()) < 1e-4
    other = classifier(keeps_linear=not keeps_linear)
    with pytest.raises(ParityError, match="differs from PyTorch"):
        compare(with_head(ENCODER, other, CLASSES, 16), ENCODER, made, 16)


def test_it_is_a_classifier_of_images_of_any_size() -> None:
    content = with_head(ENCODER, classifier(keeps_linear=False), CLASSES, 16)
    engine = Engine({"classifier": content})
    graph = engine.graphs["classifier"]
    assert (graph.free_axes, graph.image_shape, graph.output_shape) == (("H", "W"), (16, 16, 3), (4,))
    answers = [
        engine.run("classifier", {"images": np.full((2, *size, 3), 90, np.uint8)})["probabilities"]
        for size in ((5, 9), (16, 16))
    ]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)
    np.testing.assert_allclose(answers[0].sum(axis=1), 1, atol=1e-6)


def test_the_encoders_own_logits_are_gone_and_the_classes_are_inside() -> None:
    model = onnx.load_model_from_string(with_head(ENCODER, classifier(keeps_linear=False), CLASSES, 16))
    assert [output.name for output in model.graph.output] == ["logits", "probabilities", "realness"]
    assert "matrix" not in [tensor.name for tensor in model.graph.initializer]
    engine = Engine({"classifier": model.SerializeToString()})
    assert classes_in(engine.graphs["classifier"]) == CLASSES
