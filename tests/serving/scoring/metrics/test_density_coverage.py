"""Density and coverage: their definition, known sets, blocks, and where they differ from precision and recall."""

from __future__ import annotations

import numpy as np
import pytest

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.density_coverage import density_coverage, density_coverage_reference
from tests.serving.scoring.examples import some_features


@pytest.mark.parametrize(("made", "real", "size", "block"), [(60, 50, 10, 7), (50, 90, 3, 64), (8, 7, 30, 1)])
def test_blocks_of_any_size_give_the_definition(made: int, real: int, size: int, block: int) -> None:
    sets = some_features(made, size, 1, scale=1.1), some_features(real, size, 2)
    for neighbors in (1, 5):
        expected = density_coverage_reference(*sets, neighbors=neighbors)
        assert density_coverage(*sets, neighbors=neighbors, block=block) == expected
        assert expected.density > 0


def test_copies_cover_everything_and_distant_images_nothing() -> None:
    real = some_features(80, 12, 3)
    copies = density_coverage(real, real)
    # Each lies in its own ball and in those of at least k others on average.
    assert copies.coverage == 1
    assert copies.density == pytest.approx(1 + 1 / 5, abs=0.01)
    assert density_coverage(real + 100, real) == density_coverage_reference(real + 100, real)
    assert density_coverage(real + 100, real).density == density_coverage(real + 100, real).coverage == 0


def test_samples_that_crowd_are_dense_and_cover_little() -> None:
    real = some_features(200, 4, 3)
    middle = np.square(real - real.mean(axis=0)).sum(axis=1).argmin()
    crowd = np.repeat(real[middle : middle + 1], 100, axis=0)
    result = density_coverage(crowd, real)
    assert result.density > 1
    assert result.coverage < 0.1


def test_equal_distributions_have_density_one_and_the_coverage_of_the_paper() -> None:
    """Coverage is 1 - 1 / 2^k on average for sets of one size, to first order (Naeem et al., section 4)."""
    results = [density_coverage(some_features(150, 6, 2 * s), some_features(150, 6, 2 * s + 1)) for s in range(30)]
    assert np.mean([result.density for result in results]) == pytest.approx(1, abs=0.05)
    assert np.mean([result.coverage for result in results]) == pytest.approx(1 - 1 / 32, abs=0.01)


def test_one_outlier_moves_precision_and_not_density() -> None:
    from igan_zoo.serving.scoring.metrics.precision_recall import precision_recall

    real, made = some_features(100, 4, 1), some_features(100, 4, 2) + 3
    odd = np.concatenate([real, [made.mean(axis=0) + 30]]).astype(np.float32)
    assert precision_recall(made, odd).precision == 1 > 0.2 > precision_recall(made, real).precision
    assert density_coverage(made, odd).density < density_coverage(made, real).density + 0.25


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ScoringError, match="looks at the 5 nearest neighbors of each image"):
        density_coverage(some_features(9, 4, 1), some_features(5, 4, 2))
