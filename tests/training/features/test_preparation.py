"""Prepared features have mean 0, mean square 1, and are half white."""

from __future__ import annotations

import torch

from igan_zoo.training.features.preparation import Preparation


def test_prepared_features_are_centered_scaled_and_uncorrelated() -> None:
    features = torch.randn(500, 20, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(1.0, 21)) + 5
    features[:, 1] += 3 * features[:, 0]
    points = Preparation.fit(features, 6)(features)
    assert points.shape == (500, 6)
    torch.testing.assert_close(points.mean(dim=0), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(points.square().mean(), torch.tensor(1.0), atol=5e-3, rtol=0)
    covariance = points.T @ points / len(points)
    torch.testing.assert_close(covariance, torch.diag(covariance.diag()), atol=2e-3, rtol=0)


def test_each_component_keeps_the_root_of_its_deviation() -> None:
    features = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    features = torch.cat([features, features[:, :1] + 0.01 * features[:, 1:2]], dim=1)
    made = Preparation.fit(features, 2)
    plain = (made.directions(features) - made.center) @ (made.components / made.components.norm(dim=0))
    before, after = plain.std(dim=0), made(features).std(dim=0)
    torch.testing.assert_close((after[0] / after[1]).square(), before[0] / before[1], atol=1e-3, rtol=1e-3)


def test_one_very_large_feature_does_not_drown_the_others() -> None:
    features = torch.rand(200, 8, generator=torch.Generator().manual_seed(0))
    made = Preparation.fit(features, 8)
    odd = features[:1].clone()
    odd[0, 0] = 100.0
    # Standardized without roots, the value lies 340 deviations off, and the others share what is left of length 1.
    assert made.directions(odd)[0, 1:].norm() > 0.05


def test_there_are_no_more_dimensions_than_photos() -> None:
    assert Preparation.fit(torch.randn(5, 20), 128).components.shape == (20, 5)


def test_a_photo_of_zeros_stays_finite() -> None:
    assert Preparation.fit(torch.ones(6, 4), 4)(torch.zeros(1, 4)).isfinite().all()
