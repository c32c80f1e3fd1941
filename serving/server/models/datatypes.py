"""The protocol's types of tensors, and what any tensor may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.serving.server.errors import ProtocolError

# The protocol's types. BYTES are objects of type bytes in memory.
DATATYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(np.object_),
}
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
# Larger than any tensor of ours, small enough for numpy.
MAX_RANK = 8
MAX_SIZE = 2**31 - 1
_MOST_ELEMENTS = 2**48
# Numbers that a tensor in JSON may have: each is an object of 32 bytes for a moment.
MOST_NUMBERS = 2**22


def datatype_of(array: NDArray[Any]) -> str:
    """Returns the protocol's name of an array's type.

    Raises:
        ProtocolError: the protocol has none.
    """
    name = _NAMES.get(array.dtype)
    if name is None:
        raise ProtocolError(f"The protocol has no type for {array.dtype}.")
    return name


def check_shape(shape: Sequence[int]) -> None:
    """Does nothing for a shape that an array can have.

    Raises:
        ProtocolError: it is none.
    """
    elements, fits = 1, len(shape) <= MAX_RANK
    for size in shape:
        fits = fits and 0 <= size <= MAX_SIZE
        elements *= size or 1
    if not fits or elements > _MOST_ELEMENTS:
        raise ProtocolError(f"{list(shape)[: MAX_RANK + 1]} is not a valid shape.")


def dtype_of(datatype: str) -> np.dtype[Any]:
    """Returns numpy's type for the protocol's name of one.

    Raises:
        ProtocolError: there is no such type.
    """
    dtype = DATATYPES.get(datatype)
    if dtype is None:
        raise ProtocolError(f"There is no datatype {datatype[:32]!r}; there are: {', '.join(DATATYPES)}.")
    return dtype


def bytes_array(elements: Sequence[bytes]) -> NDArray[np.object_]:
    """Returns the array of a BYTES tensor, not yet in its shape."""
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def bytes_of(element: object) -> bytes:
    """Returns an element of a BYTES tensor as bytes."""
    return element if isinstance(element, bytes) else str(element).encode()
