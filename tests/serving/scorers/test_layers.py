"""The folded layers next to the same in float64."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from igan_zoo.export.scorers.convolutions import Convolution
from igan_zoo.serving.scorers.layers import convolution, pillow_resize, tf1_bilinear
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.serving.scorers.weights import Weights
from tests.environments import python_of
from tests.export.calibrated import calibrate


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "groups"), [((3, 3), 1, (0, 0), 1), ((1, 7), 1, (0, 3), 1), ((3, 3), 2, (1, 1), 8)]
)
def test_folding_is_exact_before_rounding(
    kernel: tuple[int, int], stride: int, padding: tuple[int, int], groups: int
) -> None:
    """The folded weights are rounded to float32 once, 6e-8 of each."""
    torch.manual_seed(0)
    layer = Convolution(8, 8, nn.Identity(), kernel_size=kernel, stride=stride, padding=padding, groups=groups)
    x = torch.randn(4, 8, 9, 11)
    calibrate(layer, 3 * x + 1)
    graph = OnnxGraph()
    weights = Weights({name: tensor.numpy() for name, tensor in layer.state_dict().items()}, "w.pth")
    y = convolution(
        graph,
        weights,
        graph.input("x", np.float32, ["N", 8, 9, 11]),
        ("conv", "bn"),
        (8, 8 // groups, *kernel),
        strides=stride,
        pads=[*padding, *padding],
        group=groups,
    )
    weights.require_all_taken()
    graph.output("y", y, ["N", 8, "H", "W"])
    session = onnxruntime.InferenceSession(graph.to_bytes({}), providers=["CPUExecutionProvider"])
    expected = layer.double()(x.double()).numpy()
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], expected, atol=2e-6)


SIZES = [(32, 32), (299, 299), (500, 375), (40, 600), (1, 3)]


def black_and_white(height: int, width: int) -> NDArray[np.uint8]:
    """With positions in float32 such pixels are off by 0.0105."""
    return np.random.default_rng(0).integers(0, 2, (height, width, 3), np.uint8) * np.uint8(255)


def resized_cleanly(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    graph = OnnxGraph()
    images = graph.input("images", np.uint8, ["N", "H", "W", 3])
    small = pillow_resize(graph, images, graph.constant([299, 299]), cubic=True, rounded=False)
    graph.output("small", small, ["N", 3, 299, 299])
    session = onnxruntime.InferenceSession(graph.to_bytes({}), providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(None, {"images": pixels[None]})[0][0]
    return answer


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_clean_resize_is_pillows_of_floats(height: int, width: int) -> None:
    pixels = black_and_white(height, width)
    channels = [Image.fromarray(pixels[..., channel].astype(np.float32)) for channel in range(3)]
    expected = [np.asarray(channel.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255) for channel in channels]
    np.testing.assert_allclose(resized_cleanly(pixels), expected, atol=2e-2)


def bilinear(graph: OnnxGraph, images: str) -> str:
    return tf1_bilinear(graph, images, 299)


def bicubic(graph: OnnxGraph, images: str) -> str:
    return pillow_resize(graph, images, graph.constant([299, 299]), cubic=True)


@pytest.mark.parametrize("resize", [bilinear, bicubic])
def test_images_of_the_right_size_are_not_resized(resize: Callable[[OnnxGraph, str], str], tmp_path: Path) -> None:
    graph = OnnxGraph()
    graph.output("pixels", resize(graph, graph.input("images", np.uint8, ["N", "H", "W", 3])), ["N", 3, 299, 299])
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "profile")
    ran = {}
    for height, width in ((299, 299), (299, 300), (300, 299)):
        images = black_and_white(height, width)[None]
        session = onnxruntime.InferenceSession(graph.to_bytes({}), options, providers=["CPUExecutionProvider"])
        pixels = session.run(None, {"images": images})[0]
        events = json.loads(Path(session.end_profiling()).read_bytes())
        ran[height, width] = {event["args"].get("op_name") for event in events if event["cat"] == "Node"}
        if height == width:
            np.testing.assert_array_equal(pixels, images.transpose(0, 3, 1, 2))
    assert {"Gather", "MatMul"}.isdisjoint(ran[299, 299])
    assert not {"Gather", "MatMul"}.isdisjoint(ran[299, 300])
    assert ran[299, 300] == ran[300, 299]


def test_clean_resize_is_that_of_clean_fid(tmp_path: Path) -> None:
    images = {f"{height}x{width}": black_and_white(height, width) for height, width in SIZES}
    np.savez(tmp_path / "images.npz", **images)
    script = """
import numpy
from cleanfid.resize import build_resizer
resize = build_resizer("clean")
numpy.savez("resized.npz", **{name: resize(image) for name, image in numpy.load("images.npz").items()})
"""
    subprocess.run([python_of("oracle"), "-W", "ignore", "-c", script], cwd=tmp_path, check=True)
    with np.load(tmp_path / "resized.npz") as resized:
        for name, image in images.items():
            np.testing.assert_allclose(resized_cleanly(image), resized[name].transpose(2, 0, 1), atol=2e-2)
