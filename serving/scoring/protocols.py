"""The protocols by name, ``is50k`` or ``kid5k``: what they need of a set of images, and their results as records.

A name says the metric and how many images it is of: scores of different numbers of images do not compare.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from igan_zoo.counts import counted
from igan_zoo.errors import ScoringError, UnknownNameError
from igan_zoo.serving.scoring.metrics.kernel_distance import DEFAULT_SUBSET_SIZE
from igan_zoo.serving.scoring.numbers import METRICS, NUMBERS, Comparison, Metric, Reference
from igan_zoo.serving.scoring.statistics import Statistics, check_complete

# They look at classes; all others at features.
OF_CLASSES: frozenset[Metric] = frozenset({"is", "is-inf"})
WITHOUT_REFERENCE: frozenset[Metric] = OF_CLASSES | {"vendi"}
# They compare the single images of both sides, whose features have to be kept; and those that do so of one side alone.
OF_PAIRS: frozenset[Metric] = frozenset({"kid", "kid-rbf", "pr", "dc"})
OF_SINGLE_IMAGES: frozenset[Metric] = OF_PAIRS | {"fid-inf", "vendi"}
# They draw subsets of --subset-size.
OF_SUBSETS: frozenset[Metric] = frozenset({"kid", "kid-rbf"})
_NAME = re.compile(rf"({'|'.join(METRICS)})([1-9][0-9]*)(k?)")


@dataclass(frozen=True)
class Protocol:
    """A metric of so many images."""

    metric: Metric
    images: int

    @property
    def name(self) -> str:
        """``is50k`` for 50,000 images, ``is160`` for 160."""
        thousands, rest = divmod(self.images, 1000)
        return f"{self.metric}{self.images}" if rest else f"{self.metric}{thousands}k"

    def name_with(self, scorer: str) -> str:
        """The name with a scorer: ``fid50k`` and ``kid50k`` are Inception's alone, another's are ``fd50k-SCORER``."""
        if scorer == INCEPTION or self.metric not in _DISTANCES:
            return self.name
        return f"{_DISTANCES[self.metric]}{self.name.removeprefix(self.metric)}-{scorer}"

    @property
    def needs_reference(self) -> bool:
        """Whether the metric compares with other images."""
        return self.metric not in WITHOUT_REFERENCE


def find_protocol(name: str) -> Protocol:
    """Returns the protocol of a name such as ``fid50k``.

    Raises:
        UnknownNameError: the name is not of that form.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UnknownNameError(f"There is no protocol {name!r}: write {', '.join(METRICS)} and a number, as is50k.")
    metric, number, thousands = match.groups()
    return Protocol(cast("Metric", metric), int(number) * (1000 if thousands else 1))


