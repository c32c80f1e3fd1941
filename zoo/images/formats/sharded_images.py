"""Many memory-mapped arrays of images that behave as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class ShardedImages:
    """The arrays ``parts``, each uint8 ``[n, H, W, C]``, one after the other as uint8 ``[N, H, W, C]``.

    An index copies what it asks for and nothing else, so that memory maps stay on disk.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, parts: Sequence[NDArray[np.uint8]]) -> None:
        # A view as a plain array: indexing the class memmap itself is several times slower.
        self._parts = tuple(np.asarray(part) for part in parts)
        lengths = np.array([len(part) for part in self._parts])
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *self._parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: NDArray[np.int64] | slice, /) -> NDArray[np.uint8]:
        """Returns the images of a slice or of integers ``[n]`` in their order, uint8 ``[n, H, W, C]``.

        Raises:
            IndexError: an integer is out of range, or the index is neither.
        """
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = np.asarray(index)
        if index.ndim != 1 or not (np.issubdtype(index.dtype, np.integer) or index.size == 0):
            raise IndexError(f"images are chosen by a slice or by integers [n], not by {index.dtype} {index.shape}")
        index = np.where(index < 0, index + len(self), index).astype(np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"an index is out of the range of {len(self)} images")
        chosen = np.empty((len(index), *self.shape[1:]), np.uint8)
        owners = np.searchsorted(self._ends, index, side="right")
        within = index - self._starts[owners]
        for place, (owner, row) in enumerate(zip(owners.tolist(), within.tolist(), strict=True)):
            chosen[place] = self._parts[owner][row]
        return chosen
