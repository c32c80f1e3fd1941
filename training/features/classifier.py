"""The result of a run on features: the classifiers of several games as one, calibrated, and logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.training.features.preparation import Preparation

# Lower limit of the logarithm of a mean, far below any real value.
LEAST = 1e-30
_TEMPERATURES = tuple(1.15**power for power in range(-14, 15))


class FeatureClassifier(nn.Module):
    """Features ``[N, F]`` to logits, probabilities ``[N, K]`` and realness ``[N]``, as contract 2 has them.

    Probabilities are the mean over the members, or those of ``linear`` if ``keeps_linear``, at a ``temperature``. The
    realness is the mean of the members' Z / (Z + 1) in either case. The logits are consistent with both: their softmax
    gives the probabilities, and their Z / (Z + 1) the realness.
    """

    temperature: Tensor

    def __init__(
        self, preparation: Preparation, members: Sequence[nn.Module], linear: nn.Linear, *, keeps_linear: bool = False
    ) -> None:
        super().__init__()
        self.preparation = preparation
        self.members = nn.ModuleList(members)
        self.linear = linear
        self.keeps_linear = keeps_linear
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points = self.preparation(features)
        each = torch.stack([member(points) for member in self.members])  # (M, N, K)
        log_z = torch.logsumexp(each, dim=2)
        shares = self.linear_logits(features).softmax(dim=1) if self.keeps_linear else each.softmax(dim=2).mean(dim=0)
        log_shares = F.log_softmax(shares.clamp(min=LEAST).log() / self.temperature, dim=1)
        real, generated = log_z.sigmoid().mean(dim=0), (-log_z).sigmoid().mean(dim=0)
        log_odds = real.clamp(min=LEAST).log() - generated.clamp(min=LEAST).log()
        return log_shares + log_odds[:, None], log_shares.exp(), log_odds.sigmoid()

    def linear_logits(self, features: Tensor) -> Tensor:
        """Returns the logits of logistic regression, ``[N, K]``."""
        logits: Tensor = self.linear(self.preparation.directions(features) - self.preparation.center)
        return logits

    @torch.no_grad()
    def calibrate(self, features: Tensor, labels: Tensor) -> None:
        """Sets the temperature that maximizes the likelihood of these photos' labels; predicted classes do not
        change.
        """
        self.temperature.fill_(1.0)
        log_shares = self(features)[1].clamp(min=LEAST).log()
        losses = [float(F.cross_entropy(log_shares / temperature, labels)) for temperature in _TEMPERATURES]
        self.temperature.fill_(_TEMPERATURES[losses.index(min(losses))])
