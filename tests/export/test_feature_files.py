"""A run on features as files: the classifier, its form in 8 bits, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import igan_zoo
from igan_zoo.errors import DataError, OutputError
from igan_zoo.export.feature_files import ExportedClassifier
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.training.features.runs import FeatureRun

WIDTH = 24


def convolutional_encoder() -> bytes:
    """Two rectified convolutions and a linear one with a shortcut, as the blocks of EfficientNet-Lite0 have them."""
    random = np.random.default_rng(0)
    graph = OnnxGraph()
    images = graph.input("images", np.uint8, ["N", "H", "W", 3])
    x = graph.node("Transpose", graph.node("Cast", images, to=1), perm=[0, 3, 1, 2])
    x = graph.node("Div", x, graph.constant(255.0))

    def convolved(x: str, inputs: int, outputs: int) -> str:
        kernel = random.normal(0, (9 * inputs) ** -0.5, (outputs, inputs, 3, 3)).astype(np.float32)
        bias = np.full(outputs, 0.2, np.float32)
        return graph.node("Conv", x, graph.constant(kernel), graph.constant(bias), pads=[1, 1, 1, 1])

    def rectified(x: str) -> str:
        return graph.node("Clip", x, graph.constant(0.0), graph.constant(6.0))

    first = rectified(convolved(x, 3, WIDTH))
    second = graph.node("Add", first, convolved(first, WIDTH, WIDTH))
    last = rectified(convolved(second, WIDTH, WIDTH))
    pooled = graph.node("ReduceMean", last, graph.constant([2, 3]), keepdims=0)
    graph.output("features", pooled, ["N", WIDTH])
    return graph.to_bytes({"igan_zoo.resize": "bilinear-16"})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(1)
    for number in range(30):
        folder = tmp_path / "photos" / ("blue", "red")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        color = np.array([(20, 40, 200), (200, 40, 20)][number % 2])
        pixels = np.clip(color + random.normal(0, 25, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> FeatureRun:
    (tmp_path / "encoder.onnx").write_bytes(convolutional_encoder())
    options = igan_zoo.TrainOptions(features=str(tmp_path / "encoder.onnx"), ensemble=2)
    made = igan_zoo.train("custom", photos, settings={"steps": 30}, out=tmp_path / "run", options=options)
    assert isinstance(made, FeatureRun)
    return made


def test_eight_bits_are_written_beside_the_classifier_and_measured(
    run: FeatureRun, photos: Path, tmp_path: Path
) -> None:
    made = igan_zoo.export(run, tmp_path / "model.onnx", variants=("int8",), data=photos)
    assert made.path == tmp_path / "model.onnx"
    assert isinstance(made, ExportedClassifier)
    assert made.int8 is not None
    assert (made.int8, made.measured, made.changed) == (tmp_path / "model-int8.onnx", 15, 0)
    assert 0 < made.mean_change < 0.1
    plain, small = (onnx.load(path) for path in (made.path, made.int8))
    assert [node.op_type for node in plain.graph.node].count("Clip") == 2
    operators = [node.op_type for node in small.graph.node]
    assert "QuantizeLinear" in operators
    assert "Clip" not in operators, "a rectifier is a part of the layer before it"
    kernels = [tensor for tensor in small.graph.initializer if len(tensor.dims) == 4]
    assert [tensor.data_type for tensor in kernels] == [onnx.TensorProto.INT8] * 3
    (answer,) = igan_zoo.load(made.int8).classify(photos / "red" / "1.png")
    assert answer.classes[0][0] == "red"


def test_what_a_run_on_features_has_no_use_for_is_refused(run: FeatureRun, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    with pytest.raises(DataError, match="is a run on features, which becomes one file"):
        igan_zoo.export(run, out, name="mine")
    with pytest.raises(DataError, match="is a run on features, which becomes one file"):
        igan_zoo.export(run, out, data=photos)
    out.write_bytes(b"")
    with pytest.raises(OutputError, match=r"model.onnx already exists"):
        igan_zoo.export(run, out)
