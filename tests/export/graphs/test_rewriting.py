"""Rewriting for CPUs: the same function in exact arithmetic, and the same graph to whoever runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.reference
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.errors import InterfaceError
from igan_zoo.export.freeze import ImageGenerator, frozen_generator
from igan_zoo.export.graphs.building import to_onnx
from igan_zoo.export.graphs.phases import Axis, transposed_convolution_by_phases
from igan_zoo.export.graphs.rewriting import rewritten
from igan_zoo.export.graphs.winograd import transposed_convolution_by_winograd, weight_matrix
from igan_zoo.export.parity import Subject, parity_report
from igan_zoo.latents import latents
from igan_zoo.models import store
from igan_zoo.serving.engine import Engine, load_engine
from igan_zoo.training.networks.convolutional import convolutional_generator
from igan_zoo.training.networks.multi_scale import MultiScaleGenerator
from igan_zoo.training.networks.normalization import set_population_statistics
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Recipe


@pytest.mark.parametrize("form", [transposed_convolution_by_phases, transposed_convolution_by_winograd])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_form_is_the_transposed_convolution_in_exact_arithmetic(form: object, data: st.DataObject) -> None:
    """Against torch in float64, within 1e-11: any size, stride, padding and output padding."""
    stride = data.draw(st.integers(1, 3), "stride")
    kernel = data.draw(st.integers(1, 3 * stride), "kernel")
    padding = data.draw(st.integers(0, 4), "padding")
    output_padding = data.draw(st.integers(0, stride - 1), "output_padding")
    sizes = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)), "sizes")
    rows, columns = (Axis(size, kernel, stride, padding, output_padding) for size in sizes)
    assume(rows.output > 0 and columns.output > 0)
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32), "seed"))
    x, weight, bias = (generator.normal(size=shape) for shape in ((2, 3, *sizes), (3, 2, kernel, kernel), (2,)))
    expected = F.conv_transpose2d(
        *map(torch.from_numpy, (x, weight, bias)), stride=stride, padding=padding, output_padding=output_padding
    )
    actual = form(x, weight, bias, rows, columns)  # type: ignore[operator]
    np.testing.assert_allclose(actual, expected.numpy(), atol=1e-11)


def test_a_kernel_longer_than_three_strides_has_no_winograd_form() -> None:
    with pytest.raises(ValueError, match="4 taps is too long"):
        weight_matrix(Axis(8, 7, 2, 3, 1), 0)


def test_a_five_tap_kernel_of_stride_two_needs_eleven_products_of_four_outputs() -> None:
    axis = Axis(8, 5, 2, 2, 1)
    assert [int(weight_matrix(axis, phase).any(axis=1).sum()) for phase in (0, 1)] == [6, 5]


def layer_graph(weight: tuple[int, ...], size: tuple[int, int], *, bias: bool = True, **attributes: object) -> bytes:
    generator = np.random.default_rng(0)
    constants = {"weight": generator.normal(0, (weight[0] * weight[2] * weight[3]) ** -0.5, weight)}
    if bias:
        constants["bias"] = generator.normal(size=weight[1] * int(attributes.get("group", 1)))  # type: ignore[call-overload]
    graph = helper.make_graph(
        [helper.make_node("ConvTranspose", ["x", *constants], ["y"], **attributes)],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", weight[0], *size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", None, None, None])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def run(content: bytes, x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": x})
    return np.asarray(result)


LAYERS: dict[str, dict[str, object]] = {
    "a whole map": {"weight": (6, 32, 5, 5), "size": (4, 8), "pads": [2] * 4, "output_padding": [1, 1]},
    "gathered tiles": {"weight": (3, 32, 5, 5), "size": (16, 12), "pads": [2] * 4, "output_padding": [1, 1]},
    "surplus steps": {"weight": (3, 32, 5, 5), "size": (7, 14), "pads": [2] * 4, "output_padding": [1, 1]},
    "28 of 32 pixels": {"weight": (3, 33, 5, 5), "size": (16, 16), "pads": [4] * 4, "output_padding": [1, 1]},
    "odd padding": {"weight": (3, 32, 5, 5), "size": (15, 15), "pads": [1] * 4, "bias": False},
    "six taps": {"weight": (3, 32, 6, 6), "size": (8, 8), "pads": [2] * 4},
    "stride three": {"weight": (3, 32, 7, 9), "size": (8, 7), "strides": [3, 3], "pads": [2, 3, 2, 3]},
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_rewritten_layer_agrees_with_the_plain_one(name: str) -> None:
    """Within 1e-4, of outputs with standard deviation 1."""
    content = layer_graph(**({"strides": [2, 2]} | LAYERS[name]))  # type: ignore[arg-type]
    fast = rewritten(content)
    assert fast is not None
    shape = [dim.dim_value for dim in onnx.load_model_from_string(content).graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).normal(size=(5, *shape[1:])).astype(np.float32)
    for size in (1, 2, 5):
        np.testing.assert_allclose(run(fast, x[:size]), run(content, x[:size]), atol=1e-4)


LEFT: dict[str, dict[str, object]] = {
    "few channels": {"weight": (64, 3, 5, 5), "strides": [2, 2]},
    "no stride": {"weight": (8, 32, 3, 3), "strides": [1, 1]},
    "a long kernel": {"weight": (8, 32, 7, 7), "strides": [2, 2]},
    "groups": {"weight": (8, 32, 5, 5), "strides": [2, 2], "group": 2},
    "dilation": {"weight": (8, 32, 5, 5), "strides": [2, 2], "dilations": [2, 2]},
    "two strides": {"weight": (8, 32, 5, 5), "strides": [2, 1]},
    "one-sided pads": {"weight": (8, 32, 5, 5), "strides": [2, 2], "pads": [0, 0, 1, 1]},
    "mostly surplus": {"weight": (8, 32, 5, 5), "size": (5, 5), "pads": [2] * 4, "output_padding": [1, 1]},
}


@pytest.mark.parametrize("name", LEFT)
def test_what_no_form_makes_faster_is_left_alone(name: str) -> None:
    assert rewritten(layer_graph(**({"size": (8, 8), "strides": [2, 2]} | LEFT[name]))) is None  # type: ignore[arg-type]


def exported(network: nn.Module, recipe: Recipe) -> tuple[bytes, Subject]:
    """A plain graph and the rewritten one as a subject of the parity report."""
    size, distribution = recipe.latent_size, recipe.latent_distribution
    if isinstance(network, MultiScaleGenerator):
        size = network.latent_size
        network.measure()
    else:
        set_population_statistics(network.train(), torch.rand(200, size))
    network.eval()
    z = latents(size, distribution, seed=1, start=0, count=64)
    plain = to_onnx(
        ImageGenerator(frozen_generator(network), recipe),
        torch.from_numpy(z[:2]),
        input_name="latent",
        outputs=["images"],
        metadata={"key": "value"},
    )
    fast = rewritten(plain)
    assert fast is not None
    return plain, Subject("onnx/generator_cpu.onnx", "generator", fast, ImageGenerator(network, recipe).eval(), z)


@torch.no_grad()
def cifar_generator() -> nn.Module:
    """A narrow one with images of full contrast and biases that matter."""
    torch.manual_seed(0)
    network = convolutional_generator(size=32, channels=3, latent_size=100, filters=128)
    x = torch.rand(100, 100)
    for layer in network:
        if hasattr(layer, "shift"):
            layer.shift.normal_(std=0.3)  # type: ignore[operator, union-attr]
        x = layer.initialize(x) if hasattr(layer, "initialize") else layer(x)  # type: ignore[operator]
    network[-2].scale.mul_(10)  # type: ignore[operator, union-attr]
    return network


@pytest.fixture(scope="module")
def cifar() -> tuple[bytes, Subject]:
    return exported(cifar_generator(), find_recipe("cifar10-ssl"))


def test_a_rewritten_generator_has_parity_with_torch(cifar: tuple[bytes, Subject]) -> None:
    plain, subject = cifar
    parity_report([subject])
    images = Engine({"generator": subject.content}).run("generator", {"latent": subject.inputs})["images"]
    assert images.std() > 40, "grey levels of the whole range"
    assert len(subject.content) < 1.5 * len(plain)


def test_virtual_batch_normalization_and_noise_maps_stay_as_they_are() -> None:
    torch.manual_seed(0)
    network = MultiScaleGenerator(reference_seed=2**63, references=4, width=0.25, size=32)
    _, subject = exported(network, find_recipe("imagenet128"))
    parity_report([replace(subject, module=_sized(subject.module, 32))])


def _sized(module: nn.Module, side: int) -> nn.Module:
    module.shape = (side, side, 3)  # type: ignore[assignment]
    return module


def test_a_rewritten_graph_keeps_the_contract(cifar: tuple[bytes, Subject]) -> None:
    plain, fast = (onnx.load_model_from_string(content) for content in (cifar[0], cifar[1].content))
    assert fast.graph.input == plain.graph.input
    assert fast.graph.output == plain.graph.output
    assert fast.metadata_props == plain.metadata_props
    assert (fast.opset_import, fast.ir_version) == (plain.opset_import, plain.ir_version)
    assert rewritten(cifar[0]) == cifar[1].content, "the same bytes every time"


def test_another_runtime_computes_the_same_of_a_rewritten_graph(cifar: tuple[bytes, Subject]) -> None:
    """The reference runtime, whose arithmetic is numpy's: at most 0.05 % of grey levels round the other way."""
    z = cifar[1].inputs[:4]
    (expected,) = onnx.reference.ReferenceEvaluator(onnx.load_model_from_string(cifar[1].content)).run(
        None, {"latent": z}
    )
    images = Engine({"generator": cifar[1].content}).run("generator", {"latent": z})["images"]
    difference = np.abs(expected.astype(int) - images)
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 5e-4


