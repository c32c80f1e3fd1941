"""Which examples are labelled, which validate, and in what order an epoch shows them.

Labels are int64 ``[N]``; -1 means that no label is known. All choices depend on nothing but the arguments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DataError

_REQUEST = re.compile(r"(?P<count>[0-9]+)(?P<each>-per-class)?")


def labelled_subset(labels: NDArray[np.int64], request: str, classes: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Returns the indices of the examples whose labels training sees, int64, in class order.

    ``request`` is ``"100"`` (so many in all, equally many of each of ``classes``), ``"25-per-class"``, ``"all"`` (every
    example that has a label, in the order of the data) or ``"0"`` (none). As in the 2016 code the choice is a seeded
    permutation, of which the first of each class are taken; a larger request contains a smaller one of the same seed.

    Raises:
        DataError: the request is malformed or cannot be spread evenly, a class has too few labelled images, or there
            are fewer than two classes although labels are wanted.
    """
    if request == "0":
        return np.empty(0, np.int64)
    per_class = None if request == "all" else _labels_per_class(request, len(classes))
    if len(classes) < 2:
        known = f"only the class {classes[0]!r}" if classes else "no labels"
        raise DataError(f"The data has {known}, but a classifier needs at least two classes; use --labels 0.")
    if per_class is None:
        return np.flatnonzero(labels >= 0)
    order = _generator(seed, "labels").permutation(len(labels))
    chosen = []
    for label, name in enumerate(classes):
        members = order[labels[order] == label]
        if len(members) < per_class:
            raise DataError(
                f"Class {name!r} has {len(members)} labeled images, but {per_class} per class were requested."
            )
        chosen.append(members[:per_class])
    return np.concatenate(chosen)


def _labels_per_class(request: str, classes: int) -> int:
    match = _REQUEST.fullmatch(request)
    if match is None or (match["each"] and int(match["count"]) == 0):
        raise DataError(f"Cannot understand the labels {request!r}: write a count, N-per-class, all or 0.")
    count = int(match["count"])
    if match["each"]:
        return count
    per_class, remainder = divmod(count, max(classes, 1))
    if remainder or per_class == 0:
        raise DataError(
            f"{counted(count, 'label')} cannot be spread evenly over {counted(classes, 'class')}; use a multiple of "
            f"{classes}."
        )
    return per_class


def validation_subset(
    labels: NDArray[np.int64], labelled: NDArray[np.int64], count: int, seed: int
) -> NDArray[np.int64]:
    """Returns the indices of at most ``count`` examples that have a label and are not in ``labelled``, int64.

    Only validation sees their labels. The images themselves stay in the unlabelled set, which is the complete training
    set as in the 2016 code.

    # Differs from the 2016 code: that has no validation, and prints the test error of every epoch.
    """
    order = _generator(seed, "validation").permutation(len(labels))
    return order[(labels[order] >= 0) & ~np.isin(order, labelled)][:count]


def epoch_order(total: int, seed: int, epoch: int, stream: str) -> NDArray[np.int64]:
    """Returns a permutation of ``0..total-1`` that depends on nothing but the arguments, so runs resume anywhere.

    # Differs from the 2016 code: that shuffles the order of the epoch before once more.
    """
    return _generator(seed, stream, epoch).permutation(total)


def tiled_order(images: int, total: int, seed: int, epoch: int, stream: str = "tiles") -> NDArray[np.int64]:
    """Returns ``total`` indices below ``images``: independent permutations of all of them, one after the other.

    # Differs from the 2016 code: its MNIST script takes whole copies only, and fails where they do not fill the epoch.
    """
    generator = _generator(seed, stream, epoch)
    return np.concatenate([generator.permutation(images) for _ in range(-(-total // images))])[:total]


def _generator(seed: int, stream: str, epoch: int = 0) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, int.from_bytes(stream.encode(), "little")])
