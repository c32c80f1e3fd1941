"""What else a run can become: ensembles, discriminators that mix their batch, affine normalizations."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from igan_zoo.errors import ParityToleranceError, TrainingError
from igan_zoo.export.exporter import export_run, parity_subjects
from igan_zoo.export.freeze import (
    FrozenMinibatchDiscrimination,
    ImageClassifier,
    ImageEnsemble,
    ImageGenerator,
    frozen_generator,
    measure_population,
    with_affine_normalization,
)
from igan_zoo.export.graphs.building import to_onnx
from igan_zoo.export.parity import parity_report
from igan_zoo.latents import latents
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.export_options import ExportOptions
from igan_zoo.training.games.players import build_generator
from igan_zoo.training.networks.minibatch import MinibatchDiscrimination2016, PlainMinibatchDiscrimination
from igan_zoo.training.networks.multi_scale import MultiScaleGenerator
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.experiments import IMAGENET128, MNIST_SSL, TABLE3_OURS
from igan_zoo.training.recipes.settings import Recipe
from igan_zoo.training.weights import TrainedNetworks
from tests.training.test_experiments import Cli, arguments

SMALL = {
    "convolutional": {"network_width": 0.125, "batch_size": 8},
    "multi-scale": {"network_width": 0.125, "batch_size": 8, "height": 32, "width": 32},
}


@pytest.fixture(params=["convolutional", "multi-scale"])
def virtual(request: pytest.FixtureRequest) -> TrainedNetworks:
    """A generator with virtual batch normalization, its statistics measured."""
    import msgspec

    torch.manual_seed(0)
    base = TABLE3_OURS if request.param == "convolutional" else IMAGENET128
    recipe: Recipe = msgspec.structs.replace(base, **SMALL[request.param])
    if request.param == "convolutional":
        generator: torch.nn.Module = build_generator(recipe)
        size = recipe.latent_size
    else:
        generator = MultiScaleGenerator(reference_seed=1, references=8, width=0.125, size=32)
        size = generator.latent_size
    measure_population(generator, size, recipe.latent_distribution)
    return TrainedNetworks(recipe, (), size, generator, (), recipe)


def graph(networks: TrainedNetworks, generator: torch.nn.Module) -> bytes:
    z = latents(networks.latent_size, networks.recipe.latent_distribution, seed=0, start=0, count=2)
    module = ImageGenerator(frozen_generator(generator), networks.recipe)
    return to_onnx(module, torch.from_numpy(z), input_name="latent", outputs=["images"], metadata={})


def test_an_image_of_virtual_batch_normalization_is_that_of_torch_alone_and_in_any_batch(
    virtual: TrainedNetworks,
) -> None:
    assert virtual.generator is not None
    content = graph(virtual, virtual.generator)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    z = latents(virtual.latent_size, virtual.recipe.latent_distribution, seed=3, start=0, count=128)
    (alone,) = session.run(None, {"latent": z[:1]})
    (among,) = session.run(None, {"latent": z[:64]})
    (others,) = session.run(None, {"latent": np.concatenate([z[:1], z[65:]])})
    with torch.no_grad():
        expected = ImageGenerator(virtual.generator, virtual.recipe).eval()(torch.from_numpy(z[:1])).numpy()
    for images in (alone, among[:1], others[:1]):
        # A level within float32 rounding of a half may go either way.
        assert np.abs(images.astype(int) - expected).max() <= 1
        assert (images != expected).mean() <= 5e-4
    assert alone.std() > 1, "not one grey level"


def test_a_freeze_without_the_examples_own_moments_fails_the_parity(virtual: TrainedNetworks) -> None:
    assert virtual.generator is not None
    (exact,) = parity_subjects(virtual, {"onnx/generator.onnx": graph(virtual, virtual.generator)})
    parity_report([exact])
    affine = graph(virtual, with_affine_normalization(virtual.generator))
    with pytest.raises(ParityToleranceError, match=r"generator\.onnx: images at batch 1 differ"):
        parity_report([replace(exact, content=affine)])


def test_an_affine_normalization_is_exact_on_the_reference_batch_itself(virtual: TrainedNetworks) -> None:
    """Of a layer, the rows of the reference batch have on average the statistics that it keeps."""
    assert virtual.generator is not None
    generator = virtual.generator
    affine = with_affine_normalization(generator)
    reference = generator.reference
    assert isinstance(reference, torch.Tensor)
    generator.train()
    with torch.no_grad():
        if isinstance(generator, MultiScaleGenerator):
            expected = generator.output(generator._hidden(reference)).tanh()
        else:
            expected = generator._passed(reference)
        torch.testing.assert_close(affine.eval()(reference), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("layer_type", [MinibatchDiscrimination2016, PlainMinibatchDiscrimination])
def test_frozen_minibatch_discrimination_is_the_layer(layer_type: type) -> None:
    torch.manual_seed(0)
    layer = layer_type(12, kernels=7, dimensions=3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    x = torch.randn(9, 12)
    torch.testing.assert_close(FrozenMinibatchDiscrimination(layer)(x), layer(x), atol=1e-5, rtol=1e-5)


def test_a_discriminator_that_mixes_its_batch_is_exported_on_request(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path
) -> None:
    recipe = find_recipe("cifar10-mbd")
    assert igan_zoo(*arguments(recipe, sources, tmp_path / "run"))[0] == 0
    code, _, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "model", "--discriminator")
    assert code == 0, errors
    assert igan_zoo("verify", tmp_path / "model")[0] == 0
    directory = ModelDirectory.open(tmp_path / "model")
    content = directory.read("onnx/discriminator.onnx")
    assert {opset.domain for opset in onnx.load_model_from_string(content).opset_import} == {""}
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    together = session.run(["logits"], {"images": images})[0]
    alone = session.run(["logits"], {"images": images[:1]})[0]
    assert np.abs(together[:1] - alone).max() > 1e-6, "an answer depends on the others"
    assert "classifier" not in directory.spec.graphs, "no command takes it for a classifier"


def test_a_discriminator_is_not_added_where_a_classifier_stands_alone(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no discriminator with minibatch discrimination"):
        export_run(finished_run, tmp_path / "model", test=None, options=ExportOptions(discriminator=True))


class Given(torch.nn.Module):
    """A network whose logits are the first pixels, times ``gain``."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x[:, :4] - 0.5) * self.gain


