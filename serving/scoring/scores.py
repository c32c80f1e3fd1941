"""Scoring a set of images from end to end: what can be computed, the statistics of both sides, and the numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from igan_zoo.counts import counted
from igan_zoo.images.stored import ImageSource
from igan_zoo.serving.scoring import comparing
from igan_zoo.serving.scoring.caveats import caveats
from igan_zoo.serving.scoring.gathering import (
    DEFAULT_SECONDS_BETWEEN_SAVES,
    Gather,
    Manner,
    gather_statistics,
    skipped_images,
)
from igan_zoo.serving.scoring.metrics.frechet_distance import gaussian
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.numbers import Metric, Reference
from igan_zoo.serving.scoring.plan import Plan, find_or_gather, results
from igan_zoo.serving.scoring.protocols import Record, check_outputs
from igan_zoo.serving.scoring.statistics import DEFAULT_SEED, DEFAULT_SPLITS, Facts, Statistics
from igan_zoo.serving.scoring.statistics_cache import kept, stamped
from igan_zoo.serving.scoring.statistics_file import save_gaussian

_LOG = logging.getLogger(__name__)
# Images that are named when they are left out.
MOST_NAMED = 10


@dataclass(frozen=True)
class Scores(Mapping[str, Record]):
    """The numbers of a score by name, such as ``scores["fid50k"].value``.

    ``is50k`` is the first number of its protocol, and ``is50k unsplit`` another quantity of it; ``fid5k cat`` is that
    of a class. ``records`` has all of them in order; ``images`` is how many images were scored, and ``provider`` the
    execution provider that did it.
    """

    records: tuple[Record, ...]
    images: int
    provider: str

    def __getitem__(self, name: str) -> Record:
        return self._named()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._named())

    def __len__(self) -> int:
        return len(self._named())

    def _named(self) -> dict[str, Record]:
        named: dict[str, Record] = {}
        for record in self.records:
            name = record.protocol if record.label is None else f"{record.protocol} {record.label}"
            named[f"{name} {record.quantity}" if name in named else name] = record
        return named


@dataclass(frozen=True)
class Side:
    """Images of one side of a score, and what gathers their statistics."""

    images: ImageSource
    gather: Gather = gather_statistics


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """How images are scored. The fields before ``weights`` change the numbers; the others do not.

    Attributes:
        split: the part of a data set to score.
        reference_split: the part of the reference to compare with.
        splits: parts of the Inception score.
        seed: 0 to 2**32 - 1, of every choice of images and splits.
        model_seed: the seed of the images, where a model draws them.
        subset_size: images in a subset of the kernel distance. None is 1000, or with the metrics ``"all"`` no more than
            there are.
        bootstrap: draws of the images from which FID and the Vendi score get a standard error; 0 is none.
        precision: ``"bf16"`` and ``"int8"`` are faster previews, whose errors are logged.
        weights: the published weights of Inception, if they are not to be fetched.
        batch_size: images that run together. None is the scorer's own.
        strict: an image that does not decode is an error, and not left out.
        as_stored: ignores orientation and transparency, as torch-fidelity and others do; this changes the numbers.
        per_class: scores the images of each class by themselves, against those of the same class.
        cached: looks for earlier statistics of the same images, and keeps these.
        save_every: seconds between saves of what is known so far; a killed call loses no more.
        statistics: a file to keep the statistics in, a reference for later. With the suffix ``.npz`` it has the mean
            and covariance that pytorch-fid reads.
        shard: scores only this part, such as (1, 8). ``statistics`` gets its statistics, and there are no numbers.
        executor: shares the work: ``"processes"``, ``"dask"``, ``"dask://host:port"``, ``"ray"``, ``"ray://host:port"``
            or ``"ranks"``.
        workers: how many of them.
        shard_size: images in a shard, the unit that is done again when a worker is lost.
        replace: ``statistics`` may replace a file.
    """

    split: str | None = None
    reference_split: str | None = None
    splits: int = DEFAULT_SPLITS
    seed: int = DEFAULT_SEED
    model_seed: int = 0
    subset_size: int | None = None
    bootstrap: int = 0
    precision: Literal["fp32", "bf16", "int8"] = "fp32"
    weights: Path | None = None
    batch_size: int | None = None
    strict: bool = False
    as_stored: bool = False
    per_class: bool = False
    cached: bool = True
    save_every: float = DEFAULT_SECONDS_BETWEEN_SAVES
    statistics: Path | None = None
    shard: tuple[int, int] | None = None
    executor: str | None = None
    workers: int | None = None
    shard_size: int | None = None
    replace: bool = False

    @property
    def exports_gaussian(self) -> bool:
        """Whether a mean and a covariance are wanted, rather than all statistics."""
        return self.statistics is not None and self.statistics.suffix == ".npz" and self.shard is None


def score_images(
    side: Side,
    network: Network,
    reference: Reference | Side | None,
    metrics: Sequence[Metric] | Literal["all"],
    *,
    count: int | None = None,
    threads: int | None = None,
    options: ScoreOptions,
) -> Scores:
    """Scores ``count`` images, or all, by a network, alone or compared with a reference.

    What could fail later is refused before the first image is scored. The same call after a kill goes on where it was.

    Raises:
        ScoringError: a metric cannot be computed of these images, or the two sides do not compare.
        ImageError: an image does not decode, and the options are strict.
        DataError: a source broke, or there are not so many images.
        OutputError: ``options.statistics`` is there and not replaced, or cannot be written.
    """
    saved = reference if isinstance(reference, Reference) else None
    asked_for = metrics
    if metrics == "all":
        sizes = comparing.Sizes(network.features, network.classes, count or len(side.images), options.splits)
        metrics = comparing.possible_metrics(sizes, saved, compared=reference is not None)
    manner = Manner(
        batch_size=options.batch_size, threads=threads, strict=options.strict, save_every=options.save_every
    )
    plan = Plan(tuple(metrics), options.splits, options.seed, options.cached, options.bootstrap, manner)
    if options.exports_gaussian:
        check_outputs("fid", network.name, features=network.features, classes=network.classes)
    facts = plan.facts(side.images, network, count)
    expected = plan.reference_facts(reference.images, network) if isinstance(reference, Side) else saved
    subset_size = options.subset_size
    if expected is not None:
        if asked_for == "all" and subset_size is None:
            subset_size = comparing.largest_subset(facts, expected)
        comparing.check_before_scoring(plan.metrics, facts, expected, subset_size)
    computed = [metric for metric in plan.metrics if expected is not None or metric not in plan.comparing]
    for sentence in caveats(computed, network, side.images, facts, expected):
        _LOG.info("Note: %s", sentence)
    if isinstance(reference, Side) and isinstance(expected, Facts):
        statistics = _gathered(plan, reference, network, expected, ScoreOptions())
        saved = Reference(reference.images.reference, statistics=statistics)
    statistics = _gathered(plan, side, network, facts, options)
    if options.exports_gaussian and options.statistics is not None:
        save_gaussian(gaussian(statistics), options.statistics)
    if options.statistics is not None:
        _LOG.info("%s: statistics of %s", options.statistics, counted(statistics.count, "image"))
    if options.shard is not None or not computed:
        return Scores((), statistics.count, network.provider)

    def compute() -> list[Record]:
        return results(computed, statistics, saved, subset_size=subset_size, bootstrap=options.bootstrap)

    # A reference from a file may be anything, whatever it says that it is of.
    if plan.cached and not isinstance(reference, Reference):
        of = (facts, expected, computed, subset_size, options.bootstrap, network.provider)
        records = kept(list[Record], of, compute)
    else:
        records = compute()
    return Scores(tuple(stamped(records, network.provider)), statistics.count, network.provider)


def _gathered(plan: Plan, side: Side, network: Network, facts: Facts, options: ScoreOptions) -> Statistics:
    """Returns the statistics of a side, kept where the options say so."""
    _LOG.info(
        "%s on %s: %s of %s", network.name, network.provider, counted(facts.images, "image"), side.images.reference
    )
    statistics = find_or_gather(
        plan,
        side.images,
        network,
        facts,
        shard=options.shard,
        out=None if options.exports_gaussian else options.statistics,
        replace_out=options.replace,
        gather=side.gather,
    )
    name_skipped(skipped_images(statistics, side.images, most=MOST_NAMED), int(statistics.skipped.sum()))
    return statistics


def name_skipped(sentences: list[str], count: int) -> None:
    """Logs which of ``count`` images were left out, a sentence for each of the first ones."""
    for sentence in sentences:
        _LOG.warning("Left out: %s", sentence)
    if count > len(sentences):
        _LOG.warning("Left out: %s without usable pixels.", counted(count - len(sentences), "more image"))
