"""Layers against their formulas."""

from __future__ import annotations

import pytest
import torch

from igan_zoo.training.networks.layers import GaussianNoise


def test_noise_has_the_stated_deviation_in_training_and_none_in_evaluation() -> None:
    torch.manual_seed(0)
    noise = GaussianNoise(0.5)
    x = torch.full((400, 500), 3.0)
    noisy = noise(x)
    assert noisy.mean().item() == pytest.approx(3.0, abs=0.01)
    assert noisy.std().item() == pytest.approx(0.5, abs=0.01)
    assert noise.eval()(x) is x
