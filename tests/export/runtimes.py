"""Runtimes that share no code with ours, to run exported files in: OpenVINO, the ONNX reference, old onnxruntimes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
from numpy.typing import NDArray

from igan_zoo.models.directory import ModelDirectory
from igan_zoo.serving.bfloat16 import _core
from igan_zoo.serving.engine import Engine
from tests.environments import is_here, python_of

Arrays = dict[str, NDArray[Any]]
Run = Callable[[Path, Mapping[str, NDArray[Any]]], Arrays]

# The oldest that runs our graphs, and the oldest that the package takes: environments of these names.
OLD_RUNTIMES = ("onnxruntime-1.17", "onnxruntime-1.21")
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


def old_runtime(file: Path, inputs: Mapping[str, NDArray[Any]], *, name: str) -> Arrays:
    """Runs a file in an old onnxruntime, or skips the test where its environment was not made."""
    given, wanted = file.with_suffix(".inputs.npz"), file.with_suffix(".outputs.npz")
    np.savez(given, **inputs)
    subprocess.run([python_of(name), "-c", _SCRIPT, str(file), str(given), str(wanted)], check=True)
    with np.load(wanted) as outputs:
        return dict(outputs)


def runtimes() -> dict[str, Run]:
    """Returns the runtimes that are here."""
    old = {name: partial(old_runtime, name=name) for name in OLD_RUNTIMES if is_here(name)}
    return {"reference": reference, "openvino": openvino, **old}


def check_runtimes(others: Mapping[str, Run], directory: ModelDirectory, scratch: Path) -> None:
    """Checks every file of a model on three inputs: logits within 1e-4 (0.1 in int8), gray levels within 1.

    In int8 a sum that rounds the other way is off by a level: logits of onnxruntime 1.21 and 1.31 differ by 0.024.
    """
    for role in directory.spec.graphs:
        for file in sorted((directory.path / "onnx").glob(f"{role}*.onnx")):
            copy = Path(shutil.copy(file, scratch))
            engine = Engine({role: file.read_bytes()})
            graph = engine.graphs[role]
            generator = np.random.default_rng(0)
            if role == "generator":
                given = {"latent": generator.random((3, *graph.input_shape), np.float32)}
            else:
                given = {"images": generator.integers(0, 256, (3, *graph.input_shape), np.uint8)}
            expected = engine.run(role, given)
            for runtime, run in others.items():
                for name, result in run(copy, given).items():
                    limit = 1 if name == "images" else 0.1 if file.stem.endswith("_int8") else 1e-4
                    difference = np.abs(result.astype(np.float64) - expected[name])
                    assert result.shape == expected[name].shape, (runtime, file)
                    assert difference.max() <= limit, (runtime, file, name)
