"""The Fréchet distance: known values, every form of it against the plain one, and which is right where they differ."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.frechet_distance import (
    Gaussian,
    check_covariance,
    frechet_distance,
    frechet_distance_reference,
    gaussian,
)
from igan_zoo.serving.scoring.statistics import merge
from tests.serving.scoring.examples import some_facts, some_features, some_logits, statistics_of
from tests.serving.scoring.test_statistics import WHOLE, shards


def gaussian_of(features: NDArray[np.float32], *, kept: bool = False, ddof: int = 1) -> Gaussian:
    count, size = features.shape
    facts = some_facts(images=count, features=size, kept=count if kept else 0)
    return gaussian(statistics_of(facts, features, some_logits(count, 7, 0)), ddof=ddof)


def plain(one: Gaussian, other: Gaussian) -> float:
    return frechet_distance_reference(one, other)


@pytest.mark.parametrize(
    ("count", "other_count", "size"), [(400, 300, 24), (90, 400, 30), (31, 32, 30), (600, 700, 300)]
)
def test_the_fast_form_equals_the_plain_one_where_there_are_more_images_than_features(
    count: int, other_count: int, size: int
) -> None:
    one, other = gaussian_of(some_features(count, size, 1)), gaussian_of(some_features(other_count, size, 2) * 2)
    assert frechet_distance(one, other) == pytest.approx(plain(one, other), rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(plain(one, other), rel=1e-9)


@pytest.mark.parametrize("which", ["both", "one", "other", "neither"])
def test_with_fewer_images_than_features_all_forms_agree(which: str) -> None:
    """The plain form's rounding grows here, so the limit is its own: 1e-3 of the distance."""
    a, b = some_features(20, 64, 1), some_features(25, 64, 2) * 2
    one = gaussian_of(a, kept=which in ("both", "one"))
    other = gaussian_of(b, kept=which in ("both", "other"))
    assert (one.root is not None) == (which in ("both", "one"))
    exact = frechet_distance(gaussian_of(a, kept=True), gaussian_of(b, kept=True))
    # One root leaves one eigenvalue of 0, whose root is the rounding's.
    assert frechet_distance(one, other) == pytest.approx(exact, rel=1e-7)
    assert frechet_distance(one, other) == pytest.approx(plain(one, other), rel=1e-3)


def test_in_the_plane_of_few_images_the_nuclear_norm_is_the_right_one() -> None:
    """Both sets lie in 12 of 300 dimensions; turned into these, nothing is 0 and the plain form is right."""
    random = np.random.default_rng(3)
    small = [random.normal(size=(60, 12)) @ np.diag(np.geomspace(1, 0.1, 12)) * scale for scale in (1.0, 1.6)]
    turn = np.linalg.qr(random.normal(size=(300, 300)))[0][:12]
    full = [rows @ turn for rows in small]

    def with_root(rows: NDArray[np.float64]) -> Gaussian:
        centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1)
        return Gaussian(rows.mean(axis=0), centred.T @ centred, centred)

    truth = plain(*(Gaussian(g.mean, g.covariance) for g in map(with_root, small)))
    exact = frechet_distance(*map(with_root, full))
    without = frechet_distance(*(Gaussian(g.mean, g.covariance) for g in map(with_root, full)))
    assert exact == pytest.approx(truth, rel=1e-12)
    assert without == pytest.approx(truth, rel=1e-8)
    assert abs(plain(*map(with_root, full)) - truth) > 100 * abs(exact - truth)


def test_equal_covariances_leave_the_distance_of_the_means() -> None:
    covariance = np.cov(some_features(100, 6, 1), rowvar=False)
    one, other = Gaussian(np.zeros(6), covariance), Gaussian(np.arange(6.0), covariance)
    assert frechet_distance(one, other) == pytest.approx(55, rel=1e-12)


def test_diagonal_covariances_have_a_closed_form() -> None:
    a, b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.25])
    one, other = Gaussian(np.zeros(3), np.diag(a)), Gaussian(np.ones(3), np.diag(b))
    assert frechet_distance(one, other) == pytest.approx(3 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum(), rel=1e-12)


def test_features_that_never_vary_are_no_obstacle() -> None:
    a, b = some_features(200, 20, 1), some_features(200, 20, 2) * 2
    a[:, [3, 7]] = 0
    one, other = gaussian_of(a), gaussian_of(b)
    assert frechet_distance(one, other) == pytest.approx(plain(one, other), rel=1e-6)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-6)
    assert frechet_distance(one, Gaussian(np.zeros(20), np.zeros((20, 20)))) == pytest.approx(
        one.mean @ one.mean + one.covariance.trace()
    )


def test_a_set_is_at_distance_zero_from_itself() -> None:
    for kept in (False, True):
        one = gaussian_of(some_features(40, 64 if kept else 12, 1), kept=kept)
        assert 0 <= frechet_distance(one, one) <= 1e-8 * one.covariance.trace()


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("kept", [False, True])
def test_the_covariance_is_divided_as_asked(ddof: int, kept: bool) -> None:
    features = some_features(30, 40, 1)
    one = gaussian_of(features, kept=kept, ddof=ddof)
    np.testing.assert_allclose(one.covariance, np.cov(features, rowvar=False, ddof=ddof), atol=1e-4)
    if one.root is not None:
        np.testing.assert_allclose(one.root.T @ one.root, one.covariance, atol=1e-12)


@pytest.mark.parametrize("count", [3, 7])
def test_merged_shards_give_the_same_distance_to_the_last_bit(count: int) -> None:
    other = gaussian_of(some_features(100, 12, 5))
    assert frechet_distance(gaussian(merge(shards(count))), other) == frechet_distance(gaussian(WHOLE), other)


def test_impossible_distances_are_refused() -> None:
    with pytest.raises(ScoringError, match="12 and 6 features"):
        frechet_distance(gaussian(WHOLE), Gaussian(np.zeros(6), np.eye(6)))
    with pytest.raises(ScoringError, match="missing"):
        gaussian(shards(3)[0])
    with pytest.raises(ScoringError, match="more than 200 images"):
        gaussian(WHOLE, ddof=200)


def test_a_distance_below_zero_is_an_error() -> None:
    one = gaussian_of(some_features(400, 24, 1))
    with pytest.raises(ScoringError, match=r"The squared Fréchet distance is -\d"):
        frechet_distance(one, Gaussian(one.mean, -2 * one.covariance))
    with pytest.raises(ScoringError, match="is nan"):
        frechet_distance(one, Gaussian(one.mean, one.covariance * np.nan, one.covariance))


@pytest.mark.parametrize(
    ("count", "size", "kind"), [(400, 24, np.float64), (10, 64, np.float64), (10, 64, np.float32), (2, 300, np.float32)]
)
def test_every_covariance_passes_for_one(count: int, size: int, kind: type) -> None:
    """Of fewer images than features too, and in float32."""
    for scale in (1e-3, 1, 100):
        covariance = np.cov(some_features(count, size, 1) * scale, rowvar=False).astype(kind).astype(np.float64)
        assert check_covariance(covariance) is None


def test_what_is_no_covariance_is_said() -> None:
    covariance = np.cov(some_features(400, 24, 1), rowvar=False)
    assert check_covariance(-covariance) == "has negative eigenvalues"
    values, vectors = np.linalg.eigh(covariance)
    assert (
        check_covariance((vectors * np.where(np.arange(24) == 5, -0.01 * values[-1], values)) @ vectors.T) is not None
    )
    covariance[3, 4] *= 1.01
    assert check_covariance(covariance) == "is not symmetric"
