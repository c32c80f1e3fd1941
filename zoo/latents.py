"""Addressed latents (contract 3): image ``i`` of seed ``s`` has the same latent in every batch, shard and process.

The stream is Philox 4x64, keyed by the seed. Each latent of size ``L`` owns a run of ``ceil(L / 4)`` counter values,
latent ``i`` starting at ``i`` times that, so any range is computed without the ones before it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Distribution = Literal["uniform", "symmetric-uniform", "normal"]

# Seeds from 2**63 on are for what belongs to a model and not to its samples: the latents that population statistics are
# measured on, and those of reference batches, which add the run's seed.
POPULATION_SEED = 2**63
REFERENCE_SEED = 2**63 + 1

_WORDS_PER_COUNTER = 4
_STEP = 2.0**-24


def latents(size: int, distribution: Distribution, *, seed: int, start: int, count: int) -> NDArray[np.float32]:
    """Returns latents ``start`` to ``start + count - 1`` of ``seed``, float32 ``[count, size]``.

    ``uniform`` is [0, 1), ``symmetric-uniform`` [-1, 1), both on a grid of 24 bits; ``normal`` has mean 0 and variance
    1 (Box-Muller in float64).

    Raises:
        ValueError: the seed is not in 0..2**64-1, or start or count is negative.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed must be in 0..2**64-1, got {seed}")
    if start < 0 or count < 0:
        raise ValueError(f"start and count must not be negative, got {start} and {count}")
    if distribution == "normal":
        return _normal(_words(size + size % 2, seed, start, count))[:, :size]
    uniform = (_words(size, seed, start, count) >> np.uint64(40)).astype(np.float32) * np.float32(_STEP)
    return uniform if distribution == "uniform" else uniform * np.float32(2) - np.float32(1)


def _words(size: int, seed: int, start: int, count: int) -> NDArray[np.uint64]:
    counters = -(-size // _WORDS_PER_COUNTER)
    stream = np.random.Philox(key=seed, counter=start * counters)
    words = stream.random_raw(count * counters * _WORDS_PER_COUNTER)
    return words.reshape(count, counters * _WORDS_PER_COUNTER)[:, :size]


def _normal(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    # The half step keeps the logarithm's argument away from zero.
    uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[:, 0::2]))
    angle = 2.0 * np.pi * uniform[:, 1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=2)  # (count, size / 2, 2)
    return pairs.reshape(words.shape).astype(np.float32)
