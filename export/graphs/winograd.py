"""A transposed convolution with a third of the products: Winograd's F(4, 3) for every phase of the output.

Each phase of the output (see :mod:`igan_zoo.export.graphs.phases`) is a convolution with at most three taps an axis.
Four neighboring outputs of it are a product of polynomials, evaluated at six points (0, 1, -1, 2, -2 and infinity):

    y = OUTPUT · ((WEIGHT · w) ⊙ (INPUT · x)),

six products in place of twelve, and on both axes 36 in place of 144. All phases share the transformed input. A phase
with two taps has a zero transformed weight at point 0, so that a 5x5 kernel with stride 2, whose four phases have 9, 6,
6 and 4 taps, needs 36 + 30 + 30 + 25 = 121 products for 64 outputs; directly it is 400.

Source: Lavin & Gray, *Fast Algorithms for Convolutional Neural Networks* (2016), F(4x4, 3x3).
"""

from __future__ import annotations

import numpy as np

from igan_zoo.export.graphs.phases import Array, Axis, cropped

TAPS = 3
OUTPUTS = 4
POINTS = OUTPUTS + TAPS - 1
# The point 1, where every output has the factor 1: what is added there is added to all outputs.
ONE = 1

INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float64,
)
WEIGHT = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.float64) / 24
OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64)


def tiles(axis: Axis) -> int:
    """Returns how many groups of four steps cover the output."""
    return -(-axis.steps // OUTPUTS)


def tile_inputs(axis: Axis) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Returns the places of the input that each tile sees, ``[tiles, 6]``; some are outside."""
    first_input = axis.first - (TAPS - 1)
    return first_input + OUTPUTS * np.arange(tiles(axis))[:, None] + np.arange(POINTS)


def input_matrix(axis: Axis) -> Array:
    """Returns the transform of a whole axis of the input, zeros around it included, ``[tiles, 6, size]``."""
    selected = tile_inputs(axis)[:, :, None] == np.arange(axis.size)  # (tiles, 6, size)
    matrix: Array = np.einsum("pk,tks->tps", INPUT, selected)
    return matrix


def weight_matrix(axis: Axis, phase: int) -> Array:
    """Returns the transform of the kernel for one phase, ``[6, kernel]``; a row of zeros is a product to leave out.

    Raises:
        ValueError: the phase has more than three taps.
    """
    taps = axis.taps(phase)
    if len(taps) > TAPS:
        raise ValueError(f"a phase of {len(taps)} taps is too long for F({OUTPUTS}, {TAPS})")
    matrix = np.zeros((POINTS, axis.kernel))
    # Shorter phases end with the others: their first tap is the one that is not there.
    matrix[:, taps] = WEIGHT[:, TAPS - len(taps) :]
    return matrix


def transposed_convolution_by_winograd(x: Array, weight: Array, bias: Array, rows: Axis, columns: Axis) -> Array:
    """The same function as :func:`igan_zoo.export.graphs.phases.transposed_convolution_by_phases`.

    Raises:
        ValueError: the kernel is longer than three strides.
    """
    seen = np.einsum("tpy,uqx,niyx->pqnitu", input_matrix(rows), input_matrix(columns), x, optimize=True)
    steps = (OUTPUTS * tiles(rows), OUTPUTS * tiles(columns))
    result = np.empty((len(x), len(bias), steps[0], rows.stride, steps[1], columns.stride))
    for r in range(rows.stride):
        for c in range(columns.stride):
            kernel = np.einsum(
                "pk,ql,iokl->pqio", weight_matrix(rows, r), weight_matrix(columns, c), weight, optimize=True
            )
            products = np.einsum("pqnitu,pqio->pqnotu", seen, kernel, optimize=True)
            products[ONE, ONE] += bias[:, None, None]
            phase = np.einsum("ap,bq,pqnotu->notaub", OUTPUT, OUTPUT, products, optimize=True)
            result[:, :, :, r, :, c] = phase.reshape(len(x), len(bias), *steps)  # (N, O, 4 tiles, 4 tiles)
    return cropped(result, rows, columns)