def images_needed(protocols: Sequence[Protocol], *, features: int, bootstrap: bool = False) -> tuple[int, int]:
    """Returns how many images the protocols take, and of how many the features must be kept: ``Facts``' numbers.

    ``OF_SINGLE_IMAGES`` need them; so do FID where there are no more images than features, where that is exact and
    faster, and its ``bootstrap``. ``features`` is the scorer's number of them.

    Raises:
        ScoringError: the protocols cannot be computed of the same statistics.
    """
    sums = {protocol.images for protocol in protocols if protocol.metric not in OF_SINGLE_IMAGES}
    single = [protocol.images for protocol in protocols if protocol.metric in OF_SINGLE_IMAGES]
    images = max([*sums, *single], default=0)
    if len(sums) > 1 or (sums and sums != {images}):
        names = ", ".join(protocol.name for protocol in protocols)
        raise ScoringError(f"{names} cover different images: compute them one after another.")
    compared = any(protocol.metric in ("fid", "fid-inf") for protocol in protocols)
    everything = compared and (images <= features or bootstrap)
    return images, images if everything else max(single, default=0)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One number, and everything that it depends on; one line of JSON.

    ``metric`` is what to call the number, with the scorer's name unless it is the network of 2015; ``quantity`` tells
    the numbers of one protocol apart, and ``label`` those of single classes. ``standard_error`` is None where none is
    known; ``deviation`` is the spread over splits or subsets that other tools print. ``skipped`` images of the source
    do not decode and are not among ``images``.
    """

    protocol: str
    metric: str
    quantity: str
    value: float
    standard_error: float | None = None
    deviation: float | None = None
    images: int
    skipped: int = 0
    splits: int
    seed: int
    scorer: str
    scorer_sha256: str
    resize: str
    precision: str
    source: str
    fingerprint: str = ""
    reference: str | None = None
    reference_fingerprint: str | None = None
    label: str | None = None
    provider: str | None = None
    time: str | None = None
    versions: dict[str, str] = msgspec.field(default_factory=dict)


# The only scorer whose numbers have a name without it: the network of 2015-12-05, of its published weights.
INCEPTION = "inception-2015-12-05"
# The same weights, resized as clean-fid does, and with the features of sFID.
INCEPTION_CLEAN, INCEPTION_SPATIAL = f"{INCEPTION}-clean", f"{INCEPTION}-spatial"
INCEPTION_WEIGHTS = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

# What the protocols of distances are called with another scorer.
_DISTANCES: Mapping[Metric, str] = {"fid": "fd", "kid": "kd", "fid-inf": "fd-inf", "kid-rbf": "kd-rbf"}

# What a metric is called with that scorer, and with another one.
_LABELS: Mapping[Metric, tuple[str, str]] = {
    "is": ("Inception score", "classifier score"),
    "fid": ("FID", "Fréchet distance"),
    "kid": ("KID", "kernel distance"),
    "pr": ("precision and recall", "precision and recall"),
    "dc": ("density and coverage", "density and coverage"),
    "is-inf": ("Inception score, extrapolated", "classifier score, extrapolated"),
    "fid-inf": ("FID, extrapolated", "Fréchet distance, extrapolated"),
    "kid-rbf": ("KID, RBF kernel", "kernel distance, RBF kernel"),
    "vendi": ("Vendi score", "Vendi score"),
}


def metric_label(metric: Metric, scorer: str, precision: str = "fp32") -> str:
    """Returns what to call a metric: ``FID``, or ``Fréchet distance (efficientnet-lite0-57934424)``."""
    ours, others = _LABELS[metric]
    label = ours if scorer == INCEPTION else f"{others} ({scorer})"
    return label if precision == "fp32" else f"{label}, {precision} preview"


def score(
    protocol: Protocol,
    statistics: Statistics,
    reference: Reference | None = None,
    *,
    subset_size: int | None = None,
    bootstrap: int = 0,
) -> list[Record]:
    """Returns the numbers of a protocol. ``subset_size`` is KID's, else 1000.

    ``bootstrap`` is how many draws give the standard errors that have no formula, 0 for none.

    Raises:
        ScoringError: the statistics are not what the protocol is of, or there is no reference that it can compare with.
    """
    check_complete(statistics)
    _check_numbers(protocol, statistics)
    facts = statistics.facts
    check_outputs(protocol.metric, facts.scorer, features=facts.features, classes=facts.classes)
    comparison = Comparison(statistics, reference, subset_size or DEFAULT_SUBSET_SIZE, bootstrap)
    return [
        Record(
            protocol=protocol.name_with(facts.scorer),
            metric=metric_label(protocol.metric, facts.scorer, facts.precision),
            quantity=number.quantity,
            value=number.value,
            standard_error=number.standard_error,
            deviation=number.deviation,
            images=protocol.images,
            skipped=int(statistics.skipped.sum()),
            splits=facts.splits,
            seed=facts.seed,
            scorer=facts.scorer,
            scorer_sha256=facts.scorer_sha256,
            resize=facts.resize,
            precision=facts.precision,
            source=facts.source,
            fingerprint=facts.fingerprint,
            reference=reference.name if reference is not None and protocol.needs_reference else None,
            reference_fingerprint=_fingerprint(reference) if protocol.needs_reference else None,
        )
        for number in NUMBERS[protocol.metric](comparison)
    ]


def protocol_of(metric: Metric, statistics: Statistics) -> Protocol:
    """Returns the protocol of as many images as the statistics have for a metric: skipped ones are none."""
    return Protocol(metric, len(statistics.kept_features) if metric in OF_SINGLE_IMAGES else statistics.count)


def check_outputs(metric: Metric, scorer: str, *, features: int, classes: int) -> None:
    """Refuses a metric of features or classes to a scorer that gives none.

    Raises:
        ScoringError: it has no features, or no logits.
    """
    if metric in OF_CLASSES and not classes:
        raise ScoringError(
            f"{metric} scores classes, and the encoder {scorer} gives only features: use a scorer with logits, or "
            "--metric fid."
        )
    if metric not in OF_CLASSES and not features:
        raise ScoringError(
            f"{metric} compares features, and the classifier {scorer} gives only classes: take a scorer with features, "
            "or --metric is."
        )


def _fingerprint(reference: Reference | None) -> str | None:
    if reference is None or reference.statistics is None:
        return None
    return reference.statistics.facts.fingerprint


def _check_numbers(protocol: Protocol, statistics: Statistics) -> None:
    of_all = protocol.metric not in OF_SINGLE_IMAGES
    there = protocol_of(protocol.metric, statistics).images
    if there != protocol.images:
        what = "covers" if of_all else "keeps the features of"
        raise ScoringError(f"{protocol.name} cannot be computed: {statistics.name} {what} {counted(there, 'image')}.")
