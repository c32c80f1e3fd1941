"""A transposed convolution as ordinary convolutions, one for each phase of its output.

With stride ``s`` and padding ``p``, the output at ``s·q + r - p`` takes every ``s``-th tap of the kernel only:

    y[s·q + r - p] = Σ_j x[q - j] · w[r + s·j],    r = 0 … s - 1.

So the places of one phase ``r`` are an ordinary convolution of the input with ``w[r::s]``, and no product with an
inserted zero is ever formed. The two axes of an image are treated alike, each described by an :class:`Axis`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """One axis of a transposed convolution: what it is given, and what follows from that."""

    size: int
    kernel: int
    stride: int
    padding: int
    output_padding: int = 0

    @property
    def output(self) -> int:
        """The number of places of the output."""
        return (self.size - 1) * self.stride - 2 * self.padding + self.kernel + self.output_padding

    @property
    def first(self) -> int:
        """``q`` of the first place of the output."""
        return self.padding // self.stride

    @property
    def steps(self) -> int:
        """How many values of ``q`` cover the output."""
        return (self.padding + self.output - 1) // self.stride + 1 - self.first

    @property
    def skipped(self) -> int:
        """How many places lie before the output's first one when all phases of all ``q`` are interleaved."""
        return self.padding % self.stride

    def taps(self, phase: int) -> list[int]:
        """Returns the places in the kernel that ``phase`` uses, in the order of the inputs that they meet."""
        return list(range(phase, self.kernel, self.stride))[::-1]


def transposed_convolution_by_phases(x: Array, weight: Array, bias: Array, rows: Axis, columns: Axis) -> Array:
    """Returns what ``ConvTranspose`` returns, phase by phase.

    ``x`` is ``[N, I, H, W]`` with the sizes of ``rows`` and ``columns``, ``weight`` ``[I, O, kernel, kernel]``,
    ``bias`` ``[O]``; the result is ``[N, O, H', W']``.
    """
    shape = (len(x), len(bias), rows.steps, rows.stride, columns.steps, columns.stride)
    result = np.empty(shape)
    for r in range(rows.stride):
        for c in range(columns.stride):
            windows = _windows(_windows(x, rows, r, axis=2), columns, c, axis=4)  # (N, I, steps, taps, steps, taps)
            kernel = weight[:, :, rows.taps(r)][:, :, :, columns.taps(c)]
            result[:, :, :, r, :, c] = np.einsum("niajbk,iojk->noab", windows, kernel, optimize=True)
    return cropped(result, rows, columns) + bias[:, None, None]


def cropped(phases: Array, rows: Axis, columns: Axis) -> Array:
    """Returns ``[N, O, steps, phases, steps, phases]`` as the output ``[N, O, H', W']``; surplus steps come off."""
    count, channels, row_steps, row_phases, column_steps, column_phases = phases.shape
    places = phases.reshape(count, channels, row_steps * row_phases, column_steps * column_phases)
    return places[
        :,
        :,
        rows.skipped : rows.skipped + rows.output,
        columns.skipped : columns.skipped + columns.output,
    ]


def _windows(x: Array, axis_of: Axis, phase: int, *, axis: int) -> Array:
    """Returns the inputs that every step of ``phase`` sees: ``axis`` becomes two, steps and taps."""
    taps = len(axis_of.taps(phase))
    first_input = axis_of.first - (taps - 1)
    places = first_input + np.arange(axis_of.steps)[:, None] + np.arange(taps)
    outside = (places < 0) | (places >= axis_of.size)
    # One place of zeros after the input stands for all that is outside.
    padded = np.concatenate([x, np.zeros_like(x.take([0], axis=axis))], axis=axis)
    return padded.take(np.where(outside, axis_of.size, places), axis=axis)
