"""The outputs that a request asks for; with Triton's classification extension, only the best classes of an output."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.serving.engine import Arrays
from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.models.datatypes import bytes_array
from igan_zoo.serving.server.models.hosted import HostedGraph

CLASSIFICATION = "classification"


def select(
    graph: HostedGraph, names: Collection[str] | None, classes: Mapping[str, int], outputs: Mapping[str, NDArray[Any]]
) -> Arrays:
    """Returns the outputs called ``names``, or all; those in ``classes`` as that many classes, BYTES ``[N, k]``.

    Raises:
        ProtocolError: the graph has no such output, or its output is not a row of numbers for each image.
    """
    for name in names or ():
        if name not in outputs:
            raise ProtocolError(f"{graph.name} has no output {name[:200]!r}; it has: {', '.join(outputs)}.")
    chosen = dict(outputs) if not names else {name: outputs[name] for name in names}
    for name, count in classes.items():
        array = chosen[name]
        if array.ndim > 2:
            raise ProtocolError(f"The output {name} of {graph.name} has no classes; leave out {CLASSIFICATION}.")
        # Features and realness have no names.
        labels = graph.classes if name in ("logits", "probabilities") else None
        chosen[name] = top_classes(array, count, labels)
    return chosen


def top_classes(array: NDArray[Any], count: int, labels: Sequence[str] | None) -> NDArray[np.object_]:
    """Returns the largest numbers of each row of ``[N, K]`` or ``[N]``, largest first, BYTES ``[N, min(count, K)]``.

    Each is ``value:index``, or ``value:index:label`` if there is a label for every column.
    """
    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    best = np.argsort(-rows, axis=1, kind="stable")[:, :count]
    named = labels if labels is not None and len(labels) == rows.shape[1] else None
    elements = [
        f"{row[index]:f}:{index}{':' + named[index] if named else ''}".encode()
        for row, indices in zip(rows, best, strict=True)
        for index in indices
    ]
    return bytes_array(elements).reshape(best.shape)


def class_count(output: str, value: object) -> int:
    """Returns how many classes a request wants of an output; 0 wants the output itself.

    Raises:
        ProtocolError: the parameter is not a number of classes.
    """
    if type(value) is not int or not 0 <= value < 2**31:
        raise ProtocolError(f"The parameter {CLASSIFICATION} of the output {output} must be a number of classes.")
    return value
