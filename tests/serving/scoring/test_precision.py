"""Previews at less precision: how far off they are is measured, and what cannot run says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from igan_zoo.errors import ScoringError
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import ImageSource
from igan_zoo.serving.scoring.metrics.frechet_distance import Gaussian, frechet_distance_reference
from igan_zoo.serving.scoring.network import Network, open_network
from igan_zoo.serving.scoring.precision import preview_error
from tests.serving.tiny_scorer import tiny_scorer

Cli = Callable[..., tuple[int, str, str]]

METADATA = {"igan_zoo.scorer": "tiny", "igan_zoo.weights_sha256": "a" * 64}


def coarse(content: bytes, metadata: dict[str, str]) -> bytes:
    """The tiny scorer with levels divided by 20 in place of 25.5: everything is too large."""
    model = onnx.load_from_string(content)
    (steps,) = [constant for constant in model.graph.initializer if constant.name == "steps"]
    steps.float_data[0] = 20
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)
    result: bytes = model.SerializeToString()
    return result


@pytest.fixture
def exact(tmp_path: Path) -> Network:
    (tmp_path / "tiny.onnx").write_bytes(tiny_scorer(METADATA))
    return open_network(str(tmp_path / "tiny.onnx"))


@pytest.fixture
def preview(tmp_path: Path) -> Network:
    metadata = {**METADATA, "igan_zoo.scorer": "tiny-int8", "igan_zoo.precision": "int8"}
    (tmp_path / "tiny-int8.onnx").write_bytes(coarse(tiny_scorer(METADATA), metadata))
    return open_network(str(tmp_path / "tiny-int8.onnx"))


@pytest.fixture
def source(tmp_path: Path) -> ImageSource:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (300, 1, 1, 3)) + random.integers(-9, 9, (300, 5, 4, 3))
    np.save(tmp_path / "images.npy", images.clip(0, 255).astype(np.uint8))
    return open_source(str(tmp_path / "images.npy"))


def test_a_network_is_no_distance_from_itself(exact: Network, source: ImageSource) -> None:
    error = preview_error(exact, exact, source)
    assert (error.images, error.noise, error.preview) == (200, 0, error.exact)
    assert abs(error.distance) < 1e-9


def test_the_error_is_that_of_the_same_images(
    exact: Network, preview: Network, source: ImageSource, tmp_path: Path
) -> None:
    images = np.load(tmp_path / "images.npy")
    error = preview_error(exact, preview, source, images=1000)
    ours, theirs = (network.answer(images)[0].astype(np.float64) for network in (exact, preview))
    assert error.images == 300
    assert error.noise == pytest.approx(np.sqrt(((ours - theirs) ** 2).mean() / ours.var(axis=0).mean()), rel=1e-6)
    sides = [Gaussian(side.mean(axis=0), np.cov(side, rowvar=False)) for side in (ours, theirs)]
    assert error.distance == pytest.approx(frechet_distance_reference(*sides), rel=1e-6)
    assert error.preview > error.exact
    assert f"({(error.preview / error.exact - 1) * 100:+.2f} %)" in str(error)


def test_a_preview_of_other_weights_is_refused(exact: Network, source: ImageSource, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(tiny_scorer({**METADATA, "igan_zoo.weights_sha256": "b" * 64}))
    with pytest.raises(ScoringError, match="was not made from the weights of tiny"):
        preview_error(exact, open_network(str(tmp_path / "other.onnx")), source)


def test_a_score_of_a_preview_says_so_and_prints_its_error(
    igan_zoo: Cli, exact: Network, preview: Network, source: ImageSource, tmp_path: Path
) -> None:
    command = ("score", source.reference, "--scorer", tmp_path / "tiny.onnx", "--precision")
    code, output, errors = igan_zoo(*command, "int8")
    assert code == 0, errors
    assert f"tiny in int8 is a preview: {preview_error(exact, preview, source)}." in errors
    assert "int8 preview" in output
    assert "preview" not in igan_zoo(*command, "fp32")[1]


def test_what_cannot_run_is_one_sentence(igan_zoo: Cli, exact: Network, source: ImageSource, tmp_path: Path) -> None:
    command = ("score", source.reference, "--scorer", tmp_path / "tiny.onnx", "--precision")
    code, output, errors = igan_zoo(*command, "int8")
    assert (code, output) == (1, "")
    assert f"There is no {tmp_path / 'tiny-int8.onnx'}; put its 8-bit form there, or remove --precision int8." in errors


def test_the_cpu_really_has_no_bfloat16_convolution() -> None:
    """Why there is a second engine; when this fails, the first engine can do it."""
    import onnxruntime
    from onnx import TensorProto

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4, 4]) for name in ("x", "y")]
    weight = helper.make_tensor("w", TensorProto.BFLOAT16, [1, 1, 1, 1], [1.0])
    nodes = [
        helper.make_node("Cast", ["x"], ["low"], to=TensorProto.BFLOAT16),
        helper.make_node("Conv", ["low", "w"], ["made"]),
        helper.make_node("Cast", ["made"], ["y"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with pytest.raises(Exception, match="Could not find an implementation for Conv"):
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