def test_the_engine_takes_the_rewritten_graph_for_batches_on_a_cpu(
    cifar: tuple[bytes, Subject],
) -> None:
    plain, subject = cifar
    engine = Engine({"generator": plain}, batched={"generator": subject.content})
    alone = Engine({"generator": plain}), Engine({"generator": subject.content})
    for size, expected in ((1, alone[0]), (3, alone[0]), (4, alone[1]), (64, alone[1])):
        inputs = {"latent": subject.inputs[:size]}
        images = engine.run("generator", inputs)["images"]
        np.testing.assert_array_equal(images, expected.run("generator", inputs)["images"])


def test_a_model_gives_its_rewritten_graph_to_cpus_alone(model: Path) -> None:
    from igan_zoo.models.directory import ModelDirectory, seal

    chosen = store.resolve(str(model))
    assert chosen.graph_for_cpus("generator") is None
    (model / "onnx" / "generator_cpu.onnx").write_bytes(b"rewritten")
    seal(model, ModelDirectory.open(model).spec)
    chosen = store.resolve(str(model))
    assert chosen.graph_for_cpus("generator") == b"rewritten"
    assert chosen.graph("generator") == (model / "onnx" / "generator.onnx").read_bytes()
    engine = load_engine(chosen, ["generator"])
    engine.run("generator", {"latent": np.zeros((1, 100), np.float32)})
    with pytest.raises(InterfaceError, match="not an ONNX graph"):
        engine.run("generator", {"latent": np.zeros((4, 100), np.float32)})
