"""Variants of graphs: the same interface, close answers, less to download, and the same bytes every time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from igan_zoo.errors import ModelDirectoryError, ParityError, TrainingError
from igan_zoo.export.freeze import ImageClassifier, ImageGenerator
from igan_zoo.export.graphs.building import to_onnx
from igan_zoo.export.graphs.half_precision import half_precision
from igan_zoo.export.graphs.quantization import CALIBRATION_IMAGES, quantized
from igan_zoo.export.parity import Subject
from igan_zoo.export.variants import calibration_images, make_variants, variant_parity
from igan_zoo.latents import latents
from igan_zoo.models import store
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.models.spec import ResultSpec, graph_file
from igan_zoo.serving.engine import Engine, load_engine
from igan_zoo.training.networks.multi_scale import MultiScaleDiscriminator, MultiScaleGenerator
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from tests.conftest import synthetic_digits

Cli = Callable[..., tuple[int, str, str]]

OUTPUTS = ["logits", "probabilities", "realness"]
SMALL_PHOTOS = customize(find_recipe("imagenet128"), ["height=32", "width=32"])


@pytest.fixture(scope="session")
def variant_model(tmp_path_factory: pytest.TempPathFactory, data_directory: Path, finished_run: Path) -> Path:
    """A model directory with every variant, written by the command."""
    from igan_zoo.cli import main

    path = tmp_path_factory.mktemp("variants") / "tiny"
    options = ["--variant", "fp16", "--variant", "int8", "--data", str(data_directory), "--name", "tiny"]
    main(["export", str(finished_run), "--out", str(path), *options])
    return path


@pytest.fixture(scope="module")
def convolutional() -> Subject:
    """The ImageNet classifier, small: convolutions, normalizations between them, and minibatch features."""
    torch.manual_seed(0)
    network = MultiScaleDiscriminator(classes=5, references=4, width=0.1, size=32)
    network.measure(torch.rand(16, 3, 32, 32) * 2 - 1, torch.rand(16, 3, 32, 32) * 2 - 1)
    images = np.random.default_rng(1).integers(0, 256, (64, 32, 32, 3), np.uint8)
    module = ImageClassifier(network, SMALL_PHOTOS).eval()
    content = to_onnx(module, torch.from_numpy(images[:2]), input_name="images", outputs=OUTPUTS, metadata={"a": "b"})
    return Subject("onnx/classifier.onnx", "classifier", content, module, images)


@pytest.fixture(scope="module")
def virtual() -> Subject:
    """The ImageNet generator, small: virtual batch normalization and noise maps."""
    torch.manual_seed(0)
    network = MultiScaleGenerator(reference_seed=1, references=4, width=0.1, size=32)
    network.measure()
    z = latents(network.latent_size, "symmetric-uniform", seed=0, start=0, count=64)
    module = ImageGenerator(network, SMALL_PHOTOS).eval()
    content = to_onnx(module, torch.from_numpy(z[:2]), input_name="latent", outputs=["images"], metadata={})
    return Subject("onnx/generator.onnx", "generator", content, module, z)


@pytest.fixture(scope="module")
def eight_bits(convolutional: Subject) -> onnx.ModelProto:
    """The same classifier, quantized."""
    return onnx.load_from_string(quantized(convolutional.content, convolutional.inputs))


def signature(content: bytes) -> list[Any]:
    graph = onnx.load_from_string(content).graph
    return [*graph.input, *graph.output]


@pytest.mark.parametrize("role", ["generator", "classifier"])
def test_a_variant_has_the_plain_graphs_interface_metadata_and_standard_operators(
    variant_model: Path, role: str
) -> None:
    spec = ModelDirectory.open(variant_model).spec
    plain = (variant_model / spec.graphs[role]).read_bytes()
    for variant in spec.variants(role):
        path = variant_model / graph_file(role, variant)
        model = onnx.load(path)
        assert signature(path.read_bytes()) == signature(plain)
        assert list(model.metadata_props) == list(onnx.load_from_string(plain).metadata_props)
        assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18}
        assert model.ir_version == 9
        assert not model.functions
        assert path.stat().st_size < (0.55 if variant == "fp16" else 0.35) * len(plain)
        assert b"/tmp" not in path.read_bytes()


def test_the_directory_names_its_variants_and_their_errors(variant_model: Path) -> None:
    directory = ModelDirectory.open(variant_model)
    directory.verify()
    spec = directory.spec
    assert spec.variants("generator") == ("fp16",)
    assert spec.variants("classifier") == ("fp16", "int8")
    assert [result.variant for result in spec.results] == [None, "fp16", "int8"]
    assert all(isinstance(result, ResultSpec) and result.total == 100 for result in spec.results)
    card = (variant_model / "README.md").read_text()
    for file in ("onnx/generator_fp16.onnx", "onnx/classifier_fp16.onnx", "onnx/classifier_int8.onnx"):
        assert file in spec.files
        assert f"`{file}`" in card
    assert (variant_model / ".eval_results" / "tiny.yaml").read_text().count("task_id") == 1


def test_the_report_compares_every_variant_with_torch_and_the_plain_graph(variant_model: Path) -> None:
    report = json.loads((variant_model / "parity.json").read_text())["variants"]
    spec = ModelDirectory.open(variant_model).spec
    assert list(report) == ["onnx/generator_fp16.onnx", "onnx/classifier_fp16.onnx", "onnx/classifier_int8.onnx"]
    for file, graph in report.items():
        assert graph["sha256"] == spec.files[file].sha256
        assert list(graph["batches"]) == ["1", "2", "7", "64"]
    for result in spec.results[1:]:
        test = report[graph_file("classifier", result.variant)]["test"]
        assert (test["images"], test["wrong"]["onnxruntime"]) == (result.total, result.wrong)
        assert test["argmax_agreement"] >= 0.95


def test_commands_take_a_variant(variant_model: Path, igan_zoo: Cli, data_directory: Path, tmp_path: Path) -> None:
    spec = ModelDirectory.open(variant_model).spec
    for result in spec.results[1:]:
        options = ["--data", data_directory, "--variant", result.variant, "--json"]
        code, output, errors = igan_zoo("evaluate", variant_model, *options)
        assert code == 0, errors
        assert json.loads(output)["wrong"] == result.wrong
        assert f"tiny {result.variant} (" in errors
    code, _, errors = igan_zoo("sample", variant_model, "--variant", "fp16", "--n", 4, "--out", tmp_path / "x.npz")
    assert code == 0, errors


def test_a_variant_that_is_not_there_is_one_sentence_with_those_that_are(
    variant_model: Path, exported_model: Path, igan_zoo: Cli
) -> None:
    code, _, errors = igan_zoo("sample", variant_model, "--variant", "int8")
    assert code == 1
    assert errors == (
        "Error: tiny has no int8 variant of its generator: it has fp16; use one of them, or remove --variant.\n"
    )
    with pytest.raises(ModelDirectoryError, match="remove --variant"):
        load_engine(store.resolve(str(exported_model)), ["classifier"], variant="fp16")
    with pytest.raises(ModelDirectoryError, match="needs a model directory"):
        store.resolve(str(exported_model / "onnx" / "classifier.onnx")).graph("classifier", "fp16")


def test_int8_without_images_or_classifier_is_refused(igan_zoo: Cli, virtual: Subject, tmp_path: Path) -> None:
    code, _, errors = igan_zoo("export", tmp_path, "--out", tmp_path / "out", "--variant", "int8")
    assert code == 2
    assert "needs --data" in errors
    with pytest.raises(TrainingError, match="this run has none"):
        make_variants([virtual], ["int8"], np.zeros((4, 32, 32, 3), np.uint8))


def test_calibration_images_are_the_same_few_hundred_every_time() -> None:
    images, _ = synthetic_digits(1000, 3)
    chosen = calibration_images(images[..., None])
    assert len(chosen) == CALIBRATION_IMAGES
    np.testing.assert_array_equal(chosen, calibration_images(images[..., None]))
    assert len(calibration_images(images[:7, ..., None])) == 7


def test_both_conversions_give_the_same_bytes_every_time(convolutional: Subject, eight_bits: onnx.ModelProto) -> None:
    assert half_precision(convolutional.content) == half_precision(convolutional.content)
    again = quantized(convolutional.content, convolutional.inputs)
    assert again == eight_bits.SerializeToString(deterministic=True)


def test_half_precision_keeps_layers_in_float16_and_the_rest_in_float32(virtual: Subject) -> None:
    """The moments of virtual batch normalization, the pixels, and everything else but layers and their rectifiers."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(half_precision(virtual.content)))
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.value_info, *model.graph.output)}
    half = {node.op_type for node in model.graph.node if kinds[node.output[0]] == onnx.TensorProto.FLOAT16}
    assert half == {"Cast", "ConvTranspose", "Gemm", "Reshape"}
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1 and min(tensor.dims) > 1]
    assert {tensor.data_type for tensor in weights if len(tensor.dims) == 4} == {onnx.TensorProto.FLOAT16}


