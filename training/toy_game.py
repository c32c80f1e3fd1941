"""The minimax game of section 3.3 of the paper, by gradient descent and with historical averaging.

One player controls x and minimizes ``V(x, y) = (f(x) - 1)(y - 1)``, the other controls y and minimizes ``-V``, where
``f(x) = x`` for negative x and ``x²`` otherwise. The only equilibrium is (1, 1). For x > 0 and in the limit of small
steps, gradient descent keeps ``(y - 1)²/2 + x²/4 - log(x)/2`` constant: closed orbits. Steps of size η add to that, near
the equilibrium a factor of ``sqrt(1 + 4η²)`` each.

With historical averaging of weight w, the distance to the equilibrium falls, once it is small, like ``t`` to the power
of ``-1 / (1 + w²)`` after ``t`` steps: each player settles where the other's slope and the pull to its average are equal,
and the averages follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igan_zoo.files import atomic_file
from igan_zoo.training.historical import HistoricalAverage

EQUILIBRIUM = (1.0, 1.0)
# A start counts as converged when it stays this close over the last fifth of its steps.
CONVERGED_BELOW = 0.1


@dataclass(frozen=True)
class ToyGame:
    """How the game is played. The paper gives no numbers; these are ours.

    The starts are a square of ``side`` by ``side`` points around the equilibrium, three to each side. None of them has
    x = 0: f'(0) = 0, so that no gradient ever moves that player.
    """

    learning_rate: float = 0.015
    weight: float = 0.15
    steps: int = 4000
    side: int = 12

    def starts(self) -> NDArray[np.float64]:
        """Returns the starting points (x, y), ``[side², 2]``."""
        line = np.linspace(-2.0, 4.0, self.side)
        return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def value(x: Tensor, y: Tensor) -> Tensor:
    """Returns V(x, y), which the first player minimizes and the second maximizes."""
    return (_f(x) - 1) * (y - 1)


def _f(x: Tensor) -> Tensor:
    return torch.where(x < 0, x, x.square())


def _slope(x: Tensor) -> Tensor:
    return torch.where(x < 0, 1.0, 2 * x)


def gradients(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the gradient of each player's cost in its own variable: of V in x, of -V in y."""
    return _slope(x) * (y - 1), 1 - _f(x)


def play(
    starts: NDArray[np.float64], *, learning_rate: float, weight: float | None, steps: int
) -> NDArray[np.float64]:
    """Plays from many starts at once, both players moving at the same time; returns where they were.

    Args:
        starts: points (x, y), ``[N, 2]``.
        learning_rate: the step size of both players.
        weight: of the historical averaging of both players; None is plain gradient descent.
        steps: how many.

    Returns:
        The points before the first step and after each one, ``[steps + 1, N, 2]``.
    """
    x, y = (torch.tensor(starts[:, player], requires_grad=True) for player in (0, 1))
    # One average for both players' parameters: the term of the one has no gradient in the other.
    history = None if weight is None else HistoricalAverage([x, y], weight)
    points = torch.empty(steps + 1, 2, len(starts), dtype=torch.float64)
    points[0] = torch.from_numpy(starts.T)
    for step in range(1, steps + 1):
        x.grad, y.grad = gradients(x.detach(), y.detach())
        if history is not None and history.updates:
            history.penalty().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            torch._foreach_add_([x, y], [x.grad, y.grad], alpha=-learning_rate)
        if history is not None:
            history.update()
        points[step, 0], points[step, 1] = x.detach(), y.detach()
    return points.transpose(1, 2).numpy()
