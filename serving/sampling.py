"""Drawing images from an exported generator by their address (seed, index)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from igan_zoo.latents import Distribution, latents
from igan_zoo.serving.engine import Engine


def sample(
    engine: Engine, distribution: Distribution, *, seed: int, start: int, count: int, batch_size: int
) -> Iterator[NDArray[np.uint8]]:
    """Yields images ``start`` to ``start + count - 1`` of ``seed`` in batches, uint8 ``[n, H, W, C]``."""
    (size,) = engine.graphs["generator"].input_shape
    for first in range(start, start + count, batch_size):
        n = min(batch_size, start + count - first)
        z = latents(size, distribution, seed=seed, start=first, count=n)
        yield engine.run("generator", {"latent": z})["images"]
