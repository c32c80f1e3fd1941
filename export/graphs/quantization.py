"""A classifier with 8-bit layers for CPUs: static quantization, calibrated on unlabelled training images."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from igan_zoo.errors import ParityError
from igan_zoo.export.graphs.building import metadata_of, quiet, to_bytes

CALIBRATION_IMAGES = 300
_BATCH = 50

LAYERS = {"Conv", "Gemm", "MatMul"}
# Between a layer and the activation that makes it a hidden one: normalization, reshaping, and other layers.
_BETWEEN = {"Add", "Mul", "Reshape", *LAYERS}
_RECTIFIERS = {"Relu", "Clip"}
_ACTIVATIONS = {"LeakyRelu", *_RECTIFIERS}


def quantized(content: bytes, images: NDArray[np.uint8], *, batch: int = _BATCH) -> bytes:
    """Returns the float32 classifier ``content`` with its hidden layers in 8 bits, between standard operators.

    ``images``, uint8 ``[N, H, W, C]``, are unlabelled training images: the range of every activation is the range that
    it has on them; ``batch`` of them run at once. Activations are unsigned. Weights are signed, with a scale for every
    output channel, and use 7 of the 8 bits: processors with AVX2 but without VNNI add two products in 16 bits, which
    eight would saturate, and so the answers are the same on every processor. The preparation of pixels, the layer that
    makes the logits, and what comes after it stay float32.

    Raises:
        ParityError: the graph has no hidden layer with a rectifier or leaky rectifier behind it.
    """
    model = onnx.load_from_string(content)
    layers = _hidden_layers(model.graph)
    if not layers:
        raise ParityError("A network without rectifiers after its hidden layers has no 8-bit form: remove int8.")
    made = {name for node in model.graph.node if node.name in layers for name in node.output}
    rectifiers = [
        node.name for node in model.graph.node if node.op_type in _RECTIFIERS and not made.isdisjoint(node.input)
    ]
    metadata = metadata_of(model)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), quiet("root"):
        path = Path(folder) / "quantized.onnx"
        quantize_static(
            model,
            path,
            _Images(model.graph.input[0].name, images, batch),
            quant_format=QuantFormat.QDQ,
            # A rectifier that is named here becomes a part of the layer before it.
            op_types_to_quantize=[*LAYERS, *_RECTIFIERS],
            nodes_to_quantize=[*layers, *rectifiers],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        model = onnx.load(path)
    return to_bytes(model, metadata)


def _hidden_layers(graph: onnx.GraphProto) -> list[str]:
    """Returns the names of the layers of constant weights with an activation behind them."""
    constants = {tensor.name for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def activated(node: onnx.NodeProto) -> bool:
        return any(
            reader.op_type in _ACTIVATIONS or (reader.op_type in _BETWEEN and activated(reader))
            for reader in readers.get(node.output[0], [])
        )

    return [
        node.name for node in graph.node if node.op_type in LAYERS and node.input[1] in constants and activated(node)
    ]


class _Images(CalibrationDataReader):  # type: ignore[misc]
    """The calibration images in batches, as the quantizer asks for them."""

    def __init__(self, name: str, images: NDArray[np.uint8], batch: int) -> None:
        self._batches = self._batched(name, images, batch)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._batches, None)

    @staticmethod
    def _batched(name: str, images: NDArray[np.uint8], batch: int) -> Iterator[dict[str, NDArray[np.uint8]]]:
        for start in range(0, len(images), batch):
            yield {name: images[start : start + batch]}
