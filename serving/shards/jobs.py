"""What a large piece of work is, cut into shards: everything that its bits depend on, and no engine."""

from __future__ import annotations

from typing import Literal

import msgspec

from igan_zoo.images.pixels import Shape
from igan_zoo.latents import Distribution
from igan_zoo.serving.engine import Device
from igan_zoo.serving.scoring.statistics import Facts

# A shard is what a lost worker costs, so it is small; but starting one takes milliseconds.
_LARGEST_SAMPLE_SHARD = 4096
_SHARDS_WANTED = 64
# The sums over 2,048 features are 33 MB whatever they are of.
_SMALLEST_SCORE_SHARD = 1000
_LARGEST_SCORE_SHARD = 50_000


class SampleJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="sample"):
    """Drawing images ``start`` to ``start + count - 1`` of ``seed``.

    ``generator`` and ``batched`` are sums of the plain graph and of the one for CPUs. ``shard_size`` is a multiple of
    ``batch_size``, so that every batch is one of the undivided work and has its bits. ``encoded`` is whether shards
    hold PNG files, which take longer than many an image, and not pixels.
    """

    generator: str
    batched: str | None
    distribution: Distribution
    device: Device
    seed: int
    start: int
    count: int
    batch_size: int
    shard_size: int
    encoded: bool
    versions: dict[str, str]

    @property
    def total(self) -> int:
        """How many images there are."""
        return self.count

    @property
    def shards(self) -> int:
        """How many shards there are, numbered from 0."""
        return -(-self.count // self.shard_size)

    def images(self, number: int) -> range:
        """Returns the indices of the images of shard ``number``."""
        first = self.start + number * self.shard_size
        return range(first, min(first + self.shard_size, self.start + self.count))


class StoredSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="stored"):
    """Images that every worker reaches under the same reference, ``images`` of them."""

    reference: str
    split: str | None
    images: int


class DrawnSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="drawn"):
    """Images 0 to ``count - 1`` of ``seed`` that a generator of the sum ``generator`` draws as they are scored."""

    name: str
    generator: str
    distribution: Distribution
    count: int
    seed: int


class ScoreJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="score"):
    """Gathering the statistics of ``facts``, cut as ``igan-zoo score --shard I/K`` cuts them.

    ``shape`` is None of a scorer, as in ``Network``; the graph's sum is in the facts.
    """

    facts: Facts
    shards: int
    shape: Shape | None
    source: StoredSource | DrawnSource
    device: Device
    batch_size: int | None
    strict: bool
    versions: dict[str, str]

    @property
    def total(self) -> int:
        """How many images there are."""
        return self.facts.images

    def images(self, number: int) -> range:
        """Returns the numbers of the images of shard ``number``, counted from 0."""
        total = self.facts.images
        return range(number * total // self.shards, (number + 1) * total // self.shards)


Job = SampleJob | ScoreJob
Kind = Literal["sample", "score"]


def sample_shard_size(count: int, batch_size: int) -> int:
    """Returns how many images a shard of samples has by default: whole batches, which depend on no worker."""
    wanted = min(-(-count // _SHARDS_WANTED), _LARGEST_SAMPLE_SHARD)
    return max(1, -(-wanted // batch_size)) * batch_size


def score_shards(images: int, shard_size: int | None) -> int:
    """Returns into how many shards a score of so many images is cut."""
    wanted = -(-images // _SHARDS_WANTED)
    size = shard_size or min(max(wanted, _SMALLEST_SCORE_SHARD), _LARGEST_SCORE_SHARD)
    return -(-images // size)


def difference(one: Job, other: Job) -> str:
    """Returns the first thing in which two jobs differ, in words: ``seed 3 instead of 7``."""
    if type(one) is not type(other):
        return f"a {_kind(one)} instead of a {_kind(other)}"
    for field in one.__struct_fields__:
        values = getattr(one, field), getattr(other, field)
        if isinstance(values[0], Facts):
            values, field = _first_difference(values[0], values[1], field)
        if values[0] != values[1]:
            return f"{field.replace('_', ' ')} {values[0]} instead of {values[1]}"
    return "nothing"


def _first_difference(one: Facts, other: Facts, name: str) -> tuple[tuple[object, object], str]:
    for field in Facts.__struct_fields__:
        if getattr(one, field) != getattr(other, field):
            return (getattr(one, field), getattr(other, field)), field
    return (one, other), name


def _kind(job: Job) -> Kind:
    return "sample" if isinstance(job, SampleJob) else "score"
