"""Standard errors by the bootstrap are the spread over other sets of images, and the formulas agree with them."""

from __future__ import annotations

import numpy as np
import pytest

from igan_zoo.serving.scoring.metrics.bootstrap import bootstrap_error
from igan_zoo.serving.scoring.metrics.frechet_distance import frechet_distance, gaussian_of
from igan_zoo.serving.scoring.metrics.inception_score import inception_score, unsplit_score
from igan_zoo.serving.scoring.metrics.kernel_distance import kernel_distance
from igan_zoo.serving.scoring.metrics.vendi_score import vendi_score
from tests.serving.scoring.examples import some_facts, some_features, some_logits, statistics_of


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return frechet_distance(gaussian_of(x), gaussian_of(y))


def test_the_error_of_a_mean_is_its_formula() -> None:
    values = np.random.default_rng(0).normal(size=(400, 1)).astype(np.float32)
    found = bootstrap_error(lambda side: float(side.mean()), values, draws=2000, seed=1)
    assert found == pytest.approx(float(values.std()) / 20, rel=0.05)
    assert found == bootstrap_error(lambda side: float(side.mean()), values, draws=2000, seed=1)


def test_it_is_the_spread_over_other_images() -> None:
    sides = [(some_features(800, 6, seed), some_features(600, 6, 500 + seed, scale=1.3)) for seed in range(60)]
    for score in (distance, lambda x, _: vendi_score(x + np.float32(0.01))):
        spread = np.std([score(*side) for side in sides], ddof=1)
        found = np.mean([bootstrap_error(score, *side, draws=40, seed=2) for side in sides[:5]])
        assert found == pytest.approx(spread, rel=0.3)


def test_the_formulas_of_other_metrics_agree() -> None:
    logits = some_logits(2000, 7, 1)
    statistics = statistics_of(some_facts(images=2000, kept=0), some_features(2000, 12, 1), logits)
    found = bootstrap_error(unsplit_score, logits, draws=200, seed=3)
    assert inception_score(statistics).standard_error == pytest.approx(found, rel=0.2)
    x, y = some_features(300, 6, 1), some_features(300, 6, 2, scale=1.3)
    formula = kernel_distance(x, y, subset_size=300).standard_error
    found = bootstrap_error(lambda a, b: kernel_distance(a, b, subset_size=300).value, x, y, draws=100, seed=4)
    assert formula == pytest.approx(found, rel=0.25)
