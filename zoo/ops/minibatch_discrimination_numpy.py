"""Minibatch discrimination for numpy, forward only; the formula is in ``igan_zoo.ops.minibatch_discrimination``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import OperatorError
from igan_zoo.ops import extension

# The dtype in which each dtype is computed.
_COMPUTED_IN = {"float16": np.float32, "float32": np.float32, "float64": np.float64}


def minibatch_discrimination_numpy(activations: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Returns the closeness ``[N, B]``, from 1 to N, of activations ``[N, B, C]``, in their dtype.

    Runs in C where that is built, on as many threads as OpenMP takes by default (``OMP_NUM_THREADS``), and else by
    the reference. Takes float32 and float64; float16 is computed in float32 and rounded at the end. Raises
    :class:`OperatorError` for arguments that it does not take.
    """
    if activations.ndim != 3:
        raise OperatorError(f"The activations have rank {activations.ndim}: give [examples, kernels, channels].")
    if activations.dtype.name not in _COMPUTED_IN:
        raise OperatorError(f"The activations are {activations.dtype}: give float32, float64 or float16.")
    if activations.size == 0:
        raise OperatorError(f"The activations have shape {activations.shape}: give at least one of each.")
    values = np.require(activations, _COMPUTED_IN[activations.dtype.name], ["C", "ALIGNED"])
    if extension.kernels_are_built():
        kernels = extension.built_kernels()
        output = np.empty(values.shape[:2], values.dtype)
        kernels.forward(values, output, kernels.default_threads(), extension.fastest_instruction_set())
    else:
        output = minibatch_discrimination_numpy_reference(values)
    return output.astype(activations.dtype, copy=False)


def minibatch_discrimination_numpy_reference(activations: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The same function by the formula, one example after the other, in the dtype given."""
    output = np.empty(activations.shape[:2], activations.dtype)
    for example, closeness in zip(activations, output, strict=True):
        distances = np.abs(example - activations).sum(axis=2)  # [N, B]
        closeness[:] = np.exp(-distances).sum(axis=0)
    return output
