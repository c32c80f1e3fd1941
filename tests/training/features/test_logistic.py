"""Logistic regression next to scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from igan_zoo.training.features.logistic import fit_logistic
from tests.training.features.clouds import clouds


@pytest.mark.parametrize("strength", [0.1, 30.0])
def test_it_is_that_of_scikit_learn(strength: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    data = clouds(photos=90, spread=1.5)
    ours = fit_logistic(torch.from_numpy(data.features).double(), torch.from_numpy(data.labels), 3, strength)
    theirs = linear_model.LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(data.features, data.labels)
    probabilities = ours(torch.from_numpy(data.features)).softmax(dim=1).numpy()
    np.testing.assert_allclose(probabilities, theirs.predict_proba(data.features), atol=1e-3)
