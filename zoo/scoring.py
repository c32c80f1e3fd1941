"""Opens what ``igan_zoo.score`` takes, by name or in memory, and scores it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING, Literal

from igan_zoo.class_scores import score_classes
from igan_zoo.errors import DataError, ScoringError, ShardError
from igan_zoo.images.memory import list_given
from igan_zoo.images.stored import ImageSource
from igan_zoo.images.summary import log_summary
from igan_zoo.serving import model_source
from igan_zoo.serving.engine import Device
from igan_zoo.serving.model import LoadedModel
from igan_zoo.serving.model_source import ModelSource
from igan_zoo.serving.scorers.opening import open_asked_scorer
from igan_zoo.serving.scoring.numbers import Metric, Reference
from igan_zoo.serving.scoring.plan import saved_reference
from igan_zoo.serving.scoring.scores import ScoreOptions, Scores, Side, score_images
from igan_zoo.serving.shards import executors
from igan_zoo.serving.shards.ranks import OtherRankMergesError
from igan_zoo.serving.shards.scoring import ShardedGathering

if TYPE_CHECKING:
    from igan_zoo.images.given import GivenImages

_MODEL_IMAGES = 50_000
_LOG = logging.getLogger(__name__)


def score_given(
    images: GivenImages | LoadedModel,
    reference: GivenImages | LoadedModel | None,
    metrics: Sequence[Metric] | Literal["all"],
    scorer: str | None,
    count: int | None,
    device: Device,
    threads: int | None,
    options: ScoreOptions,
) -> Scores:
    """Opens both sides and the scorer of ``igan_zoo.score``, which says what is raised, and scores."""
    workers = None
    if options.executor is not None or options.workers is not None:
        if options.precision == "bf16":
            raise ScoringError("Workers compute in fp32 or int8: remove the executor or precision bf16.")
        workers = executors.find_executor(options.executor or "processes", options.workers)

    def side(given: GivenImages | LoadedModel, split: str | None) -> Side:
        opened = open_images(given, split, count, options.model_seed, device, threads)
        if workers is None:
            return Side(opened)
        if not isinstance(given, str | PathLike):
            raise ShardError("Workers open images by name: give a path, a Hub id or a model's name, or no executor.")
        name = fspath(given)
        return Side(opened, ShardedGathering(workers, name, split, device, options.shard_size, options.replace))

    if options.per_class:
        return score_classes(images, reference, metrics, scorer, count, device, threads, options)
    theirs: Side | Reference | None = None
    if isinstance(reference, str | PathLike):
        theirs = saved_reference(fspath(reference))
    ours = side(images, options.split)
    network = open_asked_scorer(scorer, options, ours.images, device=device, threads=threads)
    if reference is not None and theirs is None:
        theirs = side(reference, options.reference_split)
    try:
        return score_images(ours, network, theirs, metrics, count=count, threads=threads, options=options)
    except OtherRankMergesError:
        _LOG.info("%s: its images are scored; the last rank prints the numbers", workers)
        return Scores((), 0, network.provider)


def open_images(
    images: GivenImages | LoadedModel,
    split: str | None,
    count: int | None,
    seed: int,
    device: Device,
    threads: int | None,
) -> ImageSource:
    """Opens what ``score`` takes; a model draws ``count`` images of ``seed``, or 50,000."""
    if isinstance(images, LoadedModel):
        latents = images.latents.distribution
        return ModelSource(images.model, images.engine, latents, count=count or _MODEL_IMAGES, seed=seed)
    if not isinstance(images, str | PathLike):
        listed = list_given(images)
        if not len(listed):
            raise DataError("There are no images to score: the array or the list is empty.")
        log_summary(listed, listed.reference)
        return listed
    reference = fspath(images)
    drawn = (count or _MODEL_IMAGES) if model_source.is_model(reference) else None
    return model_source.open_images(reference, split=split, count=drawn, seed=seed, device=device, threads=threads)
