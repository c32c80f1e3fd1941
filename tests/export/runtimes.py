"""Runtimes that share no code with ours, to run exported files in: OpenVINO, the ONNX reference, an old onnxruntime."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
from numpy.typing import NDArray

from igan_zoo.serving.bfloat16 import _core

Arrays = dict[str, NDArray[Any]]

# Names the Python of an environment with an old onnxruntime, for example:
# pip install onnxruntime==1.17.3 'numpy<2'
OLD_RUNTIME = "IGAN_ZOO_OLD_RUNTIME_PYTHON"
_SCRIPT = """
import sys, numpy, onnxruntime
model, given, wanted = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
numpy.savez(wanted, **dict(zip(names, session.run(names, dict(numpy.load(given))))))
"""


def reference(file: Path, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Runs a file in the reference implementation of the ONNX operators."""
    model = onnx.load(file)
    results = onnx.reference.ReferenceEvaluator(model).run(None, dict(inputs))
    return dict(zip([output.name for output in model.graph.output], results, strict=True))


def openvino(file: Path, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Runs a file in OpenVINO on the CPU, in float32."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    results = _core().compile_model(str(file), "CPU", settings)(dict(inputs))
    return {output.any_name: np.asarray(value) for output, value in results.items()}


def old_runtime(file: Path, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Runs a file in the onnxruntime of another environment."""
    given, wanted = file.with_suffix(".inputs.npz"), file.with_suffix(".outputs.npz")
    np.savez(given, **inputs)
    subprocess.run([os.environ[OLD_RUNTIME], "-c", _SCRIPT, str(file), str(given), str(wanted)], check=True)
    with np.load(wanted) as outputs:
        return dict(outputs)


def runtimes() -> dict[str, Callable[[Path, Mapping[str, NDArray[Any]]], Arrays]]:
    """Returns the runtimes that are here."""
    found = {"reference": reference, "openvino": openvino}
    return found | ({"old onnxruntime": old_runtime} if OLD_RUNTIME in os.environ else {})
