"""Graphs in bfloat16, by OpenVINO: the second engine behind ``Engine``, on processors that multiply in it.

onnxruntime has no bfloat16 convolution for CPUs. OpenVINO runs the same files, converting what multiplies as it loads
them. On a processor without the arithmetic it goes on silently in float32; here that is an error.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DeviceError, InterfaceError, MissingExtraError, first_line, pip_install

if TYPE_CHECKING:
    import openvino

# What OpenVINO is asked for, and has to say that it does.
_PRECISION = "bf16"
# What goes from the preparation of images to the network.
_PREPARED = "igan_zoo/prepared"


class Bfloat16Session:
    """One graph, compiled; ``run`` is that of onnxruntime's sessions, and as thread-safe."""

    def __init__(self, content: bytes, threads: int) -> None:
        """Compiles an ONNX graph for that many threads.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            DeviceError: this processor does not multiply in bfloat16.
            InterfaceError: OpenVINO does not take the graph.
        """
        core = _core()

        def compiled(model: openvino.Model, precision: str) -> openvino.CompiledModel:
            settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
            return core.compile_model(model, "CPU", settings)

        try:
            model = core.read_model(content, b"")
            preparation = _cut_off_preparation(model)
            self._preparation = _Requests(compiled(preparation, "f32")) if preparation is not None else None
            network = compiled(model, _PRECISION)
        except RuntimeError as error:
            raise InterfaceError(f"OpenVINO cannot load this graph: {first_line(error)}") from error
        used = network.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != _PRECISION:
            raise DeviceError(
                f"This processor ({core.get_property('CPU', 'FULL_DEVICE_NAME')}) does not multiply in bfloat16; leave "
                "--precision bf16 out."
            )
        self._network = _Requests(network)

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Returns the named outputs for a batch."""
        given = dict(inputs)
        if self._preparation is not None:
            given |= self._preparation.infer(given, [_PREPARED])
        outputs = self._network.infer(given, names)
        return [outputs[name] for name in names]


class _Requests:
    """A compiled model, with a request for each thread that runs it at the same time."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._inputs = {name for node in compiled.inputs for name in node.get_names()}
        self._idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()

    def infer(self, inputs: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        results = request.infer({name: array for name, array in inputs.items() if name in self._inputs})
        outputs = {name: np.array(results[name]) for name in names}
        self._idle.put(request)
        return outputs


def _cut_off_preparation(model: openvino.Model) -> openvino.Model | None:
    """Takes what comes before the first convolution out of a graph of uint8 images and returns it; None for others.

    It computes where the pixels of a resized image lie, and bfloat16 does not tell 257 from 256: at 299 pixels half of
    the pixels would come from another place.
    """
    import openvino
    from openvino import opset13

    images = model.inputs[0]
    first = next((op for op in model.get_ordered_ops() if op.get_type_name().endswith("Convolution")), None)
    if first is None or images.get_element_type() != openvino.Type.u8:
        return None
    prepared = first.input_value(0)
    preparation = openvino.Model([opset13.result(prepared)], model.get_parameters())
    preparation.outputs[0].set_names({_PREPARED})
    preparation = preparation.clone()
    given = opset13.parameter(prepared.get_partial_shape(), prepared.get_element_type())
    given.output(0).set_names({_PREPARED})
    for reader in prepared.get_target_inputs():
        reader.replace_source_output(given.output(0))
    model.add_parameters([given])
    return preparation


def provider() -> str:
    """Returns what runs, as records of scores say it."""
    import openvino

    return f"OpenVINO {openvino.__version__.partition('-')[0]}, CPU, bfloat16"


@functools.cache
def _core() -> openvino.Core:
    # Importing OpenVINO would tell Google Analytics. Without this package it does not, and asks nobody for anything.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own imports are of what it calls deprecated
            import openvino
    except ImportError:
        raise MissingExtraError(f"bfloat16 needs OpenVINO: {pip_install('openvino')}.") from None
    return openvino.Core()
