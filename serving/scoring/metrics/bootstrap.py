"""Standard errors by the bootstrap (Efron, 1979), for the numbers that have no formula of their error.

Images are drawn from each side, as many as there are, with replacement; the spread of the score over such draws
estimates the spread over other sets of images. Its mean says nothing: repeated images add a bias of their own.

Metrics of nearest neighbors are left out on purpose: a repeated image is its own neighbor at distance 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from igan_zoo.machine.progress import Progress

Features = NDArray[np.float32]


def bootstrap_error(score: Callable[..., float], *sides: Features, draws: int, seed: int) -> float:
    """Returns the standard deviation of ``score(*sides)`` over ``draws`` draws of the rows of each side ``[N, F]``."""
    random = np.random.RandomState(seed)
    scores = np.empty(draws)
    with Progress("bootstrap", draws, unit="draws") as bar:
        for index in range(draws):
            scores[index] = score(*(side[random.randint(len(side), size=len(side))] for side in sides))
            bar.advance(1)
    return float(scores.std(ddof=1))
