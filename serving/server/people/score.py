"""Scoring uploaded images while they arrive: memory does not grow with their number."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from igan_zoo.errors import ImageError
from igan_zoo.images.batches import Batch, WaitingImages
from igan_zoo.images.stored import StoredImage
from igan_zoo.models.spec import Variant, graph_file
from igan_zoo.serving.scoring.network import Network, network_of
from igan_zoo.serving.server.errors import QueueFullError
from igan_zoo.serving.server.models.decoding import Decoder, Pixels
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.people.running_score import RunningScore

# While the model's queue is full, a batch comes back this often, in seconds.
_PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def network(graph: HostedGraph, variant: Variant | None) -> Network:
    """Returns a served scorer or classifier as scoring knows it; blocks, as one image is answered for.

    Raises:
        InterfaceError: a scorer claims a name that is not its own.
    """
    directory = graph.model.directory
    if directory is None:
        sha256 = hashlib.sha256(graph.model.graph(graph.role)).hexdigest()
    else:
        chosen = variant if variant in directory.spec.variants(graph.role) else None
        sha256 = directory.spec.files[graph_file(graph.role, chosen)].sha256
    return network_of(graph.model, sha256, graph.engine)


async def running_lines(
    graph: HostedGraph,
    scorer: Network,
    images: AsyncIterator[StoredImage],
    decoder: Decoder,
    score: RunningScore,
    *,
    every: int,
) -> AsyncGenerator[dict[str, Any]]:
    """Adds all images to ``score`` and yields its line whenever ``every`` more are in it; the last one is the caller's.

    Images arrive and are decoded while the batch before them is answered for, and a line does not wait for them.

    Raises:
        UploadError: as ``images``.
        QueueFullError, DeadlineError: the model stays busy.
        ScoringError, OutputError: as ``RunningScore.add``.
    """
    waiting = WaitingImages(min(scorer.batch_size, every))
    shown, number, ended = 0, 0, False
    ready: deque[Batch] = deque()
    running: asyncio.Task[None] | None = None
    arriving: asyncio.Task[tuple[StoredImage, Pixels | ImageError] | None] | None = None

    async def answer(batch: Batch) -> None:
        logits = (await _run(graph, batch))["logits"]
        await asyncio.to_thread(score.add, batch.indices, logits)

    decoded = decoder.decoded(images, scorer.input)
    try:
        while not ended or ready or running is not None:
            if arriving is None and not ended and not ready:
                arriving = asyncio.create_task(anext(decoded, None))
            if running is None and ready:
                running = asyncio.create_task(answer(ready.popleft()))
            await asyncio.wait([task for task in (arriving, running) if task], return_when=asyncio.FIRST_COMPLETED)
            if running is not None and running.done():
                await running
                running = None
                # Only here nothing is being added.
                if score.images >= shown + every:
                    shown = score.images
                    yield await asyncio.to_thread(score.line)
            if arriving is not None and arriving.done():
                found, arriving = arriving.result(), None
                if found is None:
                    ended = True
                    ready += waiting.drain()
                elif isinstance(found[1], ImageError):
                    score.skip(number, str(found[1]))
                else:
                    ready += waiting.add(number, found[1])
                number += 1
    finally:
        await _stopped([task for task in (arriving, running) if task])
        await decoded.aclose()


def last_line(score: RunningScore, source: str, fingerprint: str, *, splits: int, seed: int) -> dict[str, Any]:
    """Returns the records of all images, and why the first of those that were left out are; blocks.

    Raises:
        DataError, ScoringError: as ``RunningScore.records``.
    """
    records = score.records(source, fingerprint, splits=splits, seed=seed)
    return {"records": msgspec.to_builtins(records), "left_out": score.left_out}


async def _stopped(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits for their end, whatever it is."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _run(graph: HostedGraph, batch: Batch) -> dict[str, Any]:
    """Runs a batch, and waits where others have filled the queue: whoever uploads then waits too."""
    for seconds in _PATIENCE:
        try:
            return await graph.run({"images": batch.images})
        except QueueFullError:
            await asyncio.sleep(seconds)
    return await graph.run({"images": batch.images})