def test_an_ensemble_is_the_mean_of_probabilities_and_of_realness() -> None:
    torch.manual_seed(0)
    members = [ImageClassifier(Given(gain), MNIST_SSL) for gain in (1.0, 10.0, -30.0)]
    images = torch.randint(0, 256, (20, 28, 28, 1), dtype=torch.uint8)
    logits, probabilities, realness = ImageEnsemble(members)(images)
    answers = [member(images) for member in members]
    torch.testing.assert_close(probabilities, torch.stack([answer[1] for answer in answers]).mean(dim=0))
    torch.testing.assert_close(realness, torch.stack([answer[2] for answer in answers]).mean(dim=0))
    torch.testing.assert_close(logits.softmax(dim=1), probabilities)
    torch.testing.assert_close(logits.logsumexp(dim=1).sigmoid(), realness)


def test_an_ensemble_of_sure_members_overflows_nowhere() -> None:
    members = [ImageClassifier(Given(gain), MNIST_SSL) for gain in (3000.0, -3000.0)]
    images = torch.randint(0, 256, (20, 28, 28, 1), dtype=torch.uint8)
    for output in ImageEnsemble(members)(images):
        assert torch.isfinite(output).all()


def test_an_ensemble_is_exported_as_one_classifier(
    sources: dict[str, Path], igan_zoo: Cli, data_directory: Path, tmp_path: Path
) -> None:
    code, _, errors = igan_zoo(*arguments(find_recipe("mnist-ssl"), sources, tmp_path / "runs"), "--ensemble", 2)
    assert code == 0, errors
    code, output, errors = igan_zoo("export", tmp_path / "runs", "--out", tmp_path / "model", "--data", data_directory)
    assert code == 0, errors
    assert "errors of 100" in output
    assert "compute what PyTorch computes" in igan_zoo("verify", tmp_path / "model")[1]
    directory = ModelDirectory.open(tmp_path / "model")
    assert set(directory.spec.graphs) == {"classifier"}
    assert directory.spec.training.command.endswith("--ensemble 2")
    with pytest.raises(TrainingError, match="has no generator whose images --weakness could describe"):
        export_run(
            tmp_path / "runs", tmp_path / "other", test=None, options=ExportOptions(weakness="All of it is noise.")
        )
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8)
    means = []
    for seed in (1, 2):
        member = export_run(tmp_path / "runs" / f"seed{seed}", tmp_path / f"member{seed}", test=None)
        session = onnxruntime.InferenceSession(member.read("onnx/classifier.onnx"), providers=["CPUExecutionProvider"])
        means.append(session.run(["probabilities"], {"images": images})[0])
    session = onnxruntime.InferenceSession(directory.read("onnx/classifier.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["probabilities"], {"images": images})[0], np.mean(means, axis=0), atol=1e-6)


def test_runs_with_labelled_images_of_their_own_are_no_ensemble(
    sources: dict[str, Path], igan_zoo: Cli, tmp_path: Path
) -> None:
    """Together they have seen more labels than the card would say."""
    for seed in ("1", "2"):
        command = arguments(find_recipe("mnist-ssl"), sources, tmp_path / "runs" / f"seed{seed}")
        assert igan_zoo(*command, "--seed", seed)[0] == 0
    code, _, errors = igan_zoo("export", tmp_path / "runs", "--out", tmp_path / "model")
    assert code == 1
    assert re.search("seed2 has other labeled images than .*seed1", errors)
    assert not (tmp_path / "model").exists()


def test_verify_names_a_graph_that_its_weights_do_not_compute(
    model: Path, exported_model: Path, igan_zoo: Cli, tmp_path: Path
) -> None:
    """Sums alone can be made to fit; what the file computes cannot."""
    import hashlib

    other = onnx.load(model / "onnx" / "generator.onnx")
    (bias,) = [tensor for tensor in other.graph.initializer if list(tensor.dims) == [784]]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.5, bias.name))
    onnx.save(other, model / "onnx" / "generator.onnx")
    content = (model / "onnx" / "generator.onnx").read_bytes()
    parity = json.loads((model / "parity.json").read_text())
    parity["files"]["onnx/generator.onnx"]["sha256"] = hashlib.sha256(content).hexdigest()
    (model / "parity.json").write_text(json.dumps(parity))
    config = json.loads((model / "config.json").read_text())
    for name in ("onnx/generator.onnx", "parity.json"):
        content = (model / name).read_bytes()
        config["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (model / "config.json").write_text(json.dumps(config))
    assert igan_zoo("verify", model, "--sums-only")[0] == 0
    code, _, errors = igan_zoo("verify", model)
    assert code == 1
    assert "generator.onnx: images at batch 1 differ from torch" in errors


def test_verify_without_the_training_weights_says_what_it_did_not_do(model: Path, igan_zoo: Cli) -> None:
    (model / "model.safetensors").unlink()
    code, output, _ = igan_zoo("verify", model)
    assert code == 0
    assert "not compared with PyTorch, which takes model.safetensors" in output


def test_an_affine_generator_is_a_variant_with_its_error_stated(
    sources: dict[str, Path], igan_zoo: Cli, finished_run: Path, tmp_path: Path
) -> None:
    assert igan_zoo(*arguments(find_recipe("cifar10-table3-l"), sources, tmp_path / "run"))[0] == 0
    code, _, errors = igan_zoo("export", tmp_path / "run", "--out", tmp_path / "model", "--variant", "affine")
    assert code == 0, errors
    assert "generator_affine.onnx" in igan_zoo("verify", tmp_path / "model")[1]
    report = json.loads((tmp_path / "model" / "parity.json").read_text())["variants"]["onnx/generator_affine.onnx"]
    assert report["batches"]["64"]["images"]["differing_pixels"] > 0.01, "another function, and it says so"
    code, _, errors = igan_zoo(
        "sample", tmp_path / "model", "--variant", "affine", "--n", 2, "--out", tmp_path / "x.npz"
    )
    assert code == 0, errors
    with pytest.raises(TrainingError, match="affine is a variant of virtual batch normalization"):
        export_run(finished_run, tmp_path / "none", test=None, variants=["affine"])
