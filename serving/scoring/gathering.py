"""Gathers the statistics of a source's images: batches are scored as they come, and a kill loses seconds of work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DataError, ImageError, ScoringError
from igan_zoo.images.batches import Batch, ImageBatches
from igan_zoo.images.stored import ImageSource
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.scoring.accumulator import Accumulator
from igan_zoo.serving.scoring.network import Network, Scores
from igan_zoo.serving.scoring.statistics import Facts, Statistics, merge, shard_range
from igan_zoo.serving.scoring.statistics_file import keep_statistics, load_statistics

# Writing what is known of 2,048 features takes a fraction of a second.
DEFAULT_SECONDS_BETWEEN_SAVES = 30.0


@dataclass(frozen=True)
class Manner:
    """How a source is gone through, which changes no bit of what comes out.

    ``batch_size`` None is the network's own. ``partial`` is the file that keeps what is known so far, every
    ``save_every`` seconds; None keeps nothing. ``shown`` is whether progress is.
    """

    batch_size: int | None = None
    threads: int | None = None
    strict: bool = False
    partial: Path | None = None
    save_every: float = DEFAULT_SECONDS_BETWEEN_SAVES
    shown: bool = True


class Gather(Protocol):
    """What gathers the statistics of a source: ``gather_statistics``, or something that does it elsewhere."""

    def __call__(
        self,
        source: ImageSource,
        network: Network,
        facts: Facts,
        *,
        shard: tuple[int, int] | None = None,
        manner: Manner | None = None,
    ) -> Statistics: ...


def choose_images(total: int, count: int | None, seed: int) -> NDArray[np.int64]:
    """Returns which ``count`` of ``total`` images are scored, ascending, int64 ``[count]``: all, or a seeded choice.

    Not the first ones: in the order of their classes these would be of few classes.

    Raises:
        DataError: there are not so many.
    """
    if count is None or count == total:
        return np.arange(total)
    if count > total:
        raise DataError(f"The source has {counted(total, 'image')} instead of {count:,}: use a smaller --n.")
    return np.sort(np.random.RandomState(seed).permutation(total)[:count]).astype(np.int64)


def answers(batches: ImageBatches, network: Network) -> Iterator[tuple[Batch, Scores, Scores]]:
    """Yields each batch with its features ``[n, F]`` and logits ``[n, K]``, the next being decoded meanwhile.

    In the loop's body ``batches.done`` and ``batches.skipped`` are as ``ImageBatches`` has them.

    Raises:
        ImageError, DataError: as ``ImageBatches``.
    """
    for batch in batches:
        yield batch, *network.answer(batch.images)


def gather_statistics(
    source: ImageSource,
    network: Network,
    facts: Facts,
    *,
    shard: tuple[int, int] | None = None,
    manner: Manner | None = None,
) -> Statistics:
    """Scores the images of a source, or of one shard of it, and returns their statistics.

    The same bits come out in one go, in any batches, after any kill and of any shards merged: images are added as
    whole numbers, and an image's split is fixed by its number. That takes a network whose answer for an image does not
    depend on its batch, as onnxruntime's convolutions and matrix products do not.

    Raises:
        ImageError: an image does not decode, and the manner is strict.
        DataError: the source broke, or none of its images decodes.
        ScoringError: the scorer's answers cannot be summed, or there is no such shard.
    """
    manner = manner or Manner()
    chosen = choose_images(len(source), facts.images, facts.seed)
    numbers = shard_range(facts.images, *shard) if shard else range(facts.images)
    known = _known(manner.partial, facts, shard)
    if known is not None and manner.strict:
        refuse_skipped(known, source)
    start = int(known.done.sum()) if known is not None else 0
    accumulator = Accumulator(facts, shard=shard)

    def so_far() -> Statistics:
        fresh = accumulator.statistics()
        return fresh if known is None else replace(merge([known, fresh], partial=True), shard=shard)

    order = chosen[numbers.start : numbers.stop]
    batches = ImageBatches(
        source,
        order,
        manner.batch_size or network.batch_size,
        network.input,
        start=start,
        strict=manner.strict,
        threads=manner.threads,
    )
    noted, saved, partial = 0, time.monotonic(), manner.partial
    title = f"scoring {source.reference}"
    with Progress(title, len(order), unit="images", done=start, shown=manner.shown) as bar:
        for batch, features, logits in answers(batches, network):
            accumulator.add(np.searchsorted(chosen, batch.indices), features, logits)
            bar.advance(len(batch))
            # Only where no image waits is what is done a beginning of the order.
            noted = _note_skipped(batches, accumulator, chosen, noted)
            due = time.monotonic() - saved >= manner.save_every
            if partial is not None and due and accumulator.done == batches.done - start:
                partial = partial if keep_statistics(so_far(), partial) else None
                saved = time.monotonic()
    _note_skipped(batches, accumulator, chosen, noted)
    return so_far()


def refuse_skipped(statistics: Statistics, source: ImageSource) -> None:
    """Refuses statistics that lack an image which does not decode.

    Raises:
        ImageError: names the first one.
    """
    skipped = skipped_images(statistics, source, most=1)
    if skipped:
        raise ImageError(skipped[0])


def skipped_images(statistics: Statistics, source: ImageSource, *, most: int) -> list[str]:
    """Returns a sentence for each of the first ``most`` images that do not decode: which one, and why."""
    chosen = choose_images(len(source), statistics.facts.images, statistics.facts.seed)
    sentences = []
    for index in chosen[statistics.skipped][:most]:
        try:
            source.fetch([int(index)])[0].decode()
        except ImageError as error:
            sentences.append(str(error))
    return sentences


def _note_skipped(batches: ImageBatches, accumulator: Accumulator, chosen: NDArray[np.int64], noted: int) -> int:
    fresh = [skipped.index for skipped in batches.skipped[noted:]]
    accumulator.skip(np.searchsorted(chosen, np.array(fresh, np.int64)))
    return len(batches.skipped)


def _known(partial: Path | None, facts: Facts, shard: tuple[int, int] | None) -> Statistics | None:
    """Returns what an interrupted run of the same facts has left; a file of anything else is as good as none."""
    if partial is None or not partial.is_file():
        return None
    try:
        known = load_statistics(partial)
    except ScoringError:
        return None
    return known if (known.facts, known.shard) == (facts, shard) else None
