"""Exported graphs: the interface, the contents, and that they compute what the network computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from torch import nn

from igan_zoo.errors import OutputError, ParityToleranceError, TrainingError
from igan_zoo.export.exporter import export_run
from igan_zoo.export.freeze import (
    ImageClassifier,
    ImageGenerator,
    StableSoftplus,
    frozen_discriminator,
    frozen_generator,
    measure_population,
)
from igan_zoo.export.parity import Subject, parity_report
from igan_zoo.images.loading import load_images
from igan_zoo.latents import latents
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.serving.engine import Engine
from igan_zoo.training.networks.players import mnist_discriminator, mnist_generator
from igan_zoo.training.recipes.experiments import MNIST_SSL

PLAIN = {nn.Linear, nn.ReLU, nn.Sigmoid, StableSoftplus}


@pytest.mark.parametrize("output", ["sigmoid", "softplus"])
def test_a_frozen_generator_equals_the_trained_one_in_evaluation_mode(output: str) -> None:
    torch.manual_seed(0)
    generator = mnist_generator(100, 784, output)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    measure_population(generator, 100)
    generator.double()
    frozen = frozen_generator(generator)
    assert {type(layer) for layer in frozen} <= PLAIN
    z = torch.rand(64, 100)
    torch.testing.assert_close(frozen(z), generator(z.double()).float(), atol=2e-5, rtol=2e-5)


def test_a_frozen_discriminator_equals_the_trained_one_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    discriminator = mnist_discriminator(784, 10).double().eval()
    frozen = frozen_discriminator(discriminator)
    assert {type(layer) for layer in frozen} == {nn.Linear, nn.ReLU}
    x = torch.rand(64, 784)
    torch.testing.assert_close(frozen(x), discriminator(x.double()).float(), atol=2e-5, rtol=2e-5)


def test_batch_normalization_behind_anything_but_a_plain_dense_layer_is_refused() -> None:
    from igan_zoo.training.networks.normalization import BatchNormShift

    with pytest.raises(TypeError, match="cannot be folded"):
        frozen_generator(nn.Sequential(nn.Linear(2, 2), BatchNormShift(2)))


def test_the_stable_softplus_is_the_softplus_at_every_size() -> None:
    x = torch.tensor([-1e4, -100.0, -20.0, -1.0, 0.0, 1.0, 20.0, 100.0, 1e4])
    torch.testing.assert_close(StableSoftplus()(x), nn.functional.softplus(x.double()).float(), atol=1e-7, rtol=1e-6)


def test_realness_is_z_over_z_plus_one_and_never_overflows() -> None:
    class Given(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * 255 - 100) * 10

    images = torch.tensor([[[[0], [0]]], [[[100], [99]]], [[[255], [255]]]], dtype=torch.uint8)
    logits, probabilities, realness = ImageClassifier(Given(), MNIST_SSL)(images)
    z = logits.double().exp().sum(dim=1)
    torch.testing.assert_close(realness[:2], (z / (z + 1)).float()[:2])
    assert realness[2] == 1
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))


def graphs(model: Path) -> list[onnx.ModelProto]:
    return [onnx.load(path) for path in sorted((model / "onnx").glob("*.onnx"))]


def test_the_graphs_have_the_contracts_interface(exported_model: Path) -> None:
    def signature(values: Any) -> dict[str, tuple[int, list[object]]]:
        return {
            value.name: (
                value.type.tensor_type.elem_type,
                [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
            )
            for value in values
        }

    classifier, generator = graphs(exported_model)
    uint8, float32 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    assert signature(generator.graph.input) == {"latent": (float32, ["N", 100])}
    assert signature(generator.graph.output) == {"images": (uint8, ["N", 28, 28, 1])}
    assert signature(classifier.graph.input) == {"images": (uint8, ["N", 28, 28, 1])}
    assert signature(classifier.graph.output) == {
        "logits": (float32, ["N", 10]),
        "probabilities": (float32, ["N", 10]),
        "realness": (float32, ["N"]),
    }


def test_the_graphs_are_standard_frozen_and_say_nothing_of_where_they_were_made(exported_model: Path) -> None:
    for graph in graphs(exported_model):
        assert {entry.domain: entry.version for entry in graph.opset_import} == {"": 18}
        assert graph.ir_version == 9
        assert not graph.functions
        assert not {node.op_type for node in graph.graph.node} & {"BatchNormalization", "Dropout", "RandomNormal"}
        assert {prop.key for prop in graph.metadata_props} <= {
            "igan_zoo.latent_distribution",
            "igan_zoo.classes",
            "igan_zoo.crop",
        }
        content = graph.SerializeToString()
        assert b"/site-packages/" not in content
        assert b".py" not in content
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in graph.graph.initializer)


def test_the_onnx_reference_runtime_agrees(exported_model: Path) -> None:
    """An implementation that shares no code with onnxruntime, on ten images, within 1e-4."""
    directory = ModelDirectory.open(exported_model)
    engine = Engine({role: directory.read(name) for role, name in directory.spec.graphs.items()})
    z = latents(100, "uniform", seed=1, start=0, count=10)
    images = engine.run("generator", {"latent": z})["images"]
    classifier, generator = (onnx.reference.ReferenceEvaluator(graph) for graph in graphs(exported_model))
    (reference_images,) = generator.run(None, {"latent": z})
    assert np.abs(reference_images.astype(int) - images).max() <= 1
    for expected, actual in zip(
        classifier.run(None, {"images": images}), engine.run("classifier", {"images": images}).values(), strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_the_parity_report_covers_every_output_at_every_batch(exported_model: Path) -> None:
    report = json.loads((exported_model / "parity.json").read_text())
    spec = ModelDirectory.open(exported_model).spec
    assert report["opset"] == 18
    assert report["provider"] == "CPUExecutionProvider"
    assert {"torch", "onnx", "onnxruntime"} <= report["versions"].keys()
    for role, outputs in {
        "generator": ["images", "pixels"],
        "classifier": ["logits", "probabilities", "realness"],
    }.items():
        graph = report["files"][spec.graphs[role]]
        assert graph["sha256"] == spec.files[spec.graphs[role]].sha256
        assert list(graph["batches"]) == ["1", "2", "7", "64"]
        for measured in graph["batches"].values():
            assert list(measured) == outputs
            for name, difference in measured.items():
                assert difference["mean"] <= difference["max"] <= report["tolerances"][name]


def test_a_graph_that_computes_something_else_has_no_parity(exported_model: Path) -> None:
    """The generator with batch statistics in place of population statistics, the mistake to guard against."""
    torch.manual_seed(0)
    generator = mnist_generator(100, 784, "softplus")
    content = (exported_model / "onnx" / "generator.onnx").read_bytes()
    z = latents(100, "uniform", seed=0, start=0, count=64)
    with pytest.raises(ParityToleranceError, match=r"generator\.onnx: images at batch 1 differ"):
        parity_report([Subject("onnx/generator.onnx", "generator", content, ImageGenerator(generator, MNIST_SSL), z)])


def test_batch_composition_changes_no_image(exported_model: Path) -> None:
    directory = ModelDirectory.open(exported_model)
    engine = Engine({"generator": directory.read("onnx/generator.onnx")})
    z = latents(100, "uniform", seed=4, start=0, count=64)
    together = engine.run("generator", {"latent": z})["images"]
    alone = np.concatenate([engine.run("generator", {"latent": row[None]})["images"] for row in z])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_exporting_twice_gives_the_same_bytes(
    exported_model: Path, finished_run: Path, data_directory: Path, tmp_path: Path
) -> None:
    test = load_images(str(data_directory), "test", height=28, width=28, channels=1)
    export_run(finished_run, tmp_path / "again", test=test, name="tiny")
    for name in ("onnx/generator.onnx", "onnx/classifier.onnx", "model.safetensors", "samples.png", "parity.json"):
        assert (tmp_path / "again" / name).read_bytes() == (exported_model / name).read_bytes(), name


def test_a_model_has_the_name_of_its_folder_and_its_card_the_weakness(
    finished_run: Path, tmp_path: Path, igan_zoo: Callable[..., tuple[int, str, str]]
) -> None:
    """So that a directory of models finds it; a folder that cannot name a model leaves it that of the recipe."""
    sentence = "Most images are noise."
    for folder, name in (("digits", "digits"), ("My Model", "mnist-ssl-softplus")):
        said = ["--weakness", sentence, "--note", "Digits are drawn."]
        assert igan_zoo("export", finished_run, "--out", tmp_path / folder, *said)[0] == 0
        spec = ModelDirectory.open(tmp_path / folder).spec
        assert (spec.name, spec.weakness, spec.note) == (name, sentence, "Digits are drawn.")
        assert sentence in (tmp_path / folder / "README.md").read_text()
    assert sentence in igan_zoo("info", tmp_path / "digits")[1]


def test_an_existing_place_and_an_unfinished_run_are_refused(
    exported_model: Path, finished_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="already exists"):
        export_run(finished_run, exported_model, test=None)
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    for path in finished_run.iterdir():
        (unfinished / path.name).write_bytes(path.read_bytes())
    recipe = json.loads((unfinished / "recipe.json").read_text())
    recipe["recipe"]["epochs"] = 10
    (unfinished / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(TrainingError, match="has 3 of 10 epochs"):
        export_run(unfinished, tmp_path / "out", test=None)
    assert not (tmp_path / "out").exists()


def test_the_card_is_one_that_the_hub_understands(exported_model: Path) -> None:
    import yaml
    from huggingface_hub import ModelCard, parse_eval_result_entries

    card = ModelCard.load(exported_model / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.datasets == ["ylecun/mnist"]
    result = ModelDirectory.open(exported_model).spec.results[0]
    assert card.data.eval_results is not None
    assert card.data.eval_results[0].metric_value == pytest.approx(1 - result.error)
    entries = parse_eval_result_entries(yaml.safe_load((exported_model / ".eval_results" / "tiny.yaml").read_text()))
    assert entries[0].value == pytest.approx(1 - result.error)
    assert f"{result.wrong} of 100" in card.text
