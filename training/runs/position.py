"""Where a run stands between two steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from igan_zoo.training.games.game import Losses


@dataclass
class Position:
    """Where a run stands: ``step`` steps into ``epoch``, and the sums of what those steps reported."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, losses: Losses) -> None:
        """Counts one step and what it reported."""
        self.step += 1
        for name, loss in losses.items():
            self.sums[name] = self.sums[name] + loss if name in self.sums else loss.double()

    def means(self) -> dict[str, float]:
        """Returns the means over the steps so far, by name; a checkpoint keeps no other order."""
        return {name: self.sums[name].item() / self.step for name in sorted(self.sums)}