@pytest.mark.parametrize("name", ["virtual", "convolutional"])
def test_half_precision_is_close_and_every_image_still_depends_on_itself_alone(
    name: str, request: pytest.FixtureRequest
) -> None:
    subject = request.getfixturevalue(name)
    (graph,) = make_variants([subject], ["fp16"], None)
    variant_parity(graph)
    engine = Engine({subject.role: graph.subject.content})
    key = engine.graphs[subject.role].input_name
    together = engine.run(subject.role, {key: subject.inputs[:5]})
    alone = [engine.run(subject.role, {key: row[None]}) for row in subject.inputs[:5]]
    for output, values in together.items():
        tolerance = 1 if output == "images" else 2e-3
        single = np.concatenate([answer[output] for answer in alone])
        np.testing.assert_allclose(single.astype(float), values.astype(float), atol=tolerance)


def test_half_precision_arithmetic_is_close_where_it_is_really_done(variant_model: Path) -> None:
    """onnxruntime computes these layers in float32 on a CPU; the reference runtime rounds after every layer."""
    images, _ = synthetic_digits(20, 9)
    plain, half = (
        onnx.reference.ReferenceEvaluator(onnx.load(variant_model / graph_file("classifier", variant)))
        for variant in (None, "fp16")
    )
    expected, actual = (model.run(["logits"], {"images": images[..., None]})[0] for model in (plain, half))
    np.testing.assert_allclose(actual, expected, atol=5e-3 * np.abs(expected).max())


