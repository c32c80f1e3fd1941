"""What is to be found out of every source, and where statistics are looked for before images are scored."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from igan_zoo.errors import OutputError, ScoringError
from igan_zoo.images.stored import ImageSource
from igan_zoo.serving.scoring.gathering import Gather, Manner, choose_images, gather_statistics, refuse_skipped
from igan_zoo.serving.scoring.metrics.extrapolation import check_images, check_splits
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.numbers import Metric, Reference
from igan_zoo.serving.scoring.protocols import (
    OF_CLASSES,
    OF_PAIRS,
    OF_SINGLE_IMAGES,
    Protocol,
    Record,
    check_outputs,
    images_needed,
    protocol_of,
    score,
)
from igan_zoo.serving.scoring.statistics import DEFAULT_SEED, DEFAULT_SPLITS, Facts, Statistics, check_facts
from igan_zoo.serving.scoring.statistics_cache import cache_key, cached_path, find_statistics
from igan_zoo.serving.scoring.statistics_file import (
    holds_gaussian,
    keep_statistics,
    load_gaussian,
    load_statistics,
    save_statistics,
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """The metrics of one invocation, what their numbers depend on, and how images are gone through.

    ``cached`` is whether finished statistics are looked for, and kept, in the cache; ``bootstrap`` how many draws give
    standard errors, 0 for none.
    """

    metrics: tuple[Metric, ...]
    splits: int = DEFAULT_SPLITS
    seed: int = DEFAULT_SEED
    cached: bool = True
    bootstrap: int = 0
    manner: Manner = field(default_factory=Manner)

    @property
    def comparing(self) -> tuple[Metric, ...]:
        """Returns the metrics that need a reference."""
        return tuple(metric for metric in self.metrics if Protocol(metric, 1).needs_reference)

    def facts(self, source: ImageSource, network: Network, count: int | None = None) -> Facts:
        """Returns what the statistics of ``count`` images of a source, else of all, are to be of.

        Raises:
            DataError: there are not so many images.
            ScoringError: so many images allow no score, or the scorer not these metrics.
        """
        return self._facts(source, network, self.metrics, self.splits if OF_CLASSES & {*self.metrics} else None, count)

    def reference_facts(self, source: ImageSource, network: Network) -> Facts:
        """Returns the same for all images of a source that others are compared with, which need not fill the splits.

        Raises:
            ScoringError: so many images allow no score, or the scorer not these metrics.
        """
        # All others take no more than sums of the reference.
        metrics: list[Metric] = [metric if metric in OF_PAIRS else "fid" for metric in self.comparing]
        return self._facts(source, network, metrics, None, None)

    def _facts(
        self, source: ImageSource, network: Network, metrics: Sequence[Metric], splits: int | None, count: int | None
    ) -> Facts:
        """``splits`` None is as many as usual, or as there are images: no metric asks for them."""
        for metric in self.metrics:
            check_outputs(metric, network.name, features=network.features, classes=network.classes)
        images = len(choose_images(len(source), count, self.seed))
        if "fid-inf" in metrics:
            check_images(images)
        if "is-inf" in metrics and splits is not None:
            check_splits(splits, splits)
        protocols = [Protocol(metric, images) for metric in metrics]
        _, kept = images_needed(protocols, features=network.features, bootstrap=self.bootstrap > 0)
        facts = Facts(
            scorer=network.name,
            scorer_sha256=network.sha256,
            resize=network.resize,
            precision=network.precision,
            source=source.reference,
            images=images,
            features=network.features,
            classes=network.classes,
            kept=kept,
            splits=min(self.splits, images) if splits is None else splits,
            seed=self.seed,
        )
        check_facts(facts)
        # Reading everything once comes last.
        return msgspec.structs.replace(facts, fingerprint=source.fingerprint())


def find_or_gather(
    plan: Plan,
    source: ImageSource,
    network: Network,
    facts: Facts,
    *,
    shard: tuple[int, int] | None = None,
    out: Path | None = None,
    replace_out: bool = False,
    gather: Gather = gather_statistics,
) -> Statistics:
    """Returns statistics of these facts from ``out`` or the cache, else by ``gather``, and leaves them in both.

    What an interrupted run knows lies beside the file it was to become, so that the same call goes on from there.

    Raises:
        OutputError: ``out`` is something else, without ``replace_out``, or cannot be written; of the cache it is said.
        ImageError: an image does not decode, and the plan is strict.
        DataError, ScoringError: as ``gather_statistics``.
    """
    key = cache_key(facts, network.provider)
    kept = cached_path(key) if plan.cached and shard is None else None
    found = find_statistics(out, facts, shard) if out and not replace_out else None
    if out is not None and out.exists() and found is None and not replace_out:
        raise OutputError(f"{out} already exists with other contents; choose another file, or add --force.")
    place = out if found is not None else None
    if found is None and kept is not None:
        found, place = find_statistics(kept, facts), kept
    if found is None:
        place = None
        target = out or kept
        partial = target.with_name(f"{target.name}.{key[:8]}.partial") if target else None
        found = gather(source, network, facts, shard=shard, manner=replace(plan.manner, partial=partial))
    else:
        partial = None
        _LOG.info("%s was scored before; using its statistics from %s.", source.reference, place)
        if plan.manner.strict:
            refuse_skipped(found, source)
    if out is not None and place != out and find_statistics(out, facts, shard) is None:
        save_statistics(found, out)
    if kept is not None and place != kept and find_statistics(kept, facts, shard) is None:
        keep_statistics(found, kept)
    if partial is not None and partial.exists():
        partial.unlink()
    return found


def saved_reference(name: str) -> Reference | None:
    """Returns the reference that is a file of statistics or of a Gaussian; None where ``name`` means images.

    Raises:
        ScoringError: the file is missing or damaged.
    """
    path = Path(name)
    if path.suffix == ".safetensors":
        return Reference(name, statistics=load_statistics(path))
    if path.suffix == ".npz" and holds_gaussian(path):
        gaussian = load_gaussian(path)
        _LOG.info(
            "%s: only its mean and covariance are used; the file does not say which images and scorer they come from.",
            name,
        )
        return Reference(name, gaussian=gaussian)
    return None


def results(
    metrics: Sequence[Metric],
    statistics: Statistics,
    reference: Reference | None,
    *,
    subset_size: int | None = None,
    bootstrap: int = 0,
) -> list[Record]:
    """Returns the numbers of every metric, each under the name of as many images as there really are.

    Raises:
        ScoringError: as ``score``; and where the features that a comparison needs were not kept.
    """
    records = []
    for metric in metrics:
        protocol = protocol_of(metric, statistics)
        if metric in OF_SINGLE_IMAGES and protocol.images == 0:
            raise ScoringError(
                f"{statistics.name} keeps no features, which {metric} needs: score again with --metric {metric}."
            )
        records += score(protocol, statistics, reference, subset_size=subset_size, bootstrap=bootstrap)
    return records
