"""Losses against the paper's formulas, computed naively in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from igan_zoo.training.games.losses import (
    absolute_feature_matching_loss,
    equilibrium_loss,
    feature_matching_loss,
    labelled_loss,
    minimax_loss,
    realness_logits,
    smoothed_binary_loss,
    unlabelled_loss,
)


def test_the_labelled_loss_is_cross_entropy_over_the_real_classes() -> None:
    logits = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]])
    labels = np.array([1, 0])
    expected = -np.log(np.exp(logits[[0, 1], labels]) / np.exp(logits).sum(axis=1)).mean()
    np.testing.assert_allclose(labelled_loss(torch.tensor(logits), torch.tensor(labels)).item(), expected, rtol=1e-12)


def test_the_unlabelled_loss_is_half_the_gans_with_d_equal_to_z_over_z_plus_one() -> None:
    real, fake = np.random.default_rng(0).normal(0, 2, (2, 50, 10))
    d_real, d_fake = (np.exp(x).sum(axis=1) / (np.exp(x).sum(axis=1) + 1) for x in (real, fake))
    expected = 0.5 * (-np.log(d_real).mean() - np.log(1 - d_fake).mean())
    realness = [realness_logits(torch.tensor(logits), explicit=False) for logits in (real, fake)]
    np.testing.assert_allclose(unlabelled_loss(*realness).item(), expected, rtol=1e-9)


def test_only_the_real_side_of_the_unlabelled_loss_is_smoothed() -> None:
    realness = torch.linspace(-3, 3, 7, dtype=torch.float64)
    d = torch.sigmoid(realness).numpy()
    smoothed = -(0.75 * np.log(d) + 0.25 * np.log(1 - d)).mean() + 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    expected = 0.5 * (smoothed - np.log(1 - d).mean())
    np.testing.assert_allclose(unlabelled_loss(realness, realness, 0.75).item(), expected, rtol=1e-12)


def test_the_unlabelled_loss_survives_extreme_logits() -> None:
    huge = torch.full((2,), 1e4)
    assert unlabelled_loss(huge, -huge).item() == 0.0
    assert torch.isfinite(unlabelled_loss(-huge, huge))


def test_labels_that_are_not_known_do_not_count() -> None:
    logits = torch.tensor([[1.0, 2.0], [0.0, 3.0], [5.0, -1.0]])
    known = labelled_loss(logits[1:], torch.tensor([1, 0]))
    assert labelled_loss(logits, torch.tensor([-1, 1, 0])).item() == pytest.approx(known.item())
    assert labelled_loss(logits, torch.tensor([-1, -1, -1])).item() == 0.0


def test_the_generators_objectives() -> None:
    """Minimax is log(1 - D); the equilibrium objective is least where D is half the real target."""
    realness = torch.linspace(-2, 2, 9, dtype=torch.float64)
    d = torch.sigmoid(realness).numpy()
    np.testing.assert_allclose(minimax_loss(realness).item(), np.log(1 - d).mean(), rtol=1e-12)
    best = torch.tensor([np.log(0.375 / 0.625)])
    assert equilibrium_loss(best, 0.75).item() == pytest.approx(0, abs=1e-12)
    assert min(equilibrium_loss(best + offset, 0.75).item() for offset in (-0.1, 0.1)) > 1e-3


def test_the_absolute_form_of_feature_matching() -> None:
    real, fake = np.random.default_rng(1).normal(0, 1, (2, 40, 7))
    expected = abs(real.mean(axis=0) - fake.mean(axis=0)).mean()
    loss = absolute_feature_matching_loss(torch.tensor(real), torch.tensor(fake))
    np.testing.assert_allclose(loss.item(), expected, rtol=1e-12)


def test_feature_matching_compares_means_of_features() -> None:
    real, fake = np.random.default_rng(1).normal(0, 1, (2, 40, 7))
    expected = ((real.mean(axis=0) - fake.mean(axis=0)) ** 2).mean()
    np.testing.assert_allclose(
        feature_matching_loss(torch.tensor(real), torch.tensor(fake)).item(), expected, rtol=1e-12
    )
    assert feature_matching_loss(torch.tensor(real), torch.tensor(real[::-1].copy())).item() < 1e-30


@pytest.mark.parametrize("target", [0.0, 0.375, 0.75, 1.0])
def test_the_smoothed_binary_loss_is_the_divergence_from_its_target(target: float) -> None:
    logits = np.random.default_rng(2).normal(0, 2, 30)
    d = 1 / (1 + np.exp(-logits))
    expected = sum(p * np.log(p / q) for p, q in ((target, d), (1 - target, 1 - d)) if p > 0).mean()
    np.testing.assert_allclose(smoothed_binary_loss(torch.tensor(logits), target).item(), expected, rtol=1e-9)


def test_the_smoothed_binary_loss_is_least_and_zero_at_its_target() -> None:
    logits = torch.full((5,), np.log(3.0), dtype=torch.float64, requires_grad=True)  # sigmoid(log 3) = 0.75
    loss = smoothed_binary_loss(logits, 0.75)
    loss.backward()
    assert abs(loss.item()) < 1e-15
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-15
    assert smoothed_binary_loss(logits + 0.1, 0.75) > 0
    assert smoothed_binary_loss(torch.tensor([1e4]), 0.0).item() == 1e4


def test_realness_is_the_log_odds_of_any_real_class() -> None:
    logits = np.random.default_rng(3).normal(0, 2, (20, 6))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    explicit = realness_logits(torch.tensor(logits), explicit=True)
    np.testing.assert_allclose(explicit, np.log(p[:, :-1].sum(axis=1) / p[:, -1]), rtol=1e-9)
    implicit = realness_logits(torch.tensor(logits), explicit=False)
    np.testing.assert_allclose(implicit, np.log(np.exp(logits).sum(axis=1)), rtol=1e-9)
    with_zero = np.concatenate([logits, np.zeros((20, 1))], axis=1)
    torch.testing.assert_close(realness_logits(torch.tensor(with_zero), explicit=True), implicit)
