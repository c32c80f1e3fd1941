"""TensorFlow 1's bilinear resize: its formula, pixel by pixel, and the graph it becomes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from igan_zoo.export.scorers.resize import tf1_bilinear
from igan_zoo.serving.scorers import layers
from igan_zoo.serving.scorers.onnx_graph import OnnxGraph


def reference(images: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """The kernel of TensorFlow 1 (``resize_bilinear_op.cc``, ``align_corners=False``), one pixel at a time."""
    count, height, width, channels = images.shape
    result = np.empty((count, channels, size, size), np.float32)
    steps = np.float32(height) / np.float32(size), np.float32(width) / np.float32(size)
    for y, x in np.ndindex(size, size):
        at_y, at_x = np.float32(y) * steps[0], np.float32(x) * steps[1]
        top, left = int(at_y), int(at_x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        dy, dx = at_y - np.float32(top), at_x - np.float32(left)
        corners = [images[:, row, column].astype(np.float32) for row in (top, bottom) for column in (left, right)]
        above = corners[0] + (corners[1] - corners[0]) * dx
        below = corners[2] + (corners[3] - corners[2]) * dx
        result[:, :, y, x] = above + (below - above) * dy
    return result


def noise(height: int, width: int, count: int = 2) -> NDArray[np.uint8]:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (count, height, width, 3), np.uint8)


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 50), width=st.integers(1, 50), size=st.integers(1, 30))
def test_the_resize_is_tensorflows_bit_by_bit(height: int, width: int, size: int) -> None:
    images = noise(height, width)
    np.testing.assert_array_equal(tf1_bilinear(torch.from_numpy(images), size).numpy(), reference(images, size))


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    images = noise(30, 30)
    np.testing.assert_array_equal(tf1_bilinear(torch.from_numpy(images), 30).numpy(), images.transpose(0, 3, 1, 2))


def test_two_pixels_become_four() -> None:
    images = torch.tensor([[[[0], [100]], [[0], [100]]]], dtype=torch.uint8)
    assert tf1_bilinear(images, 4)[0, 0].tolist() == [[0, 50, 100, 100]] * 4


def test_half_pixel_centres_are_something_else() -> None:
    images = torch.from_numpy(noise(32, 32))
    other = interpolate(images.permute(0, 3, 1, 2).float(), (299, 299), mode="bilinear", align_corners=False)
    assert float((tf1_bilinear(images, 299) - other).abs().max()) > 10


@pytest.fixture(scope="module")
def graph() -> bytes:
    writer = OnnxGraph()
    writer.output(
        "pixels",
        layers.tf1_bilinear(writer, writer.input("images", np.uint8, ["N", "H", "W", 3]), 299),
        ["N", 3, 299, 299],
    )
    return writer.to_bytes({})


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 5), (2, 2), (32, 32), (299, 299), (300, 300), (224, 351), (512, 640), (1000, 3)]
)
def test_the_graph_takes_every_size_and_computes_the_same_bits(graph: bytes, height: int, width: int) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    images = noise(height, width, count=3)
    (pixels,) = session.run(None, {"images": images})
    np.testing.assert_array_equal(pixels, tf1_bilinear(torch.from_numpy(images), 299).numpy())
