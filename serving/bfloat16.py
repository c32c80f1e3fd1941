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
        settings = {"INFERENCE_PRECISION_HINT": _PRECISION, "INFERENCE_NUM_THREADS": threads}
        try:
            self._compiled = core.compile_model(core.read_model(content, b""), "CPU", settings)
        except RuntimeError as error:
            raise InterfaceError(f"OpenVINO cannot load this graph: {first_line(error)}") from error
        used = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if used != _PRECISION:
            raise DeviceError(
                f"This processor ({core.get_property('CPU', 'FULL_DEVICE_NAME')}) does not multiply in bfloat16; leave "
                "--precision bf16 out."
            )
        # One for each thread that runs at the same time.
        self._idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Returns the named outputs for a batch."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        results = request.infer(dict(inputs))
        outputs = [np.array(results[name]) for name in names]
        self._idle.put(request)
        return outputs


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
