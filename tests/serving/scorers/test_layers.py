"""The folded layers next to the same in float64."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from igan_zoo.export.scorers.convolutions import Convolution
from igan_zoo.serving.scorers.layers import convolution, pillow_resize
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph
from igan_zoo.serving.scorers.weights import Weights
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


@pytest.mark.parametrize(("height", "width"), [(32, 32), (299, 299), (500, 375), (40, 600), (1, 3)])
def test_clean_resize_is_pillows_of_floats(height: int, width: int) -> None:
    """What clean-fid does with each channel. With positions in float32, black and white pixels are off by 0.0105."""
    pixels = np.random.default_rng(0).integers(0, 2, (height, width, 3), np.uint8) * np.uint8(255)
    graph = OnnxGraph()
    images = graph.input("images", np.uint8, ["N", "H", "W", 3])
    small = pillow_resize(graph, images, graph.constant([299, 299]), cubic=True, rounded=False)
    graph.output("small", small, ["N", 3, 299, 299])
    session = onnxruntime.InferenceSession(graph.to_bytes({}), providers=["CPUExecutionProvider"])
    channels = [Image.fromarray(pixels[..., channel].astype(np.float32)) for channel in range(3)]
    expected = [np.asarray(channel.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255) for channel in channels]
    np.testing.assert_allclose(session.run(None, {"images": pixels[None]})[0][0], expected, atol=2e-2)