def test_quantized_answers_are_those_of_the_reference_runtime(variant_model: Path) -> None:
    """No sum saturates, no fusion changes the function. That runtime knows the two operators from opset 19 on."""
    images, _ = synthetic_digits(20, 9)
    path = variant_model / "onnx" / "classifier_int8.onnx"
    model = onnx.load(path)
    model.opset_import[0].version = 19
    (expected,) = onnx.reference.ReferenceEvaluator(model).run(["logits"], {"images": images[..., None]})
    actual = Engine({"classifier": path.read_bytes()}).run("classifier", {"images": images[..., None]})["logits"]
    # An activation on the edge between two levels may go either way.
    np.testing.assert_allclose(actual, expected, atol=0.02 * np.abs(expected).max())


def test_half_precision_limits_weights_to_its_range() -> None:
    weight = numpy_helper.from_array(np.array([[1e6], [-1e6]], np.float32), "w")
    values = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", size])
        for name, size in (("x", 2), ("y", 1))
    ]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", values[:1], values[1:], [weight]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    (half,) = onnx.load_from_string(half_precision(model.SerializeToString())).graph.initializer
    assert numpy_helper.to_array(half).ravel().tolist() == [65504, -65504]


def test_quantization_leaves_the_logits_and_what_follows_them_in_float32(eight_bits: onnx.ModelProto) -> None:
    graph = eight_bits.graph
    makers = {name: node for node in graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}

    def is_quantized(node: onnx.NodeProto) -> bool:
        weight = makers.get(node.input[1])
        return weight is not None and stored[weight.input[0]].data_type == onnx.TensorProto.INT8

    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    # The last two are the projection of the minibatch features and the logits.
    assert [is_quantized(node) for node in layers] == [True] * (len(layers) - 2) + [False] * 2
    counts = Counter(node.op_type for node in graph.node)
    assert counts["QuantizeLinear"] == 2 * (len(layers) - 2)


def test_quantized_weights_have_a_scale_per_channel_and_leave_room_for_sums_of_two_products(
    eight_bits: onnx.ModelProto,
) -> None:
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in eight_bits.graph.initializer}
    weights = {name: values for name, values in stored.items() if values.dtype == np.int8 and values.ndim > 1}
    assert weights
    for values in weights.values():
        assert 63 <= np.abs(values.astype(int)).max() <= 64
        channels = np.abs(values.astype(int)).reshape(len(values), -1).max(axis=1)
        assert channels.min() >= 60 or values.ndim == 2, "every channel uses its range"


def test_quantized_answers_are_close_and_a_wrong_range_has_no_parity(convolutional: Subject) -> None:
    (graph,) = make_variants([convolutional], ["int8"], convolutional.inputs)
    report = variant_parity(graph)
    assert report.batches["64"]["logits"]["noise"] < 0.3
    dark = np.zeros_like(convolutional.inputs)
    (wrong,) = make_variants([convolutional], ["int8"], dark)
    with pytest.raises(ParityError, match=r"classifier_int8\.onnx at batch .* logits differ .* remove --variant int8"):
        variant_parity(wrong)


def test_a_variant_of_another_network_has_no_parity(convolutional: Subject) -> None:
    (graph,) = make_variants([convolutional], ["fp16"], None)

    class Shifted(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            logits, *rest = convolutional.module(images)
            return (logits + torch.arange(5), *rest)

    with pytest.raises(ParityError, match=r"classifier_fp16\.onnx at batch 1: logits differ"):
        variant_parity(replace(graph, subject=replace(graph.subject, module=Shifted())))


@pytest.mark.parametrize("layers", [[nn.Linear(784, 3)], [nn.Linear(784, 5), nn.SiLU(), nn.Linear(5, 3)]])
def test_a_network_without_rectifiers_is_not_quantized(layers: list[nn.Module]) -> None:
    module = ImageClassifier(nn.Sequential(*layers), find_recipe("mnist-ssl-softplus"))
    images = np.zeros((2, 28, 28, 1), np.uint8)
    content = to_onnx(module, torch.from_numpy(images), input_name="images", outputs=OUTPUTS, metadata={})
    with pytest.raises(ParityError, match="without rectifiers after its hidden layers has no 8-bit form"):
        quantized(content, images)
