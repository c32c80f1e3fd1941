"""Losses against the paper's formulas, computed naively in float64."""

from __future__ import annotations

import numpy as np
import torch

from igan_zoo.training.losses import feature_matching_loss, labelled_loss, unlabelled_loss


def test_the_labelled_loss_is_cross_entropy_over_the_real_classes() -> None:
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    labels = np.array([1, 0])
    expected = -np.log(np.exp(logits[[0, 1], labels]) / np.exp(logits).sum(axis=1)).mean()
    np.testing.assert_allclose(labelled_loss(torch.tensor(logits), torch.tensor(labels)).item(), expected, rtol=1e-12)


def test_the_unlabelled_loss_is_half_the_gans_with_d_equal_to_z_over_z_plus_one() -> None:
    real, fake = np.random.default_rng(0).normal(0, 2, (2, 50, 10))
    d_real, d_fake = (np.exp(x).sum(axis=1) / (np.exp(x).sum(axis=1) + 1) for x in (real, fake))
    expected = 0.5 * (-np.log(d_real).mean() - np.log(1 - d_fake).mean())
    np.testing.assert_allclose(unlabelled_loss(torch.tensor(real), torch.tensor(fake)).item(), expected, rtol=1e-9)


def test_the_unlabelled_loss_survives_extreme_logits() -> None:
    huge = torch.full((2, 10), 1e4)
    assert unlabelled_loss(huge, -huge).item() == 0.0
    assert torch.isfinite(unlabelled_loss(-huge, huge))


def test_feature_matching_compares_means_of_features() -> None:
    real, fake = np.random.default_rng(1).normal(0, 1, (2, 40, 7))
    expected = ((real.mean(axis=0) - fake.mean(axis=0)) ** 2).mean()
    np.testing.assert_allclose(
        feature_matching_loss(torch.tensor(real), torch.tensor(fake)).item(), expected, rtol=1e-12
    )
    assert feature_matching_loss(torch.tensor(real), torch.tensor(real[::-1].copy())).item() < 1e-30
