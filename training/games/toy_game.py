"""The minimax game of section 3.3 of the paper, by gradient descent and with historical averaging.

One player controls x and minimizes ``V(x, y) = (f(x) - 1)(y - 1)``, the other controls y and minimizes ``-V``, where
``f(x) = x`` for negative x and ``x²`` otherwise. The only equilibrium is (1, 1). For x > 0 and in the limit of small
steps, gradient descent keeps ``(y - 1)²/2 + x²/4 - log(x)/2`` constant: closed orbits. Steps of size η widen them, near
the equilibrium by a factor of ``sqrt(1 + 4η²)`` each.

With historical averaging of weight w, once the distance to the equilibrium is small, it falls like ``t`` to the power
of ``-1 / (1 + w²)`` after ``t`` steps: the players settle where the game's slope balances the pull toward their
averages, and the averages follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igan_zoo.machine.files import atomic_file
from igan_zoo.training.games.historical import HistoricalAverage

EQUILIBRIUM = (1.0, 1.0)


@dataclass(frozen=True)
class ToyGame:
    """How the game is played. The paper gives no numbers; these are ours.

    The starts are a grid of ``side`` by ``side`` points, up to 3 from the equilibrium in each direction. None has x =
    0: there f' is 0, and no gradient ever moves that player.
    """

    learning_rate: float = 0.015
    weight: float = 0.15
    steps: int = 4000
    side: int = 12

    def starts(self) -> NDArray[np.float64]:
        """Returns the starting points (x, y), ``[side², 2]``."""
        line = np.linspace(-2.0, 4.0, self.side)
        return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)

    def play(self) -> dict[str, Outcome]:
        """Plays from all starts, by each method."""
        weights = {"gradient descent": None, f"historical averaging, weight {self.weight}": self.weight}
        return {
            method: Outcome(play(self.starts(), learning_rate=self.learning_rate, weight=weight, steps=self.steps))
            for method, weight in weights.items()
        }


def value(x: Tensor, y: Tensor) -> Tensor:
    """Returns V(x, y), which the first player minimizes and the second maximizes."""
    return (torch.where(x < 0, x, x.square()) - 1) * (y - 1)


def gradients(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each player's gradient in its own variable: of V in x, and of -V in y."""
    return torch.where(x < 0, 1.0, 2 * x) * (y - 1), 1 - torch.where(x < 0, x, x.square())


def play(starts: NDArray[np.float64], *, learning_rate: float, weight: float | None, steps: int) -> NDArray[np.float64]:
    """Plays from many starts at once, both players moving at the same time; returns where they were.

    Args:
        starts: points (x, y), ``[N, 2]``.
        learning_rate: the step size of both players.
        weight: of the historical averaging of both players; None is plain gradient descent.
        steps: how many.

    Returns:
        The points before the first step and after each one, ``[steps + 1, N, 2]``.
    """
    players = torch.tensor(starts).T.contiguous().requires_grad_()  # [2, N], x and y
    # One average for both players: each player's term has no gradient in the other.
    history = None if weight is None else HistoricalAverage([players], weight)
    points = torch.empty(steps + 1, 2, len(starts), dtype=torch.float64)
    points[0] = players.detach()
    for step in range(1, steps + 1):
        players.grad = torch.stack(gradients(*players.detach()))
        if history is not None and history.updates:
            history.penalty().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            players.sub_(players.grad, alpha=learning_rate)
        if history is not None:
            history.update()
        points[step] = players.detach()
    return points.transpose(1, 2).numpy()


@dataclass(frozen=True)
class Outcome:
    """The paths of one method: ``points`` is ``[steps + 1, N, 2]``. "The end" is the last fifth of the steps."""

    points: NDArray[np.float64]

    # A start has converged when it stays this close to the equilibrium at the end.
    converged_below = 0.1

    def distances(self) -> NDArray[np.float64]:
        """Returns the distance to the equilibrium of every start at every step, ``[steps + 1, N]``."""
        return np.asarray(np.linalg.norm(self.points - EQUILIBRIUM, axis=2))

    def at_the_end(self) -> NDArray[np.float64]:
        """Returns the distances in the last fifth of the steps, ``[steps / 5, N]``."""
        distances = self.distances()
        return distances[-((len(distances) - 1) // 5) :]

    def summary(self) -> dict[str, Any]:
        """Returns the number of starts, how many converged, and their distances to the equilibrium."""
        end = self.at_the_end()
        return {
            "starts": end.shape[1],
            "converged": int((end.max(axis=0) < self.converged_below).sum()),
            "median_final_distance": float(np.median(end[-1])),
            "largest_final_distance": float(end[-1].max()),
            "smallest_distance_at_the_end": float(end.min()),
            "largest_distance_at_the_end": float(end.max()),
        }


def draw_game(path: Path, outcomes: dict[str, Outcome], start: int = 0) -> None:
    """Writes a PNG: for each method, the path from one start through the plane, and the distances of all starts over
    time.

    Raises:
        OutputError: ``path`` cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    *planes, over_time = figure.subplots(1, len(outcomes) + 1)
    for index, (plane, (method, outcome)) in enumerate(zip(planes, outcomes.items(), strict=True)):
        way = outcome.points[:, start]
        plane.plot(*way.T, linewidth=0.6, color=f"C{index}")
        plane.plot(*way[0], "o", color=f"C{index}", label="start")
        plane.plot(*EQUILIBRIUM, "k+", markersize=12, label="equilibrium")
        plane.set(title=method, xlabel="x", ylabel="y")
        plane.legend(loc="upper right")

        distances = outcome.distances()
        steps = np.arange(len(distances))
        over_time.plot(steps, np.median(distances, axis=1), color=f"C{index}", label=method)
        lowest, highest = distances.min(axis=1), distances.max(axis=1)
        over_time.fill_between(steps, lowest, highest, color=f"C{index}", alpha=0.25, linewidth=0)
    starts = len(distances[0])
    over_time.set(title=f"distance to the equilibrium, {starts} starts", xlabel="step", yscale="log")
    over_time.legend(loc="lower left", title="median, and all between")
    for axes in (*planes, over_time):
        axes.grid(alpha=0.3)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)
