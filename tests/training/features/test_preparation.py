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


def test_what_is_between_clusters_is_a_share_of_the_variance() -> None:
    clusters = torch.nn.functional.one_hot(torch.arange(400) % 2, 2).float()
    features = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))
    features[:, 0] = torch.arange(400) % 2 + 1.0
    shares = Preparation.fit(features, 3).between(features, clusters)
    torch.testing.assert_close(shares[0], torch.tensor(1.0), atol=1e-3, rtol=0)
    assert (shares[1:] < 0.05).all()
    assert (shares > 0).all()


def test_weighted_features_are_longer_in_every_direction() -> None:
    features = torch.rand(200, 4, generator=torch.Generator().manual_seed(0))
    plain, weighted = Preparation.fit(features, 4), Preparation.fit(features, 4, torch.tensor([3.0, 1.0, 1.0, 1.0]))
    torch.testing.assert_close(3 * plain.deviation[0] ** -1, weighted.deviation[0] ** -1)
    assert (weighted.directions(features)[:, 0].abs() >= plain.directions(features)[:, 0].abs()).all()
