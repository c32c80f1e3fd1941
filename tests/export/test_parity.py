"""The parity report: each way in which a file can fail to compute what its network computes is an error of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from igan_zoo.errors import (
    ParityBatchError,
    ParityError,
    ParityNamesError,
    ParityShapeError,
    ParityToleranceError,
)
from igan_zoo.export.exporter import parity_subjects
from igan_zoo.export.freeze import ImageGenerator
from igan_zoo.export.graphs.building import with_levels
from igan_zoo.export.parity import Subject, TestImages, parity_report
from igan_zoo.images.loading import load_images
from igan_zoo.models.parity import Agreement, WrongAnswers
from igan_zoo.training.weights import load_networks

Change = Callable[[onnx.ModelProto], None]


@pytest.fixture
def generator(exported_model: Path) -> Subject:
    return subject(exported_model, "onnx/generator.onnx")


@pytest.fixture
def classifier(exported_model: Path) -> Subject:
    return subject(exported_model, "onnx/classifier.onnx")


def subject(model: Path, file: str) -> Subject:
    (found,) = parity_subjects(load_networks(model / "model.safetensors"), {file: (model / file).read_bytes()})
    return found


def changed(given: Subject, change: Change) -> Subject:
    model = onnx.load_model_from_string(given.content)
    change(model)
    return replace(given, content=model.SerializeToString())


def test_differences_are_measured_before_and_after_rounding(generator: Subject) -> None:
    for measured in parity_report([generator]).files[generator.file].batches.values():
        assert measured["images"]["differing_pixels"] <= 5e-4
        assert 0 < measured["pixels"]["max"] <= 1e-4, "float32 never agrees to the last bit, uint8 does"


def test_both_answer_the_test_images(classifier: Subject, data_directory: Path) -> None:
    data = load_images(str(data_directory), "test", height=28, width=28, channels=1).with_labels()
    test = parity_report([classifier], TestImages("ylecun/mnist", "test", data)).files[classifier.file].test
    with torch.no_grad():
        answers = classifier.module(torch.from_numpy(data.images[np.arange(100)]))[0].argmax(dim=1).numpy()
    wrong = int((answers != data.labels).sum())
    assert test == Agreement("ylecun/mnist", "test", 100, 1.0, WrongAnswers(wrong, wrong))


def test_test_images_with_other_answers_are_an_error(
    classifier: Subject, data_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_images(str(data_directory), "test", height=28, width=28, channels=1).with_labels()
    monkeypatch.setattr("igan_zoo.export.parity.ARGMAX_AGREEMENT", 1.01)
    with pytest.raises(ParityToleranceError, match=r"agree on the class of 100\.00% of 100 test images"):
        parity_report([classifier], TestImages("ylecun/mnist", "test", data))


def test_another_name_is_an_error_of_names(generator: Subject) -> None:
    def rename(model: onnx.ModelProto) -> None:
        model.graph.output[0].name = model.graph.node[-1].output[0] = "pictures"

    with pytest.raises(ParityNamesError, match="has the outputs pictures; a generator has images"):
        parity_report([changed(generator, rename)])


def test_a_fixed_batch_is_an_error_of_the_batch(generator: Subject) -> None:
    def fix(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2

    with pytest.raises(ParityBatchError, match="has a fixed batch: its latent has the shape"):
        parity_report([changed(generator, fix)])


def test_a_batch_that_does_not_run_is_an_error_of_the_batch(generator: Subject) -> None:
    """The batch that the exporter saw, baked into a reshape while the interface says that it is free."""

    def bake(model: onnx.ModelProto) -> None:
        levels = model.graph.output[0].name
        last = next(node for node in model.graph.node if levels in node.output)
        last.output[0] = "unshaped"
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 28, 28, 1]), "baked"))
        model.graph.node.append(onnx.helper.make_node("Reshape", ["unshaped", "baked"], [levels]))

    with pytest.raises(ParityBatchError, match="does not run a batch of 1"):
        parity_report([changed(generator, bake)])


def test_another_shape_is_an_error_of_shapes(generator: Subject) -> None:
    class Flipped(torch.nn.Module):
        def forward(self, latent: torch.Tensor) -> torch.Tensor:
            return generator.module(latent)[:, :14]

    with pytest.raises(ParityShapeError, match="have the shape"):
        parity_report([replace(generator, module=Flipped())])


def test_what_is_no_onnx_model_is_an_error(generator: Subject) -> None:
    with pytest.raises(ParityError, match="not an ONNX model"):
        parity_report([replace(generator, content=b"\x08not a model")])


def test_an_error_that_rounding_hides_is_found(generator: Subject) -> None:
    """One grey pixel of 784, off by less than a tenth of a grey level."""
    assert isinstance(generator.module, ImageGenerator)
    with torch.no_grad():
        levels = generator.module.pixels(torch.from_numpy(generator.inputs[:1])).flatten()
    grey = int((levels - 128).abs().argmin())

    def disturb(model: onnx.ModelProto) -> None:
        (bias,) = [tensor for tensor in model.graph.initializer if list(tensor.dims) == [784]]
        values = onnx.numpy_helper.to_array(bias).copy()
        values[grey] += 0.0006
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))

    with pytest.raises(ParityToleranceError, match="pixels at batch 1 differ from torch"):
        parity_report([changed(generator, disturb)])


def test_levels_are_wanted_only_of_what_rounds_them(classifier: Subject) -> None:
    with pytest.raises(ParityError, match="images are not rounded gray levels"):
        with_levels(classifier.content)


def test_the_levels_of_a_graph_are_those_that_it_rounds(generator: Subject) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(with_levels(generator.content), providers=["CPUExecutionProvider"])
    images, levels = session.run(["images", "levels"], {"latent": generator.inputs})
    np.testing.assert_array_equal(np.rint(levels).astype(np.uint8), images)
