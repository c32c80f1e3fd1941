"""Exact sums of products: the same bits for every batch size, order and sharding.

Sums of float32 features in float64 depend on the order in which they are added. Sums of integers do not, so everything
that is summed is first rounded to a grid (``features`` to 2⁻¹⁴) and counted in steps of that grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ScoringError

FEATURE_STEPS = 2**14

# Features below this size have squares below 2⁵² in steps: float64 holds at least two of them exactly.
LARGEST_FEATURE = 2.0**12

# float64 holds every integer up to here.
_EXACT = 2**53
# Two totals below this still add up within int64.
_LARGEST_TOTAL = 2**62
_ROWS_AT_A_TIME = 512


def feature_steps(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns features ``[N, F]``, rounded to the grid of 2⁻¹⁴ (half to even), as whole numbers of its steps."""
    return np.rint(np.multiply(features, FEATURE_STEPS, dtype=np.float64))


class ExactMoments:
    """Collects ``Σ v vᵀ`` of vectors of whole numbers, exactly, as int64 ``[D, D]``.

    The products are float64 matrix products, which BLAS adds in whatever order suits it. That is exact here: over the
    rows of one product the squares in each column add up to at most 2⁵³, so by the Cauchy-Schwarz inequality every
    partial sum of every entry, in any order and with or without fused multiply-add, is a whole number within ±2⁵³.
    """

    def __init__(self, size: int, total: NDArray[np.int64] | None = None) -> None:
        self._total = np.zeros((size, size), np.int64) if total is None else total.copy()
        self._pending: list[NDArray[np.float64]] = []
        self._pending_rows = 0

    def add(self, rows: NDArray[np.float64]) -> None:
        """Adds vectors of whole numbers below 2²⁶ in size, float64 ``[N, D]``; small batches wait for each other.

        Raises:
            ScoringError: the sums would no longer fit int64.
        """
        self._pending.append(rows)
        self._pending_rows += len(rows)
        if self._pending_rows >= _ROWS_AT_A_TIME:
            self._multiply()

    def total(self) -> NDArray[np.int64]:
        """Returns the sum over all vectors so far, int64 ``[D, D]``."""
        self._multiply()
        return self._total.copy()

    def _multiply(self) -> None:
        if not self._pending_rows:
            return
        rows = self._pending[0] if len(self._pending) == 1 else np.concatenate(self._pending)
        self._pending, self._pending_rows = [], 0
        largest_square = int(np.abs(rows).max()) ** 2
        step = min(_ROWS_AT_A_TIME, _EXACT // max(largest_square, 1))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            self._total += (part.T @ part).astype(np.int64)
            check_total(self._total)


def exact_moments_reference(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """The same sum over all vectors at once, in Python's unbounded integers."""
    whole: NDArray[Any] = rows.astype(np.int64).astype(object)
    return np.asarray(whole.T @ whole, np.int64)


def check_total(total: NDArray[np.int64]) -> None:
    """Refuses totals whose diagonal, which bounds every entry, leaves no room in int64 for as much again.

    Raises:
        ScoringError: a sum of squares has reached 2⁶² (for features: 2³⁴).
    """
    if total.diagonal().max() >= _LARGEST_TOTAL:
        raise ScoringError(
            "The features are too large for exact sums over so many images; use a scorer with smaller features, or "
            "score fewer images."
        )
