"""Drawing images from an exported generator by their address (seed, index)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from igan_zoo.latents import Distribution, latents
from igan_zoo.machine.threads import thread_pool
from igan_zoo.serving.engine import Engine


def sample(
    engine: Engine,
    distribution: Distribution,
    *,
    seed: int,
    start: int,
    count: int,
    batch_size: int,
    at_once: int = 1,
) -> Iterator[NDArray[np.uint8]]:
    """Yields images ``start`` to ``start + count - 1`` of ``seed`` in batches, uint8 ``[n, H, W, C]``.

    ``at_once`` batches run at the same time: an engine of one thread is then faster than one whose threads share each
    batch, because nobody waits for the slowest at the end of every operator.
    """
    (size,) = engine.graphs["generator"].input_shape

    def drawn(first: int) -> NDArray[np.uint8]:
        n = min(batch_size, start + count - first)
        z = latents(size, distribution, seed=seed, start=first, count=n)
        return engine.run("generator", {"latent": z})["images"]

    if at_once == 1:
        yield from map(drawn, range(start, start + count, batch_size))
        return
    running: deque[Future[NDArray[np.uint8]]] = deque()
    with thread_pool(at_once) as pool:
        try:
            for first in range(start, start + count, batch_size):
                running.append(pool.submit(drawn, first))
                # One waits to be taken while the others run.
                if len(running) > at_once:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
