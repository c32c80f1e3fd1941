"""Logistic regression on features: the baseline for the game."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name


def fit_logistic(inputs: Tensor, labels: Tensor, classes: int, strength: float, iterations: int = 300) -> nn.Linear:
    """Returns the linear layer that minimizes ``Σ cross-entropy + ‖weight‖² / (2 strength)``.

    This equals scikit-learn's ``LogisticRegression(C=strength)``; ``inputs`` are ``[N, F]``, ``labels`` int64 ``[N]``,
    or probabilities ``[N, classes]``. It is fitted in the precision of ``inputs``.
    """
    layer = nn.Linear(inputs.shape[1], classes, dtype=inputs.dtype)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=iterations, tolerance_grad=1e-6, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        penalty = layer.weight.square().sum() / (2 * strength)
        total = F.cross_entropy(layer(inputs), labels, reduction="sum") + penalty
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return layer.float().requires_grad_(False)
