"""Historical averaging: a player pays for its distance from the average of its past parameters (section 3.3 of the
paper).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class HistoricalAverage:
    """The online average of one player's parameters, and the term it adds to that player's cost.

    The term is ``weight · ||θ - (1/t) Σᵢ θ[i]||²`` over all ``parameters`` together, where ``θ[1] … θ[t]`` are their
    values at the ``t`` calls of :meth:`update`. It needs the memory of one copy of the parameters, however long the
    history. ``averages`` and ``updates`` are the whole state, for a checkpoint
    (:func:`igan_zoo.training.runs.checkpoints.history_tensors`).

    The average has the parameters' dtype. It moves by the new difference divided by ``t``, which float32 loses if it is
    below the average's last digit: after ``t`` updates, the relative error may be ``t · 6e-8``.

    The 2016 code has no historical averaging; this follows the paper, which gives no weight.
    """

    def __init__(self, parameters: Iterable[Tensor], weight: float) -> None:
        self.weight = weight
        self.updates = 0
        self._parameters = list(parameters)
        self.averages = [torch.zeros_like(parameter, requires_grad=False) for parameter in self._parameters]

    def penalty(self) -> Tensor:
        """Returns the term to add to the loss, a scalar; 0 before the first update.

        The average counts as a constant, so the gradient is ``2 · weight · (θ - average)``.
        """
        if self.updates == 0:
            return self._parameters[0].new_zeros(())
        differences = torch._foreach_sub(self._parameters, self.averages)
        squares = torch._foreach_mul(differences, differences)
        return self.weight * torch.stack([square.sum() for square in squares]).sum()

    @torch.no_grad()
    def update(self) -> None:
        """Adds the current parameters to the average; call it after the optimizer's step."""
        self.updates += 1
        torch._foreach_lerp_(self.averages, self._parameters, 1.0 / self.updates)
