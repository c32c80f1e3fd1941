"""Scores of each class of labeled images by itself."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, ScoringError
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import ImageSource, LabeledSource, StoredImage, check_indices
from igan_zoo.images.summary import log_summary
from igan_zoo.serving.engine import Device
from igan_zoo.serving.model import LoadedModel
from igan_zoo.serving.model_source import is_model
from igan_zoo.serving.scorers.opening import open_asked_scorer
from igan_zoo.serving.scoring.metrics.kernel_distance import DEFAULT_SUBSET_SIZE
from igan_zoo.serving.scoring.numbers import Metric
from igan_zoo.serving.scoring.scores import ScoreOptions, Scores, Side, score_images

if TYPE_CHECKING:
    from igan_zoo.images.given import GivenImages


def score_classes(
    images: GivenImages | LoadedModel,
    reference: GivenImages | LoadedModel | None,
    metrics: Sequence[Metric] | Literal["all"],
    scorer: str | None,
    count: int | None,
    device: Device,
    threads: int | None,
    options: ScoreOptions,
) -> Scores:
    """Does what ``score_given`` does, for every class by itself.

    The smallest goes first: what few images do not allow is said before any is scored.

    Raises:
        DataError: a source has no labels, or the reference lacks a class.
        ScoringError: images or options are others than are scored per class; or as ``score_images``.
    """
    if count or options.workers or options.executor or options.shard or options.statistics:
        raise ScoringError("Scores per class cover all images, in one process: remove the other options.")
    pairs = by_class(
        _open_labeled(images, options.split),
        None if reference is None else _open_labeled(reference, options.reference_split),
    )
    network = open_asked_scorer(scorer, options, pairs[0].images, device=device, threads=threads)
    if options.subset_size is None:
        options = replace(options, subset_size=min(DEFAULT_SUBSET_SIZE, *(pair.fewest for pair in pairs)))
    found: dict[str, Scores] = {}
    for pair in sorted(pairs, key=lambda pair: pair.fewest):
        theirs = None if pair.reference is None else Side(pair.reference)
        found[pair.name] = score_images(Side(pair.images), network, theirs, metrics, threads=threads, options=options)
    records = [
        msgspec.structs.replace(record, label=pair.name) for pair in pairs for record in found[pair.name].records
    ]
    return Scores(tuple(records), sum(scores.images for scores in found.values()), network.provider)


def _open_labeled(images: GivenImages | LoadedModel, split: str | None) -> LabeledSource:
    if not isinstance(images, str | PathLike) or is_model(fspath(images)):
        raise ScoringError("Scores per class need stored images with labels: give a folder, a file or a Hub id.")
    source = open_source(fspath(images), split=split, labeled=True)
    log_summary(source, source.reference)
    return source


@dataclass(frozen=True)
class ClassPair:
    """The images of one class in a source, and in the reference where there is one."""

    name: str
    images: ImageSource
    reference: ImageSource | None

    @property
    def fewest(self) -> int:
        """How many images the smaller side has."""
        return min(len(side) for side in (self.images, self.reference) if side is not None)


def by_class(source: LabeledSource, reference: LabeledSource | None) -> list[ClassPair]:
    """Returns every class of ``source`` that has images, paired by name with that of ``reference``.

    Raises:
        DataError: a source has no labels, or the reference lacks a class.
    """
    ours = _classes(source)
    theirs = {} if reference is None else _classes(reference)
    missing = sorted(set(ours) - set(theirs)) if reference is not None else []
    if reference is not None and missing:
        raise DataError(
            f"{reference.reference} has no images of the class {missing[0]!r}, which {source.reference} has; it has: "
            f"{', '.join(theirs)}."
        )
    return [ClassPair(name, images, theirs.get(name)) for name, images in ours.items()]


def _classes(source: LabeledSource) -> dict[str, ImageSource]:
    labels = source.labels(range(len(source)))
    if not source.classes or not (labels >= 0).any():
        raise DataError(f"{source.reference} has no labels: for scores per class, give a folder for each class.")
    # All is read for it, once.
    fingerprint = functools.cache(source.fingerprint)
    return {
        name: _Part(source, np.flatnonzero(labels == label), name, fingerprint)
        for label, name in enumerate(source.classes)
        if (labels == label).any()
    }


class _Part:
    """The images of a source at some ``places``, ascending."""

    def __init__(
        self, source: ImageSource, places: NDArray[np.int64], title: str, fingerprint: Callable[[], str]
    ) -> None:
        self._source, self._places, self._fingerprint = source, places, fingerprint
        self.encoded, self.reference = source.encoded, f"{source.reference} ({title})"

    def __len__(self) -> int:
        return len(self._places)

    def name(self, index: int) -> str:
        return self._source.name(int(self._places[index]))

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        check_indices(indices, len(self))
        return self._source.fetch([int(self._places[index]) for index in indices])

    def fingerprint(self) -> str:
        return hashlib.sha256(self._fingerprint().encode() + self._places.astype("<i8").tobytes()).hexdigest()
