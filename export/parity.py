"""The parity report: what an ONNX graph computes in the engine beside what its torch module computes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from igan_zoo.errors import ParityError
from igan_zoo.export.graphs import IR_VERSION, OPSET
from igan_zoo.serving.engine import Engine

BATCHES = (1, 2, 7, 64)

# The largest absolute difference allowed, by output. Images are grey levels after rounding: a level that lies within
# float32 rounding of a half may go either way, but at most 0.05 % of them.
TOLERANCES = {"images": 1.0, "logits": 1e-4, "probabilities": 1e-5, "realness": 1e-5}
DIFFERING_PIXELS = 5e-4


@dataclass(frozen=True)
class Subject:
    """A graph under test: its role and bytes, the torch module in evaluation mode, and inputs ``[64, ...]``."""

    role: str
    content: bytes
    module: nn.Module
    inputs: NDArray[Any]


def parity_report(subjects: list[Subject]) -> dict[str, Any]:
    """Runs every subject at batches of 1, 2, 7 and 64 in torch and in the engine, and returns the differences.

    Raises:
        ParityError: a name, a shape or a difference is not as it must be.
    """
    engine = Engine({subject.role: subject.content for subject in subjects})
    return {
        "format": 1,
        "opset": OPSET,
        "ir_version": IR_VERSION,
        "provider": engine.provider,
        "versions": {name: version(name) for name in ("torch", "onnx", "onnxruntime", "numpy")},
        "tolerances": {**TOLERANCES, "differing_pixels": DIFFERING_PIXELS},
        "graphs": {subject.role: _compare(engine, subject) for subject in subjects},
    }


def _compare(engine: Engine, subject: Subject) -> dict[str, Any]:
    input_name = engine.graphs[subject.role].input_name
    batches = {}
    for size in BATCHES:
        inputs = subject.inputs[:size]
        with torch.no_grad():
            expected = subject.module(torch.from_numpy(inputs))
        expected = expected if isinstance(expected, tuple) else (expected,)
        actual = engine.run(subject.role, {input_name: inputs})
        if len(expected) != len(actual):
            raise ParityError(f"The {subject.role} has {len(actual)} outputs, its module {len(expected)}.")
        batches[str(size)] = {
            name: _difference(subject.role, name, size, reference.numpy(), result)
            for (name, result), reference in zip(actual.items(), expected, strict=True)
        }
    return {"sha256": hashlib.sha256(subject.content).hexdigest(), "batches": batches}


def _difference(role: str, name: str, size: int, expected: NDArray[Any], actual: NDArray[Any]) -> dict[str, float]:
    where = f"The {role}'s {name} at batch {size}"
    if expected.shape != actual.shape:
        raise ParityError(f"{where} have the shape {actual.shape}, in torch {expected.shape}.")
    difference = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
    measured = {"max": float(difference.max()), "mean": float(difference.mean())}
    if not measured["max"] <= TOLERANCES[name]:
        raise ParityError(f"{where} differ from torch by {measured['max']:.2g}, more than {TOLERANCES[name]:.2g}.")
    if name == "images":
        measured["differing_pixels"] = float((difference > 0).mean())
        if measured["differing_pixels"] > DIFFERING_PIXELS:
            raise ParityError(f"{where} differ from torch in {measured['differing_pixels']:.2%} of the pixels.")
    return measured
