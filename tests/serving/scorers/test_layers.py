"""The folded layers next to the same in float64."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from igan_zoo.export.convolutions import Convolution
from igan_zoo.serving.scorers.layers import convolution
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
